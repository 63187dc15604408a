//! Copies and fingerprints of local projects.
//!
//! A project is never built where it is: build back-ends write into it. What is copied is what a
//! build can need; caches and virtual environments are left out. A repository's history is not
//! copied but referred to, so that tools which read the version from it work.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

/// What tools make anew at will, and never a part of what is built.
const JUNK: [&str; 17] = [
    ".venv",
    ".tox",
    ".nox",
    "node_modules",
    "__pycache__",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".hypothesis",
    ".ipynb_checkpoints",
    ".coverage",
    "htmlcov",
    ".eggs",
    ".git",
    ".idea",
    ".vscode",
    ".DS_Store",
];
/// Files at the top of a project that say how it is built, or that metadata is read from: names
/// and, where they end in `*`, beginnings.
const BUILD_FILES: [&str; 20] = [
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "MANIFEST.in",
    "build.py",
    "hatch.toml",
    "hatch_build.py",
    "pdm_build.py",
    "CMakeLists.txt",
    "meson.build",
    "meson.options",
    "meson_options.txt",
    "Cargo.toml",
    "Cargo.lock",
    "requirements*",
    "README*",
    "LICENSE*",
    "LICENCE*",
    "COPYING*",
    "VERSION*",
];
/// What setuptools leaves in `build`; stale modules in it would get into the next wheel.
const BUILD_JUNK: [&str; 3] = ["lib", "bdist.", "temp."];
/// The entries of a repository that say what is checked out.
const GIT_STATE: [&str; 8] = [
    "HEAD",
    "ORIG_HEAD",
    "index",
    "packed-refs",
    "shallow",
    "refs",
    "info",
    "reftable",
];

/// Copies the project at `source` to `dest`, which must not exist.
pub fn copy(source: &Path, dest: &Path) -> Result<(), ProjectError> {
    let failed = |path: &Path, source| ProjectError {
        path: path.to_owned(),
        source,
    };
    for entry in walk(source) {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(source).to_owned();
            ProjectError {
                path,
                source: error.into(),
            }
        })?;
        let Ok(relative) = entry.path().strip_prefix(source) else {
            continue;
        };
        let target = dest.join(relative);
        let kind = entry.file_type();
        let copied = if kind.is_dir() {
            fs::create_dir_all(&target)
        } else if kind.is_symlink() {
            fs::read_link(entry.path()).and_then(|link| symlink(link, &target))
        } else if kind.is_file() {
            copy_file(entry.path(), &target)
        } else {
            // Sockets and pipes belong to a running program, not to the project.
            Ok(())
        };
        copied.map_err(|error| failed(entry.path(), error))?;
    }
    let git = source.join(".git");
    if git.exists() {
        copy_repository(&git, &dest.join(".git")).map_err(|error| failed(&git, error))?;
    }
    Ok(())
}

/// A text that changes when a file of the project changes, by size and time; `None` if the
/// project cannot be read. For a single file: its size and time.
pub fn fingerprint(source: &Path) -> Option<String> {
    let mut hasher = blake3::Hasher::new();
    for entry in walk(source) {
        let entry = entry.ok()?;
        digest(&mut hasher, entry.path())?;
    }
    let git = source.join(".git");
    if let Ok(repository) = Repository::open(&git) {
        for directory in [&repository.checkout, &repository.common] {
            for name in GIT_STATE {
                // The index changes with every look at the tree; what it stages is in no build.
                if name == "index" {
                    continue;
                }
                for entry in WalkDir::new(directory.join(name)).sort_by_file_name() {
                    let Ok(entry) = entry else { continue };
                    if entry.file_type().is_file() {
                        digest(&mut hasher, entry.path())?;
                    }
                }
            }
        }
    }
    Some(hasher.finalize().to_hex().to_string())
}

/// A text that changes when the project has to be built again for being used in place: with the
/// files that say how, and with the names of its modules. What the modules contain is seen as it
/// is, and what a build writes into the project is no reason for the next. `None` if the project
/// cannot be read.
pub fn editable_fingerprint(source: &Path) -> Option<String> {
    let mut hasher = blake3::Hasher::new();
    for (depth, directory) in [source.to_owned(), source.join("src")].iter().enumerate() {
        let entries = WalkDir::new(directory)
            .min_depth(1)
            .max_depth(1)
            .sort_by_file_name();
        for entry in entries.into_iter().filter_entry(|entry| !is_junk(entry)) {
            // A project without `src` is as good.
            let Ok(entry) = entry else { continue };
            let path = entry.path();
            let name = entry.file_name().to_string_lossy();
            let says_how = BUILD_FILES
                .iter()
                .any(|known| match known.strip_suffix('*') {
                    Some(beginning) => name.starts_with(beginning),
                    None => name == *known,
                });
            if depth == 0 && says_how && path.is_file() {
                digest(&mut hasher, path)?;
            } else if path.join("__init__.py").is_file() || name.ends_with(".py") {
                hasher.update(name.as_bytes());
                hasher.update(b"\0");
            }
        }
    }
    Some(hasher.finalize().to_hex().to_string())
}

/// A project cannot be copied.
#[derive(Debug, thiserror::Error)]
#[error("failed to copy {path}", path = .path.display())]
pub struct ProjectError {
    /// The file or directory.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

fn digest(hasher: &mut blake3::Hasher, path: &Path) -> Option<()> {
    let facts = path.symlink_metadata().ok()?;
    hasher.update(path.as_os_str().as_encoded_bytes());
    // A directory's size and time change with junk in it; its entries speak for themselves.
    let (size, time) = if facts.is_dir() {
        (0, (0, 0))
    } else {
        (facts.size(), (facts.mtime(), facts.mtime_nsec()))
    };
    hasher.update(format!("\0{:o}:{size}:{}:{}\0", facts.mode(), time.0, time.1).as_bytes());
    Some(())
}

fn walk(source: &Path) -> impl Iterator<Item = walkdir::Result<DirEntry>> {
    WalkDir::new(source)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| entry.depth() == 0 || !is_junk(entry))
}

fn is_junk(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    if JUNK.contains(&name.as_ref()) {
        return true;
    }
    if !entry.file_type().is_dir() {
        // One for each process that was measured.
        return name.starts_with(".coverage.");
    }
    let path = entry.path();
    // Made by every build; an old one adds files to the next wheel that are gone.
    if name.ends_with(".egg-info") {
        return true;
    }
    if path.join("pyvenv.cfg").is_file() || path.join("CACHEDIR.TAG").is_file() {
        return true;
    }
    path.parent()
        .and_then(Path::file_name)
        .is_some_and(|parent| parent == "build")
        && BUILD_JUNK.iter().any(|junk| name.starts_with(junk))
}

fn copy_file(source: &Path, target: &Path) -> io::Result<()> {
    fs::copy(source, target)?;
    // A build writes into its tree, whatever the project's files allow.
    let mode = fs::metadata(source)?.permissions().mode() | 0o600;
    fs::set_permissions(target, fs::Permissions::from_mode(mode & 0o777))?;
    let time = fs::metadata(source)?.modified()?;
    fs::File::options()
        .write(true)
        .open(target)?
        .set_modified(time)
}

/// A repository's two directories: that of the working tree, and the common one. They are the
/// same unless it is a linked working tree (`git worktree`) or a submodule.
struct Repository {
    checkout: PathBuf,
    common: PathBuf,
}

impl Repository {
    fn open(git: &Path) -> io::Result<Self> {
        let checkout = if git.is_dir() {
            git.to_owned()
        } else {
            let text = fs::read_to_string(git)?;
            let place = text
                .strip_prefix("gitdir:")
                .ok_or_else(|| io::Error::other("it is not a git file"))?;
            git.parent().unwrap_or(Path::new("/")).join(place.trim())
        };
        let common = match fs::read_to_string(checkout.join("commondir")) {
            Ok(place) => checkout.join(place.trim()),
            Err(_) => checkout.clone(),
        };
        Ok(Self { checkout, common })
    }
}

/// Makes a repository that has the state of the one at `git` and borrows its objects, so that
/// nothing is written into the original, not even by a command that refreshes the index.
fn copy_repository(git: &Path, dest: &Path) -> io::Result<()> {
    let Ok(repository) = Repository::open(git) else {
        return Ok(());
    };
    fs::create_dir_all(dest.join("objects/info"))?;
    for directory in [&repository.common, &repository.checkout] {
        for name in GIT_STATE {
            copy_state(&directory.join(name), &dest.join(name))?;
        }
    }
    fs::create_dir_all(dest.join("refs"))?;
    let objects = repository.common.join("objects").canonicalize()?;
    let mut alternates = objects.as_os_str().as_encoded_bytes().to_vec();
    alternates.push(b'\n');
    fs::write(dest.join("objects/info/alternates"), alternates)?;
    let config = fs::read_to_string(repository.common.join("config")).unwrap_or_default();
    fs::write(dest.join("config"), portable_config(&config))
}

fn copy_state(source: &Path, dest: &Path) -> io::Result<()> {
    for entry in WalkDir::new(source) {
        // What is not there, or vanishes while git works, was no state.
        let Ok(entry) = entry else { continue };
        let Ok(relative) = entry.path().strip_prefix(source) else {
            continue;
        };
        let target = if relative.as_os_str().is_empty() {
            dest.to_owned()
        } else {
            dest.join(relative)
        };
        if entry.file_type().is_dir() {
            fs::create_dir_all(&target)?;
        } else if entry.file_type().is_file() {
            copy_file(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// The configuration without what ties it to the original's place.
fn portable_config(config: &str) -> String {
    let tied = [
        "worktree",
        "bare",
        "hookspath",
        "fsmonitor",
        "worktreeconfig",
    ];
    let mut kept: String = config
        .lines()
        .filter(|line| {
            let key = line.split('=').next().unwrap_or_default().trim();
            !tied.contains(&key.to_ascii_lowercase().as_str())
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    kept.push_str("[core]\n\tbare = false\n");
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("pyproject.toml", "[project]\n"),
            ("src/a.py", "a = 1\n"),
            ("src/__pycache__/a.pyc", "x"),
            (".venv/pyvenv.cfg", ""),
            ("other/pyvenv.cfg", ""),
            ("target/CACHEDIR.TAG", ""),
            ("build/lib/a.py", "stale"),
            ("a.egg-info/SOURCES.txt", "stale"),
            (".coverage", ""),
            ("build/keep.txt", "kept"),
        ] {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        symlink("src/a.py", directory.path().join("link")).unwrap();
        directory
    }

    #[test]
    fn a_copy_has_the_sources_and_no_junk() {
        let project = project();
        let dest = tempfile::tempdir().unwrap();
        let dest = dest.path().join("copy");
        copy(project.path(), &dest).unwrap();
        let mut names: Vec<String> = WalkDir::new(&dest)
            .into_iter()
            .map(|entry| entry.unwrap())
            .filter(|entry| !entry.file_type().is_dir())
            .map(|entry| {
                let path = entry.path().strip_prefix(&dest).unwrap();
                path.to_string_lossy().into_owned()
            })
            .collect();
        names.sort();
        assert_eq!(
            names,
            ["build/keep.txt", "link", "pyproject.toml", "src/a.py"]
        );
        assert_eq!(
            fs::read_link(dest.join("link")).unwrap(),
            Path::new("src/a.py")
        );
    }

    #[test]
    fn an_editable_project_is_built_again_for_its_definition_and_new_modules_only() {
        let project = project();
        let root = project.path();
        let before = editable_fingerprint(root).unwrap();
        let same = |name: &str, text: &str| {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            editable_fingerprint(root).unwrap() == before
        };
        assert!(same("src/a.py", "a = 2222\n"));
        assert!(same("build/lib/b.py", ""));
        assert!(same("a.egg-info/PKG-INFO", ""));
        assert!(same("report.xml", ""));
        assert!(same("src/a/_version.txt", ""));
        assert!(!same("src/b.py", ""));
        fs::remove_file(root.join("src/b.py")).unwrap();
        assert!(!same("new/__init__.py", ""));
        fs::remove_file(root.join("new/__init__.py")).unwrap();
        assert!(same("report.xml", "again"));
        assert!(!same("pyproject.toml", "[project]\nname = 'x'\n"));
    }

    #[test]
    fn a_fingerprint_follows_sources_and_not_junk() {
        let project = project();
        let before = fingerprint(project.path()).unwrap();
        fs::write(project.path().join("src/__pycache__/b.pyc"), "y").unwrap();
        assert_eq!(fingerprint(project.path()).unwrap(), before);
        fs::write(project.path().join("a.egg-info/SOURCES.txt"), "y").unwrap();
        fs::write(project.path().join(".coverage.host.1"), "y").unwrap();
        assert_eq!(fingerprint(project.path()).unwrap(), before);
        fs::write(project.path().join("src/b.py"), "").unwrap();
        assert_ne!(fingerprint(project.path()).unwrap(), before);
        assert_eq!(fingerprint(Path::new("/nonexistent")), None);
    }
}

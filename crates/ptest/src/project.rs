//! The project root: the part of the host that a command may write.
//!
//! Found from the working directory alone. Not for building projects: that is
//! `python::project`.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Files that mark the root of a project.
const MARKERS: [&str; 4] = ["pyproject.toml", "setup.cfg", "tox.ini", ".git"];

/// Directories for temporary files: private inside, and projects may lie below them.
const TEMPORARY: [&str; 4] = ["/dev/shm", "/run", "/tmp", "/var/tmp"];
/// Where the kernel shows itself and the machine's devices. No project lies there.
const KERNEL: [&str; 3] = ["/dev", "/proc", "/sys"];

/// What of the host belongs to the project that a command works on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// The nearest ancestor with a marker, else the working directory.
    pub root: PathBuf,
    /// The git directory shared by all worktrees, when it lies elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_common_dir: Option<PathBuf>,
    /// Why the root must not be writable, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guarded: Option<Guard>,
}

/// Why a project root is read-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// It is `/`.
    FileSystemRoot,
    /// It is, or holds, the home directory.
    Home,
    /// It holds the store.
    Store,
    /// It is a directory for temporary files of all users, of which inside there is a private one.
    Temporary,
    /// It is the kernel's or the devices', of which inside there are private ones: writing there
    /// would reach the whole machine.
    Kernel,
}

impl Guard {
    /// What is said of the root.
    pub fn because(self) -> &'static str {
        match self {
            Self::FileSystemRoot => "stays read-only, because it is the root of the file system",
            Self::Home => "stays read-only, because it is the home directory, or holds it",
            Self::Store => "stays read-only, because it holds ptest's store",
            Self::Temporary => {
                "is not the machine's, but a private one, because it is for temporary files"
            }
            Self::Kernel => "is not the machine's, but a private one, because it is the kernel's",
        }
    }
}

impl Project {
    /// The project whose root is this directory, whatever lies in it: writable, without a shared git directory.
    pub fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            git_common_dir: None,
            guarded: None,
        }
    }

    /// The project that `working_directory` (absolute) belongs to.
    pub fn find(working_directory: &Path, home: Option<&Path>, store: &Path) -> Self {
        let marked = working_directory.ancestors().find(|dir| {
            MARKERS
                .iter()
                .any(|marker| dir.join(marker).symlink_metadata().is_ok())
        });
        // A marker in the home directory or above (dot files kept in git) does
        // not make everything below it one project.
        let root = marked
            .filter(|dir| guard(dir, home, store).is_none())
            .unwrap_or(working_directory)
            .to_owned();
        Self {
            git_common_dir: git_common_dir(&root),
            guarded: guard(&root, home, store),
            root,
        }
    }
}

fn guard(root: &Path, home: Option<&Path>, store: &Path) -> Option<Guard> {
    if root.parent().is_none() {
        Some(Guard::FileSystemRoot)
    } else if store.starts_with(root) {
        Some(Guard::Store)
    } else if home.is_some_and(|home| home.starts_with(root)) {
        Some(Guard::Home)
    } else if TEMPORARY.iter().any(|path| root == Path::new(path)) {
        Some(Guard::Temporary)
    } else if is_below(root, &KERNEL) && !is_below(root, &TEMPORARY) {
        Some(Guard::Kernel)
    } else {
        None
    }
}

fn is_below(path: &Path, places: &[&str]) -> bool {
    places.iter().any(|place| path.starts_with(place))
}

/// In a worktree `.git` is a file: `gitdir: DIR`, and `DIR/commondir` leads to
/// the directory that all worktrees share (gitrepository-layout(5)).
fn git_common_dir(root: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(root.join(".git")).ok()?;
    let git_dir = root.join(text.strip_prefix("gitdir:")?.trim());
    let common = match fs::read_to_string(git_dir.join("commondir")) {
        Ok(common) => git_dir.join(common.trim()),
        // A submodule: its own directory is all there is.
        Err(_) => git_dir,
    };
    let common = fs::canonicalize(common).ok()?;
    // Only a real git directory is made writable, whatever the file says.
    common.join("HEAD").is_file().then_some(common)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: &str = "/var/lib/ptest";

    #[test]
    fn the_nearest_marked_ancestor_is_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(dir.path().join("tox.ini"), "").unwrap();
        let project = Project::find(&inner, None, Path::new(STORE));
        assert_eq!(project, Project::at(dir.path()));
    }

    #[test]
    fn without_a_marker_the_working_directory_is_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::find(dir.path(), None, Path::new(STORE));
        assert_eq!(project.root, dir.path());
    }

    #[test]
    fn what_is_no_project_is_guarded() {
        let home = Path::new("/home/me");
        let guarded =
            |cwd: &str| Project::find(Path::new(cwd), Some(home), Path::new(STORE)).guarded;
        assert_eq!(guarded("/"), Some(Guard::FileSystemRoot));
        assert_eq!(guarded("/home/me"), Some(Guard::Home));
        assert_eq!(guarded("/home"), Some(Guard::Home));
        assert_eq!(guarded("/var/lib"), Some(Guard::Store));
        assert_eq!(guarded("/tmp"), Some(Guard::Temporary));
        assert_eq!(guarded("/dev/shm"), Some(Guard::Temporary));
        assert_eq!(guarded("/dev/shm/x"), None);
        for kernel in ["/dev", "/dev/pts", "/proc", "/proc/sys", "/sys/fs/cgroup"] {
            assert_eq!(guarded(kernel), Some(Guard::Kernel), "{kernel}");
        }
        assert_eq!(guarded("/home/me/x"), None);
    }

    #[test]
    fn a_marker_in_the_home_directory_does_not_swallow_a_project_below_it() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".git")).unwrap();
        let work = home.path().join("work");
        fs::create_dir(&work).unwrap();
        let project = Project::find(&work, Some(home.path()), Path::new(STORE));
        assert_eq!((project.root, project.guarded), (work, None));
    }

    #[test]
    fn a_worktree_brings_the_git_directory_it_shares() {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().canonicalize().unwrap().join("main/.git");
        let own = main.join("worktrees/w");
        fs::create_dir_all(&own).unwrap();
        fs::write(main.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        fs::write(own.join("commondir"), "../..\n").unwrap();
        let work = dir.path().join("w");
        fs::create_dir(&work).unwrap();
        fs::write(work.join(".git"), format!("gitdir: {}\n", own.display())).unwrap();
        let project = Project::find(&work, None, Path::new(STORE));
        assert_eq!(project.git_common_dir, Some(main));
    }

    #[test]
    fn a_git_file_that_points_anywhere_else_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".git"), "gitdir: /etc\n").unwrap();
        assert_eq!(
            Project::find(dir.path(), None, Path::new(STORE)).git_common_dir,
            None
        );
    }
}

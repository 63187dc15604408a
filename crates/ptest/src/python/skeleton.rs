//! The tree of an empty virtual environment, as it is seen at [`ENV_PREFIX`].
//!
//! The same interpreter always gives the same bytes, so that all environments of it share one
//! layer. Packages, pip among them, are other layers.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ENV_PREFIX;
use super::command::{Supervision, Tool, ToolError};
use super::interpreter::Interpreter;

/// What an activated shell shows before its prompt.
const PROMPT: &str = "ptest";
/// Where the interpreter's own `venv` is told to build: a path without anything that a shell
/// would have to quote, whatever the real directory is called.
const BUILD_PATH: &str = "/proc/self/cwd/env";
const DEADLINE: Duration = Duration::from_mins(1);
/// `lib64` is no longer made from this version on.
const WITHOUT_LIB64: (u64, u64) = (3, 15);

/// Builds the tree in `dest`, which must be an empty directory or not exist.
///
/// Contains `bin/python` and its other names, `pyvenv.cfg`, the activation scripts that the
/// interpreter's own `venv` writes (none if it has no such module), and the empty directories
/// for packages and headers. No bytecode. On an error `dest` is left half-built.
pub fn build(
    interpreter: &Interpreter,
    dest: &Path,
    supervision: &Supervision,
) -> Result<(), SkeletonError> {
    let tree = Tree { root: dest };
    tree.directory(&interpreter.site_packages)?;
    tree.directory(&interpreter.include)?;
    tree.directory(Path::new("bin"))?;
    if interpreter.venv {
        activation_scripts(interpreter, &tree, supervision)?;
    }
    tree.link("bin/python", &interpreter.executable)?;
    for name in program_names(interpreter) {
        tree.link(&format!("bin/{name}"), Path::new("python"))?;
    }
    let version = (interpreter.version.major, interpreter.version.minor);
    if interpreter.bits == 64 && version < WITHOUT_LIB64 {
        tree.link("lib64", Path::new("lib"))?;
    }
    tree.file("pyvenv.cfg", configuration(interpreter).as_bytes())
}

/// Why a skeleton cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum SkeletonError {
    /// A file cannot be written.
    #[error("failed to write {path}", path = .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The interpreter's `venv` module fails.
    #[error("the venv module of {executable} failed: {words}", executable = .executable.display())]
    Venv {
        /// The interpreter.
        executable: PathBuf,
        /// Its own words.
        words: String,
    },
    /// The operation was cancelled.
    #[error("cancelled")]
    Cancelled,
}

struct Tree<'a> {
    root: &'a Path,
}

impl Tree<'_> {
    fn directory(&self, path: &Path) -> Result<(), SkeletonError> {
        let path = self.root.join(path);
        fs::create_dir_all(&path).map_err(|source| SkeletonError::Write { path, source })
    }

    fn link(&self, name: &str, target: &Path) -> Result<(), SkeletonError> {
        let path = self.root.join(name);
        symlink(target, &path).map_err(|source| SkeletonError::Write { path, source })
    }

    fn file(&self, name: &str, content: &[u8]) -> Result<(), SkeletonError> {
        let path = self.root.join(name);
        fs::write(&path, content)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o644)))
            .map_err(|source| SkeletonError::Write { path, source })
    }
}

/// The names beside `python`, as `venv` makes them, and the versioned one of the build.
fn program_names(interpreter: &Interpreter) -> Vec<String> {
    let version = &interpreter.version;
    let mut names = vec![
        format!("python{}", version.major),
        format!("python{}.{}", version.major, version.minor),
    ];
    if interpreter.free_threaded {
        names.push(format!("python{}.{}t", version.major, version.minor));
    }
    if interpreter.implementation != "cpython" {
        names.push(interpreter.implementation.clone());
        names.push(format!("{}{}", interpreter.implementation, version.major));
        names.push(format!(
            "{}{}.{}",
            interpreter.implementation, version.major, version.minor
        ));
    }
    names
}

fn configuration(interpreter: &Interpreter) -> String {
    let executable = interpreter.executable.display();
    let home = interpreter
        .executable
        .parent()
        .unwrap_or(Path::new("/"))
        .display();
    format!(
        "home = {home}\n\
         include-system-site-packages = false\n\
         version = {version}\n\
         executable = {executable}\n\
         command = {executable} -m venv {ENV_PREFIX}\n",
        version = interpreter.version,
    )
}

/// Lets the interpreter make an environment, and takes the activation scripts from it.
fn activation_scripts(
    interpreter: &Interpreter,
    tree: &Tree<'_>,
    supervision: &Supervision,
) -> Result<(), SkeletonError> {
    let scratch = tree.root.join(".venv");
    let failed = |words: String| SkeletonError::Venv {
        executable: interpreter.executable.clone(),
        words,
    };
    let write = |source| SkeletonError::Write {
        path: scratch.clone(),
        source,
    };
    fs::create_dir(&scratch).map_err(write)?;
    let output = Tool::new(&interpreter.executable, &scratch)
        .args([
            "-I",
            "-S",
            "-B",
            "-m",
            "venv",
            "--without-pip",
            "--symlinks",
        ])
        .args(["--prompt", PROMPT, BUILD_PATH])
        .deadline(DEADLINE)
        .run(supervision)
        .map_err(|error| match error {
            ToolError::Cancelled => SkeletonError::Cancelled,
            other => failed(other.to_string()),
        })?;
    if !output.status.success() {
        return Err(failed(
            format!("{}{}", output.stdout.text(), output.stderr.text())
                .trim()
                .to_owned(),
        ));
    }
    let bin = scratch.join("env/bin");
    for entry in fs::read_dir(&bin).map_err(write)? {
        let entry = entry.map_err(write)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !entry.file_type().map_err(write)?.is_file() {
            continue;
        }
        let text = fs::read_to_string(entry.path()).map_err(write)?;
        tree.file(
            &format!("bin/{name}"),
            text.replace(BUILD_PATH, ENV_PREFIX).as_bytes(),
        )?;
    }
    fs::remove_dir_all(&scratch).map_err(write)
}

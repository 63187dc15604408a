//! The pip that ptest carries, and the one that an older interpreter carries, ready to run.
//!
//! A wheel can be run as it is, but compiles itself anew each time (0.5 s against 0.2 s
//! unpacked), so it is unpacked once into a directory of the store. Running it is the business
//! of [`super::pip`].

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::archive::{Archive, ArchiveError};
use super::interpreter::Interpreter;

/// The wheel that ptest carries, if it does so inside itself.
#[cfg(feature = "carried-pip")]
const CARRIED: Option<&[u8]> = Some(include_bytes!("../../assets/pip-26.3-py3-none-any.whl"));
#[cfg(not(feature = "carried-pip"))]
const CARRIED: Option<&[u8]> = None;
/// Where it is else, below the directory in whose `bin` the program is.
const INSTALLED: &str = "share/ptest";
/// How many bytes it has.
const CARRIED_LENGTH: &str = env!("PTEST_PIP_LENGTH");
/// Names its content; made by the build script, because hashing it takes a millisecond.
const CARRIED_HASH: &str = env!("PTEST_PIP_HASH");
/// Its file name.
pub const CARRIED_PIP: &str = "pip-26.3-py3-none-any.whl";
/// The oldest Python that the carried wheel supports.
const CARRIED_REQUIRES: (u64, u64) = (3, 10);

/// Keeps unpacked copies of pip in one directory.
#[derive(Debug, Clone)]
pub struct PipTool {
    directory: PathBuf,
    program_directory: Option<PathBuf>,
}

impl PipTool {
    /// Uses `directory` (made when needed) for the copies. Several processes may share it.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            program_directory: None,
        }
    }

    /// Says where the program `ptest` is, beside which the wheel was installed if it is not inside it.
    #[must_use]
    pub fn with_program_directory(mut self, directory: Option<&Path>) -> Self {
        self.program_directory = directory.map(Path::to_owned);
        self
    }

    /// Names the carried wheel's content, and so everything that is made of it.
    pub(crate) fn carried_hash() -> &'static str {
        CARRIED_HASH
    }

    /// The directory of the carried pip, unpacked if it was not: holds the package `pip`.
    pub fn carried(&self) -> Result<PathBuf, PipToolError> {
        let target = self
            .directory
            .join(format!("{}-{}", stem(CARRIED_PIP), CARRIED_HASH));
        if target.is_dir() {
            return Ok(target);
        }
        let wheel = self.carried_wheel()?;
        self.unpack(&wheel, &target)
    }

    /// The carried wheel as a file, for an environment that is to contain pip.
    pub fn carried_wheel(&self) -> Result<PathBuf, PipToolError> {
        let directory = self.directory.join(CARRIED_HASH);
        let wheel = directory.join(CARRIED_PIP);
        if fs::metadata(&wheel).is_ok_and(|facts| facts.len().to_string() == CARRIED_LENGTH) {
            return Ok(wheel);
        }
        let content = match CARRIED {
            Some(carried) => Cow::Borrowed(carried),
            None => self.installed()?.into(),
        };
        let failed = |source| PipToolError::Write {
            path: wheel.clone(),
            source,
        };
        fs::create_dir_all(&directory).map_err(failed)?;
        let partial = self.directory.join(unique("wheel"));
        fs::write(&partial, content).map_err(failed)?;
        fs::rename(&partial, &wheel).map_err(failed)?;
        Ok(wheel)
    }

    /// The wheel that was installed with the program.
    fn installed(&self) -> Result<Vec<u8>, PipToolError> {
        let prefix = self.program_directory.as_deref().and_then(Path::parent);
        let directory = prefix.unwrap_or(Path::new("/usr")).join(INSTALLED);
        let path = directory.join(CARRIED_PIP);
        match fs::read(&path) {
            Ok(content) if fingerprint(&content) == CARRIED_HASH => Ok(content),
            Ok(_) => Err(PipToolError::Foreign { path }),
            Err(source) => Err(PipToolError::Read { path, source }),
        }
    }

    /// The wheel of the pip that fits `interpreter`: the carried one, or for older Pythons the
    /// one that comes with them.
    pub fn wheel_for(&self, interpreter: &Interpreter) -> Result<PathBuf, PipToolError> {
        if (interpreter.version.major, interpreter.version.minor) >= CARRIED_REQUIRES {
            return self.carried_wheel();
        }
        interpreter
            .ensurepip
            .clone()
            .ok_or_else(|| PipToolError::NoPip {
                version: interpreter.version.to_string(),
                executable: interpreter.executable.clone(),
            })
    }

    /// The directory of the pip that fits `interpreter`, unpacked if it was not.
    pub fn for_interpreter(&self, interpreter: &Interpreter) -> Result<PathBuf, PipToolError> {
        if (interpreter.version.major, interpreter.version.minor) >= CARRIED_REQUIRES {
            return self.carried();
        }
        let wheel = self.wheel_for(interpreter)?;
        let content = fs::read(&wheel).map_err(|source| PipToolError::Read {
            path: wheel.clone(),
            source,
        })?;
        let name = wheel.file_name().unwrap_or_default().to_string_lossy();
        let target = self
            .directory
            .join(format!("{}-{}", stem(&name), fingerprint(&content)));
        if target.is_dir() {
            return Ok(target);
        }
        self.unpack(&wheel, &target)
    }

    /// Unpacks beside the target and renames, so that a directory of that name is whole.
    fn unpack(&self, wheel: &Path, target: &Path) -> Result<PathBuf, PipToolError> {
        let partial = self.directory.join(unique("unpack"));
        let failed = |source| PipToolError::Write {
            path: partial.clone(),
            source,
        };
        fs::create_dir_all(&partial).map_err(failed)?;
        let unpacked = Archive::open(wheel)
            .and_then(|mut archive| archive.unpack(&partial))
            .map_err(|source| PipToolError::Unpack {
                path: wheel.to_owned(),
                source,
            })
            .and_then(|()| {
                // Once for each pip: a name that survives a crash must not stand for torn files.
                fs::File::open(&partial)
                    .and_then(|directory| Ok(rustix::fs::syncfs(directory)?))
                    .and_then(|()| fs::rename(&partial, target))
                    .or_else(|error| if target.is_dir() { Ok(()) } else { Err(error) })
                    .map_err(failed)
            });
        // Left over when it failed or when another process was first.
        if partial.exists() {
            let _ = fs::remove_dir_all(&partial);
        }
        unpacked.map(|()| target.to_owned())
    }
}

/// Why there is no pip to run.
#[derive(Debug, thiserror::Error)]
pub enum PipToolError {
    /// The interpreter is too old for the carried pip and brings none.
    #[error("there is no pip for Python {version}")]
    NoPip {
        /// Its version.
        version: String,
        /// Its program.
        executable: PathBuf,
    },
    /// A wheel cannot be read.
    #[error("failed to read {path}", path = .path.display())]
    Read {
        /// The wheel.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What was installed with the program is not the pip of this release.
    #[error("{path} is not the one of this release", path = .path.display())]
    Foreign {
        /// The wheel.
        path: PathBuf,
    },
    /// A wheel cannot be unpacked.
    #[error("failed to unpack {path}", path = .path.display())]
    Unpack {
        /// The wheel.
        path: PathBuf,
        /// Why.
        source: ArchiveError,
    },
    /// The directory cannot be written.
    #[error("failed to write {path}", path = .path.display())]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl PipToolError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoPip { version, .. } => Some(format!(
                "install the ensurepip module of Python {version} (on Debian: python3-venv), or use Python 3.10 or newer"
            )),
            Self::Foreign { .. } => Some("install ptest-env anew".to_owned()),
            Self::Read { path, .. } if path.ends_with(CARRIED_PIP) && CARRIED.is_none() => {
                Some("it belongs to the program `ptest`: install ptest-env anew".to_owned())
            }
            _ => None,
        }
    }
}

fn fingerprint(content: &[u8]) -> String {
    blake3::hash(content).to_hex()[..16].to_owned()
}

fn stem(file_name: &str) -> &str {
    file_name.strip_suffix(".whl").unwrap_or(file_name)
}

/// A name that no other thread or process uses at the same time.
fn unique(purpose: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!(
        ".{purpose}-{}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

//! One Python interpreter: what it is and how it is asked.
//!
//! An interpreter is asked by running `query.py` in it, and its answer is kept by the identity
//! of its file, so that a known interpreter costs no process. Which interpreter to ask is
//! decided in [`super::discover`].

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pep440_rs::Version;
use pep508_rs::{MarkerEnvironment, MarkerEnvironmentBuilder};
use serde::{Deserialize, Serialize};

use super::command::{Supervision, Tool, ToolError};
use super::host::HostEnv;

const QUERY: &str = include_str!("query.py");
/// The oldest Python that environments are made for.
const OLDEST: (u64, u64) = (3, 8);
/// A cold start from a slow disk takes seconds; longer than this is a hang.
const DEADLINE: Duration = Duration::from_secs(30);

/// A base interpreter (never that of a virtual environment), as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interpreter {
    /// The program, absolute, symlinks resolved.
    pub executable: PathBuf,
    /// `cpython`, `pypy`, … as `sys.implementation.name` says.
    pub implementation: String,
    /// Its version.
    pub version: PythonVersion,
    /// `sys.base_prefix`.
    pub base_prefix: PathBuf,
    /// `sys.base_exec_prefix`.
    pub base_exec_prefix: PathBuf,
    /// Directory of the standard library's Python files.
    pub stdlib: PathBuf,
    /// Directory of the standard library's extension modules.
    pub platstdlib: PathBuf,
    /// Directory of `libpython`, when the interpreter is linked to one.
    pub library_dir: Option<PathBuf>,
    /// Where a virtual environment keeps packages, relative: `lib/python3.12/site-packages`.
    pub site_packages: PathBuf,
    /// Where a virtual environment keeps headers, relative: `include/python3.12`.
    pub include: PathBuf,
    /// Whether this is a build without the global interpreter lock.
    pub free_threaded: bool,
    /// `sys.abiflags`.
    pub abi_flags: String,
    /// `cpython-312`: the infix of bytecode files.
    pub cache_tag: String,
    /// Suffix of extension modules, `cpython-312-x86_64-linux-gnu`.
    pub soabi: String,
    /// Bytecode magic number in hexadecimal.
    pub magic: String,
    /// Size of a pointer in bits.
    pub bits: u32,
    /// `linux-x86_64`.
    pub platform: String,
    /// `glibc 2.36`, `musl`, or empty.
    pub libc: String,
    /// The pip wheel that comes with the interpreter.
    pub ensurepip: Option<PathBuf>,
    /// Whether its own `venv` module is installed.
    pub venv: bool,
    /// The answers to environment markers.
    markers: BTreeMap<String, String>,
    /// Wheel tags that fit, best first, separated by spaces: a thousand small strings would
    /// cost more to read from the cache than all the rest.
    tags: String,
}

impl Interpreter {
    /// Asks the interpreter at `program`, or takes the kept answer.
    ///
    /// The result describes the *base* interpreter: the program of a virtual environment, a
    /// symlink or a launcher leads to the one behind it. `pip` is a directory or a wheel of pip,
    /// from which the wheel tags are taken (see [`super::tools::PipTool`]).
    pub fn query(program: &Path, asking: &Asking<'_>) -> Result<Self, InterpreterError> {
        let first = ask_cached(program, asking)?;
        let base = std::fs::canonicalize(&first.base_executable)
            .unwrap_or_else(|_| first.base_executable.clone());
        let asked = std::fs::canonicalize(program).unwrap_or_else(|_| program.to_owned());
        if base == asked {
            return first.into_interpreter(asked);
        }
        // A resolved name may find another standard library than the name that was resolved
        // (a relocated or wrapped build); then the name as it was is the right one.
        match ask_cached(&base, asking) {
            Ok(second) if second.same_python(&first) => second.into_interpreter(base),
            _ => {
                let base = first.base_executable.clone();
                first.into_interpreter(base)
            }
        }
    }

    /// The wheel tags that fit, best first.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.tags.split_whitespace()
    }

    /// The answers to environment markers, for evaluating requirements.
    ///
    /// `None` if the interpreter gives a version that is none.
    pub fn marker_environment(&self) -> Option<MarkerEnvironment> {
        let marker = |name: &str| self.markers.get(name).map_or("", String::as_str);
        let release = self.version.release().to_string();
        // A locally built Python says 3.13.0+, which is no version: the marker means the release.
        let version_or_release = |name| {
            let text = marker(name);
            if text.parse::<Version>().is_ok() {
                text
            } else {
                release.as_str()
            }
        };
        MarkerEnvironment::try_from(MarkerEnvironmentBuilder {
            implementation_name: marker("implementation_name"),
            implementation_version: version_or_release("implementation_version"),
            os_name: marker("os_name"),
            platform_machine: marker("platform_machine"),
            platform_python_implementation: marker("platform_python_implementation"),
            platform_release: marker("platform_release"),
            platform_system: marker("platform_system"),
            platform_version: marker("platform_version"),
            python_full_version: version_or_release("python_full_version"),
            python_version: marker("python_version"),
            sys_platform: marker("sys_platform"),
        })
        .ok()
    }

    /// `python3.12`, `python3.13t`, `pypy3.10`: the directory below `lib`.
    pub fn lib_name(&self) -> &str {
        self.site_packages
            .parent()
            .and_then(Path::file_name)
            .and_then(|name| name.to_str())
            .unwrap_or("python3")
    }

    /// A short text that is equal for interpreters that may share layers built from source:
    /// `cpython-312-x86_64-linux-gnu` with the platform and libc.
    pub fn build_tag(&self) -> String {
        format!(
            "{}-{}-{}-{}-{}",
            self.implementation,
            self.lib_name(),
            self.soabi,
            self.platform,
            self.libc.replace(' ', "-")
        )
    }

    /// A text that differs whenever a skeleton made for the interpreter could differ.
    pub fn identity(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for part in [
            self.executable.as_os_str().as_encoded_bytes(),
            self.base_prefix.as_os_str().as_encoded_bytes(),
            self.version.full.as_bytes(),
            self.build_tag().as_bytes(),
            self.magic.as_bytes(),
        ] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Directories that must be seen for the interpreter to run, each once.
    pub fn roots(&self) -> Vec<PathBuf> {
        let mut roots: Vec<PathBuf> = Vec::new();
        let candidates = [
            Some(self.base_prefix.clone()),
            Some(self.base_exec_prefix.clone()),
            self.executable.parent().map(Path::to_owned),
            Some(self.stdlib.clone()),
            Some(self.platstdlib.clone()),
            self.library_dir.clone(),
        ];
        for candidate in candidates.into_iter().flatten() {
            if !roots.iter().any(|root| candidate.starts_with(root)) {
                roots.push(candidate);
            }
        }
        roots
    }
}

/// A Python version as `sys.version_info` and `platform.python_version()` give it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PythonVersion {
    /// First number.
    pub major: u64,
    /// Second number.
    pub minor: u64,
    /// Third number.
    pub patch: u64,
    /// The whole version with pre-release parts: `3.12.1`, `3.15.0a2`.
    pub full: String,
}

impl PythonVersion {
    /// The three numbers.
    pub fn parts(&self) -> [u64; 3] {
        [self.major, self.minor, self.patch]
    }

    /// The version without pre-release parts.
    pub fn release(&self) -> Version {
        Version::new(self.parts())
    }
}

impl std::fmt::Display for PythonVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.full)
    }
}

/// Everything that asking an interpreter needs besides its name.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    /// The caller's variables and working directory.
    pub host: &'a HostEnv,
    /// Where answers are kept.
    pub cache: &'a dyn InterpreterCache,
    /// Where pip can be imported from: its wheel, which need not be unpacked for that.
    pub pip: &'a Path,
    /// How processes are started.
    pub supervision: &'a Supervision,
}

/// Keeps interpreters' answers. Keys and values are opaque; an entry may be forgotten any time.
pub trait InterpreterCache: Send + Sync {
    /// The value that was last put under `key`.
    fn get(&self, key: &str) -> Option<String>;
    /// Keeps `value` under `key`.
    fn put(&self, key: &str, value: &str);
}

/// A cache that keeps nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCache;

impl InterpreterCache for NoCache {
    fn get(&self, _key: &str) -> Option<String> {
        None
    }

    fn put(&self, _key: &str, _value: &str) {}
}

/// Why an interpreter cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InterpreterError {
    /// Nothing answers the request.
    #[error("no interpreter found for {request}; searched {searched}", searched = .searched.join(", "))]
    NotFound {
        /// What was asked for.
        request: String,
        /// The places that were looked at.
        searched: Vec<String>,
        /// What there is instead, as `version (path)`.
        available: Vec<String>,
        /// Programs that would have fitted but do not work, with their words.
        broken: Vec<String>,
    },
    /// The program runs and fails, or says something that is no answer.
    #[error("{path} does not work as a Python interpreter: {words}", path = .path.display())]
    Broken {
        /// The program.
        path: PathBuf,
        /// Its own words.
        words: String,
    },
    /// The program cannot be started.
    #[error("failed to run {path}", path = .path.display())]
    Run {
        /// The program.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The interpreter is older than what is supported.
    #[error("{path} is Python {version}, which is too old", path = .path.display())]
    TooOld {
        /// The program.
        path: PathBuf,
        /// Its version.
        version: String,
    },
    /// The path leads to nothing.
    #[error("there is no Python at {path}", path = .path.display())]
    Missing {
        /// The path as it was asked for, made absolute.
        path: PathBuf,
    },
    /// The operation was cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl InterpreterError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound {
                available, broken, ..
            } => {
                let mut hint = if available.is_empty() {
                    "no supported Python was found at all; install one (3.8 or newer)".to_owned()
                } else {
                    format!("there is: {}", available.join(", "))
                };
                for words in broken {
                    hint.push_str("; ");
                    hint.push_str(words);
                }
                Some(hint)
            }
            Self::TooOld { .. } => Some(format!(
                "Python {}.{} is the oldest that is supported",
                OLDEST.0, OLDEST.1
            )),
            Self::Missing { .. } => Some(
                "give the path of a python program, or of a directory with bin/python".to_owned(),
            ),
            Self::Broken { .. } | Self::Run { .. } | Self::Cancelled => None,
        }
    }
}

/// What `query.py` prints. Only the first three are there for a Python that is too old.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Answer {
    version_info: [u64; 3],
    base_executable: PathBuf,
    #[serde(default, flatten)]
    facts: Option<Facts>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Facts {
    implementation: String,
    version: String,
    base_prefix: PathBuf,
    base_exec_prefix: PathBuf,
    stdlib: PathBuf,
    platstdlib: PathBuf,
    library_dir: PathBuf,
    shared: bool,
    site_packages: PathBuf,
    include: PathBuf,
    free_threaded: bool,
    abi_flags: String,
    cache_tag: String,
    soabi: String,
    magic: String,
    bits: u32,
    platform: String,
    libc: String,
    ensurepip: Option<PathBuf>,
    venv: bool,
    markers: BTreeMap<String, String>,
    tags: String,
}

impl Answer {
    fn same_python(&self, other: &Self) -> bool {
        self.version_info == other.version_info
            && match (&self.facts, &other.facts) {
                (Some(one), Some(two)) => {
                    one.base_prefix == two.base_prefix && one.stdlib == two.stdlib
                }
                (None, None) => true,
                _ => false,
            }
    }

    fn into_interpreter(self, executable: PathBuf) -> Result<Interpreter, InterpreterError> {
        let [major, minor, patch] = self.version_info;
        let Some(facts) = self.facts.filter(|_| (major, minor) >= OLDEST) else {
            return Err(InterpreterError::TooOld {
                path: executable,
                version: format!("{major}.{minor}.{patch}"),
            });
        };
        Ok(Interpreter {
            executable,
            implementation: facts.implementation,
            version: PythonVersion {
                major,
                minor,
                patch,
                full: facts.version,
            },
            base_prefix: facts.base_prefix,
            base_exec_prefix: facts.base_exec_prefix,
            stdlib: facts.stdlib,
            platstdlib: facts.platstdlib,
            library_dir: (facts.shared && facts.library_dir.is_absolute())
                .then_some(facts.library_dir),
            site_packages: facts.site_packages,
            include: facts.include,
            free_threaded: facts.free_threaded,
            abi_flags: facts.abi_flags,
            cache_tag: facts.cache_tag,
            soabi: facts.soabi,
            magic: facts.magic,
            bits: facts.bits,
            platform: facts.platform,
            libc: facts.libc,
            ensurepip: facts.ensurepip,
            venv: facts.venv,
            markers: facts.markers,
            tags: facts.tags,
        })
    }
}

fn ask_cached(program: &Path, asking: &Asking<'_>) -> Result<Answer, InterpreterError> {
    let resolved = std::fs::canonicalize(program).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => InterpreterError::Missing {
            path: program.to_owned(),
        },
        _ => InterpreterError::Run {
            path: program.to_owned(),
            source,
        },
    })?;
    // A script may answer differently each time (a pyenv shim looks at the working directory).
    let key = (!is_script(&resolved))
        .then(|| cache_key(&resolved, program, asking.pip))
        .flatten();
    if let Some(key) = &key
        && let Some(kept) = asking.cache.get(key)
        && let Ok(kept) = serde_json::from_str::<Kept>(&kept)
        && Some(&kept.base_identity) == identity(&kept.answer.base_executable).as_ref()
    {
        return Ok(kept.answer);
    }
    let answer = ask(program, asking)?;
    if let Some(key) = key
        && let Some(base_identity) = identity(&answer.base_executable)
    {
        let kept = Kept {
            base_identity,
            answer: answer.clone(),
        };
        if let Ok(text) = serde_json::to_string(&kept) {
            asking.cache.put(&key, &text);
        }
    }
    Ok(answer)
}

/// An answer with the identity of the base interpreter, which may be replaced while the copy of
/// it in a virtual environment, which was asked, stays as it is.
#[derive(Serialize, Deserialize)]
struct Kept {
    base_identity: String,
    answer: Answer,
}

/// Everything that an answer depends on.
fn cache_key(resolved: &Path, program: &Path, pip: &Path) -> Option<String> {
    let kernel = rustix::system::uname();
    let mut hasher = blake3::Hasher::new();
    for part in [
        QUERY.as_bytes(),
        program.as_os_str().as_encoded_bytes(),
        identity(resolved)?.as_bytes(),
        pip.as_os_str().as_encoded_bytes(),
        kernel.release().to_bytes(),
        kernel.version().to_bytes(),
    ] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    Some(format!("interpreter:{}", hasher.finalize().to_hex()))
}

/// A text that changes when another file is at `path` or the file changes.
pub(crate) fn identity(path: &Path) -> Option<String> {
    let resolved = std::fs::canonicalize(path).ok()?;
    let facts = std::fs::metadata(&resolved).ok()?;
    Some(format!(
        "{}:{}:{}:{}:{}.{:09}",
        resolved.display(),
        facts.dev(),
        facts.ino(),
        facts.size(),
        facts.mtime(),
        facts.mtime_nsec()
    ))
}

/// Whether a file begins with `#!`.
pub(crate) fn is_script(path: &Path) -> bool {
    let mut start = [0; 2];
    std::fs::File::open(path)
        .and_then(|mut file| io::Read::read_exact(&mut file, &mut start))
        .is_ok_and(|()| &start == b"#!")
}

fn ask(program: &Path, asking: &Asking<'_>) -> Result<Answer, InterpreterError> {
    let broken = |words: &str| InterpreterError::Broken {
        path: program.to_owned(),
        words: last_words(words),
    };
    // A launcher may decide by the working directory; a deleted one cannot be entered.
    let cwd = if asking.host.cwd.is_dir() {
        asking.host.cwd.as_path()
    } else {
        Path::new("/")
    };
    let output = Tool::new(program, cwd)
        .args(["-I", "-S", "-c", QUERY])
        .arg(asking.pip)
        .envs(query_environment(asking.host))
        .deadline(DEADLINE)
        .run(asking.supervision)
        .map_err(|error| match error {
            ToolError::Start { source, .. } | ToolError::Watch { source, .. } => {
                InterpreterError::Run {
                    path: program.to_owned(),
                    source,
                }
            }
            ToolError::Deadline { seconds, words, .. } => {
                broken(&format!("no answer within {seconds} s\n{words}"))
            }
            ToolError::Cancelled => InterpreterError::Cancelled,
        })?;
    let stderr = output.stderr.text();
    if !output.status.success() {
        // Python 2 does not know the option that keeps the caller's variables out.
        return Err(if stderr.contains("nknown option: -I") {
            InterpreterError::TooOld {
                path: program.to_owned(),
                version: "2".to_owned(),
            }
        } else if stderr.trim().is_empty() {
            broken(&output.status.to_string())
        } else {
            broken(&stderr)
        });
    }
    output
        .stdout
        .text()
        .lines()
        .rev()
        .find_map(|line| serde_json::from_str(line).ok())
        .ok_or_else(|| broken(&format!("it gave no answer\n{stderr}")))
}

/// A launcher script needs to find its own program; nothing else of the host is of use.
fn query_environment(host: &HostEnv) -> BTreeMap<OsString, OsString> {
    const NAMES: [&str; 8] = [
        "PATH",
        "HOME",
        "TMPDIR",
        "LD_LIBRARY_PATH",
        "PYENV_ROOT",
        "PYENV_VERSION",
        "ASDF_DATA_DIR",
        "MISE_DATA_DIR",
    ];
    NAMES
        .iter()
        .filter_map(|name| host.var(name).map(|value| (name.into(), value.to_owned())))
        .chain([("LC_ALL".into(), "C.UTF-8".into())])
        .collect()
}

/// The last few lines: a traceback's cause is at its end.
fn last_words(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(4)..].join("; ")
}

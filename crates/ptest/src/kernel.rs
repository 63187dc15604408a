//! Environments as kernels of Jupyter: the specifications in a user's Jupyter directory that start one.
//!
//! Not for the running of it: that is a command as any other ([`command`]), which `ptest kernel start` runs. What Jupyter
//! tells a kernel (ports and a key) is in a file that Jupyter may keep where an environment sees nothing of the machine. So
//! it goes in as the command's standard input. Signals do not go in: Jupyter interrupts by a message.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::python::HostEnv;
use crate::settings::{Network, Profile, Settings};

/// What a kernel of ptest's says of itself in its specification, below `metadata`.
const MARK: &str = "ptest";
const FILE: &str = "kernel.json";

/// Starts a kernel on what Jupyter tells it, which is read to its end first. Whoever is outside cannot be seen to end, so
/// the kernel is not to look: its parent is process 1.
const START: &str = r#"import os, runpy, sys, tempfile
descriptor, name = tempfile.mkstemp(prefix="kernel-", suffix=".json")
with os.fdopen(descriptor, "wb") as file:
    file.write(sys.stdin.buffer.read())
os.environ["JPY_PARENT_PID"] = "1"
sys.argv[1:] = ["-f", name]
runpy.run_module("ipykernel_launcher", run_name="__main__", alter_sys=True)
"#;

/// The command that is a kernel, inside an environment: it reads Jupyter's connection file from its standard input.
pub fn command() -> Vec<OsString> {
    ["python", "-c", START].map(OsString::from).into()
}

/// A kernel that Jupyter can start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// What Jupyter calls it.
    pub name: String,
    /// What Jupyter shows.
    pub display_name: String,
    /// The directory of its specification.
    pub path: PathBuf,
    /// The id of the environment that it runs in.
    pub environment: String,
    /// The store that this is in.
    pub store: PathBuf,
}

/// The kernels of a user's Jupyter that ptest put there.
#[derive(Clone, Debug)]
pub struct Kernels {
    directory: PathBuf,
}

impl Kernels {
    /// Those of the user: in `JUPYTER_DATA_DIR`, else where Jupyter has its data on Linux.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if no variable says where that is.
    pub fn of_user(host: &HostEnv) -> Result<Self> {
        let data = host.var("JUPYTER_DATA_DIR").map(PathBuf::from);
        let shared = || {
            host.var("XDG_DATA_HOME")
                .map(|data| Path::new(data).join("jupyter"))
        };
        let home = || Some(host.home()?.join(".local/share/jupyter"));
        let data = data.or_else(shared).or_else(home).ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                "nothing says where Jupyter has its kernels",
            )
            .with_hint("set JUPYTER_DATA_DIR, or HOME")
        })?;
        Ok(Self {
            directory: host.absolute(&data).join("kernels"),
        })
    }

    /// Those that are there, by name.
    pub fn list(&self) -> Result<Vec<Kernel>> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|source| failed("read", &self.directory, source))?,
        };
        let mut kernels = Vec::new();
        for entry in entries {
            let path = entry
                .map_err(|source| failed("read", &self.directory, source))?
                .path();
            kernels.extend(read(&path)?);
        }
        kernels.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(kernels)
    }

    /// Takes one away.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if there is none of ptest's of that name.
    pub fn remove(&self, name: &str) -> Result<Kernel> {
        let kernel = self.list()?.into_iter().find(|kernel| kernel.name == name);
        let kernel = kernel.ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!("there is no kernel {name:?} that ptest installed"),
            )
            .with_hint("`ptest kernel list` shows those that there are")
        })?;
        let file = kernel.path.join(FILE);
        fs::remove_file(&file).map_err(|source| failed("delete", &file, source))?;
        // Somebody may have put a picture there, which is not ours.
        match fs::remove_dir(&kernel.path) {
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => {
                Err(failed("delete", &kernel.path, error))
            }
            _ => Ok(kernel),
        }
    }

    fn write(&self, kernel: &Kernel, specification: &Value) -> Result<()> {
        let path = &kernel.path;
        if path.join(FILE).exists() && read(path)?.is_none() {
            let message = format!(
                "there is a kernel {:?} already, which ptest did not install",
                kernel.name
            );
            return Err(Error::new(ErrorKind::AlreadyExists, message)
                .with_hint("give it another name with `--name`"));
        }
        fs::create_dir_all(path).map_err(|source| failed("create", path, source))?;
        let unfinished = path.join(format!(".{FILE}"));
        fs::write(&unfinished, format!("{specification:#}\n"))
            .and_then(|()| fs::rename(&unfinished, path.join(FILE)))
            .map_err(|source| failed("write", &path.join(FILE), source))
    }
}

impl Environment {
    /// Lets Jupyter start kernels in this environment. One that is called so and is ptest's is replaced.
    ///
    /// - `name` is letters, digits, `.`, `-` and `_`; without one it is the environment's.
    /// - The environment has ipykernel, and the machine's network, through which Jupyter talks with it.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) without ipykernel, [`Unsupported`](ErrorKind::Unsupported) without the network,
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if a kernel of somebody else's is called so.
    pub fn install_kernel(
        &self,
        kernels: &Kernels,
        name: Option<&str>,
        display_name: Option<&str>,
    ) -> Result<Kernel> {
        let record = self.record()?;
        let label = record.label();
        let name = name.unwrap_or(label);
        if !is_name(name) {
            let message =
                format!("{name:?} is no name of a kernel: letters, digits, `.`, `-` and `_`");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        if !has_the_network(&record.settings) {
            let message = format!(
                "Jupyter cannot reach a kernel in {label}, which has not the machine's network"
            );
            return Err(Error::new(ErrorKind::Unsupported, message)
                .with_hint("make an environment with `--network host`"));
        }
        if !self
            .packages()?
            .iter()
            .any(|package| package.name == "ipykernel")
        {
            return Err(
                Error::new(ErrorKind::NotFound, format!("{label} has no ipykernel"))
                    .with_hint(format!("ptest install {label} ipykernel")),
            );
        }
        let program = self.ptest.provisioner().program();
        let kernel = Kernel {
            name: name.to_owned(),
            display_name: display_name.map_or_else(|| format!("{label} (ptest)"), str::to_owned),
            path: kernels.directory.join(name),
            environment: self.id().to_string(),
            store: self.ptest.store().home().to_owned(),
        };
        let program = text(program.as_deref().unwrap_or(Path::new("ptest")))?;
        kernels.write(&kernel, &specification(&kernel, program)?)?;
        Ok(kernel)
    }
}

fn specification(kernel: &Kernel, program: &str) -> Result<Value> {
    let store = text(&kernel.store)?;
    Ok(json!({
        "argv": [
            program, "--ptest-home", store, "kernel", "start", kernel.environment, "{connection_file}",
        ],
        "display_name": kernel.display_name,
        "language": "python",
        "interrupt_mode": "message",
        "metadata": {
            "debugger": true,
            MARK: {"environment": kernel.environment, "store": store},
        },
    }))
}

/// The kernel whose specification is in a directory; `None` if it is not one of ptest's.
fn read(path: &Path) -> Result<Option<Kernel>> {
    let file = path.join(FILE);
    let bytes = match fs::read(&file) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        bytes => bytes.map_err(|source| failed("read", &file, source))?,
    };
    // What is no JSON is not ours.
    let said: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let word = |value: &Value| value.as_str().map(str::to_owned);
    let mark = &said["metadata"][MARK];
    let kernel = || {
        Some(Kernel {
            name: path.file_name()?.to_str()?.to_owned(),
            display_name: word(&said["display_name"])?,
            path: path.to_owned(),
            environment: word(&mark["environment"])?,
            store: word(&mark["store"])?.into(),
        })
    };
    Ok(kernel())
}

fn has_the_network(settings: &Settings) -> bool {
    match settings.network {
        Some(network) => network == Network::Host,
        None => settings.profile != Some(Profile::Strict) && settings.allow.is_empty(),
    }
}

fn is_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(is_allowed)
}

/// A path as JSON can have it.
fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| {
        let message = format!(
            "Jupyter cannot be told {}, which is not UTF-8",
            path.display()
        );
        Error::new(ErrorKind::Unsupported, message)
    })
}

fn failed(what: &str, path: &Path, source: io::Error) -> Error {
    Error::io(format!("{what} {}", path.display()), source)
}

//! `cargo xtask wheel`: the Python package as a wheel for every CPython since 3.9, and as one for the free-threaded CPython, on
//! every Linux since glibc 2.17.
//!
//! maturin builds the program and the extension module with zig as the linker, so that what they need of glibc is old on a
//! new machine. Then both are looked at: the tag of a wheel is a promise that maturin does not check for its scripts.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::process::{self, Result};
use crate::tools;
use crate::workspace::Workspace;

const MATURIN: &str = "maturin==1.16.0";
const ZIG: &str = "ziglang==0.17.1";
const AUDITWHEEL: &str = "auditwheel==6.8.2";

/// What the wheel runs on: every distribution that is still supported, and those that were for ten years before.
const PLATFORM: &str = "manylinux_2_17";
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The profile of what is handed out.
pub(crate) const PROFILE: &str = "wheel";

/// A package that people download again and again.
const MOST_BYTES: u64 = 15_000_000;

/// The pip that both the program and the module use.
const PIP: &str = "pip-26.3-py3-none-any.whl";

/// Which Pythons a wheel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Every one that has a lock: their stable interface is one.
    Locking,
    /// The one without: it has no stable interface before 3.15.
    FreeThreaded,
}

impl Kind {
    /// The first wheel of a directory is what people install from it, so the other has a directory of its own.
    fn directory(self) -> &'static str {
        match self {
            Self::Locking => "",
            Self::FreeThreaded => "free-threaded",
        }
    }

    /// What the names of all such wheels have.
    fn tag(self) -> &'static str {
        match self {
            Self::Locking => "-cp39-abi3-",
            Self::FreeThreaded => "-cp314-cp314t-",
        }
    }
}

/// What maturin calls the free-threaded Python, which need not be there: maturin knows what it is like.
const FREE_THREADED: &str = "python3.14t";

/// Build the Python package as wheels and look whether they keep what their names promise
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Without optimisation: quick to build, large, slow
    #[arg(long)]
    debug: bool,
}

/// Builds the wheels and says where they are.
///
/// # Errors
///
/// As [`build`].
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let profile = if arguments.debug { "dev" } else { PROFILE };
    let builder = Builder::prepare(workspace, profile)?;
    for kind in [Kind::Locking, Kind::FreeThreaded] {
        let wheel = builder.build(kind)?;
        println!("{} ({:.1} MB)", wheel.path.display(), wheel.megabytes());
    }
    Ok(())
}

/// A finished wheel.
pub(crate) struct Wheel {
    pub(crate) path: PathBuf,
    bytes: u64,
}

impl Wheel {
    fn megabytes(&self) -> f64 {
        self.bytes as f64 / 1e6
    }
}

/// Builds the wheel that most Pythons take, with this profile of cargo's.
///
/// # Errors
///
/// As [`Builder::prepare`] and [`Builder::build`].
pub(crate) fn build(workspace: &Workspace, profile: &str) -> Result<Wheel> {
    Builder::prepare(workspace, profile)?.build(Kind::Locking)
}

/// The tools, where they put things, and what is in every wheel.
pub(crate) struct Builder<'a> {
    workspace: &'a Workspace,
    profile: &'a str,
    python: PathBuf,
    maturin: PathBuf,
    auditwheel: PathBuf,
    variables: Vec<(&'static str, OsString)>,
}

impl<'a> Builder<'a> {
    /// Builds the program, and puts it where maturin takes it from.
    ///
    /// # Errors
    ///
    /// When the tools cannot be had, or the program does not build.
    pub(crate) fn prepare(workspace: &'a Workspace, profile: &'a str) -> Result<Self> {
        let python = tools::python()?;
        let zig = tools::python_tool(workspace, ZIG)?;
        let cache = workspace.tools().join("zig-cache");
        fs::create_dir_all(&cache)?;
        let variables = vec![
            ("CARGO_ZIGBUILD_PYTHON_PATH", python.clone().into()),
            ("CARGO_ZIGBUILD_CACHE_DIR", cache.join("zigbuild").into()),
            ("ZIG_GLOBAL_CACHE_DIR", cache.join("global").into()),
            ("ZIG_LOCAL_CACHE_DIR", cache.join("local").into()),
            ("PYTHONPATH", zig.into()),
        ];
        let builder = Self {
            workspace,
            profile,
            python,
            maturin: tools::python_tool(workspace, MATURIN)?.join("bin/maturin"),
            auditwheel: tools::python_tool(workspace, AUDITWHEEL)?,
            variables,
        };
        builder.gather()?;
        Ok(builder)
    }

    /// Builds the module, and the wheel around both.
    ///
    /// # Errors
    ///
    /// When something does not build, or the wheel is not for the Pythons that it is to be for, needs more of a machine than
    /// its name says or is too large to be handed out.
    pub(crate) fn build(&self, kind: Kind) -> Result<Wheel> {
        let interpreter = match kind {
            Kind::Locking => self.python.as_os_str(),
            Kind::FreeThreaded => FREE_THREADED.as_ref(),
        };
        let output = self.output().join(kind.directory());
        let link = format!("link-arg={}", unwinder()?.display());
        let of_rustc: [&OsStr; 3] = ["--".as_ref(), "-C".as_ref(), link.as_ref()];
        let path = self.maturin(&output, interpreter, &of_rustc)?;
        if !path.to_string_lossy().contains(kind.tag()) {
            return Err(format!("{} has no {} in its name", path.display(), kind.tag()).into());
        }
        self.audit(&path)?;
        let bytes = fs::metadata(&path)?.len();
        let wheel = Wheel { path, bytes };
        if self.profile == PROFILE && bytes > MOST_BYTES {
            return Err(format!("the wheel has {:.1} MB", wheel.megabytes()).into());
        }
        Ok(wheel)
    }

    /// Puts together what is in the wheel beside the package.
    fn gather(&self) -> Result<()> {
        let data = self.data();
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        let scripts = data.join("scripts");
        fs::create_dir_all(&scripts)?;
        self.program(&scripts.join("ptest"))?;
        // For both: each would carry its own.
        let shared = data.join("data/share/ptest");
        fs::create_dir_all(&shared)?;
        fs::copy(
            self.workspace.root.join("crates/ptest/assets").join(PIP),
            shared.join(PIP),
        )?;
        Ok(())
    }

    fn output(&self) -> PathBuf {
        self.workspace.root.join("target/wheel")
    }

    /// What pyproject.toml names: the files of the wheel that are not of the package.
    fn data(&self) -> PathBuf {
        self.output().join("data")
    }

    /// The program, as a script of the wheel: from one of its own, which maturin does look at.
    fn program(&self, script: &Path) -> Result<()> {
        let manifest = self.workspace.root.join("crates/ptest-cli/Cargo.toml");
        let output = self.output().join("program");
        let wheel = self.maturin(
            &output,
            self.python.as_os_str(),
            &[
                "--bindings".as_ref(),
                "bin".as_ref(),
                "--manifest-path".as_ref(),
                manifest.as_os_str(),
            ],
        )?;
        let unpacked = output.join("unpacked");
        if unpacked.exists() {
            fs::remove_dir_all(&unpacked)?;
        }
        process::run(
            Command::new(&self.python)
                .args(["-I", "-m", "zipfile", "-e"])
                .args([&wheel, &unpacked]),
        )?;
        let program = fs::read_dir(&unpacked)?
            .filter_map(std::result::Result::ok)
            .map(|entry| entry.path().join("scripts/ptest"))
            .find(|path| path.is_file())
            .ok_or_else(|| format!("{} holds no program", wheel.display()))?;
        fs::copy(program, script)?;
        fs::set_permissions(script, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// Runs maturin and gives the one wheel that comes of it.
    fn maturin(&self, output: &Path, interpreter: &OsStr, arguments: &[&OsStr]) -> Result<PathBuf> {
        remove_wheels(output)?;
        let mut command = Command::new(&self.maturin);
        command
            .args([
                "build",
                "--quiet",
                "--strip",
                "--no-default-features",
                "--zig",
                "--compatibility",
                PLATFORM,
            ])
            .args(["--target", TARGET, "--profile", self.profile, "--out"])
            .arg(output)
            .arg("--interpreter")
            .arg(interpreter)
            .args(arguments)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.workspace.root);
        process::run(&mut command)?;
        let mut wheels = wheels(output)?;
        match (wheels.pop(), wheels.is_empty()) {
            (Some(wheel), true) => Ok(wheel),
            _ => Err(format!("maturin made not one wheel in {}", output.display()).into()),
        }
    }

    /// Looks at what everything in the wheel, scripts too, needs of the system's libraries.
    fn audit(&self, wheel: &Path) -> Result<()> {
        let mut show = Command::new(&self.python);
        show.args(["-m", "auditwheel", "show", "--json"])
            .arg(wheel)
            .env("PYTHONPATH", &self.auditwheel);
        let audit: Audit = serde_json::from_str(&process::output(&mut show)?)?;
        audit.verdict()
    }
}

/// What auditwheel says of a wheel.
#[derive(Deserialize)]
struct Audit {
    /// The best tag that would be true of it.
    overall_tag: String,
    /// Versions of symbols that it needs, by library.
    versioned_symbols: BTreeMap<String, Vec<String>>,
}

impl Audit {
    fn verdict(&self) -> Result<()> {
        let minor = |tag: &str| -> Option<u32> {
            let rest = tag.strip_prefix("manylinux_2_")?;
            rest.split('_').next()?.parse().ok()
        };
        if !self.versioned_symbols.contains_key(UNWINDER) {
            return Err(format!(
                "the module has an unwinder of its own: it does not need {UNWINDER}"
            )
            .into());
        }
        if minor(&self.overall_tag).is_some_and(|needed| Some(needed) <= minor(PLATFORM)) {
            return Ok(());
        }
        let symbols: Vec<String> = (self.versioned_symbols.iter())
            .map(|(library, versions)| format!("{library}: {}", versions.join(" ")))
            .collect();
        Err(format!(
            "the wheel is for {}, not for {PLATFORM}; it needs {}",
            self.overall_tag,
            symbols.join("; ")
        )
        .into())
    }
}

/// The library by which the C library ends threads, and so those that want the lock of an interpreter that has ended. zig
/// would give the module another, which takes the state of this one for its own.
const UNWINDER: &str = "libgcc_s.so.1";

fn unwinder() -> Result<PathBuf> {
    let mut ask = Command::new("cc");
    ask.arg(format!("-print-file-name={UNWINDER}"));
    let path = PathBuf::from(process::output(&mut ask)?.trim());
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(format!("the C compiler knows no {UNWINDER}").into())
    }
}

fn wheels(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    Ok(entries
        .filter_map(std::result::Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .collect())
}

/// The name has the version and the platform in it, so an old one may lie beside a new one.
fn remove_wheels(directory: &Path) -> Result<()> {
    for wheel in wheels(directory)? {
        fs::remove_file(wheel)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict_of(tag: &str, libraries: &str) -> Result<()> {
        let json = format!(
            r#"{{"overall_tag": "{tag}", "versioned_symbols": {{{libraries}"libc.so.6": ["GLIBC_2.5", "GLIBC_2.34"]}}, "pure": false}}"#
        );
        serde_json::from_str::<Audit>(&json).unwrap().verdict()
    }

    fn verdict(tag: &str) -> Result<()> {
        verdict_of(tag, r#""libgcc_s.so.1": ["GCC_3.0"], "#)
    }

    #[test]
    fn a_wheel_that_needs_no_more_than_its_name_says_passes() {
        assert!(verdict("manylinux_2_17_x86_64").is_ok());
        assert!(verdict("manylinux_2_5_x86_64").is_ok());
    }

    #[test]
    fn a_wheel_that_needs_more_is_refused_with_what_it_needs() {
        let message = verdict("manylinux_2_34_x86_64").unwrap_err().to_string();
        assert!(message.contains("GLIBC_2.34"), "{message}");
        assert!(verdict("linux_x86_64").is_err());
    }

    #[test]
    fn a_module_that_unwinds_stacks_in_a_way_of_its_own_is_refused() {
        let message = verdict_of("manylinux_2_17_x86_64", "").unwrap_err();
        assert!(message.to_string().contains("unwinder"), "{message}");
    }
}

//! Other people's programs that the tests and the benchmark use, installed under `target/tools` at a fixed version.
//!
//! Nothing outside `target` is changed, except that bubblewrap, strace, what makes file systems and what runs a virtual machine
//! come from the system's packages when root asks for them. The installer is the pip that ptest carries, so a bare Python is
//! enough.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::{self, Result};
use crate::workspace::Workspace;

/// The uv that the tests and the benchmark run with.
pub(crate) const UV: &str = "uv==0.13.9";

/// The virtualenv that the benchmark compares with.
pub(crate) const VIRTUALENV: &str = "virtualenv==21.15.8";

/// The Pythons that the tests ask for beside the default one.
pub(crate) const PYTHONS: [&str; 3] = ["3.8", "3.12", "3.13"];

/// Installs a Python tool and gives the directory it lies in: programs in its `bin`, modules in itself.
///
/// An installation that is there already is used as it is, without a look at the network.
///
/// # Errors
///
/// When there is no Python or pip fails; the message holds pip's words.
pub(crate) fn python_tool(workspace: &Workspace, requirement: &str) -> Result<PathBuf> {
    let directory = workspace.tools().join(requirement.replace("==", "-"));
    if directory.is_dir() {
        return Ok(directory);
    }
    fs::create_dir_all(workspace.tools())?;
    // Installed beside and renamed: an interrupted installation is never taken for a whole one.
    let staging = tempfile::tempdir_in(workspace.tools())?;
    let staged = staging.path().join("tool");
    let mut command = Command::new(python()?);
    command.arg("-I").arg(pip(workspace)?).args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--target",
    ]);
    command.arg(&staged).arg("--").arg(requirement);
    for variable in [
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_USER",
        "PIP_REQUIRE_VIRTUALENV",
    ] {
        command.env_remove(variable);
    }
    process::output(&mut command)?;
    fs::rename(&staged, &directory)?;
    Ok(directory)
}

/// The uv program: the one that `PTEST_UV` names, else one installed under `target/tools`.
///
/// # Errors
///
/// As [`python_tool`].
pub(crate) fn uv(workspace: &Workspace) -> Result<PathBuf> {
    match env::var_os("PTEST_UV").filter(|value| !value.is_empty()) {
        Some(uv) => Ok(PathBuf::from(uv)),
        None => Ok(python_tool(workspace, UV)?.join("bin/uv")),
    }
}

/// Directories of Pythons that the tests ask for and this machine lacks, installed by uv; none where that fails.
///
/// A test that misses its Python is skipped visibly, so a machine without access to uv's downloads is no error here.
pub(crate) fn missing_pythons(workspace: &Workspace, uv: &Path) -> Vec<PathBuf> {
    PYTHONS
        .into_iter()
        .filter(|version| here(version).is_none())
        .filter_map(|version| installed(workspace, uv, version))
        .filter_map(|python| python.parent().map(Path::to_owned))
        .collect()
}

/// A Python of this version: the machine's, else one that uv installs under `target/tools`; `None` where that fails.
pub(crate) fn python_of(workspace: &Workspace, uv: &Path, version: &str) -> Option<PathBuf> {
    here(version).or_else(|| installed(workspace, uv, version))
}

fn here(version: &str) -> Option<PathBuf> {
    ptest_testkit::requirement::python(version)
        .into_result()
        .ok()
}

fn installed(workspace: &Workspace, uv: &Path, version: &str) -> Option<PathBuf> {
    let store = workspace.tools().join("pythons");
    let mut command = Command::new(uv);
    command.args(["python", "install", "--no-bin", "--quiet", "--install-dir"]);
    command.arg(&store).arg(version);
    if let Err(error) = process::output(&mut command) {
        eprintln!("note: no Python {version} for the tests that ask for one: {error}");
        return None;
    }
    let mut find = Command::new(uv);
    find.env("UV_PYTHON_INSTALL_DIR", &store).args([
        "python",
        "find",
        "--managed-python",
        "--no-project",
        version,
    ]);
    process::output(&mut find).ok().map(PathBuf::from)
}

/// bubblewrap, installed from the system's packages when it is missing and root runs this; `None` where it cannot be had.
pub(crate) fn bubblewrap() -> Option<PathBuf> {
    system_program("bwrap", "bubblewrap")
}

/// What makes the file systems that tests mount, and what traces processes, installed likewise. A test that misses one is
/// skipped visibly.
pub(crate) fn system_programs() {
    for (program, package) in [
        ("mkfs.btrfs", "btrfs-progs"),
        ("mkfs.xfs", "xfsprogs"),
        ("strace", "strace"),
    ] {
        if system_program(program, package).is_none() {
            eprintln!("note: no {program} for the tests that use it");
        }
    }
}

/// A program of the system's packages.
pub(crate) fn system_program(program: &'static str, package: &str) -> Option<PathBuf> {
    let on_path = || {
        ptest_testkit::requirement::program(program)
            .into_result()
            .ok()
    };
    on_path().or_else(|| {
        install(&[package]).ok()?;
        on_path()
    })
}

/// Packages of the system's of which one brings this file.
///
/// # Errors
///
/// When it is not there and cannot be installed.
pub(crate) fn system_packages(file: &Path, packages: &[&str]) -> Result<()> {
    if file.exists() {
        return Ok(());
    }
    install(packages)
}

fn install(packages: &[&str]) -> Result<()> {
    ptest_testkit::requirement::root().into_result()?;
    let mut install = Command::new("apt-get");
    install
        .args(["install", "--yes", "--quiet", "--no-install-recommends"])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    process::run(&mut install)
}

/// The package that one without contents stands for, such as a kernel of a certain version.
///
/// # Errors
///
/// When the machine has no such packages.
pub(crate) fn dependency(package: &str) -> Result<String> {
    let mut depends = Command::new("apt-cache");
    let text = process::output(depends.args(["depends", package]))?;
    let name = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "));
    Ok(name
        .ok_or_else(|| format!("{package} depends on nothing"))?
        .to_owned())
}

/// Brings a package of the system's into a directory, where it is not installed, and gives its file.
///
/// # Errors
///
/// When the machine has no such packages or cannot get this one.
pub(crate) fn package(directory: &Path, package: &str) -> Result<PathBuf> {
    let mut download = Command::new("apt-get");
    download
        .args(["download", "--quiet", package])
        .current_dir(directory);
    process::output(&mut download)?;
    let prefix = format!("{package}_");
    fs::read_dir(directory)?
        .filter_map(std::result::Result::ok)
        .find(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| entry.path())
        .ok_or_else(|| format!("apt-get brought no {package}").into())
}

/// PATH with further directories at its end.
///
/// # Errors
///
/// When one of them holds a colon.
pub(crate) fn path_with(further: &[PathBuf]) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    Ok(env::join_paths(
        env::split_paths(&path).chain(further.iter().cloned()),
    )?)
}

/// PATH with a further directory before all others.
///
/// # Errors
///
/// When it holds a colon.
pub(crate) fn path_after(first: &Path) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let paths = env::split_paths(&path);
    Ok(env::join_paths(
        std::iter::once(first.to_owned()).chain(paths),
    )?)
}

/// The Python that runs pip: the first that works, since a pyenv shim may lead nowhere.
///
/// # Errors
///
/// When none works.
pub(crate) fn python() -> Result<PathBuf> {
    ["python3", "python"]
        .into_iter()
        .find_map(|name| {
            let mut command = Command::new(name);
            command.args([
                "-I",
                "-c",
                "import sys; assert sys.version_info >= (3, 9); print(sys._base_executable)",
            ]);
            process::output(&mut command).ok()
        })
        .map(PathBuf::from)
        .ok_or_else(|| "the tests need a Python 3.9 or newer on PATH".into())
}

/// The carried pip wheel, in the form in which a Python runs it.
fn pip(workspace: &Workspace) -> Result<PathBuf> {
    let assets = workspace.root.join("crates/ptest/assets");
    fs::read_dir(&assets)
        .map_err(|error| format!("{}: {error}", assets.display()))?
        .filter_map(std::result::Result::ok)
        .map(|entry| entry.path())
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("pip-") && name.ends_with(".whl")
        })
        .map(|wheel| wheel.join("pip"))
        .ok_or_else(|| format!("{} holds no pip wheel", assets.display()).into())
}

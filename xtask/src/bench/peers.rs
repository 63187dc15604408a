//! What people use today: venv, virtualenv and pip, uv in its three link modes, bubblewrap, `rm -rf`.
//!
//! Each gets its best case: caches warm, wheels at hand, no network. Only makes command lines; `works` puts them together.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::clock;
use super::sets::Set;
use crate::process::{self, Result};
use crate::tools;
use crate::workspace::Workspace;

/// How uv puts files from its cache into an environment.
pub(crate) const LINK_MODES: [&str; 3] = ["hardlink", "copy", "symlink"];

/// The peers, installed and warm.
pub(crate) struct Peers {
    python: PathBuf,
    uv: PathBuf,
    virtualenv: PathBuf,
    bubblewrap: Option<PathBuf>,
    scratch: PathBuf,
    serial: Cell<usize>,
}

impl Peers {
    /// Installs them and fills their caches below `scratch` with every distribution of `sets`.
    ///
    /// # Errors
    ///
    /// When something cannot be downloaded.
    pub(crate) fn prepare(
        workspace: &Workspace,
        scratch: &Path,
        python: &Path,
        sets: &[Set],
    ) -> Result<Self> {
        let peers = Self {
            python: python.to_owned(),
            uv: tools::uv(workspace)?,
            virtualenv: tools::python_tool(workspace, tools::VIRTUALENV)?,
            bubblewrap: tools::bubblewrap(),
            scratch: scratch.join("peers"),
            serial: Cell::new(0),
        };
        fs::create_dir_all(peers.wheels())?;
        for lock in sets.iter().filter_map(|set| set.lock.as_ref()) {
            let mut download = Command::new(python);
            download.args([
                "-I",
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--dest",
            ]);
            process::output(download.arg(peers.wheels()).arg("--requirement").arg(lock))?;
            let warm = peers.fresh();
            process::output(&mut peers.uv_venv(&warm))?;
            process::output(
                peers
                    .uv_pip_install(&warm, "copy")
                    .arg("--requirement")
                    .arg(lock),
            )?;
            fs::remove_dir_all(&warm)?;
        }
        Ok(peers)
    }

    /// The names and versions of all that is here.
    ///
    /// # Errors
    ///
    /// When one of them does not run.
    pub(crate) fn versions(&self) -> Result<Vec<String>> {
        let mut commands = vec![
            self.bare_python(&["--version"]),
            self.bare_uv(&["--version"]),
            self.virtualenv(&["--version"]),
        ];
        commands.push(self.bare_python(&["-m", "pip", "--version"]));
        if let Some(bubblewrap) = &self.bubblewrap {
            let mut command = Command::new(bubblewrap);
            command.arg("--version");
            commands.push(command);
        }
        commands
            .iter_mut()
            .map(|command| {
                let words = process::output(command)?;
                // Where it lies says nothing on another machine.
                let words = words.split_whitespace().take_while(|word| *word != "from");
                Ok(words.collect::<Vec<_>>().join(" "))
            })
            .collect()
    }

    /// A flat environment in which everything is compiled.
    pub(crate) fn compiled_environment(&self, set: &Set) -> Result<PathBuf> {
        let path = self.environment("copy", set)?;
        let mut compile = self.bare_python(&["-m", "compileall", "-q"]);
        compile.arg(path.join("lib"));
        // Some distributions have templates that are no Python, which is a failure to it.
        drop(compile.output()?);
        Ok(path)
    }

    /// The time to pack a tree, and to unpack it again.
    pub(crate) fn time_tar(&self, tree: &Path) -> Result<(Duration, Duration)> {
        let (file, copy) = (self.fresh(), self.fresh());
        fs::create_dir_all(&copy)?;
        let tar = |words: &[&str], directory: &Path| {
            let mut command = Command::new("tar");
            command.args(words).arg(&file).arg("-C").arg(directory);
            command
        };
        let mut pack = tar(&["--zstd", "-cf"], tree);
        pack.arg(".");
        let packed = clock::time(&mut [pack])?;
        let unpacked = clock::time(&mut [tar(&["--zstd", "-xf"], &copy)])?;
        fs::remove_file(&file)?;
        fs::remove_dir_all(&copy)?;
        Ok((packed, unpacked))
    }

    /// The time to copy a tree, which goes with its copy afterwards.
    pub(crate) fn time_copy(&self, tree: &Path) -> Result<Duration> {
        let copy = self.fresh();
        let time = clock::time(&mut [copying(tree, &copy)])?;
        fs::remove_dir_all(tree)?;
        fs::remove_dir_all(&copy)?;
        Ok(time)
    }

    /// The time to copy so many new files of that size, and to wait for the disk if `is_synced`.
    pub(crate) fn time_copy_of_files(
        &self,
        count: usize,
        size: usize,
        is_synced: bool,
    ) -> Result<Duration> {
        let (tree, copy) = (self.fresh(), self.fresh());
        fs::create_dir_all(&tree)?;
        let mut random = File::open("/dev/urandom")?;
        let mut contents = vec![0; size];
        for number in 0..count {
            random.read_exact(&mut contents)?;
            fs::write(tree.join(number.to_string()), &contents)?;
        }
        let mut commands = vec![copying(&tree, &copy)];
        if is_synced {
            let mut sync = Command::new("sync");
            sync.arg("--file-system").arg(&self.scratch);
            commands.push(sync);
        }
        let time = clock::time(&mut commands)?;
        fs::remove_dir_all(&tree)?;
        fs::remove_dir_all(&copy)?;
        Ok(time)
    }

    /// A path that nothing has used.
    pub(crate) fn fresh(&self) -> PathBuf {
        self.serial.set(self.serial.get() + 1);
        self.scratch
            .join(format!("environment-{}", self.serial.get()))
    }

    /// The time that a venv, or a virtualenv, takes to be made and filled by pip.
    pub(crate) fn create_with_pip(&self, virtualenv: bool, set: &Set) -> Result<Duration> {
        let path = self.fresh();
        let directory = path.as_os_str();
        let mut commands = vec![if virtualenv {
            let mut command = self.virtualenv(&["--quiet", "--no-download", "--python"]);
            command.arg(&self.python).arg(directory);
            command
        } else {
            let mut command = self.bare_python(&["-m", "venv"]);
            command.arg(directory);
            command
        }];
        if let Some(lock) = &set.lock {
            let mut install = Command::new(path.join("bin/python"));
            install.args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-index",
                "--disable-pip-version-check",
                "--find-links",
            ]);
            install.arg(self.wheels()).arg("--requirement").arg(lock);
            commands.push(install);
        }
        let time = clock::time(&mut commands)?;
        fs::remove_dir_all(&path)?;
        Ok(time)
    }

    /// The time that uv takes to make and fill an environment.
    pub(crate) fn create_with_uv(&self, link_mode: &str, set: &Set) -> Result<Duration> {
        let path = self.fresh();
        let time = clock::time(&mut self.uv_commands(&path, link_mode, set))?;
        fs::remove_dir_all(&path)?;
        Ok(time)
    }

    /// An environment that uv made, for works that need one.
    ///
    /// # Errors
    ///
    /// When uv fails.
    pub(crate) fn environment(&self, link_mode: &str, set: &Set) -> Result<PathBuf> {
        let path = self.fresh();
        for mut command in self.uv_commands(&path, link_mode, set) {
            process::output(&mut command)?;
        }
        Ok(path)
    }

    /// The time to make an environment of these requirements, held to the lock's versions, and to run Python in it.
    pub(crate) fn first_result_of_combination(
        &self,
        link_mode: &str,
        requirements: &[&str],
        lock: &Path,
    ) -> Result<Duration> {
        let path = self.fresh();
        let mut install = self.uv_pip_install(&path, link_mode);
        install
            .arg("--offline")
            .arg("--constraint")
            .arg(lock)
            .args(requirements);
        let mut first = Command::new(path.join("bin/python"));
        first.args(["-c", "pass"]);
        let time = clock::time(&mut [self.uv_venv(&path), install, first])?;
        fs::remove_dir_all(&path)?;
        Ok(time)
    }

    /// The time that the resolver alone takes for such a combination.
    pub(crate) fn resolve(&self, requirements: &[&str], lock: &Path) -> Result<Duration> {
        let input = self.scratch.join("combination.in");
        fs::write(&input, requirements.join("\n"))?;
        let mut command = self.bare_uv(&[
            "pip",
            "compile",
            "--quiet",
            "--offline",
            "--format",
            "pylock.toml",
            "--python",
        ]);
        command
            .arg(&self.python)
            .arg("--constraint")
            .arg(lock)
            .arg(&input);
        clock::time(&mut [command])
    }

    /// `uv run` of a Python that does nothing, with the set as its requirements.
    pub(crate) fn uv_run(&self, set: &Set) -> Command {
        let mut command =
            self.bare_uv(&["run", "--quiet", "--offline", "--no-project", "--python"]);
        command.arg(&self.python);
        if let Some(lock) = &set.lock {
            command.arg("--with-requirements").arg(lock);
        }
        command.args(["--", "python", "-c", "pass"]);
        command
    }

    /// A command in bubblewrap with the namespaces of ptest's `standard` profile; `None` where there is no bubblewrap.
    pub(crate) fn bubblewrap(&self, words: &[&str]) -> Option<Command> {
        self.in_bubblewrap(&[], words)
    }

    /// The same with those of `strict`.
    pub(crate) fn bubblewrap_apart(&self, words: &[&str]) -> Option<Command> {
        self.in_bubblewrap(&["--unshare-net", "--unshare-cgroup-try"], words)
    }

    fn in_bubblewrap(&self, options: &[&str], words: &[&str]) -> Option<Command> {
        let mut command = Command::new(self.bubblewrap.as_ref()?);
        command.args([
            "--ro-bind",
            "/",
            "/",
            "--dev",
            "/dev",
            "--proc",
            "/proc",
            "--tmpfs",
            "/tmp",
            "--tmpfs",
            "/run",
        ]);
        command.args([
            "--unshare-user",
            "--unshare-pid",
            "--unshare-ipc",
            "--unshare-uts",
            "--die-with-parent",
        ]);
        command.args(options).arg("--");
        command.args(words);
        Some(command)
    }

    /// The Python itself.
    pub(crate) fn bare_python(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.python);
        command.args(words).current_dir(&self.scratch);
        command
    }

    /// uv with its own cache and nobody's configuration.
    pub(crate) fn bare_uv(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.uv);
        command.args(words).current_dir(&self.scratch);
        command
            .env("UV_CACHE_DIR", self.scratch.join("uv-cache"))
            .env("UV_NO_CONFIG", "1");
        command
    }

    /// The virtualenv program.
    pub(crate) fn virtualenv(&self, words: &[&str]) -> Command {
        let mut command = self.bare_python(&["-m", "virtualenv"]);
        command.args(words).env("PYTHONPATH", &self.virtualenv);
        command.env(
            "VIRTUALENV_OVERRIDE_APP_DATA",
            self.scratch.join("virtualenv-data"),
        );
        command
    }

    fn uv_commands(&self, path: &Path, link_mode: &str, set: &Set) -> Vec<Command> {
        let mut commands = vec![self.uv_venv(path)];
        if let Some(lock) = &set.lock {
            let mut install = self.uv_pip_install(path, link_mode);
            install.arg("--offline").arg("--requirement").arg(lock);
            commands.push(install);
        }
        commands
    }

    /// uv making an empty environment.
    pub(crate) fn uv_venv(&self, path: &Path) -> Command {
        let mut command = self.bare_uv(&["venv", "--quiet", "--no-project", "--python"]);
        command.arg(&self.python).arg(path);
        command
    }

    /// uv installing into an environment that is there.
    pub(crate) fn uv_pip_install(&self, path: &Path, link_mode: &str) -> Command {
        let mut command = self.bare_uv(&[
            "pip",
            "install",
            "--quiet",
            "--link-mode",
            link_mode,
            "--python",
        ]);
        command.arg(path.join("bin/python"));
        command
    }

    fn wheels(&self) -> PathBuf {
        self.scratch.join("wheels")
    }
}

/// `rm -rf` of a directory.
pub(crate) fn remove(path: &Path) -> Command {
    let mut command = Command::new("rm");
    command.arg("-rf").arg("--").arg(path).stdin(Stdio::null());
    command
}

fn copying(tree: &Path, copy: &Path) -> Command {
    let mut command = Command::new("cp");
    command.arg("-a").arg(tree).arg(copy);
    command
}

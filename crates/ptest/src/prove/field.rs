//! What attacks are aimed at: files, sockets and a process of the user's with a secret, another environment, the store.
//!
//! What is not ptest's is kept by a process of its own (`assets/field.py`), which takes it away when this one ends, however
//! it ends.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::attacks::{Attack, LEAK};
use super::subject::Subject;
use super::{Outcome, unexpected};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::ptest::Ptest;
use crate::run::Run;
use crate::settings::{Limits, Network, Profile};
use crate::variables::Variables;

const SOURCE: &str = include_str!("../../assets/field.py");
/// How long what was left behind is looked for.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) struct Field {
    keeper: Child,
    /// Its end is the keeper's end.
    input: Option<ChildStdin>,
    targets: Map<String, Value>,
    python: PathBuf,
    /// Another environment of this store, which holds the secret.
    other: Environment,
}

impl Field {
    pub(super) fn set_up(ptest: &Ptest) -> Result<Self> {
        let marker = format!("{:032x}", u128::from_ne_bytes(crate::random::bytes()?));
        let secret = format!("secret-{marker}");
        let none = Subject {
            profile: Profile::Standard,
            network: Network::Host,
        };
        // In a directory that nobody else has: it is not for what is attacked.
        let project = ptest.store().dir("prove").map_err(Error::from)?;
        let other = none.make_with(ptest, &project, Limits::default())?;
        let record = other.record()?;
        let python = record.python.executable.clone();
        let write = format!("printf %s {secret} > \"$VIRTUAL_ENV/secret\"");
        let written = other.run(Run {
            working_directory: Some("/".into()),
            ..Run::new(["sh", "-c", &write])
        })?;
        if written.ended?.status.shell_code() != 0 {
            return Err(unexpected("what is attacked could not be set up"));
        }

        let host = ptest.host();
        let home = host.var("HOME").unwrap_or_default();
        let own = format!("/run/user/{}", rustix::process::geteuid().as_raw());
        let runtime = match (
            rustix::process::geteuid().is_root(),
            Path::new(&own).is_dir(),
        ) {
            (true, _) => "/run",
            (false, true) => own.as_str(),
            (false, false) => "",
        };
        let mut keeper = Command::new(&python)
            .args(["-I", "-c", SOURCE, &marker, &secret])
            .args([home, runtime.as_ref()])
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("PTEST_PROVE_TOKEN", &secret)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| Error::io(format!("start {}", python.display()), source))?;
        let input = keeper.stdin.take();
        let mut line = String::new();
        if let Some(output) = keeper.stdout.take() {
            BufReader::new(output)
                .read_line(&mut line)
                .map_err(|source| Error::io("set up what is attacked", source))?;
        }
        let Ok(mut targets) = serde_json::from_str::<Map<String, Value>>(&line) else {
            return Err(unexpected("what is attacked could not be set up"));
        };
        let store = ptest.store();
        let directory = store.home().join("envs").join(other.id().as_str());
        let ours = [
            ("environment", directory.join("upper-0/secret")),
            ("init_socket", directory.join("socket")),
            ("layers", store.home().join("layers")),
        ];
        for (name, path) in ours {
            targets.insert(name.to_owned(), path.to_string_lossy().into());
        }
        Ok(Self {
            keeper,
            input,
            targets,
            python,
            other,
        })
    }

    /// The interpreter of the host.
    pub(super) fn python(&self) -> &Path {
        &self.python
    }

    /// The project that environments under attack may write.
    pub(super) fn project(&self) -> &Path {
        Path::new(self.text("project"))
    }

    /// What tells an attack where everything is.
    pub(super) fn variables(&self, outside: bool) -> Result<Variables> {
        let mut targets = self.targets.clone();
        if outside {
            targets.insert("prefix".to_owned(), self.text("place").into());
        }
        let text = crate::json::text(&targets)?;
        Ok([("PTEST_PROVE".into(), text.into())].into())
    }

    /// A variable of the caller that nobody asked to be passed on.
    pub(super) fn secret_variable(&self) -> Variables {
        [("PTEST_PROVE_TOKEN".into(), self.text("secret").into())].into()
    }

    /// Leaves a descriptor of the secret open in this process for every program that it starts, as careless libraries do,
    /// for as long as the result lives; only for the attack that looks for it.
    pub(super) fn lend(&self, attack: &Attack) -> Result<Option<OwnedFd>> {
        if attack.name != LEAK {
            return Ok(None);
        }
        let path = self.text("temporary_file");
        let file = File::open(path).map_err(|source| Error::io(format!("open {path}"), source))?;
        rustix::io::fcntl_setfd(file.as_fd(), rustix::io::FdFlags::empty())
            .map_err(|errno| Error::io("lend a descriptor", errno.into()))?;
        Ok(Some(file.into()))
    }

    /// Whether a file that an attack says it has written is there for others too: inside there may be one of that name. It
    /// is taken away.
    pub(super) fn judge(&self, attack: &Attack, outcome: Outcome) -> Outcome {
        let Some(target) = attack.writes_beside else {
            return outcome;
        };
        let written = format!("{}.written", self.text(target));
        if std::fs::remove_file(written).is_err() && outcome.succeeded {
            return super::failed("nobody else sees what it has written".to_owned());
        }
        outcome
    }

    /// Whether a process that was to stay behind is there. It is ended.
    pub(super) fn left_behind(&self) -> Result<Outcome> {
        let marker = self.text("left_marker");
        let begun = Instant::now();
        // It may still be on its way.
        loop {
            let found = find(marker)?;
            if let Some(pid) = found {
                if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                    let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
                return Ok(Outcome {
                    succeeded: true,
                    detail: format!("process {pid} stayed"),
                });
            }
            if begun.elapsed() > PATIENCE {
                return Ok(super::failed("nothing stayed".to_owned()));
            }
            std::thread::yield_now();
        }
    }

    /// Takes everything away.
    pub(super) fn take_away(mut self) -> Result<()> {
        drop(self.input.take());
        self.keeper
            .wait()
            .map_err(|source| Error::io("take away what was attacked", source))?;
        self.other.remove()
    }

    fn text(&self, name: &str) -> &str {
        self.targets
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

/// A process whose arguments mention the marker.
fn find(marker: &str) -> Result<Option<i32>> {
    let failed = |source| Error::io("read /proc", source);
    for entry in std::fs::read_dir("/proc").map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&arguments).contains(marker) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

//! uv as an installer.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::command::{Supervision, Tool, ToolOutput};
use super::environment::tool_environment;
use super::host::HostEnv;
use super::installer::{
    BuildRequest, Context, FailureKind, Installer, InstallerError, Resolution, ResolveRequest,
    Step, names_of_copies, presentable, stopped,
};
use super::interpreter::{InterpreterCache, identity, is_script};
use super::pylock::{self, Choice, LockError};
use super::resolve;
use super::stage::Stage;

const NAME: &str = "uv";
/// The oldest uv that writes `pylock.toml`.
const OLDEST: (u64, u64, u64) = (0, 7, 0);
const LOCK: &str = "pylock.toml";

/// A uv program that works and is new enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uv {
    /// The program.
    pub program: PathBuf,
    version: String,
}

impl Uv {
    /// Finds uv: as `PTEST_UV` says, else in `beside` (the directory of the ptest program), else
    /// on the search path. `None` if there is none that works and is new enough; ask
    /// [`Uv::at`] for the reason. One that `cache` knows is not run.
    pub fn find(
        host: &HostEnv,
        beside: Option<&Path>,
        supervision: &Supervision,
        cache: &dyn InterpreterCache,
    ) -> Option<Self> {
        if let Some(program) = host.var("PTEST_UV") {
            // Also the way to say that uv is not to be used: `PTEST_UV=none`.
            return Self::known_at(&host.absolute(program.as_ref()), host, supervision, cache);
        }
        beside
            .map(Path::to_owned)
            .into_iter()
            .chain(host.search_path())
            .map(|directory| directory.join("uv"))
            .filter(|program| is_program(program))
            .find_map(|program| Self::known_at(&program, host, supervision, cache))
    }

    /// The same as [`Uv::at`], without running the file that was found good before.
    fn known_at(
        program: &Path,
        host: &HostEnv,
        supervision: &Supervision,
        cache: &dyn InterpreterCache,
    ) -> Option<Self> {
        // A script may run another uv each time (a shim looks at the working directory).
        let key = (!is_script(program))
            .then(|| identity(program))
            .flatten()
            .map(|identity| format!("uv:{identity}"));
        if let Some(version) = key.as_deref().and_then(|key| cache.get(key)) {
            return Some(Self {
                program: program.to_owned(),
                version,
            });
        }
        let found = Self::at(program, host, supervision).ok()?;
        if let Some(key) = key {
            cache.put(&key, &found.version);
        }
        Some(found)
    }

    /// Takes the uv at `program`, if it works and is new enough.
    pub fn at(
        program: &Path,
        host: &HostEnv,
        supervision: &Supervision,
    ) -> Result<Self, InstallerError> {
        let answer = |reason| InstallerError::Answer {
            installer: NAME,
            reason,
        };
        let output = Tool::new(program, "/")
            .arg("--version")
            .envs(tool_environment(host, []))
            .deadline(Duration::from_secs(10))
            .run(supervision)
            .map_err(|error| stopped(error, NAME, Step::Resolve))?;
        let text = output.stdout.text();
        let version = text
            .strip_prefix("uv ")
            .and_then(|rest| rest.split_whitespace().next())
            .filter(|_| output.status.success())
            .ok_or_else(|| answer(format!("{} does not say its version", program.display())))?;
        let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        if (next(), next(), next()) < OLDEST {
            return Err(answer(format!("uv {version} is too old")));
        }
        Ok(Self {
            program: program.to_owned(),
            version: version.to_owned(),
        })
    }

    fn compile(
        &self,
        request: &ResolveRequest<'_>,
        stage: &Stage,
        offline: bool,
    ) -> Result<ToolOutput, InstallerError> {
        let variables: Vec<String> = request
            .requirements
            .files
            .iter()
            .flat_map(super::reqfile::RequirementsFile::variables)
            .collect();
        let (env, args) = request.context.index.uv_environment();
        self.tool(&request.context, &["pip", "compile"], &variables, offline)
            .args(["--format", LOCK, "--output-file", LOCK])
            .args(["--quiet", "--no-header", "--no-annotate"])
            .args(args)
            .envs(env)
            .cwd(&stage.directory)
            .arg("--")
            .args(&stage.files)
            .run(request.context.supervision)
            .map_err(|error| stopped(error, NAME, Step::Resolve))
    }

    fn build_wheel(&self, request: &BuildRequest<'_>, offline: bool) -> Result<(), InstallerError> {
        let context = &request.context;
        let (env, _) = context.index.uv_environment();
        let mut tool = self
            .tool(context, &["build"], &[], offline)
            // Not quiet: that would leave out what the build says.
            .args([
                "--no-progress",
                "--wheel",
                "--no-create-gitignore",
                "--out-dir",
            ])
            .arg(request.directory)
            .envs(env);
        if context.index.has_no_index() {
            tool = tool.arg("--no-index");
        }
        let output = tool
            .arg("--")
            .arg(request.copy)
            .run(context.supervision)
            .map_err(|error| stopped(error, NAME, Step::Build))?;
        if output.status.success() {
            return Ok(());
        }
        Err(failure(
            &output,
            Step::Build,
            Some(request.pin.name.clone()),
            &names_of_copies(&[request.pin]),
        ))
    }

    /// uv with what all its commands have in common.
    fn tool(
        &self,
        context: &Context<'_>,
        command: &[&str],
        variables: &[String],
        offline: bool,
    ) -> Tool {
        Tool::new(&self.program, context.work_dir)
            .args(command)
            .args(["--color", "never"])
            .args(["--no-python-downloads", "--python"])
            .arg(&context.interpreter.executable)
            .args(offline.then_some("--offline"))
            .envs(tool_environment(
                context.host,
                variables.iter().map(String::as_str),
            ))
            .deadline(context.deadline)
    }
}

impl Installer for Uv {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn resolve(&self, request: &ResolveRequest<'_>) -> Result<Resolution, InstallerError> {
        if request.requirements.is_empty() {
            return Ok(Resolution {
                exact: true,
                ..Resolution::default()
            });
        }
        let markers = resolve::markers(request, NAME)?;
        let stage = Stage::new(
            request.requirements,
            request.described,
            request.context.work_dir,
        )?;
        let mut output = None;
        if request.offline_first {
            output =
                Some(self.compile(request, &stage, true)?).filter(|output| output.status.success());
        }
        let output = match output {
            Some(output) => output,
            None => self.compile(request, &stage, false)?,
        };
        if !output.status.success() {
            return Err(failure(&output, Step::Resolve, None, &stage.names()));
        }
        let answer = |reason| InstallerError::Answer {
            installer: NAME,
            reason,
        };
        let text = fs::read_to_string(stage.directory.join(LOCK))
            .map_err(|error| answer(error.to_string()))?;
        let hashes = request.requirements.hashes(&markers);
        let pins = pylock::choose(
            &text,
            &Choice {
                interpreter: request.context.interpreter,
                markers: &markers,
                stage: &stage,
                hashes: &hashes,
            },
        )
        .map_err(|error| match error {
            LockError::Unusable(reason) => answer(reason),
            LockError::Hash {
                name,
                expected,
                found,
            } => InstallerError::Hash {
                name,
                expected,
                found,
            },
        })?;
        resolve::complete(pins, request, &markers, NAME)
    }

    fn build(&self, request: &BuildRequest<'_>) -> Result<(), InstallerError> {
        match self.build_wheel(request, request.offline_first) {
            Err(error) if request.offline_first && error.kind() == FailureKind::Network => {
                self.build_wheel(request, false)
            }
            built => built,
        }
    }
}

fn failure(
    output: &ToolOutput,
    step: Step,
    subject: Option<String>,
    names: &[(String, String)],
) -> InstallerError {
    let words = output.stderr.text();
    InstallerError::Failed {
        installer: NAME,
        step,
        subject,
        exit: output.status.code(),
        kind: kind(&words),
        words: presentable(
            words.trim().strip_prefix("error: ").unwrap_or(words.trim()),
            names,
        ),
    }
}

/// What uv's words say of the failure. The network is asked first: what cannot be reached is
/// also reported as not found.
fn kind(words: &str) -> FailureKind {
    let says = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    if says(&[
        "error sending request",
        "Failed to fetch",
        "network was disabled",
        "Network connectivity is disabled",
        "HTTP status",
        "401 Unauthorized",
        "403 Forbidden",
        "dns error",
        "Git operation failed",
    ]) {
        FailureKind::Network
    } else if says(&["Hash mismatch", "hash mismatch"]) {
        FailureKind::HashMismatch
    } else if says(&["build backend", "Failed to build", "build dependencies"]) {
        FailureKind::BuildFailed
    } else if says(&[
        "was not found in the package registry",
        "there is no version of",
        "there are no versions of",
        "has no wheels",
        "no versions of",
    ]) {
        FailureKind::NoSuchRequirement
    } else if says(&["No solution found", "conflicting"]) {
        FailureKind::Conflict
    } else {
        FailureKind::Other
    }
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::interpreter::NoCache;
    use super::*;

    #[test]
    fn failures_are_told_apart() {
        for (words, expected) in [
            (
                "No solution found when resolving dependencies\n cause: Because there is no version of requests==99.99",
                FailureKind::NoSuchRequirement,
            ),
            (
                "Because x was not found in the package registry and you require x",
                FailureKind::NoSuchRequirement,
            ),
            (
                "No solution found when resolving dependencies\n cause: Because requests==2.28.1 depends on urllib3>=1.21.1,<1.27 and",
                FailureKind::Conflict,
            ),
            (
                "Request failed after 3 retries\n cause: Failed to fetch: http://127.0.0.1:9/",
                FailureKind::Network,
            ),
            (
                "The build backend returned an error",
                FailureKind::BuildFailed,
            ),
            ("what is this", FailureKind::Other),
        ] {
            assert_eq!(kind(words), expected, "{words}");
        }
    }

    #[test]
    fn what_is_no_uv_is_refused() {
        let host = HostEnv::default();
        let supervision = Supervision::default();
        assert!(Uv::at(Path::new("/bin/true"), &host, &supervision).is_err());
        assert!(Uv::at(Path::new("/nonexistent"), &host, &supervision).is_err());
        let none = HostEnv::new([("PTEST_UV".into(), OsString::from("none"))], "/");
        assert_eq!(Uv::find(&none, None, &supervision, &NoCache), None);
    }
    /// Keeps one answer, for one file.
    struct Known(String);

    impl InterpreterCache for Known {
        fn get(&self, key: &str) -> Option<String> {
            (key == self.0).then(|| "0.9.9".to_owned())
        }

        fn put(&self, _key: &str, _value: &str) {}
    }

    #[test]
    fn a_known_uv_is_not_run_and_another_file_in_its_place_is() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("uv");
        fs::copy("/bin/true", &program).unwrap();
        let host = HostEnv::new([("PTEST_UV".into(), program.clone().into())], "/");
        let supervision = Supervision::default();
        let known = Known(format!("uv:{}", identity(&program).unwrap()));
        let found = Uv::find(&host, None, &supervision, &known).unwrap();
        assert_eq!(found.version, "0.9.9");
        fs::remove_file(&program).unwrap();
        fs::copy("/bin/cat", &program).unwrap();
        assert_eq!(Uv::find(&host, None, &supervision, &known), None);
    }
}

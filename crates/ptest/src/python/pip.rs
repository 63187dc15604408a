//! pip as an installer: always there, because ptest carries it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::Path;

use super::command::Tool;
use super::environment::tool_environment;
use super::installer::{
    Context, FailureKind, Installer, InstallerError, Resolution, ResolveRequest, Step, presentable,
    stopped,
};
use super::report;
use super::resolve;
use super::stage::Stage;
use super::tools::CARRIED_PIP;

pub(crate) const NAME: &str = "pip";
const REPORT: &str = "report.json";
/// pip's own log, in the directory that it runs in. Only there it says that an index did not
/// answer; what the user sees is that nothing was found.
const LOG: &str = "pip.log";
/// The largest part of the log that is looked at.
const LARGEST_LOG: u64 = 16 << 20;

/// The pip that fits the interpreter, run by the interpreter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pip;

impl Installer for Pip {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &str {
        CARRIED_PIP.split('-').nth(1).unwrap_or_default()
    }

    fn resolve(&self, request: &ResolveRequest<'_>) -> Result<Resolution, InstallerError> {
        if request.requirements.is_empty() {
            return Ok(Resolution {
                exact: true,
                ..Resolution::default()
            });
        }
        let context = &request.context;
        let markers = resolve::markers(request, NAME)?;
        let stage = Stage::new(request.requirements, context.work_dir)?;
        let variables: Vec<String> = request
            .requirements
            .files
            .iter()
            .flat_map(super::reqfile::RequirementsFile::variables)
            .collect();
        let mut tool = command(context, variables.iter().map(String::as_str))?.args([
            "install",
            "--dry-run",
            "--ignore-installed",
            "--report",
            REPORT,
        ]);
        tool.cwd.clone_from(&stage.directory);
        for file in &stage.files {
            tool = tool.arg("-r").arg(file);
        }
        let output = tool
            .run(context.supervision)
            .map_err(|error| stopped(error, NAME, Step::Resolve))?;
        if !output.status.success() {
            return Err(failure(
                &output.stdout.text(),
                &output.stderr.text(),
                &Failure {
                    step: Step::Resolve,
                    subject: None,
                    exit: output.status.code(),
                    directory: &stage.directory,
                    names: &stage.names(),
                },
            ));
        }
        let answer = |reason| InstallerError::Answer {
            installer: NAME,
            reason,
        };
        let text = fs::read_to_string(stage.directory.join(REPORT))
            .map_err(|error| answer(error.to_string()))?;
        let pins = report::read(&text, &stage).map_err(answer)?;
        resolve::complete(pins, request, &markers, NAME)
    }
}

/// pip with everything but its arguments, in the working directory.
///
/// Run with `-I -S`: neither the caller's variables nor what is installed beside the interpreter
/// takes part.
pub(crate) fn command<'a>(
    context: &Context<'_>,
    variables: impl IntoIterator<Item = &'a str>,
) -> Result<Tool, InstallerError> {
    let directory = context.pip.for_interpreter(context.interpreter)?;
    let mut env: BTreeMap<OsString, OsString> = tool_environment(context.host, variables);
    // Only the two newest pips find the system's certificates by themselves.
    if let (None, Some(file)) = (
        context.host.var("PIP_CERT"),
        context.host.var("SSL_CERT_FILE"),
    ) {
        env.insert("PIP_CERT".into(), file.to_owned());
    }
    Ok(Tool::new(&context.interpreter.executable, context.work_dir)
        .args(["-I", "-S"])
        .arg(directory.join("pip"))
        .args(["--log", LOG])
        .envs(env)
        .envs(context.index.pip_environment())
        .deadline(context.deadline))
}

/// What is known of a failed run besides its output.
pub(crate) struct Failure<'a> {
    pub(crate) step: Step,
    pub(crate) subject: Option<String>,
    pub(crate) exit: Option<i32>,
    /// The directory that it ran in.
    pub(crate) directory: &'a Path,
    pub(crate) names: &'a [(String, String)],
}

/// Makes an error of a failed run's output.
pub(crate) fn failure(stdout: &str, stderr: &str, failure: &Failure<'_>) -> InstallerError {
    let mut words = stderr.trim().to_owned();
    // What excludes what is said on the other stream.
    if let Some(start) = stdout.find("The conflict is caused by:") {
        let cause = &stdout[start..];
        let end = cause.find("\n\nTo fix this").unwrap_or(cause.len());
        words = format!("{}\n{words}", cause[..end].trim());
    }
    for line in unanswered(failure.directory) {
        words.push('\n');
        words.push_str(&line);
    }
    if words.is_empty() {
        stdout.trim().clone_into(&mut words);
    }
    InstallerError::Failed {
        installer: NAME,
        step: failure.step,
        subject: failure.subject.clone(),
        exit: failure.exit,
        kind: kind(&words),
        words: presentable(
            words.strip_prefix("ERROR: ").unwrap_or(&words),
            failure.names,
        ),
    }
}

/// What the log says of indexes that did not answer, each once. That an index does not know a
/// name (404) is an answer.
fn unanswered(directory: &Path) -> Vec<String> {
    let mut log = Vec::new();
    let read = fs::File::open(directory.join(LOG))
        .and_then(|file| file.take(LARGEST_LOG).read_to_end(&mut log));
    let mut lines: Vec<String> = Vec::new();
    if read.is_ok() {
        for line in String::from_utf8_lossy(&log).lines() {
            if let Some(start) = line.find("Could not fetch URL")
                && !line.contains("404")
                && !lines.iter().any(|known| known == &line[start..])
            {
                lines.push(line[start..].to_owned());
            }
        }
    }
    lines
}

/// What pip's words say of the failure. The network is asked first: what cannot be reached is
/// also reported as not found.
fn kind(words: &str) -> FailureKind {
    let says = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    if says(&[
        "connection broken by",
        "Could not fetch URL",
        "HTTP error",
        "Client Error",
        "Server Error",
        "Name or service not known",
        "Temporary failure in name resolution",
        "Failed to establish a new connection",
        "git clone",
    ]) {
        FailureKind::Network
    } else if says(&["DO NOT MATCH THE HASHES", "require-hashes"]) {
        FailureKind::HashMismatch
    } else if says(&["ResolutionImpossible", "conflicting dependencies"]) {
        FailureKind::Conflict
    } else if says(&[
        "subprocess-exited-with-error",
        "metadata-generation-failed",
        "Failed building wheel",
        "Failed to build",
        "BackendUnavailable",
    ]) {
        FailureKind::BuildFailed
    } else if says(&["No matching distribution found", "Could not find a version"]) {
        FailureKind::NoSuchRequirement
    } else {
        FailureKind::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_apart() {
        for (words, expected) in [
            (
                "ERROR: No matching distribution found for x",
                FailureKind::NoSuchRequirement,
            ),
            (
                "WARNING: Retrying after connection broken by 'NewConnectionError'\nERROR: No matching distribution found for x",
                FailureKind::Network,
            ),
            (
                "ERROR: ResolutionImpossible: for help visit",
                FailureKind::Conflict,
            ),
            (
                "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES",
                FailureKind::HashMismatch,
            ),
            (
                "error: subprocess-exited-with-error",
                FailureKind::BuildFailed,
            ),
            ("what is this", FailureKind::Other),
        ] {
            assert_eq!(kind(words), expected, "{words}");
        }
    }
}

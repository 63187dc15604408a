//! pip as an installer: always there, because ptest carries it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::command::Tool;
use super::environment::tool_environment;
use super::installer::{
    BuildRequest, Context, FailureKind, Installer, InstallerError, Pinned, Resolution,
    ResolveRequest, Step, names_of_copies, presentable, stopped,
};
use super::name::file_url;
use super::report;
use super::resolve;
use super::stage::Stage;
use super::tools::CARRIED_PIP;

pub(crate) const NAME: &str = "pip";
const REPORT: &str = "report.json";
const PINS: &str = "pins.txt";
const LOG: &str = "pip.log";
/// Addresses without an answer that a message names.
const MOST_UNANSWERED: usize = 3;
/// As pip's log says that an address gave no answer.
const UNANSWERED: &str = "Could not fetch URL ";

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
        let stage = Stage::new(request.requirements, request.described, context.work_dir)?;
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
        let run = |tool: &Tool| {
            tool.run(context.supervision)
                .map_err(|error| stopped(error, NAME, Step::Resolve))
        };
        let mut output = run(&tool)?;
        let mut unreachable = String::new();
        if !output.status.success() && kind(&output.stderr.text()) == FailureKind::NoSuchRequirement
        {
            // pip says the same of a name that is nobody's and of an index that does not answer;
            // the difference is only in its log. It is not kept from the start because pip then
            // leaves out of its words what a failed build said.
            output = run(&tool.arg("--log").arg(LOG))?;
            unreachable = unanswered(&stage.directory.join(LOG));
        }
        if !output.status.success() {
            return Err(failure(
                &output.stdout.text(),
                &format!("{unreachable}{}", output.stderr.text()),
                Failure {
                    step: Step::Resolve,
                    subject: None,
                    exit: output.status.code(),
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

    fn build(&self, request: &BuildRequest<'_>) -> Result<(), InstallerError> {
        let line = format!("{} @ {}", request.pin.name, file_url(request.copy));
        let pins = [request.pin];
        wheels(
            &request.context,
            &line,
            request.directory,
            Step::Build,
            &pins,
        )
    }
}

/// Leaves a wheel in `directory` for each of `pins`, of which `lines` say where they are.
pub(crate) fn wheels(
    context: &Context<'_>,
    lines: &str,
    directory: &Path,
    step: Step,
    pins: &[&Pinned],
) -> Result<(), InstallerError> {
    fs::write(directory.join(PINS), lines).map_err(|source| InstallerError::Run {
        installer: NAME,
        source,
    })?;
    let mut tool =
        command(context, [])?.args(["wheel", "--no-deps", "--wheel-dir", ".", "-r", PINS]);
    directory.clone_into(&mut tool.cwd);
    let output = tool
        .run(context.supervision)
        .map_err(|error| stopped(error, NAME, step))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failure(
        &output.stdout.text(),
        &output.stderr.text(),
        Failure {
            step,
            subject: match pins {
                [only] => Some(only.name.clone()),
                _ => None,
            },
            exit: output.status.code(),
            names: &names_of_copies(pins),
        },
    ))
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
        .envs(env)
        .envs(context.index.pip_environment())
        .deadline(context.deadline))
}

/// What is known of a failed run besides its output.
pub(crate) struct Failure<'a> {
    pub(crate) step: Step,
    pub(crate) subject: Option<String>,
    pub(crate) exit: Option<i32>,
    pub(crate) names: &'a [(String, String)],
}

/// Makes an error of a failed run's output.
pub(crate) fn failure(stdout: &str, stderr: &str, failure: Failure<'_>) -> InstallerError {
    let mut words = stderr.trim().to_owned();
    // What excludes what is said on the other stream.
    if let Some(start) = stdout.find("The conflict is caused by:") {
        let cause = &stdout[start..];
        let end = cause.find("\n\nTo fix this").unwrap_or(cause.len());
        words = format!("{}\n{words}", cause[..end].trim());
    }
    if words.is_empty() {
        stdout.trim().clone_into(&mut words);
    }
    InstallerError::Failed {
        installer: NAME,
        step: failure.step,
        subject: failure.subject,
        exit: failure.exit,
        kind: kind(&words),
        words: presentable(
            words.strip_prefix("ERROR: ").unwrap_or(&words),
            failure.names,
        ),
    }
}

/// The lines of pip's log that say that an index did not answer, or refused. That it has no
/// such name is an answer.
fn unanswered(log: &Path) -> String {
    let Ok(file) = File::open(log) else {
        return String::new();
    };
    let mut lines: Vec<String> = Vec::new();
    for line in BufReader::new(file).lines().map_while(Result::ok) {
        let Some((_, said)) = line.split_once(UNANSWERED) else {
            continue;
        };
        let said = format!("{UNANSWERED}{}", said.trim_end_matches(" - skipping"));
        if !said.contains(": 404 Client Error") && !lines.contains(&said) {
            lines.push(said);
        }
        if lines.len() == MOST_UNANSWERED {
            break;
        }
    }
    lines.into_iter().map(|line| line + "\n").collect()
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

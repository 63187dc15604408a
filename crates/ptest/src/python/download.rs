//! Brings wheels whose hashes are known by plain requests, without starting pip.
//!
//! pip takes a second to start and to look at what it was asked for, which is longer than most
//! wheels take to come. So the interpreter's own HTTP client is tried first, with its proxies and
//! certificates. Nothing is decided here: whatever does not come, for whatever reason, is left to
//! pip, which knows credentials and says what is wrong.

use std::collections::BTreeSet;
use std::path::Path;

use tracing::debug;

use super::command::{Tool, ToolError};
use super::environment::tool_environment;
use super::installer::{Context, Pinned, Source};
use super::name::WheelName;
use super::redact::redact;

const PROGRAM: &str = include_str!("download.py");
const AGENT: &str = concat!("ptest/", env!("CARGO_PKG_VERSION"));

/// Whether this is something that a plain request can bring: a wheel at an index that gives its
/// hash.
pub(crate) fn is_plain(pin: &Pinned) -> bool {
    let Source::Wheel {
        url,
        file_name,
        sha256: Some(_),
    } = &pin.source
    else {
        return false;
    };
    let is_web = url.starts_with("https://") || url.starts_with("http://");
    // The name becomes one in the working directory, and a word of a line.
    let is_name = WheelName::parse(file_name).is_some()
        && Path::new(file_name).file_name() == Some(file_name.as_ref())
        && ![file_name, url]
            .iter()
            .any(|text| text.contains(char::is_whitespace));
    is_web && is_name
}

/// Leaves the wheels of those of `pins` in `directory` that come. Their hashes are right.
///
/// # Errors
///
/// When it was cancelled.
pub(crate) fn plainly(
    context: &Context<'_>,
    pins: &[&Pinned],
    directory: &Path,
) -> Result<(), ToolError> {
    let lines: BTreeSet<String> = pins
        .iter()
        .filter_map(|pin| match &pin.source {
            Source::Wheel {
                url,
                file_name,
                sha256: Some(sha256),
            } => Some(format!("{sha256} {file_name} {url}\n")),
            _ => None,
        })
        .collect();
    let input: String = lines.into_iter().collect();
    let output = Tool::new(&context.interpreter.executable, directory)
        .args(["-I", "-S", "-c", PROGRAM, AGENT])
        .envs(tool_environment(context.host, []))
        .envs(context.index.plain_environment(context.host))
        .input(input.into_bytes())
        .deadline(context.deadline)
        .run(context.supervision);
    match output {
        Err(ToolError::Cancelled) => Err(ToolError::Cancelled),
        Err(error) => {
            debug!(%error, "no plain downloads");
            Ok(())
        }
        Ok(output) => {
            let words = output.stderr.text();
            if !words.is_empty() {
                debug!(words = redact(&words), "left to pip");
            }
            Ok(())
        }
    }
}

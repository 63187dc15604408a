//! Calls one hook for one event, in a bounded time, and says how that ended.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use ptest_sandbox::Captured;

use super::{Action, CAUSE, Hook};
use crate::error::{Error, ErrorKind, Result};
use crate::events::Recorded;
use crate::http::Sender;
use crate::json;
use crate::operation;
use crate::ptest::Ptest;
use crate::python::HostEnv;
use crate::python::command::{Tool, ToolError};

/// How much of what a failed command said is kept.
const WORDS: usize = 500;

impl Ptest {
    /// Calls a hook. What it failed with is text: it is told in an event.
    pub(super) fn call_hook(&self, hook: &Hook, event: &Recorded) -> Result<(), String> {
        let message = json::text(event).map_err(|error| operation::with_causes(&error))?;
        let called = match &hook.action {
            Action::Command(words) => self.run_command(words, hook, event, message),
            Action::Url(url) => Sender::new(hook.timeout).post(url, &[], message),
        };
        called.map_err(|error| operation::with_causes(&error))
    }

    /// Runs the command beside the environments, as the user, with the event to read.
    fn run_command(
        &self,
        words: &[String],
        hook: &Hook,
        event: &Recorded,
        message: String,
    ) -> Result<()> {
        let (name, arguments) = words
            .split_first()
            .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "the hook has an empty command"))?;
        let program = program(self.host(), name)?;
        let tool = Tool::new(program, "/")
            .args(arguments)
            .envs(self.variables_for(event))
            .input(message.into_bytes())
            .deadline(hook.timeout);
        let failed = |message: String| Error::new(ErrorKind::Unexpected, message);
        match tool.run(self.provisioner().supervision()) {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(failed(with_words(
                format!("`{name}` failed ({})", output.status),
                &output.stderr,
            ))),
            Err(ToolError::Deadline { .. }) => Err(Error::new(
                ErrorKind::Timeout,
                format!(
                    "`{name}` did not end within {:?}, and was ended with all that it started",
                    hook.timeout
                ),
            )),
            Err(error) => Err(failed(format!("`{name}` cannot be run")).with_source(error)),
        }
    }

    /// The caller's variables, and what there is to say.
    fn variables_for(&self, event: &Recorded) -> BTreeMap<OsString, OsString> {
        let mut variables = self.host().env.clone();
        let mut set = |name: &str, value: OsString| variables.insert(name.into(), value);
        set("PTEST_HOME", self.store().home().into());
        set(CAUSE, event.sequence.to_string().into());
        set("PTEST_EVENT", event.event.word().into());
        set(
            "PTEST_ENVIRONMENT",
            event.label.clone().unwrap_or_default().into(),
        );
        variables
    }
}

/// The program of a name, looked up in `PATH` unless it is a path.
fn program(host: &HostEnv, name: &str) -> Result<PathBuf> {
    if name.contains('/') {
        return Ok(Path::new(name).to_owned());
    }
    let mut places = host.search_path().into_iter().map(|place| place.join(name));
    places.find(|place| place.is_file()).ok_or_else(|| {
        Error::new(
            ErrorKind::NotFound,
            format!("there is no program `{name}` in PATH"),
        )
    })
}

/// The message, and the end of what the command wrote to its standard error.
fn with_words(message: String, said: &Captured) -> String {
    let text = said.text();
    let text = text.trim();
    let from = text.len().saturating_sub(WORDS);
    let from = (from..=text.len()).find(|index| text.is_char_boundary(*index));
    match from.map(|from| &text[from..]) {
        None | Some("") => message,
        Some(words) => format!("{message}: {words}"),
    }
}

//! Running other programs: one error form for all tasks. Not for measuring: see `bench::clock`.

use std::error::Error;
use std::process::{Command, Stdio};

/// What a task gives; the message of an error is for the person at the terminal.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Runs a command with this terminal's streams.
///
/// # Errors
///
/// When it cannot be started or does not succeed; the message names its command line.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    let status = command
        .status()
        .map_err(|error| format!("{line}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{line}: {status}").into())
    }
}

/// Runs a command and gives its standard output, without the last newlines.
///
/// # Errors
///
/// As [`captured`].
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let mut text = captured(command)?;
    text.truncate(text.trim_end_matches('\n').len());
    Ok(text)
}

/// Runs a command and gives its standard output as it is.
///
/// # Errors
///
/// As [`run`]; the message ends with what the command said on standard error.
pub(crate) fn captured(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{line}: {error}"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{line}: {}\n{}", output.status, words.trim_end()).into());
    }
    String::from_utf8(output.stdout).map_err(|error| format!("{line}: {error}").into())
}

/// The command line as a person would type it.
pub(crate) fn line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| {
            let word = word.to_string_lossy();
            if word.is_empty() || word.contains(char::is_whitespace) {
                format!("'{word}'")
            } else {
                word.into_owned()
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_is_named_with_its_words() {
        let error = output(Command::new("sh").args(["-c", "echo no >&2; exit 3"]))
            .unwrap_err()
            .to_string();
        assert_eq!(error, "sh -c 'echo no >&2; exit 3': exit status: 3\nno");
    }

    #[test]
    fn output_ends_without_its_last_newline() {
        assert_eq!(
            output(Command::new("printf").arg("a\nb\n")).unwrap(),
            "a\nb"
        );
    }
}

//! Runs in words for people.

use std::{ffi::OsString, os::unix::ffi::OsStrExt};

use ptest::{
    config::{format_bytes, format_duration},
    engine::{Exit, ExitStatus},
    runs::{Outcome, RunRecord},
};

/// How many characters of a command are shown where it shares a line.
const SHOWN: usize = 60;

/// What came of a run, in a word or two.
pub(crate) fn outcome(run: &RunRecord) -> String {
    match &run.outcome {
        None => "active".to_owned(),
        Some(Outcome::Ended(exit)) => ending(exit),
        Some(Outcome::NotStarted { .. }) => "not started".to_owned(),
        Some(Outcome::Lost { .. }) => "lost".to_owned(),
    }
}

fn ending(exit: &Exit) -> String {
    if exit.timed_out {
        return "timed out".to_owned();
    }
    if let Some(struck) = exit.struck.filter(|struck| struck.ended) {
        return format!("limit {}", struck.limit);
    }
    match exit.status {
        ExitStatus::Code(code) => format!("exit {code}"),
        ExitStatus::Signal(signal) => format!("signal {signal}"),
    }
}

/// What a run has used: how long it took, processor time, and the most memory. Empty where that is not known.
pub(crate) fn usage(run: &RunRecord) -> [String; 3] {
    let Some(exit) = run.outcome.as_ref().and_then(Outcome::exit) else {
        return Default::default();
    };
    let usage = &exit.usage;
    [
        format_duration(usage.elapsed),
        format_duration(usage.user + usage.system),
        format_bytes(usage.memory_peak),
    ]
}

/// A command as one would type it, on one line and not too long.
pub(crate) fn command(arguments: &[OsString]) -> String {
    let words: Vec<String> = arguments.iter().map(word).collect();
    let line = words.join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// A word of a command. What is not UTF-8 is replaced, and what a terminal would obey is spelt out.
fn word(argument: &OsString) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./=:,+@%^~".contains(byte);
    let text = argument.to_string_lossy();
    if !argument.is_empty() && argument.as_bytes().iter().all(is_plain) {
        return text.into_owned();
    }
    let mut quoted = String::from("'");
    for character in text.chars() {
        if character.is_control() {
            quoted.extend(character.escape_default());
        } else {
            quoted.push(character);
        }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_one_line_that_obeys_no_terminal() {
        let words = ["python", "-c", "print('x')\n\u{1b}[2J", "", "é"].map(OsString::from);
        assert_eq!(command(&words), r"python -c 'print('x')\n\u{1b}[2J' '' 'é'");
        let long = command(&["é".repeat(100).into()]);
        assert_eq!(long.chars().count(), SHOWN + 1);
        assert!(long.ends_with('…'));
    }
}

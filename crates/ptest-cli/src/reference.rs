//! The reference in the repository that is made from the program itself: the command line, the settings, the JSON
//! schemas of reports and of configuration files.
//!
//! A test compares what is checked in with what is made here; `cargo xtask docs` writes it.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command, CommandFactory};
use ptest::config::{Config, KEYS, file_schema, pyproject_schema};

use ratatui::{Terminal, backend::TestBackend};

use crate::{cli::Cli, commands::stats, exit_code, screen, top};

/// A generated file of the repository.
#[derive(Clone, Debug)]
pub struct GeneratedFile {
    /// Its path from the root of the repository.
    pub path: String,
    /// What it must hold.
    pub contents: String,
}

/// Every generated file.
pub fn generated_files() -> Vec<GeneratedFile> {
    let file = |path: &str, contents| GeneratedFile {
        path: path.to_owned(),
        contents,
    };
    let mut files = vec![
        file("docs/reference/cli.md", command_line()),
        file("docs/reference/configuration.md", configuration()),
    ];
    for (name, contents) in pictures() {
        files.push(file(&format!("docs/pictures/{name}.svg"), contents));
    }
    let settings = [
        ("ptest.toml", file_schema()),
        ("pyproject.toml", pyproject_schema()),
        ("ptest.apply-file", ptest::apply::schema()),
    ];
    for (name, schema) in ptest_report::schemas().into_iter().chain(settings) {
        let text = serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n";
        files.push(file(&format!("docs/reference/schemas/{name}.json"), text));
    }
    files
}

/// What the program draws, of a made-up moment.
fn pictures() -> [(&'static str, String); 2] {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(118, 38));
    let view = top::scene::view();
    let Ok(_drawn) = terminal.draw(|frame| top::draw(frame, &view));
    let top = screen::to_svg(
        terminal.backend().buffer(),
        "ptest top: environments with their processor time and memory over time, and the processes of one",
    );
    let drawn = stats::drawing("api-tests", &top::scene::stats(), 100);
    let stats = screen::to_svg(
        &drawn,
        "ptest stats: processor time, memory, processes, transfers and traffic of an environment over ten minutes",
    );
    [("top", top), ("stats", stats)]
}

fn command_line() -> String {
    let mut root = Cli::command();
    root.build();
    let mut text =
        "# Command line\n\nMade by `cargo xtask docs`; edit the program, not this file.\n"
            .to_owned();
    section(&mut text, &root);
    // Writing to a text cannot fail.
    let _ = write!(
        text,
        "\n## Exit codes\n\n| code | meaning |\n|---|---|\n\
         | the command's own | `run`, `exec` and `shell` end as the command does, `matrix` as the worst of its cells |\n\
         | {} | everything was done |\n\
         | {} | `verify` or `doctor` found something that is not in order, or `apply` could not do all of it |\n\
         | {} | the command line is wrong |\n\
         | {} | the command ran longer than its timeout |\n\
         | {} | ptest itself failed; what it began has been undone |\n\
         | {} | the command cannot be executed |\n\
         | {} | the command was not found |\n\
         | {}+N | signal N ended the command |\n",
        exit_code::SUCCESS,
        exit_code::FINDINGS,
        exit_code::USAGE,
        exit_code::TIMED_OUT,
        exit_code::FAILED,
        exit_code::NOT_EXECUTABLE,
        exit_code::NOT_FOUND,
        exit_code::SIGNAL_BASE,
    );
    text
}

fn section(text: &mut String, command: &Command) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let about = command
        .get_long_about()
        .or_else(|| command.get_about())
        .map(ToString::to_string)
        .unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    let _ = write!(text, "\n## `{name}`\n\n{about}\n\n```\n{usage}\n```\n");
    let is_root = command.get_name() == "ptest";
    let shown = command
        .get_arguments()
        // The global options are listed once, with the program itself.
        .filter(|argument| !argument.is_hide_set() && (is_root || !argument.is_global_set()))
        .filter(|argument| is_root || !["help", "version"].contains(&argument.get_id().as_str()))
        .map(row)
        .collect::<String>();
    if !shown.is_empty() {
        let _ = write!(text, "\n| argument | meaning |\n|---|---|\n{shown}");
    }
    for command in command.get_subcommands() {
        section(text, command);
    }
}

fn row(argument: &Arg) -> String {
    let mut names: Vec<String> = Vec::new();
    names.extend(argument.get_short().map(|short| format!("`-{short}`")));
    names.extend(argument.get_long().map(|long| format!("`--{long}`")));
    let values: Vec<String> = argument
        .get_value_names()
        .unwrap_or_default()
        .iter()
        .map(|name| {
            if argument.is_positional() {
                format!("`{name}`")
            } else {
                format!("`<{name}>`")
            }
        })
        .collect();
    let takes_value = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
    let mut left = names.join(", ");
    if takes_value && !values.is_empty() {
        left = if left.is_empty() {
            values.join(" ")
        } else {
            format!("{left} {}", values.join(" "))
        };
    }
    let help = argument
        .get_long_help()
        .or_else(|| argument.get_help())
        .map(ToString::to_string)
        .unwrap_or_default();
    let mut sentences = vec![
        help.split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .replace('|', "\\|"),
    ];
    let words: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if takes_value && !words.is_empty() {
        sentences.push(format!("One of {}", words.join(", ")));
    }
    // Every positional list can; to say so of `COMMAND...` would be odd.
    if matches!(argument.get_action(), ArgAction::Append) && !argument.is_positional() {
        sentences.push("Can be given several times".to_owned());
    }
    let right: String = sentences
        .iter()
        .map(|sentence| format!(" {}.", sentence.trim_end_matches('.')))
        .collect();
    let right = right.trim_start();
    format!("| {left} | {right} |\n")
}

fn configuration() -> String {
    let mut text = "# Configuration\n\nMade by `cargo xtask docs`; edit the program, not this file.\n\n\
        Sources, each stronger than the one before: built in, `/etc/ptest/config.toml`, \
        `$XDG_CONFIG_HOME/ptest/config.toml` (else `~/.config/ptest/config.toml`), the project's `ptest.toml` or \
        `[tool.ptest]` in its `pyproject.toml` (the nearest directory upwards that has one; it must belong to you, to \
        root or to the owner of the working directory), `PTEST_*` variables, options. A stronger source replaces a \
        value whole; options that can be given several times add to it. `ptest config list` shows each value and \
        where it comes from.\n\n\
        Relative paths start from the file's directory, in variables from the working directory; `~` is the home \
        directory. Durations are written `1500ms`, `90s`, `5m`, `1h30m`, `2d`, a bare number is seconds. Variables \
        write lists with commas, lists of paths with colons, tables as `NAME=VALUE`, one a line; an empty variable \
        counts as not set. Besides these, `PTEST_UV` names the uv to use, and the variables of pip and uv that name \
        indexes and proxies count as they do for pip and uv.\n\n\
        | setting | variable | takes | default | meaning |\n|---|---|---|---|---|\n"
        .to_owned();
    let defaults = Config::default();
    for key in KEYS {
        let default = defaults.row(key.name).and_then(|row| row.toml());
        let default = default.map_or_else(String::new, |value| format!("`{value}`"));
        let doc = key.doc.split_whitespace().collect::<Vec<_>>().join(" ");
        let _ = writeln!(
            text,
            "| `{}` | `{}` | {} | {default} | {doc} |",
            key.name,
            key.variable(),
            key.expected
        );
    }
    text
}

//! The one place that writes: data to stdout, everything for people to stderr.
//!
//! Colours have fixed meanings (red error, yellow warning, cyan hint, green done) and nothing depends on them.

use std::{
    fmt::Display,
    io::{self, Write},
};

use anstyle::{AnsiColor, Style};
use ptest::config::{ColorChoice, ProgressChoice};

use crate::{cli::GlobalOptions, error::CliError, exit_code::Exit, host::Host, options::Format};
use ptest_report::{ErrorReport, Report};

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default();
const DONE: Style = AnsiColor::Green.on_default();

/// Writes to the caller.
#[derive(Clone, Debug)]
pub(crate) struct Ui {
    verbosity: Verbosity,
    color: ColorChoice,
    /// Whether the caller fixed the colour by an option, which no file may change.
    color_is_fixed: bool,
    no_color: bool,
    force_color: bool,
    progress: bool,
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verbosity {
    Quiet,
    Normal,
    Verbose,
}

impl Ui {
    /// As long as the arguments are not known.
    pub(crate) fn before_arguments(host: &Host) -> Self {
        let set = |name| host.variable(name).is_some();
        Self {
            verbosity: Verbosity::Normal,
            color: ColorChoice::Auto,
            color_is_fixed: false,
            no_color: set("NO_COLOR") || host.variable("TERM").is_some_and(|term| term == "dumb"),
            force_color: host
                .variable("CLICOLOR_FORCE")
                .is_some_and(|value| value != "0"),
            progress: true,
            stdout_is_terminal: host.terminals.stdout,
            stderr_is_terminal: host.terminals.stderr,
        }
    }

    pub(crate) fn new(host: &Host, options: &GlobalOptions) -> Self {
        let verbosity = match (options.quiet, options.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, true) => Verbosity::Verbose,
            (false, false) => Verbosity::Normal,
        };
        let before = Self::before_arguments(host);
        Self {
            verbosity,
            color: options.color.unwrap_or(before.color),
            color_is_fixed: options.color.is_some(),
            progress: !options.no_progress,
            ..before
        }
    }

    /// With what the configuration says, where no option did.
    pub(crate) fn configured(&self, color: ColorChoice, progress: ProgressChoice) -> Self {
        Self {
            color: if self.color_is_fixed {
                self.color
            } else {
                color
            },
            progress: self.progress && progress == ProgressChoice::Auto,
            ..self.clone()
        }
    }

    /// Whether progress may be drawn.
    pub(crate) fn draws_progress(&self) -> bool {
        self.progress && self.stderr_is_terminal && self.verbosity == Verbosity::Normal
    }

    /// What the command was asked for, as it is.
    pub(crate) fn data(&self, text: impl AsRef<[u8]>) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(text.as_ref())
            .and_then(|()| stdout.flush())
            .map_err(CliError::Output)
    }

    /// A report as one JSON object on lines of its own.
    /// Whether data for people may be coloured.
    pub(crate) fn colors_data(&self) -> bool {
        self.colors(self.stdout_is_terminal)
    }

    pub(crate) fn json<R: Report>(&self, report: &R) -> Result<(), CliError> {
        self.data(ptest_report::to_text(report))
    }

    /// Something that was done. Not said to who asked for quiet.
    pub(crate) fn done(&self, verb: &str, what: impl Display) {
        if self.verbosity >= Verbosity::Normal {
            self.people(&format!("{} {what}\n", self.paint(DONE, verb)));
        }
    }

    /// Something to know. Not said to who asked for quiet.
    pub(crate) fn note(&self, text: impl Display) {
        if self.verbosity >= Verbosity::Normal {
            self.people(&format!("{text}\n"));
        }
    }

    /// Something that is probably not meant so. Not said to who asked for quiet.
    pub(crate) fn warning(&self, text: impl Display) {
        if self.verbosity >= Verbosity::Normal {
            self.people(&format!("{} {text}\n", self.paint(WARNING, "warning:")));
        }
    }

    /// What to do about what was just said. Not said to who asked for quiet.
    pub(crate) fn hint(&self, text: impl Display) {
        if self.verbosity >= Verbosity::Normal {
            self.people(&format!("{} {text}\n", self.paint(HINT, "hint:")));
        }
    }

    /// Tells a failure and gives what the program ends with. Under `--format json` there is also an object on stdout, so
    /// that a program that reads it always gets one. A broken pipe ends quietly.
    pub(crate) fn failure(&self, error: &CliError, format: Format) -> Exit {
        let exit = error.exit();
        if exit == Exit::BrokenPipe {
            return exit;
        }
        self.explain(error);
        if format == Format::Json {
            // The exit code says that it failed, whether or not anybody reads this.
            let _ = self.json(&ErrorReport {
                error: error.into(),
            });
        }
        exit
    }

    /// What failed, why (each cause once), in whose words, and what to do, each on lines of its own.
    pub(crate) fn explain(&self, error: &CliError) {
        let mut text = format!(
            "{} {}\n",
            self.paint(ERROR, "error:"),
            indent(&error.to_string())
        );
        for cause in error.causes() {
            text += &format!("  {} {}\n", self.paint(ERROR, "because:"), indent(&cause));
        }
        for line in error.output().unwrap_or_default().trim_end().lines() {
            text += &format!("  | {line}\n");
        }
        if let Some(hint) = error.hint() {
            text += &format!("{} {}\n", self.paint(HINT, "hint:"), indent(&hint));
        }
        self.people(&text);
    }

    /// Something that was not done. Said to who asked for quiet, too.
    pub(crate) fn failed(&self, verb: &str, what: impl Display) {
        self.people(&format!("{} {what}\n", self.paint(ERROR, verb)));
    }

    /// What another program wrote, as it is.
    pub(crate) fn others(&self, bytes: &[u8]) {
        let mut stderr = io::stderr().lock();
        // As above.
        let _ = stderr.write_all(bytes);
        if !bytes.ends_with(b"\n") && !bytes.is_empty() {
            let _ = stderr.write_all(b"\n");
        }
    }

    /// Whom what was just explained happened to.
    pub(crate) fn failed_for(&self, labels: &[&str]) {
        let label = self.paint(
            ERROR,
            if labels.len() == 1 {
                "for:"
            } else {
                "for each of:"
            },
        );
        self.people(&format!("  {label} {}\n", labels.join(", ")));
    }

    /// An error in one sentence.
    pub(crate) fn error(&self, text: impl Display) {
        self.people(&format!("{} {text}\n", self.paint(ERROR, "error:")));
    }

    /// Help, version or a usage error, as the argument parser words it.
    pub(crate) fn clap(&self, error: &clap::Error) -> Exit {
        let is_help = !error.use_stderr();
        let colored = if is_help {
            self.colors(self.stdout_is_terminal)
        } else {
            self.colors_people()
        };
        let text = error.render();
        let text = if colored {
            text.ansi().to_string()
        } else {
            text.to_string()
        };
        if !is_help {
            self.people(&text);
            return Exit::Usage;
        }
        match self.data(text) {
            Ok(()) => Exit::Success,
            Err(error) => self.failure(&error, Format::Text),
        }
    }

    /// A closed stderr is no reason to fail: what counts is the work and the exit code.
    fn people(&self, text: &str) {
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    fn paint(&self, style: Style, text: &str) -> String {
        if self.colors_people() {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    fn colors_people(&self) -> bool {
        self.colors(self.stderr_is_terminal)
    }

    fn colors(&self, is_terminal: bool) -> bool {
        match self.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => !self.no_color && (self.force_color || is_terminal),
        }
    }
}

/// Lines after the first stand under the first one's text.
fn indent(text: &str) -> String {
    text.trim_end().replace('\n', "\n    ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ui() -> Ui {
        Ui {
            verbosity: Verbosity::Normal,
            color: ColorChoice::Auto,
            color_is_fixed: false,
            no_color: false,
            force_color: false,
            progress: true,
            stdout_is_terminal: false,
            stderr_is_terminal: true,
        }
    }

    #[test]
    fn colours_are_for_terminals_unless_somebody_says_otherwise() {
        assert!(ui().colors_people());
        assert!(
            !Ui {
                stderr_is_terminal: false,
                ..ui()
            }
            .colors_people()
        );
        assert!(
            Ui {
                stderr_is_terminal: false,
                force_color: true,
                ..ui()
            }
            .colors_people()
        );
        assert!(
            !Ui {
                no_color: true,
                force_color: true,
                ..ui()
            }
            .colors_people()
        );
        assert!(
            Ui {
                no_color: true,
                color: ColorChoice::Always,
                ..ui()
            }
            .colors_people()
        );
        assert!(
            !Ui {
                color: ColorChoice::Never,
                ..ui()
            }
            .colors_people()
        );
    }

    #[test]
    fn an_option_is_stronger_than_the_configuration() {
        let fixed = Ui {
            color: ColorChoice::Never,
            color_is_fixed: true,
            ..ui()
        };
        assert!(
            !fixed
                .configured(ColorChoice::Always, ProgressChoice::Auto)
                .colors_people()
        );
        assert!(
            !ui()
                .configured(ColorChoice::Never, ProgressChoice::Auto)
                .colors_people()
        );
        assert!(
            !ui()
                .configured(ColorChoice::Auto, ProgressChoice::Never)
                .draws_progress()
        );
    }

    #[test]
    fn progress_is_drawn_on_terminals_for_people_who_asked_for_nothing_else() {
        assert!(ui().draws_progress());
        assert!(
            !Ui {
                stderr_is_terminal: false,
                ..ui()
            }
            .draws_progress()
        );
        assert!(
            !Ui {
                verbosity: Verbosity::Quiet,
                ..ui()
            }
            .draws_progress()
        );
        assert!(
            !Ui {
                verbosity: Verbosity::Verbose,
                ..ui()
            }
            .draws_progress()
        );
    }
}

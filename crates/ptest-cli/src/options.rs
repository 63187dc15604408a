//! Options that several commands share, and how single values are read.

use std::{
    error::Error,
    ffi::{OsStr, OsString},
    num::NonZeroU32,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use clap::{
    Args, ValueEnum,
    builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser},
};
use ptest::{
    PortName,
    config::{Config, Origin, Size, Timeout, UserHome, parse_duration},
    labels::{Label, Labels, Selector},
    monitor::Alert,
    settings::{Cpus, HostRule, Network, Profile},
};

/// How a command reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// The option of every command that reports.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct ReportOptions {
    /// How to report: for people, or as one JSON object.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) format: Format,
}

/// Which interpreter an environment has: the option of `run` and `create`.
#[derive(Args, Debug, Default)]
pub(crate) struct PythonOptions {
    /// Which Python: a version (3.12), a range (>=3.10), a name (python3.11) or a path.
    #[arg(long, short, value_name = "PYTHON")]
    python: Option<String>,
}

impl PythonOptions {
    /// The configuration with what the option says.
    pub(crate) fn over(&self, config: &mut Config) {
        let python = self.python.clone().map(Some);
        config.python.replace(python, Origin::OPTION);
    }
}

/// What an environment is to be like: the options of `run`, `create` and `matrix`.
#[derive(Args, Debug, Default)]
pub(crate) struct EnvironmentOptions {
    /// Install this: a requirement, a URL, or the path of a project or wheel.
    #[arg(long, value_name = "REQUIREMENT")]
    pub(crate) with: Vec<String>,

    #[command(flatten)]
    pub(crate) files: FileOptions,

    /// Leave pip out.
    #[arg(long)]
    pub(crate) no_pip: bool,

    /// Which engine runs the environment [default: virtualenv].
    #[arg(long, value_name = "ENGINE")]
    pub(crate) engine: Option<String>,

    /// How far it is kept apart from the machine [default: the strongest there is].
    #[arg(long, value_name = "PROFILE", value_parser = words::<Profile>(Profile::WORDS))]
    pub(crate) profile: Option<Profile>,

    /// What network commands see [default: private with the profile strict, else host].
    #[arg(long, value_name = "NETWORK", value_parser = words::<Network>(Network::WORDS))]
    pub(crate) network: Option<Network>,

    /// Let commands reach this host, and no others than those allowed: a name, `*.NAME` for what is below it, an IP
    /// address or a network such as 10.0.0.0/8. Without a port, 80 and 443.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) allow: Vec<HostRule>,

    /// Record an event when the environment uses more than this: `METRIC>VALUE`, with ` for DURATION` if it must last. METRIC
    /// is cpu (in processors), memory, processes, or disk where that is limited.
    #[arg(long, value_name = "METRIC>VALUE")]
    pub(crate) alert: Vec<Alert>,

    /// What commands see as their home directory: `private`, `host` or a path [default: private].
    #[arg(long, value_name = "HOME", value_parser = OsStringValueParser::new().try_map(|text| UserHome::from_os(&text)))]
    pub(crate) home: Option<UserHome>,

    /// Let commands write this path outside the project.
    #[arg(long, value_name = "PATH")]
    pub(crate) write: Vec<PathBuf>,

    /// Let commands read this path though it lies where the environment has files of its own (such as /tmp).
    #[arg(long, value_name = "PATH")]
    pub(crate) read: Vec<PathBuf>,

    /// Let commands connect to this socket though it lies where the environment has files of its own (such as /run).
    #[arg(long, value_name = "PATH")]
    pub(crate) bind_socket: Vec<PathBuf>,

    /// Keep what commands write in the project apart from it, and throw it away with the environment; `ptest diff` lists it.
    #[arg(long)]
    pub(crate) scratch: bool,

    /// Go on with less where what is asked for is not to be had, and say so.
    #[arg(long)]
    pub(crate) degrade: bool,

    /// Take it away after this time, used or not, such as 1h [default: never].
    #[arg(long, value_name = "DURATION")]
    pub(crate) ttl: Option<Timeout>,

    /// Take it away when no command ran in it for this time, such as 30m [default: never].
    #[arg(long, value_name = "DURATION")]
    pub(crate) idle: Option<Timeout>,

    /// Pass this variable of yours on.
    #[arg(long, value_name = "NAME", value_parser = variable)]
    pub(crate) pass: Vec<String>,

    /// Lease it a port; commands find the number in the variable PTEST_PORT_NAME, in capitals and with `_` for each `-`.
    #[arg(long, value_name = "NAME")]
    pub(crate) port: Vec<PortName>,

    #[command(flatten)]
    pub(crate) labels: LabelOptions,

    #[command(flatten)]
    pub(crate) limits: LimitOptions,

    /// Choose versions anew, whatever is known.
    #[arg(long)]
    pub(crate) refresh: bool,
}

/// What is written on an environment: the options of `run`, `create` and `fork`.
#[derive(Args, Debug, Default)]
pub(crate) struct LabelOptions {
    /// Write this on it, so that `-l` of other commands finds it; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<Label>,
}

impl LabelOptions {
    /// Of several with one key the last.
    pub(crate) fn labels(&self) -> Labels {
        let pairs = self.label.iter().cloned();
        pairs.map(|label| (label.key, label.value)).collect()
    }
}

/// Which environments are meant, by their labels.
#[derive(Args, Debug, Default)]
pub(crate) struct SelectorOptions {
    /// Those with these labels: `KEY=VALUE`, `KEY!=VALUE`, `KEY` or `!KEY`, several with commas between them.
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    selector: Vec<Selector>,
}

impl SelectorOptions {
    /// Whether any is given.
    pub(crate) fn is_given(&self) -> bool {
        !self.selector.is_empty()
    }

    /// What is said when there is none.
    pub(crate) fn nothing(&self) -> &'static str {
        if self.is_given() {
            "there is no such environment"
        } else {
            "there is no environment"
        }
    }

    /// What meets all that are given.
    pub(crate) fn selector(&self) -> Selector {
        Selector::all(self.selector.iter().cloned())
    }
}

/// The most that an environment may use.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitOptions {
    /// How much memory all that runs in it may hold together, such as 512M or 2G [default: no limit].
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<Size>,

    /// How much of the processors it may use, such as 1.5 [default: no limit].
    #[arg(long, value_name = "N")]
    pub(crate) cpus: Option<Cpus>,

    /// How many processes and threads it may have [default: no limit].
    #[arg(long, value_name = "N")]
    pub(crate) pids: Option<NonZeroU32>,

    /// How much processor time a command may use, with all that it starts [default: no limit].
    #[arg(long, value_name = "DURATION")]
    pub(crate) cpu_time: Option<Timeout>,

    /// How many files each process may have open [default: the machine's limit].
    #[arg(long, value_name = "N")]
    pub(crate) open_files: Option<NonZeroU32>,

    /// How large a file may be made [default: no limit].
    #[arg(long, value_name = "SIZE")]
    pub(crate) file_size: Option<Size>,

    /// How much it may hold on the disk, in its tree and its home [default: no limit].
    #[arg(long, value_name = "SIZE")]
    pub(crate) disk: Option<Size>,
}

/// Files and directories that say what is to be installed: the options of `run`, `create` and `install`.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct FileOptions {
    /// Install what this requirements file lists.
    #[arg(long = "requirements", short = 'r', value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// Install this project so that its source tree is what is imported; writes into the project.
    #[arg(long = "editable", short = 'e', value_name = "DIR")]
    pub(crate) editables: Vec<String>,

    /// Keep versions within this constraints file.
    #[arg(long = "constraint", short = 'c', value_name = "FILE")]
    pub(crate) constraints: Vec<PathBuf>,
}

/// What commands get: the options of `run`, `create`, `exec` and `shell`.
#[derive(Args, Debug, Default)]
pub(crate) struct CommandOptions {
    /// Set a variable.
    #[arg(long, value_name = "NAME=VALUE", value_parser = OsStringValueParser::new().try_map(|text| pair(&text)))]
    pub(crate) env: Vec<(OsString, OsString)>,
}

/// How long one command may take: the options of `run` and `exec`.
#[derive(Args, Debug, Default)]
pub(crate) struct TimeOptions {
    /// End the command after this time, such as 90s or 1h [default: no limit].
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<Timeout>,

    /// How long the command has between SIGTERM and SIGKILL when it is ended [default: 10s].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) grace: Option<Duration>,
}

/// What becomes of the output of one command: the options of `run` and `exec`.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct LogOptions {
    /// Keep what the command writes, for `ptest logs`; it goes where it went as before, by way of ptest.
    #[arg(long)]
    pub(crate) log: bool,

    /// Leave the command running, with no input and what it writes kept for `ptest logs`, and say the id of its run.
    #[arg(long)]
    pub(crate) detach: bool,

    /// This is the process that waits for a command that was left running.
    #[arg(long, hide = true, conflicts_with = "detach")]
    pub(crate) detached: bool,
}

/// Reads one of a list of words, which help and completions show.
pub(crate) fn words<T>(words: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: Into<Box<dyn Error + Send + Sync>>> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words).try_map(|word| word.parse::<T>())
}

fn variable(name: &str) -> Result<String, &'static str> {
    if name.is_empty() {
        return Err("the name is empty");
    }
    if name.contains('=') {
        return Err("a name has no `=`; `--env NAME=VALUE` sets a variable");
    }
    Ok(name.to_owned())
}

fn pair(text: &OsStr) -> Result<(OsString, OsString), String> {
    use std::os::unix::ffi::OsStrExt;

    let bytes = text.as_bytes();
    match bytes.iter().position(|byte| *byte == b'=') {
        Some(0) => Err("the name before `=` is empty".to_owned()),
        Some(end) => Ok((
            OsStr::from_bytes(&bytes[..end]).into(),
            OsStr::from_bytes(&bytes[end + 1..]).into(),
        )),
        None => Err("there is no `=`; `--pass NAME` passes a variable of yours on".to_owned()),
    }
}

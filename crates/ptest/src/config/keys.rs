//! The one table of settings: name, type, default and documentation, each said once.
//!
//! [`Config`], [`KEYS`], the variables' names, `ptest config list` and the generated reference all come from it.

use std::{collections::BTreeMap, ffi::OsStr, num::NonZeroU32, path::PathBuf, time::Duration};

use toml_edit::{Item, Value};

use super::{
    choice::{ColorChoice, InstallerChoice, LogLevel, ProgressChoice, UserHome},
    origin::{Origin, Setting},
    schema::Described,
    units::{Size, Timeout},
    value::{ConfigValue, Context, Invalid},
};
use crate::hooks::Hook;
use crate::monitor::Alert;
use crate::ports::PortRange;
use crate::settings::{Cpus, HostRule, Network, Profile};

macro_rules! keys {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:expr;)+) => {
        /// Every setting with its value and origin.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Config {
            $($(#[doc = $doc])+ pub $name: Setting<$type>,)+
        }

        /// Every setting, in the order in which reports list them.
        pub const KEYS: &[Key] = &[$(Key {
            name: stringify!($name),
            doc: concat!($($doc, "\n",)+),
            expected: <$type as ConfigValue>::EXPECTED,
            schema: <$type as Described>::schema,
        },)+];

        impl Default for Config {
            fn default() -> Self {
                Self { $($name: Setting::built_in($default),)+ }
            }
        }

        impl Config {
            /// Each setting as a row of a report.
            pub fn rows(&self) -> Vec<Row> {
                vec![$(Row {
                    key: stringify!($name),
                    value: self.$name.to_toml(),
                    origin: self.$name.origin().clone(),
                },)+]
            }

            /// Takes over what another configuration says of a key.
            pub(super) fn take(&mut self, key: &str, other: &Self) {
                match key {
                    $(stringify!($name) => self.$name = other.$name.clone(),)+
                    _ => {}
                }
            }

            /// Sets a key; `None` if there is none of that name.
            pub(super) fn assign(
                &mut self,
                key: &str,
                raw: Raw<'_>,
                context: &Context<'_>,
                origin: Origin,
            ) -> Option<Result<(), Invalid>> {
                match key {
                    $(stringify!($name) => Some(
                        raw.read(context).map(|value| self.$name.replace(Some(value), origin)),
                    ),)+
                    _ => None,
                }
            }
        }
    };
}

const DEFAULT_EVENTS: NonZeroU32 = NonZeroU32::new(100_000).unwrap();
const DEFAULT_RUNS: NonZeroU32 = NonZeroU32::new(1000).unwrap();
const DEFAULT_OUTPUT: Size = Size::new(16 << 20).unwrap();

keys! {
    /// Where the store is. Default: `$XDG_DATA_HOME/ptest` or `~/.local/share/ptest`; as root `/var/lib/ptest`.
    home: Option<PathBuf> = None;
    /// Which Python: a version (`3.12`), a range (`>=3.10`), a name (`python3.11`) or a path. Default: the first
    /// `python3` on PATH.
    python: Option<String> = None;
    /// Which engine runs an environment.
    engine: String = "virtualenv".to_owned();
    /// How far an environment is kept apart from the machine. Default: the strongest there is.
    profile: Option<Profile> = None;
    /// What network a command sees: the machine's (`host`), nothing (`none`), or a loopback of its own (`private`).
    /// Default: `private` with the profile `strict`, else `host`.
    network: Option<Network> = None;
    /// Hosts that every environment may reach, and no others: `HOST` or `HOST:PORT`, where HOST is a name, `*.NAME` for
    /// what is below it, an IP address or a network such as `10.0.0.0/8`. Without a port, 80 and 443. The network is then
    /// `private`. Default: with the network `host` all, else none.
    allow: Vec<HostRule> = Vec::new();
    /// What a command sees as its home directory: an empty one of its own (`private`), the caller's (`host`), or the
    /// one at a path.
    user_home: UserHome = UserHome::Private;
    /// How long a command may run. Default: no limit.
    timeout: Option<Timeout> = None;
    /// How long a command has between the request to end (SIGTERM) and the end (SIGKILL).
    grace: Duration = Duration::from_secs(10);
    /// How long an environment lives, whether it is used or not. Default: until it is removed.
    ttl: Option<Timeout> = None;
    /// How long an environment may be without a command before it goes. Default: for ever.
    idle: Option<Timeout> = None;
    /// How much memory all that runs in an environment may hold together, without swap. Default: no limit.
    memory: Option<Size> = None;
    /// How much of the processors all that runs in an environment may use together. Default: no limit.
    cpus: Option<Cpus> = None;
    /// How many processes and threads an environment may have. Default: no limit.
    pids: Option<NonZeroU32> = None;
    /// How much processor time a command may use, with all that it starts. Default: no limit.
    cpu_time: Option<Timeout> = None;
    /// How many files a process may have open. Default: no limit but the machine's.
    open_files: Option<NonZeroU32> = None;
    /// How large a file may be made. Default: no limit.
    file_size: Option<Size> = None;
    /// How much an environment may hold on the disk, in its tree and its home. Default: no limit.
    disk: Option<Size> = None;
    /// What an environment may use before an event tells of it: `METRIC>VALUE`, and ` for DURATION` if it must last, where
    /// METRIC is `cpu` (in processors), `memory`, `processes` or `disk` (of what is limited).
    alerts: Vec<Alert> = Vec::new();
    /// What is called when something happens, each a table: `events`, a list of kinds of events or of names of emitted ones,
    /// `"*"` for all; `command`, a program with its arguments, which reads the event as JSON, or `url`, which gets it by
    /// POST; `timeout` for one call, else 10s; `environments`, if it is for these only. A file of a project cannot set it.
    hooks: Vec<Hook> = Vec::new();
    /// How long an operation waits for another one on the same environment.
    busy_timeout: Duration = Duration::from_mins(1);
    /// How many environments there may be at once. Default: no limit.
    max_environments: Option<NonZeroU32> = None;
    /// How much memory all active environments may be allowed together; then each needs a limit (`memory`). Default: no
    /// limit.
    max_memory: Option<Size> = None;
    /// How large the store may be when another environment is made. Default: no limit.
    max_disk: Option<Size> = None;
    /// How long to wait for room where one of these limits is reached. Zero refuses at once.
    wait: Duration = Duration::ZERO;
    /// Variables set in every environment.
    env: BTreeMap<String, String> = BTreeMap::new();
    /// Variables of the caller that reach every environment, besides the harmless ones that always do.
    pass: Vec<String> = Vec::new();
    /// Which ports are leased, such as `20000-29999`. Default: those that the kernel gives to nobody by itself, from 20000
    /// up.
    port_range: Option<PortRange> = None;
    /// Paths outside the project that every environment may write.
    write: Vec<PathBuf> = Vec::new();
    /// Sockets that every environment may connect to though they lie where it has files of its own (such as `/run`).
    bind_socket: Vec<PathBuf> = Vec::new();
    /// Whether what is written in the project is kept apart from it, and thrown away with the environment.
    scratch: bool = false;
    /// Whether less than what is asked for will do where that is not to be had, such as no isolation for `strict`.
    degrade: bool = false;
    /// Paths that every environment may read though they lie where it has files of its own (such as `/tmp`).
    read: Vec<PathBuf> = Vec::new();
    /// Whether an environment that is copied (profile `none`) may have further names of the store's files where it
    /// cannot share their contents. Saves time and room; but what writes to such a file changes it for every
    /// environment, until the store notices and makes it again. Never as root.
    hard_links: bool = false;
    /// Which program resolves and builds distributions.
    installer: InstallerChoice = InstallerChoice::Auto;
    /// Whether an environment has pip.
    pip: bool = true;
    /// How long the versions found for a requirement that does not pin them stay good.
    resolve_ttl: Duration = Duration::from_hours(24);
    /// Whether what environments are made of is compiled, and deep stacks are made one layer, in the background after a
    /// command that used it. `ptest improve` does so at any time.
    improve: bool = true;
    /// How many events are kept.
    keep_events: NonZeroU32 = DEFAULT_EVENTS;
    /// How long an event is kept.
    keep_events_for: Duration = Duration::from_hours(30 * 24);
    /// How many of the latest runs of commands are remembered. The last of each environment always is.
    keep_runs: NonZeroU32 = DEFAULT_RUNS;
    /// How long after its end the run of a command is remembered.
    keep_runs_for: Duration = Duration::from_hours(7 * 24);
    /// How much of the output of a command is kept with `--log`: so much of its beginning, and the last 4 KiB of each stream.
    keep_output: Size = DEFAULT_OUTPUT;
    /// What is written to the log: nothing, failed operations, also what went otherwise than it should, also every
    /// operation, also their steps, everything.
    log: LogLevel = LogLevel::Info;
    /// The file of the log. When it is a mebibyte long it becomes `FILE.1`, and so on, up to `FILE.7`. Default:
    /// `logs/ptest.log` in the store.
    log_file: Option<PathBuf> = None;
    /// Where operations and metrics are sent when a command ends: a collector of OpenTelemetry (OTLP over HTTP), such as
    /// `http://localhost:4318`. Default: what `OTEL_EXPORTER_OTLP_ENDPOINT` says, else nowhere.
    otlp_endpoint: Option<String> = None;
    /// When progress is shown.
    progress: ProgressChoice = ProgressChoice::Auto;
    /// When messages are coloured.
    color: ColorChoice = ColorChoice::Auto;
}

/// The settings that no project's file can have, whatever the profile: what they start runs outside of every environment,
/// and the file may be written by what runs in one.
pub(super) const NEVER_OF_A_PROJECT: [&str; 1] = ["hooks"];

/// The settings by which a project's file gives the code in it nothing that it does not have.
pub(super) const HARMLESS: [&str; 12] = [
    "pip",
    "alerts",
    "env",
    "timeout",
    "grace",
    "busy_timeout",
    "wait",
    "scratch",
    "resolve_ttl",
    "improve",
    "progress",
    "color",
];

impl Config {
    /// The row of one setting; `None` if there is none of that name.
    pub fn row(&self, key: &str) -> Option<Row> {
        self.rows().into_iter().find(|row| row.key == key)
    }
}

/// A setting as declared.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in files; also what `ptest config get` takes.
    pub name: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// What it takes.
    pub expected: &'static str,
    schema: fn() -> serde_json::Value,
}

impl Key {
    /// The declared key of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// The JSON schema of its value in a file.
    pub(crate) fn schema(&self) -> serde_json::Value {
        (self.schema)()
    }

    /// The name of the variable that sets it.
    pub fn variable(&self) -> String {
        format!("PTEST_{}", self.name.to_ascii_uppercase())
    }

    /// The known key that a wrong name most resembles, if it resembles any.
    pub fn nearest(name: &str) -> Option<&'static str> {
        nearest(KEYS.iter().map(|key| key.name), name)
    }
}

/// Which of these keys a wrong name most resembles, if it resembles any.
pub(super) fn nearest(
    keys: impl Iterator<Item = &'static str>,
    name: &str,
) -> Option<&'static str> {
    let name = name.replace('-', "_").to_ascii_lowercase();
    keys.map(|key| (strsim::damerau_levenshtein(key, &name), key))
        .min()
        // One slip for each four letters: enough for typing errors, too little for another word.
        .filter(|(slips, key)| *slips <= 1 + key.len() / 4 && *slips < key.len())
        .map(|(_, key)| key)
}

/// A setting in a report.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name.
    pub key: &'static str,
    value: Option<Value>,
    /// Where the value comes from.
    pub origin: Origin,
}

impl Row {
    /// The value as one would write it in a file; `None` if the setting is not set.
    pub fn toml(&self) -> Option<String> {
        self.value
            .as_ref()
            .map(|value| value.to_string().trim().to_owned())
    }

    /// The value alone, without the quotes of TOML for a single text.
    pub fn text(&self) -> Option<String> {
        match &self.value {
            Some(Value::String(text)) => Some(text.value().clone()),
            _ => self.toml(),
        }
    }

    /// The value for a machine: text, number, truth value, list or table.
    pub fn json(&self) -> serde_json::Value {
        self.value.as_ref().map_or(serde_json::Value::Null, to_json)
    }

    pub(super) fn into_value(self) -> Option<Value> {
        self.value
    }
}

/// A value before its type is known.
#[derive(Clone, Copy)]
pub(super) enum Raw<'a> {
    Text(&'a OsStr),
    Toml(&'a Item),
}

impl Raw<'_> {
    fn read<T: ConfigValue>(self, context: &Context<'_>) -> Result<T, Invalid> {
        match self {
            Self::Text(text) => T::from_text(text, context),
            Self::Toml(item) => T::from_toml(item, context),
        }
    }
}

fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::String(text) => text.value().as_str().into(),
        Value::Integer(number) => (*number.value()).into(),
        Value::Float(number) => (*number.value()).into(),
        Value::Boolean(truth) => (*truth.value()).into(),
        Value::Datetime(time) => time.value().to_string().into(),
        Value::Array(array) => array.iter().map(to_json).collect(),
        Value::InlineTable(table) => serde_json::Value::Object(
            table
                .iter()
                .map(|(key, value)| (key.to_owned(), to_json(value)))
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_key_and_another_word_does_not() {
        assert_eq!(Key::nearest("timout"), Some("timeout"));
        assert_eq!(Key::nearest("resolve-ttl"), Some("resolve_ttl"));
        assert_eq!(Key::nearest("PIDS"), Some("pids"));
        assert_eq!(Key::nearest("interpreter"), None);
        assert_eq!(Key::nearest(""), None);
    }

    #[test]
    fn every_key_says_what_it_is_for_and_what_it_takes() {
        for key in KEYS {
            assert!(key.doc.trim().ends_with('.'), "{}", key.name);
            assert!(!key.expected.is_empty(), "{}", key.name);
        }
    }
}

//! What an environment is to be like, apart from what is installed in it.
//!
//! Kept with the environment and given to its engine. Not for defaults: those
//! are the configuration's.

mod limits;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use ptest_sandbox::proxy::Rule as HostRule;

pub use self::limits::{Cpus, InvalidCpus, Kept, Limit, Limits, Strength, Struck, amount, tell};
use crate::error::{Error, ErrorKind};
use crate::labels::Labels;
use crate::monitor::Alert;
use crate::ports::{PortName, PortRange};
use crate::project::{Guard, Project};

/// How strongly an environment is kept apart from the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Own process group and clean variables; the host's files as they are.
    None,
    /// Own namespaces; the host read-only but for the project root.
    Standard,
    /// For code that nobody trusts: of the host only the system's programs, the interpreter and the project root; its
    /// own network; no privileges, no namespaces inside, the system calls of ordinary programs.
    Strict,
}

/// What of the network is to be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// The host's.
    #[default]
    Host,
    /// Nothing at all.
    None,
    /// A loopback of its own, with every port free.
    Private,
}

/// Which home directory a command sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Home {
    /// One of its own, gone with the environment.
    #[default]
    Private,
    /// This directory of the host (the caller's own, say), writable.
    Path(PathBuf),
}

/// Who commits made inside are by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitIdentity {
    /// `user.name`.
    pub name: Option<String>,
    /// `user.email`.
    pub email: Option<String>,
}

/// What an environment is to be like.
///
/// What is as it is by default is not written: rows stay short, and may be older than a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The profile asked for; without one the strongest that can be had.
    #[serde(default, skip_serializing_if = "is_default")]
    pub profile: Option<Profile>,
    /// What of the network is to be had; without it what the profile gives.
    #[serde(default, skip_serializing_if = "is_default")]
    pub network: Option<Network>,
    /// The hosts that are reached from a private network, which is then what is to be had; through a proxy, and nothing
    /// beyond them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub allow: Vec<HostRule>,
    /// Which home directory a command sees.
    #[serde(default, skip_serializing_if = "is_default")]
    pub home: Home,
    /// Host paths that may be written besides the project root.
    #[serde(default, skip_serializing_if = "is_default")]
    pub write: Vec<PathBuf>,
    /// Whether what is written in the project is kept apart, and thrown away with the environment.
    #[serde(default, skip_serializing_if = "is_default")]
    pub scratch: bool,
    /// Sockets of the host that can be connected to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bind_sockets: Vec<PathBuf>,
    /// Whether less than what is asked for will do, where that is not to be had.
    #[serde(default, skip_serializing_if = "is_default")]
    pub degrade: bool,
    /// Host paths that must be seen though they lie below a private place.
    #[serde(default, skip_serializing_if = "is_default")]
    pub read: Vec<PathBuf>,
    /// Variables of the caller that pass, by name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pass: Vec<String>,
    /// Variables set for every command.
    #[serde(default, skip_serializing_if = "is_default")]
    pub variables: BTreeMap<String, String>,
    /// The names of ports that are leased to it as long as it is there.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ports: Vec<PortName>,
    /// Which ports may be taken for them; without it those that the kernel leaves alone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub port_range: Option<PortRange>,
    /// How long it lives, whether it is used or not. Without this it is there until it is removed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ttl: Option<Duration>,
    /// How long it may be without a command before it goes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub idle: Option<Duration>,
    /// Limits on what runs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: Limits,
    /// What it may use before that is told.
    #[serde(default, skip_serializing_if = "is_default")]
    pub alerts: Vec<Alert>,
    /// The project that commands work on.
    pub project: Project,
    /// Whether a copy of the stack may consist of further names of the store's files.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hard_links: bool,
    /// Who commits made inside are by.
    #[serde(default, skip_serializing_if = "is_default")]
    pub git_identity: Option<GitIdentity>,
    /// What is written on it, to find it again. An engine may write it on what it keeps.
    #[serde(default, skip_serializing_if = "is_default")]
    pub labels: Labels,
}

impl Settings {
    /// The root of the project, and why commands will not be able to write it, if that is so.
    pub fn unwritable(&self) -> Option<(&Path, Guard)> {
        let root = self.project.root.as_path();
        let is_asked_for = self.write.iter().any(|path| root.starts_with(path));
        let guard = self.project.guarded.filter(|_| !is_asked_for)?;
        Some((root, guard))
    }

    /// Settings of which nothing is asked but the project.
    pub fn new(project: Project) -> Self {
        Self {
            profile: None,
            network: None,
            allow: Vec::new(),
            home: Home::default(),
            write: Vec::new(),
            scratch: false,
            bind_sockets: Vec::new(),
            degrade: false,
            read: Vec::new(),
            pass: Vec::new(),
            variables: BTreeMap::new(),
            ports: Vec::new(),
            port_range: None,
            ttl: None,
            idle: None,
            limits: Limits::default(),
            alerts: Vec::new(),
            project,
            hard_links: false,
            git_identity: None,
            labels: Labels::new(),
        }
    }

    /// What of the network is to be had under this profile.
    ///
    /// # Errors
    ///
    /// When what is asked for contradicts itself, or is nothing that the profile can give.
    pub fn network_under(&self, profile: Profile) -> Result<Network, Error> {
        if profile == Profile::None {
            // What else cannot be had shows where it is made, and can be given up.
            if self.allow.is_empty() || self.degrade {
                return Ok(Network::Host);
            }
            return Err(Error::new(
                ErrorKind::Unsupported,
                "hosts cannot be allowed with the profile `none`, which leaves the network as it is",
            )
            .with_hint("use `--profile standard` or `strict`"));
        }
        match self.network {
            Some(Network::Host) if profile == Profile::Strict => Err(Error::new(
                ErrorKind::InvalidInput,
                "the profile `strict` does not have the machine's network",
            )
            .with_hint("use `--network private` or `none`, or the profile `standard`")),
            Some(Network::Host) if !self.allow.is_empty() => Err(Error::new(
                ErrorKind::InvalidInput,
                "hosts cannot be allowed with the network `host`, from which all are reached",
            )
            .with_hint("use `--network private`, or allow none")),
            Some(Network::None) if !self.allow.is_empty() => Err(Error::new(
                ErrorKind::InvalidInput,
                "hosts cannot be allowed with the network `none`, which has no way to them",
            )
            .with_hint("use `--network private`, or allow none")),
            Some(network) => Ok(network),
            None if !self.allow.is_empty() => Ok(Network::Private),
            None => Ok(profile.network()),
        }
    }

    /// Whether what is asked for contradicts itself. What the machine can give shows when it is asked.
    pub fn check(&self) -> Result<(), Error> {
        let profile = self.profile.unwrap_or(Profile::Standard);
        self.network_under(profile)?;
        let mut names = BTreeSet::new();
        match self.ports.iter().find(|name| !names.insert(*name)) {
            None => Ok(()),
            Some(twice) => Err(Error::new(
                ErrorKind::InvalidInput,
                format!("two ports cannot both be named `{twice}`"),
            )
            .with_hint("give each port a name of its own")),
        }
    }
}

impl Profile {
    /// Every word that is understood.
    pub const WORDS: &'static [&'static str] = &["none", "standard", "strict"];

    /// The word used on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Standard => "standard",
            Self::Strict => "strict",
        }
    }

    /// What of the network is to be had unless something else is asked for.
    pub fn network(self) -> Network {
        match self {
            Self::None | Self::Standard => Network::Host,
            Self::Strict => Network::Private,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Network {
    /// Every word that is understood.
    pub const WORDS: &'static [&'static str] = &["host", "none", "private"];

    /// The word used on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::None => "none",
            Self::Private => "private",
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Profile {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "none" => Ok(Self::None),
            "standard" => Ok(Self::Standard),
            "strict" => Ok(Self::Strict),
            _ => Err(unknown("profile", text, "`none`, `standard` and `strict`")),
        }
    }
}

impl FromStr for Network {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "host" => Ok(Self::Host),
            "none" => Ok(Self::None),
            "private" => Ok(Self::Private),
            _ => Err(unknown("network", text, "`host`, `none` and `private`")),
        }
    }
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn unknown(what: &str, text: &str, known: &str) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        format!("there is no {what} `{}`", text.escape_debug()),
    )
    .with_hint(format!("there is {known}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Guard;

    fn settings(profile: Option<Profile>, network: Option<Network>, allow: &[&str]) -> Settings {
        Settings {
            profile,
            network,
            allow: allow.iter().map(|rule| rule.parse().unwrap()).collect(),
            ..Settings::new(Project {
                root: "/".into(),
                git_common_dir: None,
                guarded: Some(Guard::FileSystemRoot),
            })
        }
    }

    #[test]
    fn allowed_hosts_mean_a_private_network() {
        for profile in [Profile::Standard, Profile::Strict] {
            for network in [None, Some(Network::Private)] {
                let settings = settings(Some(profile), network, &["a.example"]);
                assert_eq!(settings.network_under(profile).unwrap(), Network::Private);
            }
        }
        let without = settings(None, None, &[]);
        assert_eq!(
            without.network_under(Profile::Standard).unwrap(),
            Network::Host
        );
    }

    #[test]
    fn hosts_are_not_allowed_where_there_is_no_network_of_its_own() {
        for (profile, network, named) in [
            (None, Some(Network::Host), "`host`"),
            (None, Some(Network::None), "`none`"),
            (Some(Profile::Strict), Some(Network::None), "`none`"),
            (Some(Profile::None), None, "profile `none`"),
        ] {
            let error = settings(profile, network, &["a.example"])
                .check()
                .unwrap_err();
            assert!(error.to_string().contains(named), "{error}");
        }
    }

    #[test]
    fn rules_are_kept_as_they_are_written() {
        let settings = settings(None, None, &["*.a.example", "[::1]:443"]);
        let text = serde_json::to_string(&settings).unwrap();
        assert!(
            text.contains(r#""allow":["*.a.example","[::1]:443"]"#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings);
    }
}

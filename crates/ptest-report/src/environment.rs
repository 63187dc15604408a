//! Reports of environments.

use std::collections::BTreeMap;

use ptest::engine::{Listed, Processes};
use ptest::environment::{Disk, Record, Status};
use ptest::monitor::Totals;
use ptest::runs::RunRecord;
use ptest::{Environment, Failure, Refusals};
use serde::Serialize;

use crate::Report;
use crate::port::PortDto;
use crate::run::RunDto;

/// What `list` and `fork` write.
#[derive(Debug, Serialize)]
pub struct EnvironmentsReport {
    environments: Vec<EnvironmentDto>,
}

/// What `create`, `status`, `activate` and `deactivate` write.
#[derive(Debug, Serialize)]
pub struct EnvironmentReport {
    environment: EnvironmentDto,
}

/// An environment.
#[derive(Debug, Serialize)]
pub struct EnvironmentDto {
    id: String,
    /// Null for one that has only its id.
    name: Option<String>,
    engine: String,
    state: &'static str,
    /// Where its view on this machine is, once `ptest path` was called.
    path: String,
    /// The version of its Python.
    python: String,
    /// The base interpreter on this machine.
    interpreter: String,
    /// The profile that holds, or the one asked for of an environment that was never active; null for the strongest
    /// that there is.
    profile: Option<&'static str>,
    /// `process` or `detached`.
    owner: &'static str,
    project: String,
    /// What is written on it, by key.
    labels: BTreeMap<String, String>,
    created_at: String,
    activated_at: Option<String>,
    deactivated_at: Option<String>,
    /// The hosts that it is allowed, where it has a network of its own.
    allow: Vec<String>,
    /// What it was refused beyond them; null where that is not looked at: only `status` does.
    refusals: Option<RefusalsDto>,
    /// The ports that are leased to it.
    ports: Vec<PortDto>,
    usage: UsageDto,
    /// What it has used since it was made; null where that is not looked at: only `status` does.
    totals: Option<TotalsDto>,
    /// Its processes, each after its parent; null where `totals` is.
    processes: Option<Vec<ProcessDto>>,
    /// What of the network is to be had: `host`, `none` or `private`; null before it is known.
    network: Option<&'static str>,
    /// The limits that hold since it was last activated.
    limits: Vec<LimitDto>,
    /// What of the settings had to be given up, each a sentence for people.
    degraded: Vec<String>,
    /// Why it failed.
    error: Option<String>,
    /// Its latest runs, oldest first; null where they are not looked at: only `status` does.
    runs: Option<Vec<RunDto>>,
    /// When its time is over.
    ends_at: Option<String>,
    /// The operation that failed last and changed nothing; only of one environment.
    last_failure: Option<FailureDto>,
}

/// An operation that failed.
#[derive(Debug, Serialize)]
struct FailureDto {
    operation: String,
    /// As the log has it.
    id: String,
    time: String,
    message: String,
}

impl From<Failure> for FailureDto {
    fn from(failure: Failure) -> Self {
        let Failure {
            operation,
            id,
            time,
            message,
        } = failure;
        Self {
            operation,
            id,
            time: time.to_string(),
            message,
        }
    }
}

/// What an environment was refused.
#[derive(Debug, Serialize)]
struct RefusalsDto {
    /// How many times, since it was made.
    total: u64,
    /// The latest ones, oldest first.
    latest: Vec<RefusalDto>,
}

/// One refusal.
#[derive(Debug, Serialize)]
struct RefusalDto {
    time: String,
    host: String,
    port: u16,
    /// `not_allowed`, or `local_address`: the name leads to the machine or its network.
    reason: &'static str,
    /// Where the name leads, when that is the reason.
    address: Option<String>,
}

/// How many refusals a report has.
const LATEST: usize = 100;

impl From<&Refusals> for RefusalsDto {
    fn from(refusals: &Refusals) -> Self {
        let latest = refusals.latest.iter().rev().take(LATEST).rev();
        Self {
            total: refusals.total,
            latest: latest
                .map(|refusal| RefusalDto {
                    time: refusal.time.clone(),
                    host: refusal.host.clone(),
                    port: refusal.port,
                    reason: refusal.reason.as_str(),
                    address: refusal.address.map(|address| address.to_string()),
                })
                .collect(),
        }
    }
}

/// What an environment uses now.
#[derive(Debug, Serialize)]
struct UsageDto {
    cpu_seconds: f64,
    /// How many processors were busy in the last second; null where that is not looked at: only `top` does.
    cpus: Option<f64>,
    memory_bytes: u64,
    /// The most that it was, as far as it was seen; null where nothing runs.
    memory_peak_bytes: Option<u64>,
    /// Where the figures of memory are from: `control_group` counts files in memory too, and shared pages once;
    /// `processes` is a sum over them.
    memory_source: &'static str,
    /// Read from disks.
    read_bytes: u64,
    /// Written to disks.
    written_bytes: u64,
    /// What arrived through the network, where that is its own.
    network_received_bytes: Option<u64>,
    /// What was sent through it.
    network_sent_bytes: Option<u64>,
    /// What it alone takes; null where that is not measured: only `status` does.
    disk_bytes: Option<u64>,
    /// The files of its layers, which others may have too; null where `disk_bytes` is.
    shared_bytes: Option<u64>,
    processes: u32,
}

/// What an environment has used since it was made, in all its activations.
#[derive(Debug, Serialize)]
pub(crate) struct TotalsDto {
    cpu_seconds: f64,
    memory_peak_bytes: u64,
    /// Read from disks.
    read_bytes: u64,
    /// Written to disks.
    written_bytes: u64,
    /// What arrived through the network, where that was its own.
    network_received_bytes: Option<u64>,
    /// What was sent through it.
    network_sent_bytes: Option<u64>,
}

impl From<Totals> for TotalsDto {
    fn from(totals: Totals) -> Self {
        Self {
            cpu_seconds: totals.cpu.as_secs_f64(),
            memory_peak_bytes: totals.memory_peak,
            read_bytes: totals.read,
            written_bytes: totals.written,
            network_received_bytes: totals.traffic.map(|traffic| traffic.received),
            network_sent_bytes: totals.traffic.map(|traffic| traffic.sent),
        }
    }
}

impl TotalsDto {
    pub(crate) fn samples() -> Vec<Self> {
        let bare = || Self {
            cpu_seconds: 0.5,
            memory_peak_bytes: 1,
            read_bytes: 1,
            written_bytes: 1,
            network_received_bytes: None,
            network_sent_bytes: None,
        };
        let full = Self {
            network_received_bytes: Some(1),
            network_sent_bytes: Some(1),
            ..bare()
        };
        vec![bare(), full]
    }
}

/// A process of an environment.
#[derive(Debug, Serialize)]
struct ProcessDto {
    /// Its id, as the environment sees it.
    pid: i32,
    /// Its parent's; null for one that ptest started, or whose parent has ended.
    parent: Option<i32>,
    command: String,
    /// The letter of its state, as `ps` writes it.
    state: String,
    threads: u32,
    cpu_seconds: f64,
    /// Resident memory; what processes share counts in each.
    memory_bytes: u64,
}

impl From<&Listed> for ProcessDto {
    fn from(process: &Listed) -> Self {
        Self {
            pid: process.pid,
            parent: process.parent,
            command: process.command.clone(),
            state: process.state.to_string(),
            threads: process.threads,
            cpu_seconds: process.cpu.as_secs_f64(),
            memory_bytes: process.memory,
        }
    }
}

/// A limit of an environment.
#[derive(Debug, Serialize)]
struct LimitDto {
    /// `memory`, `file-size` and `disk` are in bytes, `cpus` in thousandths, `cpu-time` in milliseconds.
    limit: &'static str,
    value: u64,
    /// `enforced` by the kernel, `watched` by ptest, or `none`.
    strength: &'static str,
}

impl EnvironmentsReport {
    /// Environments, each as it is now.
    pub fn new(statuses: Vec<Status>) -> Self {
        Self {
            environments: statuses.into_iter().map(Into::into).collect(),
        }
    }
}

impl EnvironmentsReport {
    /// The same with how many processors each keeps busy.
    #[must_use]
    pub fn with_cpus(mut self, cpus: &[f64]) -> Self {
        for (environment, cpus) in self.environments.iter_mut().zip(cpus) {
            environment.usage.cpus = Some(*cpus);
        }
        self
    }
}

/// All that `status` tells of an environment.
pub struct Known {
    /// What it is doing now.
    pub status: Status,
    /// What it takes on disk.
    pub disk: Disk,
    /// What it was refused.
    pub refusals: Refusals,
    /// Its latest runs, oldest first.
    pub runs: Vec<RunRecord>,
    /// What failed last.
    pub failure: Option<Failure>,
    /// What it has used since it was made.
    pub totals: Totals,
    /// What runs in it.
    pub processes: Processes,
}

/// How many runs are told.
const LATEST_RUNS: u32 = 5;

impl Known {
    /// Asks for all of it.
    pub fn of(environment: &Environment) -> ptest::Result<Self> {
        Ok(Self {
            status: environment.status()?,
            disk: environment.disk()?,
            refusals: environment.refusals()?,
            runs: environment.runs(LATEST_RUNS)?,
            failure: environment.failure()?,
            totals: environment.totals()?,
            processes: environment.processes()?,
        })
    }
}

impl From<Known> for EnvironmentDto {
    fn from(known: Known) -> Self {
        let mut environment = Self::from(known.status);
        environment.usage.disk_bytes = Some(known.disk.private);
        environment.usage.shared_bytes = Some(known.disk.shared);
        environment.refusals = Some((&known.refusals).into());
        environment.totals = Some(known.totals.into());
        environment.processes = Some(known.processes.processes.iter().map(Into::into).collect());
        environment.runs = Some(known.runs.into_iter().map(Into::into).collect());
        environment.last_failure = known.failure.map(Into::into);
        environment
    }
}

impl From<Known> for EnvironmentReport {
    fn from(known: Known) -> Self {
        Self {
            environment: known.into(),
        }
    }
}

impl From<Status> for EnvironmentReport {
    fn from(status: Status) -> Self {
        Self {
            environment: status.into(),
        }
    }
}

impl From<Status> for EnvironmentDto {
    fn from(status: Status) -> Self {
        let Status {
            record,
            usage,
            path,
            ports,
        } = status;
        let profile = record
            .achieved
            .as_ref()
            .map(|achieved| achieved.profile)
            .or(record.settings.profile);
        let ends_at = record.ends_at();
        let Record {
            id,
            name,
            engine,
            state,
            owner,
            python,
            settings,
            achieved,
            error,
            ..
        } = record;
        Self {
            id: id.to_string(),
            name: name.map(|name| name.to_string()),
            engine,
            state: state.as_str(),
            path: path.display().to_string(),
            python: python.version.clone(),
            interpreter: python.executable.display().to_string(),
            profile: profile.map(ptest::settings::Profile::as_str),
            owner: owner.as_str(),
            project: settings.project.root.display().to_string(),
            labels: settings
                .labels
                .iter()
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect(),
            created_at: record.created_at.to_string(),
            activated_at: record.activated_at.map(|time| time.to_string()),
            deactivated_at: record.deactivated_at.map(|time| time.to_string()),
            ends_at: ends_at.map(|time| time.to_string()),
            last_failure: None,
            allow: settings.allow.iter().map(ToString::to_string).collect(),
            refusals: None,
            ports: ports.iter().map(Into::into).collect(),
            usage: UsageDto {
                cpu_seconds: usage.cpu.as_secs_f64(),
                cpus: None,
                memory_bytes: usage.memory,
                memory_peak_bytes: (usage.memory_peak > 0).then_some(usage.memory_peak),
                memory_source: usage.memory_source.as_str(),
                read_bytes: usage.read,
                written_bytes: usage.written,
                network_received_bytes: usage.traffic.map(|traffic| traffic.received),
                network_sent_bytes: usage.traffic.map(|traffic| traffic.sent),
                disk_bytes: None,
                shared_bytes: None,
                processes: usage.processes,
            },
            totals: None,
            processes: None,
            network: achieved.as_ref().map(|achieved| achieved.network.as_str()),
            limits: achieved
                .iter()
                .flat_map(|achieved| &achieved.limits)
                .map(|kept| LimitDto {
                    limit: kept.limit.as_str(),
                    value: kept.configured,
                    strength: kept.strength.as_str(),
                })
                .collect(),
            degraded: achieved
                .map(|achieved| achieved.degraded.clone())
                .unwrap_or_default(),
            error,
            runs: None,
        }
    }
}

impl EnvironmentDto {
    pub(crate) fn samples() -> Vec<Self> {
        let bare = || Self {
            id: "e0".to_owned(),
            name: None,
            engine: "virtualenv".to_owned(),
            state: "created",
            path: "/var/lib/ptest/views/web".to_owned(),
            python: "3.12.3".to_owned(),
            interpreter: "/usr/bin/python3.12".to_owned(),
            profile: None,
            owner: "detached",
            project: "/project".to_owned(),
            labels: BTreeMap::new(),
            created_at: "2026-01-01T00:00:00.000Z".to_owned(),
            activated_at: None,
            deactivated_at: None,
            ends_at: None,
            last_failure: None,
            allow: vec!["pypi.org".to_owned()],
            refusals: None,
            ports: PortDto::samples(),
            usage: UsageDto {
                cpu_seconds: 0.5,
                cpus: None,
                memory_bytes: 1,
                memory_peak_bytes: None,
                memory_source: "processes",
                read_bytes: 1,
                written_bytes: 1,
                network_received_bytes: None,
                network_sent_bytes: None,
                disk_bytes: None,
                shared_bytes: None,
                processes: 1,
            },
            totals: None,
            processes: None,
            network: None,
            limits: vec![LimitDto {
                limit: "memory",
                value: 1,
                strength: "enforced",
            }],
            degraded: vec!["there is no overlay".to_owned()],
            error: None,
            runs: None,
        };
        let time = || Some("2026-01-01T00:00:00.000Z".to_owned());
        let full = Self {
            name: Some("web".to_owned()),
            profile: Some("standard"),
            labels: BTreeMap::from([("team".to_owned(), "a".to_owned())]),
            activated_at: time(),
            deactivated_at: time(),
            ends_at: time(),
            last_failure: Some(FailureDto {
                operation: "install".to_owned(),
                id: "o0".to_owned(),
                time: "2026-01-01T00:00:00.000Z".to_owned(),
                message: "no versions satisfy the requirements".to_owned(),
            }),
            error: Some("its directory is gone".to_owned()),
            network: Some("private"),
            runs: Some(RunDto::samples()),
            totals: TotalsDto::samples().pop(),
            processes: Some(
                [None, Some(7)]
                    .map(|parent| ProcessDto {
                        pid: 7,
                        parent,
                        command: "python -m http.server".to_owned(),
                        state: "S".to_owned(),
                        threads: 1,
                        cpu_seconds: 0.5,
                        memory_bytes: 1,
                    })
                    .into(),
            ),
            refusals: Some(RefusalsDto {
                total: 2,
                latest: vec![
                    RefusalDto {
                        time: "2026-01-01T00:00:00.000Z".to_owned(),
                        host: "a.example".to_owned(),
                        port: 443,
                        reason: "local_address",
                        address: Some("10.0.0.1".to_owned()),
                    },
                    RefusalDto {
                        time: "2026-01-01T00:00:00.000Z".to_owned(),
                        host: "b.example".to_owned(),
                        port: 443,
                        reason: "not_allowed",
                        address: None,
                    },
                ],
            }),
            usage: UsageDto {
                cpus: Some(0.5),
                memory_peak_bytes: Some(1),
                network_received_bytes: Some(1),
                network_sent_bytes: Some(1),
                disk_bytes: Some(1),
                shared_bytes: Some(1),
                ..bare().usage
            },
            ..bare()
        };
        let without_network = Self {
            totals: TotalsDto::samples().into_iter().next(),
            ..bare()
        };
        vec![bare(), full, without_network]
    }
}

impl Report for EnvironmentsReport {
    const NAME: &'static str = "ptest.environments";

    fn samples() -> Vec<Self> {
        vec![Self {
            environments: EnvironmentDto::samples(),
        }]
    }
}

impl Report for EnvironmentReport {
    const NAME: &'static str = "ptest.environment";

    fn samples() -> Vec<Self> {
        EnvironmentDto::samples()
            .into_iter()
            .map(|environment| Self { environment })
            .collect()
    }
}

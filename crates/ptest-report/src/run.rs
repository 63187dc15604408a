//! Reports of runs.

use std::time::Duration;

use ptest::{
    StreamKind,
    engine::{Exit, ExitStatus},
    runs::{Outcome, Piece, RunRecord, Stream},
    settings::{Limit, Strength, Struck},
};
use serde::Serialize;

use crate::Report;

/// What `runs` writes.
#[derive(Debug, Serialize)]
pub struct RunsReport {
    runs: Vec<RunDto>,
}

/// What `logs` writes.
#[derive(Debug, Serialize)]
pub struct LogReport {
    run: RunDto,
    /// What it wrote, in the order in which it came.
    output: Vec<PieceDto>,
}

/// A piece of the output of a run.
#[derive(Debug, Serialize)]
pub struct PieceDto {
    /// `stdout` or `stderr`.
    stream: &'static str,
    /// What is not UTF-8 is replaced; null where something is not kept.
    text: Option<String>,
    /// How many bytes are not kept here.
    left_out_bytes: Option<u64>,
}

/// A run of a command in an environment.
#[derive(Debug, Serialize)]
pub(crate) struct RunDto {
    /// Its identity in the store.
    id: String,
    /// The id of its environment, which may be gone.
    environment: String,
    /// The name of the environment at that time, or its id.
    label: String,
    /// Which of that environment's runs it is: the first is 1.
    number: u32,
    /// The program and its arguments. Secrets are hidden, and what is not UTF-8 is replaced.
    command: Vec<String>,
    /// Where it started.
    directory: String,
    /// The profile that held.
    profile: Option<&'static str>,
    /// The profile asked for; null for the strongest that there is.
    profile_asked: Option<&'static str>,
    network: Option<&'static str>,
    /// The limits that held.
    limits: Vec<RunLimitDto>,
    /// The limits asked for.
    limits_asked: Vec<AskedDto>,
    timeout_seconds: Option<f64>,
    client: ClientDto,
    started_at: String,
    /// When it ended, or was found to have ended.
    ended_at: Option<String>,
    /// `active`, `ended`, `not_started` or `lost`: over, and nobody knows how.
    state: &'static str,
    /// The code that it ended with, as a shell has it: 128+N for signal N.
    exit_code: Option<i32>,
    /// The signal that ended it.
    signal: Option<i32>,
    timed_out: bool,
    /// The limit that struck.
    limit: Option<StruckDto>,
    /// How many processes it left behind.
    leaked_processes: Option<u32>,
    /// Why it did not start, or is lost.
    reason: Option<String>,
    usage: Option<RunUsageDto>,
    /// Whether its output is kept, in full or up to the setting `keep_output`.
    log: bool,
    stdout: StreamDto,
    stderr: StreamDto,
}

/// The process that ran it.
#[derive(Debug, Serialize)]
struct ClientDto {
    pid: u32,
    /// In clock ticks since boot.
    start_time: u64,
    boot_id: String,
}

/// A limit that held.
#[derive(Debug, Serialize)]
struct RunLimitDto {
    /// `memory`, `file-size` and `disk` are in bytes, `cpus` in thousandths, `cpu-time` in milliseconds.
    limit: &'static str,
    value: u64,
    strength: &'static str,
}

/// A limit that was asked for.
#[derive(Debug, Serialize)]
struct AskedDto {
    limit: &'static str,
    value: u64,
}

/// A limit that struck.
#[derive(Debug, Serialize)]
struct StruckDto {
    limit: &'static str,
    configured: u64,
    reached: u64,
    /// Whether the command was ended for it; else it was refused something.
    ended: bool,
}

/// How a command ended.
#[derive(Debug, Serialize)]
pub struct ExitDto {
    /// Null for one that a signal ended.
    code: Option<i32>,
    /// The signal that ended it.
    signal: Option<i32>,
    timed_out: bool,
    /// The limit that struck.
    limit: Option<StruckDto>,
    /// How many processes it left behind.
    leaked_processes: u32,
    usage: RunUsageDto,
}

impl From<&Exit> for ExitDto {
    fn from(exit: &Exit) -> Self {
        let (code, signal) = match exit.status {
            ExitStatus::Code(code) => (Some(code), None),
            ExitStatus::Signal(signal) => (None, Some(signal)),
        };
        Self {
            code,
            signal,
            timed_out: exit.timed_out,
            limit: exit.struck.as_ref().map(Into::into),
            leaked_processes: exit.leaked,
            usage: exit.into(),
        }
    }
}

impl From<&Struck> for StruckDto {
    fn from(struck: &Struck) -> Self {
        Self {
            limit: struck.limit.as_str(),
            configured: struck.configured,
            reached: struck.reached,
            ended: struck.ended,
        }
    }
}

/// What a run used.
#[derive(Debug, Serialize)]
struct RunUsageDto {
    elapsed_seconds: f64,
    user_seconds: f64,
    system_seconds: f64,
    memory_peak_bytes: u64,
    read_bytes: u64,
    written_bytes: u64,
}

/// A stream that a run wrote.
#[derive(Debug, Serialize)]
struct StreamDto {
    /// `null`, `terminal`, `pipe`, `socket`, `file`, `device`, `taken` (by ptest, which keeps some of it) or `other`.
    destination: &'static str,
    /// The file or device.
    path: Option<String>,
    /// How many bytes came; null where ptest did not take them.
    bytes: Option<u64>,
    /// How many of them are kept nowhere.
    dropped_bytes: u64,
}

impl RunsReport {
    /// Runs, oldest first.
    pub fn new(runs: Vec<RunRecord>) -> Self {
        Self {
            runs: runs.into_iter().map(Into::into).collect(),
        }
    }
}

impl LogReport {
    /// A run with what it wrote.
    pub fn new(run: RunRecord, pieces: Vec<Piece>) -> Self {
        let mut whole: Vec<Piece> = Vec::new();
        for piece in pieces {
            match (whole.last_mut(), piece) {
                // A character may be in both.
                (Some(Piece::Bytes(kind, bytes)), Piece::Bytes(next, more)) if *kind == next => {
                    bytes.extend(more);
                }
                (_, piece) => whole.push(piece),
            }
        }
        Self {
            run: run.into(),
            output: whole.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Piece> for PieceDto {
    fn from(piece: Piece) -> Self {
        let name = |kind| match kind {
            StreamKind::Stdout => "stdout",
            StreamKind::Stderr => "stderr",
        };
        match piece {
            Piece::Bytes(kind, bytes) => Self {
                stream: name(kind),
                text: Some(String::from_utf8_lossy(&bytes).into_owned()),
                left_out_bytes: None,
            },
            Piece::LeftOut(kind, count) => Self {
                stream: name(kind),
                text: None,
                left_out_bytes: Some(count),
            },
        }
    }
}

impl From<RunRecord> for RunDto {
    fn from(run: RunRecord) -> Self {
        let exit = run.outcome.as_ref().and_then(Outcome::exit);
        let conditions = &run.conditions;
        Self {
            id: run.id.to_string(),
            environment: run.environment.to_string(),
            label: run.label,
            number: run.number,
            command: run
                .arguments
                .iter()
                .map(|argument| argument.to_string_lossy().into_owned())
                .collect(),
            directory: run.directory.display().to_string(),
            profile: conditions.profile.map(ptest::settings::Profile::as_str),
            profile_asked: conditions
                .profile_asked
                .map(ptest::settings::Profile::as_str),
            network: conditions.network.map(ptest::settings::Network::as_str),
            limits: conditions
                .limits
                .iter()
                .map(|kept| RunLimitDto {
                    limit: kept.limit.as_str(),
                    value: kept.configured,
                    strength: kept.strength.as_str(),
                })
                .collect(),
            limits_asked: conditions
                .limits_asked
                .asked()
                .into_iter()
                .map(|(limit, value)| AskedDto {
                    limit: limit.as_str(),
                    value,
                })
                .collect(),
            timeout_seconds: conditions.timeout.as_ref().map(Duration::as_secs_f64),
            client: ClientDto {
                pid: run.client.pid,
                start_time: run.client.start_time,
                boot_id: run.client.boot_id,
            },
            started_at: run.started_at.to_string(),
            ended_at: run.ended_at.map(|time| time.to_string()),
            state: state(run.outcome.as_ref()),
            exit_code: exit.map(|exit| exit.status.shell_code()),
            signal: exit.and_then(|exit| match exit.status {
                ExitStatus::Signal(signal) => Some(signal),
                ExitStatus::Code(_) => None,
            }),
            timed_out: exit.is_some_and(|exit| exit.timed_out),
            limit: exit.and_then(|exit| exit.struck.as_ref()).map(Into::into),
            leaked_processes: exit.map(|exit| exit.leaked),
            usage: exit.map(Into::into),
            log: run.streams.log,
            stdout: (&run.streams.stdout).into(),
            stderr: (&run.streams.stderr).into(),
            reason: match run.outcome {
                Some(Outcome::NotStarted { why } | Outcome::Lost { why }) => Some(why),
                Some(Outcome::Ended(_)) | None => None,
            },
        }
    }
}

fn state(outcome: Option<&Outcome>) -> &'static str {
    match outcome {
        None => "active",
        Some(Outcome::Ended(_)) => "ended",
        Some(Outcome::NotStarted { .. }) => "not_started",
        Some(Outcome::Lost { .. }) => "lost",
    }
}

impl From<&Exit> for RunUsageDto {
    fn from(exit: &Exit) -> Self {
        let usage = &exit.usage;
        Self {
            elapsed_seconds: usage.elapsed.as_secs_f64(),
            user_seconds: usage.user.as_secs_f64(),
            system_seconds: usage.system.as_secs_f64(),
            memory_peak_bytes: usage.memory_peak,
            read_bytes: usage.read,
            written_bytes: usage.written,
        }
    }
}

impl From<&Stream> for StreamDto {
    fn from(stream: &Stream) -> Self {
        Self {
            destination: stream.destination.as_str(),
            path: stream
                .destination
                .path()
                .map(|path| path.display().to_string()),
            bytes: stream.total,
            dropped_bytes: stream.dropped(),
        }
    }
}

impl RunDto {
    pub(crate) fn samples() -> Vec<Self> {
        let time = || "2026-01-01T00:00:00.000Z".to_owned();
        let stream = || StreamDto {
            destination: "pipe",
            path: None,
            bytes: None,
            dropped_bytes: 0,
        };
        let bare = || Self {
            id: "r17".to_owned(),
            environment: "e0".to_owned(),
            label: "web".to_owned(),
            number: 3,
            command: vec!["pytest".to_owned()],
            directory: "/project".to_owned(),
            profile: None,
            profile_asked: None,
            network: None,
            limits: vec![RunLimitDto {
                limit: Limit::Memory.as_str(),
                value: 1,
                strength: Strength::Enforced.as_str(),
            }],
            limits_asked: vec![AskedDto {
                limit: Limit::Memory.as_str(),
                value: 1,
            }],
            timeout_seconds: None,
            client: ClientDto {
                pid: 1,
                start_time: 1,
                boot_id: "0".to_owned(),
            },
            started_at: time(),
            ended_at: None,
            state: "active",
            exit_code: None,
            signal: None,
            timed_out: false,
            limit: None,
            leaked_processes: None,
            reason: None,
            usage: None,
            log: true,
            stdout: stream(),
            stderr: stream(),
        };
        let full = Self {
            profile: Some("standard"),
            profile_asked: Some("standard"),
            network: Some("host"),
            timeout_seconds: Some(0.5),
            ended_at: Some(time()),
            exit_code: Some(137),
            signal: Some(9),
            limit: Some(StruckDto {
                limit: "memory",
                configured: 1,
                reached: 1,
                ended: true,
            }),
            leaked_processes: Some(0),
            reason: Some("the process that waited for it died".to_owned()),
            usage: Some(RunUsageDto {
                elapsed_seconds: 0.5,
                user_seconds: 0.5,
                system_seconds: 0.5,
                memory_peak_bytes: 1,
                read_bytes: 1,
                written_bytes: 1,
            }),
            stdout: StreamDto {
                path: Some("/x".to_owned()),
                bytes: Some(1),
                ..stream()
            },
            stderr: StreamDto {
                path: Some("/x".to_owned()),
                bytes: Some(1),
                ..stream()
            },
            ..bare()
        };
        vec![bare(), full]
    }
}

impl Report for RunsReport {
    const NAME: &'static str = "ptest.runs";

    fn samples() -> Vec<Self> {
        vec![Self {
            runs: RunDto::samples(),
        }]
    }
}

impl Report for LogReport {
    const NAME: &'static str = "ptest.log";

    fn samples() -> Vec<Self> {
        let pieces = || {
            vec![
                Piece::Bytes(StreamKind::Stdout, b"text".to_vec()),
                Piece::LeftOut(StreamKind::Stdout, 1),
            ]
        };
        RunDto::samples()
            .into_iter()
            .map(|run| Self {
                run,
                output: pieces().into_iter().map(Into::into).collect(),
            })
            .collect()
    }
}

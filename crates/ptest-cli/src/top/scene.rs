//! A made-up moment of a busy machine, always the same: for the pictures in the documentation, and for tests.

use std::time::Duration;

use ptest::engine::{Listed, Processes, Traffic, Usage};
use ptest::environment::{EnvironmentId, State as Life};
use ptest::monitor::{Point, Stats, Totals};
use ptest::settings::{Kept, Limit, Strength};
use ptest::timestamp::Timestamp;

use super::state::{Entry, News, Snapshot, State};

/// 2026-03-02, some time before noon.
const NOW: i64 = 1_772_448_251_000;
const MIB: u64 = 1 << 20;
const SECONDS: u32 = 120;

/// A view that has been open for a while.
pub(crate) fn view() -> State {
    let mut state = State::default();
    let mut see = |snapshot| drop(state.hear(News::Seen(snapshot)));
    see(snapshot(0, true));
    // Of the selected one, processes are seen next, and how busy they are after that.
    see(snapshot(1, false));
    see(snapshot(2, false));
    state
}

/// What is seen after some seconds.
pub(super) fn snapshot(second: u32, with_history: bool) -> Snapshot {
    let entries: Vec<Entry> = (0..ENVIRONMENTS.len())
        .map(|number| entry(number, second))
        .collect();
    let history = entries
        .iter()
        .enumerate()
        .filter(|(_, entry)| with_history && entry.state == Life::Active)
        .map(|(number, entry)| {
            let values = (0..SECONDS).map(|past| load(number, past)).collect();
            (entry.id.clone(), values)
        });
    Snapshot {
        time: after(second),
        history: history.collect(),
        processes: Some((id(0), processes(second))),
        entries,
    }
}

/// What one of them has used in ten minutes.
pub(crate) fn stats() -> Stats {
    let points: Vec<Point> = (0..600)
        .filter(|second| !(210..250).contains(second))
        .map(|second| {
            let (cpus, memory) = load(usize::from(second > 330), second);
            Point {
                time: Timestamp::from_millisecond(NOW - 600_000 + i64::from(second) * 1_000),
                cpus,
                memory,
                memory_most: memory,
                processes: if second > 250 { 5.0 } else { 2.0 },
                processes_most: 5,
                read: u64::from(second % 97 < 6) * 3 * MIB,
                written: u64::from(second % 41 < 9) * MIB,
                traffic: Some(Traffic {
                    received: u64::from(second % 29 < 20) * 70_000,
                    sent: 9_000,
                }),
                disk: None,
            }
        })
        .collect();
    Stats {
        from: Timestamp::from_millisecond(NOW - 600_000),
        to: Timestamp::from_millisecond(NOW),
        resolution: Duration::from_secs(1),
        points,
        totals: Totals {
            cpu: Duration::from_millis(452_310),
            memory_peak: 331 * MIB,
            ..Totals::default()
        },
    }
}

/// Name, state, age in minutes, processes.
const ENVIRONMENTS: [(&str, Life, i64, u32); 7] = [
    ("api-tests", Life::Active, 12, 5),
    ("docs-build", Life::Active, 3, 2),
    ("matrix-3.12-django5", Life::Active, 41, 3),
    ("matrix-3.13-django5", Life::Active, 41, 3),
    ("web", Life::Active, 2_900, 1),
    ("nightly", Life::Inactive, 500, 0),
    ("scratch", Life::Created, 9, 0),
];

fn entry(number: usize, second: u32) -> Entry {
    let (label, state, minutes, processes) = ENVIRONMENTS[number];
    let is_active = state == Life::Active;
    let (cpus, memory) = load(number, SECONDS + second);
    let cpu = Duration::from_mins(5).mul_f64(1.0 + number as f64)
        + Duration::from_secs_f64(cpus * f64::from(second));
    let usage = Usage {
        cpu,
        memory,
        memory_peak: memory + 31 * MIB,
        processes,
        read: u64::from(second) * 412_000 * number as u64,
        written: u64::from(second) * 1_270_000,
        ..Usage::default()
    };
    let limit = Kept {
        limit: Limit::Memory,
        configured: 512 * MIB,
        strength: Strength::Enforced,
    };
    Entry {
        id: id(number),
        label: label.to_owned(),
        state,
        usage: if is_active { usage } else { Usage::default() },
        limits: if is_active { vec![limit] } else { Vec::new() },
        created_at: Timestamp::from_millisecond(NOW - minutes * 60_000),
    }
}

pub(super) fn id(number: usize) -> EnvironmentId {
    EnvironmentId::from_random([number as u8; 16])
}

/// Processors and memory of an environment in some second.
fn load(number: usize, second: u32) -> (f64, u64) {
    let phase = f64::from(second) / (9.0 + 4.0 * number as f64);
    let wave = phase.sin() * 0.5 + 0.5;
    let busy = match number {
        0 => 0.7 + wave * 0.9,
        1 => wave * wave * 0.95,
        2 | 3 => 0.15 + wave * 0.3,
        _ => 0.004,
    };
    let memory = match number {
        0 => 180.0 + 120.0 * (f64::from(second % 60) / 60.0),
        1 => 60.0 + 90.0 * wave,
        2 | 3 => 45.0 + 12.0 * wave,
        _ => 23.5,
    };
    (busy, (memory * MIB as f64) as u64)
}

fn processes(second: u32) -> Processes {
    let list = [
        (2, None, "python -m pytest -n 3 tests/", 0.31, 61, 'S', 2),
        (
            9,
            Some(2),
            "python -c from execnet … worker gw0",
            0.62,
            74,
            'R',
            1,
        ),
        (
            10,
            Some(2),
            "python -c from execnet … worker gw1",
            0.58,
            71,
            'R',
            1,
        ),
        (31, Some(10), "postgres -D /ptest/home/db", 0.02, 19, 'S', 4),
        (
            11,
            Some(2),
            "python -c from execnet … worker gw2",
            0.04,
            70,
            'S',
            1,
        ),
    ];
    let listed = list.map(
        |(pid, parent, command, cpus, memory, state, threads)| Listed {
            pid,
            parent,
            started: 1_000 + u64::from(pid.unsigned_abs()),
            state,
            threads,
            cpu: Duration::from_secs(pid.unsigned_abs().into())
                + Duration::from_secs_f64(cpus * f64::from(second)),
            memory: memory * MIB,
            command: command.to_owned(),
        },
    );
    Processes {
        processes: listed.into(),
        left_out: 0,
    }
}

fn after(second: u32) -> Timestamp {
    Timestamp::from_millisecond(NOW + i64::from(second) * 1_000)
}

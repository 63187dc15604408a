//! What an instance uses and does, from the sandbox's words into those of engines.

use ptest_sandbox as sandbox;
use ptest_sandbox::ring::Reader;

use crate::engine::{Listed, Meter, Processes, Sample, Samples, Seen, Traffic, Usage};
use crate::error::{Error, Result};
use crate::timestamp::Timestamp;

pub(super) fn usage(usage: sandbox::Usage) -> Usage {
    Usage {
        cpu: usage.cpu_time,
        memory: usage.memory_bytes,
        memory_peak: usage.peak_memory_bytes,
        memory_source: match usage.memory_source {
            sandbox::Meter::ControlGroup => Meter::ControlGroup,
            sandbox::Meter::Processes => Meter::Processes,
        },
        processes: usage.processes,
        read: usage.read_bytes,
        written: usage.written_bytes,
        traffic: usage.traffic.map(traffic),
    }
}

pub(super) fn samples(ring: &Reader, seen: Option<Seen>) -> Result<Samples> {
    let series = ring.number();
    let seen = seen.filter(|seen| seen.series == series);
    let samples = ring
        .after(seen.map_or(0, |seen| seen.sequence))
        .map_err(|source| Error::io("read the record of what was used", source))?;
    Ok(Samples {
        series,
        samples: samples.into_iter().map(sample).collect(),
    })
}

fn sample(sample: sandbox::ring::Sample) -> Sample {
    Sample {
        sequence: sample.sequence,
        time: Timestamp::from_millisecond(
            i64::try_from(sample.time.as_millis()).unwrap_or(i64::MAX),
        ),
        cpu: sample.cpu_time,
        memory: sample.memory_bytes,
        memory_peak: sample.peak_memory_bytes,
        processes: sample.processes,
        read: sample.read_bytes,
        written: sample.written_bytes,
        traffic: sample.traffic.map(traffic),
        disk: sample.disk_bytes,
    }
}

fn traffic(traffic: sandbox::Traffic) -> Traffic {
    Traffic {
        received: traffic.received_bytes,
        sent: traffic.sent_bytes,
    }
}

pub(super) fn processes(listing: sandbox::Listing) -> Processes {
    let processes = listing.processes.into_iter().map(|process| Listed {
        pid: process.pid,
        parent: process.parent,
        started: process.started,
        state: process.state,
        threads: process.threads,
        cpu: process.cpu_time,
        memory: process.memory_bytes,
        command: process.command,
    });
    Processes {
        processes: processes.collect(),
        left_out: listing.left_out,
    }
}

/// The same process, back in the sandbox's words.
pub(super) fn listed(process: &Listed) -> sandbox::Listed {
    sandbox::Listed {
        pid: process.pid,
        parent: process.parent,
        started: process.started,
        state: process.state,
        threads: process.threads,
        cpu_time: process.cpu,
        memory_bytes: process.memory,
        command: process.command.clone(),
    }
}

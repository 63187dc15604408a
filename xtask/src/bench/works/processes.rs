//! Works about processes: how soon a thousand of them are gone, how fast their output is taken, what the machine's mounts cost.

use super::{Work, by_library};
use crate::bench::Bench;
use crate::bench::clock::Contender;
use crate::bench::library::MOUNTS;

pub(super) fn all(bench: &Bench) -> Vec<Work<'_>> {
    if bench.ptest.is_none() {
        return Vec::new();
    }
    vec![endings(bench), output(bench), mounts(bench)]
}

fn endings(bench: &Bench) -> Work<'_> {
    let ways = [
        ("after a timeout", "timeout"),
        ("by deactivate", "stop"),
        ("after init was killed", "kill"),
    ];
    let of = |(name, way)| by_library(bench, name, format!("end-by-{way} empty"));
    Work {
        key: "endings",
        title: String::from("A thousand processes are gone"),
        rounds: bench.rounds(10),
        contenders: ways.into_iter().filter_map(of).collect(),
    }
}

fn output(bench: &Bench) -> Work<'_> {
    let works = [
        ("ptest library, kept in part", "take empty"),
        ("a bare pipe, thrown away", "take-bare empty"),
    ];
    let of = |(name, work): (&'static str, &str)| by_library(bench, name, work.to_owned());
    Work {
        key: "output",
        title: String::from("Take a gigabyte of output"),
        rounds: bench.rounds(10),
        contenders: works.into_iter().filter_map(of).collect(),
    }
}

/// Each mount of the machine is one in the sandbox too, and has to be made read-only or be left out.
fn mounts(bench: &Bench) -> Work<'_> {
    let mut contenders = Vec::new();
    for kind in ["standard", "strict"] {
        let work = format!("isolation-launch {kind}");
        contenders.extend(by_library(bench, kind, work.clone()));
        if let Some(crowded) = &bench.crowded {
            contenders.push(Contender::new(
                format!("{kind}, {MOUNTS} mounts more"),
                move |_| crowded.time(&work),
            ));
        }
    }
    Work {
        key: "mounts",
        title: String::from("A sandbox on 128 layers is ready, on a machine with many mounts"),
        rounds: bench.rounds(20),
        contenders,
    }
}

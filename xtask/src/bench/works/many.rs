//! Works about many environments at once.

use super::{Work, by_library};
use crate::bench::clock::Contender;
use crate::bench::{Bench, Ptest};

pub(super) fn all(bench: &Bench) -> Vec<Work<'_>> {
    let mut works = vec![list(bench), create_many(bench), recover(bench)];
    works.extend(storms(bench));
    works
}

fn list(bench: &Bench) -> Work<'_> {
    let count = if bench.quick { 100 } else { 10_000 };
    let mut contenders = Vec::new();
    if let Some(Ptest { library, .. }) = &bench.ptest {
        contenders.push(Contender::new("ptest library", move |_| {
            library.time(&format!("list {count}"))
        }));
    }
    Work {
        key: "list",
        title: format!("List {count} environments"),
        rounds: bench.rounds(20),
        contenders,
    }
}

/// From the command line, and the call alone.
fn create_many(bench: &Bench) -> Work<'_> {
    let mut contenders = Vec::new();
    if let Some(Ptest { program, .. }) = &bench.ptest {
        contenders.push(Contender::new("ptest create --count 1000", move |_| {
            program.time_create_many(1000)
        }));
    }
    contenders.extend(by_library(
        bench,
        "ptest library",
        "create-many empty".to_owned(),
    ));
    Work {
        key: "create-many",
        title: String::from("Create 1000 environments with one call: empty"),
        rounds: bench.rounds(5),
        contenders,
    }
}

/// Deleting what was thrown away is not measured: nobody waits for it.
fn recover(bench: &Bench) -> Work<'_> {
    let contenders = by_library(bench, "ptest library", "recover empty".to_owned());
    Work {
        key: "recover",
        title: String::from("Open a store after a process died that 1000 environments lived for"),
        rounds: bench.rounds(5),
        contenders: contenders.into_iter().collect(),
    }
}

/// Many environments at once: how much one operation holds up another.
fn storms(bench: &Bench) -> Vec<Work<'_>> {
    let Some(Ptest { library, .. }) = &bench.ptest else {
        return Vec::new();
    };
    [("storm", "remove"), ("storm-active", "activate and remove")]
        .into_iter()
        .map(|(key, and)| Work {
            key,
            title: format!("Create, {and} 1000 environments, 32 at once: empty"),
            rounds: bench.rounds(5),
            contenders: vec![Contender::new("ptest library", move |_| {
                library.time(&format!("{key} empty"))
            })],
        })
        .collect()
}

//! The works that are measured, and who takes part in each. One function a work; each round leaves nothing to the next.

mod many;
mod processes;
pub(crate) mod python;

use std::process::Command;

use super::clock::{self, Contender};
use super::matrix::Tests;
use super::peers::{self, LINK_MODES};
use super::sets::{self, Set};
use super::{Bench, Ptest};

/// A work and its contenders; the first is what the others are compared with.
pub(crate) struct Work<'a> {
    pub(crate) key: &'static str,
    pub(crate) title: String,
    pub(crate) rounds: usize,
    pub(crate) contenders: Vec<Contender<'a>>,
}

/// Every work, in the order of the report.
pub(crate) fn all(bench: &Bench) -> Vec<Work<'_>> {
    let mut works = vec![start_up(bench)];
    for set in bench.sets() {
        works.push(create(bench, set));
    }
    if let Some(set) = bench.sets().last() {
        works.push(combination(bench, set));
    }
    for set in bench.sets() {
        works.push(first_result(bench, set));
    }
    if let Some(set) = bench.sets().last() {
        works.extend([
            activate(bench, set),
            exec(bench, set),
            remove(bench, set),
            remove_active(bench, set),
            status(bench, set),
            sample(bench, set),
        ]);
    }
    works.extend([fork(bench), restore(bench)]);
    works.push(snapshot(bench));
    for set in bench.sets().iter().filter(|set| set.lock.is_some()) {
        works.push(imports(bench, set));
    }
    if let Some(set) = bench.sets().last() {
        works.extend([commit(bench, set), pack(bench, set), unpack(bench, set)]);
    }
    works.extend(isolation(bench));
    works.extend(depth(bench));
    works.extend(processes::all(bench));
    works.extend(many::all(bench));
    works.extend([port(bench), event(bench)]);
    works.extend(matrices(bench));
    works.extend(python::all(bench));
    works
}

fn start_up(bench: &Bench) -> Work<'_> {
    let peers = &bench.peers;
    let mut contenders = Vec::new();
    if let Some(Ptest { program, .. }) = &bench.ptest {
        contenders.push(command("ptest --version", move || {
            program.command(&["--version"])
        }));
    }
    contenders.push(command("uv --version", || peers.bare_uv(&["--version"])));
    contenders.push(command("virtualenv --version", || {
        peers.virtualenv(&["--version"])
    }));
    contenders.push(command("pip --version", || {
        peers.bare_python(&["-m", "pip", "--version"])
    }));
    contenders.push(command("true", || Command::new("true")));
    Work {
        key: "start-up",
        title: String::from("Start-up"),
        rounds: bench.rounds(40),
        contenders,
    }
}

fn create<'a>(bench: &'a Bench, set: &'a Set) -> Work<'a> {
    let peers = &bench.peers;
    let mut contenders = Vec::new();
    if let Some(Ptest {
        program, library, ..
    }) = &bench.ptest
    {
        contenders.push(Contender::new("ptest create", move |_| {
            program.time_create(set)
        }));
        contenders.push(Contender::new("ptest library", move |_| {
            library.time(&format!("create {}", set.name))
        }));
    }
    for mode in LINK_MODES {
        // Without distributions the modes do not differ.
        if set.lock.is_some() || mode == LINK_MODES[0] {
            let name = if set.lock.is_some() {
                format!("uv venv + pip install, {mode}")
            } else {
                String::from("uv venv")
            };
            contenders.push(Contender::new(name, move |_| {
                peers.create_with_uv(mode, set)
            }));
        }
    }
    let (rounds, slow) = if set.size > 50 { (10, 1) } else { (20, 3) };
    for (name, virtualenv) in [("venv", false), ("virtualenv", true)] {
        let name = if set.lock.is_some() {
            format!("{name} + pip install")
        } else {
            name.to_owned()
        };
        contenders.push(
            Contender::new(name, move |_| peers.create_with_pip(virtualenv, set))
                .at_most(bench.rounds(slow)),
        );
    }
    let key = match set.name {
        "empty" => "create-empty",
        "web" => "create-web",
        _ => "create-science",
    };
    Work {
        key,
        title: format!("Create from a known recipe: {}", describe(set)),
        rounds: bench.rounds(rounds),
        contenders,
    }
}

fn combination<'a>(bench: &'a Bench, set: &'a Set) -> Work<'a> {
    let peers = &bench.peers;
    let mut contenders = Vec::new();
    if let Some(lock) = &set.lock {
        if let Some(Ptest { program, .. }) = &bench.ptest {
            contenders.push(Contender::new("ptest run", move |round| {
                clock::time(&mut [
                    program.run_combination(&sets::combination(&set.requirements, round), lock)
                ])
            }));
        }
        for mode in LINK_MODES {
            contenders.push(Contender::new(
                format!("uv venv + pip install + python, {mode}"),
                move |round| {
                    peers.first_result_of_combination(
                        mode,
                        &sets::combination(&set.requirements, round),
                        lock,
                    )
                },
            ));
        }
        contenders.push(Contender::new("the resolver alone", move |round| {
            peers.resolve(&sets::combination(&set.requirements, round), lock)
        }));
        contenders.push(command("bare python -c pass", || {
            peers.bare_python(&["-c", "pass"])
        }));
    }
    Work {
        key: "combination",
        title: format!(
            "First result of a new combination of known distributions: {}",
            describe(set)
        ),
        rounds: bench.rounds(10),
        contenders,
    }
}

fn first_result<'a>(bench: &'a Bench, set: &'a Set) -> Work<'a> {
    let peers = &bench.peers;
    let mut contenders = Vec::new();
    if let Some(Ptest { program, .. }) = &bench.ptest {
        contenders.push(command("ptest run", move || program.run(set)));
    }
    contenders.push(command("uv run", move || peers.uv_run(set)));
    contenders.push(command("bare python -c pass", || {
        peers.bare_python(&["-c", "pass"])
    }));
    Work {
        key: match set.name {
            "empty" => "run-empty",
            "web" => "run-web",
            _ => "run-science",
        },
        title: format!(
            "First result of `run … python -c pass`, known recipe: {}",
            describe(set)
        ),
        rounds: bench.rounds(20),
        contenders,
    }
}

fn activate<'a>(bench: &'a Bench, set: &'a Set) -> Work<'a> {
    let mut contenders = Vec::new();
    if let Some(Ptest {
        program, library, ..
    }) = &bench.ptest
    {
        contenders.push(Contender::new("ptest activate", move |_| {
            program.time_activate(set)
        }));
        contenders.push(Contender::new("ptest library", move |_| {
            library.time(&format!("activate {}", set.name))
        }));
    }
    contenders.extend(bubblewrap(
        bench,
        &["true"],
        "bubblewrap … true (no layers)",
    ));
    Work {
        key: "activate",
        title: format!("Activate: {}", describe(set)),
        rounds: bench.rounds(20),
        contenders,
    }
}

fn exec<'a>(bench: &'a Bench, set: &'a Set) -> Work<'a> {
    let peers = &bench.peers;
    let mut contenders = Vec::new();
    if let Some(Ptest {
        program, library, ..
    }) = &bench.ptest
    {
        let mut name = None;
        contenders.push(Contender::new("ptest exec … true", move |_| {
            let name = match &name {
                Some(name) => name,
                None => name.insert(program.active(set)?),
            };
            clock::time(&mut [program.command(&["exec", name, "--", "true"])])
        }));
        contenders.push(Contender::new("ptest library", move |_| {
            library.time(&format!("exec {}", set.name))
        }));
    }
    contenders.push(command("true", || Command::new("true")));
    contenders.extend(bubblewrap(bench, &["true"], "bubblewrap … true"));
    let mut environment = None;
    contenders.push(Contender::new("uv run --python … true", move |_| {
        let path = match &environment {
            Some(path) => path,
            None => environment.insert(peers.environment("hardlink", set)?),
        };
        let mut run = peers.bare_uv(&["run", "--quiet", "--no-project", "--offline", "--python"]);
        run.arg(path).args(["--", "true"]);
        clock::time(&mut [run])
    }));
    Work {
        key: "exec",
        title: String::from("Exec in an active environment"),
        rounds: bench.rounds(40),
        contenders,
    }
}

fn remove<'a>(bench: &'a Bench, set: &'a Set) -> Work<'a> {
    let peers = &bench.peers;
    let mut contenders = Vec::new();
    if let Some(Ptest {
        program, library, ..
    }) = &bench.ptest
    {
        contenders.push(Contender::new("ptest remove", move |_| {
            program.time_remove(set, false)
        }));
        contenders.push(Contender::new("ptest library", move |_| {
            library.time(&format!("remove {}", set.name))
        }));
    }
    for mode in LINK_MODES {
        contenders.push(Contender::new(
            format!("rm -rf of uv's environment, {mode}"),
            move |_| {
                let path = peers.environment(mode, set)?;
                clock::time(&mut [peers::remove(&path)])
            },
        ));
    }
    Work {
        key: "remove-inactive",
        title: format!("Remove, inactive: {}", describe(set)),
        rounds: bench.rounds(10),
        contenders,
    }
}

fn remove_active<'a>(bench: &'a Bench, set: &'a Set) -> Work<'a> {
    let mut contenders = Vec::new();
    if let Some(Ptest {
        program, library, ..
    }) = &bench.ptest
    {
        contenders.push(Contender::new("ptest remove", move |_| {
            program.time_remove(set, true)
        }));
        contenders.push(Contender::new("ptest library", move |_| {
            library.time(&format!("remove-active {}", set.name))
        }));
    }
    Work {
        key: "remove-active",
        title: format!("Remove, active: {}", describe(set)),
        rounds: bench.rounds(20),
        contenders,
    }
}

/// The processor time that an init takes for a second of recording.
fn sample<'a>(bench: &'a Bench, set: &'a Set) -> Work<'a> {
    let kinds = [
        ("a process that waits", "sample-quiet"),
        ("four processes that work", "sample-busy"),
    ];
    let contenders = kinds
        .into_iter()
        .filter_map(|(name, work)| by_library(bench, name, format!("{work} {}", set.name)));
    Work {
        key: "sample",
        title: String::from(
            "A second of recording what an environment uses, processor time of init",
        ),
        rounds: bench.rounds(3),
        contenders: contenders.collect(),
    }
}

fn status<'a>(bench: &'a Bench, set: &'a Set) -> Work<'a> {
    let mut contenders = Vec::new();
    if let Some(Ptest {
        program, library, ..
    }) = &bench.ptest
    {
        let mut name = None;
        contenders.push(Contender::new("ptest status, active", move |_| {
            let name = match &name {
                Some(name) => name,
                None => name.insert(program.active(set)?),
            };
            clock::time(&mut [program.command(&["status", name])])
        }));
        contenders.push(Contender::new("ptest library, active", move |_| {
            library.time(&format!("status-active {}", set.name))
        }));
        contenders.push(Contender::new("ptest library, inactive", move |_| {
            library.time(&format!("status {}", set.name))
        }));
    }
    Work {
        key: "status",
        title: String::from("Status"),
        rounds: bench.rounds(40),
        contenders,
    }
}

/// The same for each set, so that they show what distributions cost.
fn of_each_set<'a>(bench: &'a Bench, work: &'static str) -> Vec<Contender<'a>> {
    let sets = bench.sets().iter();
    sets.filter_map(|set| {
        let name = format!("ptest library: {}", describe(set));
        by_library(bench, name, format!("{work} {}", set.name))
    })
    .collect()
}

fn fork(bench: &Bench) -> Work<'_> {
    let peers = &bench.peers;
    let mut contenders = of_each_set(bench, "fork");
    if let Some(set) = bench.sets().last() {
        let name = format!("cp -a of uv's environment: {}", describe(set));
        contenders.push(
            Contender::new(name, move |_| {
                let path = peers.environment("copy", set)?;
                peers.time_copy(&path)
            })
            .at_most(bench.rounds(3)),
        );
    }
    Work {
        key: "fork",
        title: String::from("Fork, nothing written"),
        rounds: bench.rounds(20),
        contenders,
    }
}

fn restore(bench: &Bench) -> Work<'_> {
    Work {
        key: "restore",
        title: String::from("Restore a snapshot"),
        rounds: bench.rounds(20),
        contenders: of_each_set(bench, "restore"),
    }
}

fn snapshot(bench: &Bench) -> Work<'_> {
    let peers = &bench.peers;
    let mut contenders = Vec::new();
    for (name, work) in [("inactive", "snapshot"), ("active", "snapshot-active")] {
        let name = format!("ptest library, {name}");
        contenders.extend(by_library(bench, name, format!("{work} empty")));
    }
    for is_synced in [false, true] {
        let name = if is_synced { "cp -a, sync" } else { "cp -a" };
        contenders.push(Contender::new(name, move |_| {
            peers.time_copy_of_files(4000, 10_000, is_synced)
        }));
    }
    Work {
        key: "snapshot",
        title: String::from("Snapshot of 4,000 new files of 10 kB"),
        rounds: bench.rounds(10),
        contenders,
    }
}

/// What a fresh environment pays for compiling, against one that is flat and compiled.
fn imports<'a>(bench: &'a Bench, set: &'a Set) -> Work<'a> {
    let peers = &bench.peers;
    let mut contenders = Vec::new();
    let mut flat = None;
    contenders.push(Contender::new("bare venv, compiled", move |_| {
        let path = match &flat {
            Some(path) => path,
            None => flat.insert(peers.compiled_environment(set)?),
        };
        let mut python = Command::new(path.join("bin/python"));
        python.args(["-c", set.imports]);
        clock::time(&mut [python])
    }));
    contenders.push(
        Contender::new("uv venv, fresh", move |_| {
            let path = peers.environment("hardlink", set)?;
            let mut python = Command::new(path.join("bin/python"));
            python.args(["-c", set.imports]);
            let time = clock::time(&mut [python])?;
            std::fs::remove_dir_all(&path)?;
            Ok(time)
        })
        .at_most(bench.rounds(3)),
    );
    if let Some(Ptest { program, .. }) = &bench.ptest {
        contenders.push(Contender::new("ptest exec, fresh", move |_| {
            program.time_imports(set)
        }));
    }
    Work {
        key: match set.name {
            "web" => "imports-web",
            _ => "imports-science",
        },
        title: format!("`python -c \"{}\"`", set.imports),
        rounds: bench.rounds(10),
        contenders,
    }
}

fn commit<'a>(bench: &'a Bench, set: &'a Set) -> Work<'a> {
    let peers = &bench.peers;
    let mut contenders = Vec::new();
    contenders.extend(by_library(
        bench,
        "ptest library",
        format!("commit {}", set.name),
    ));
    contenders.push(Contender::new("cp -a of it", move |_| {
        let path = peers.environment("copy", set)?;
        peers.time_copy(&path)
    }));
    Work {
        key: "commit",
        title: format!("Make a layer of a tree: {}", describe(set)),
        rounds: bench.rounds(5),
        contenders,
    }
}

fn pack<'a>(bench: &'a Bench, set: &'a Set) -> Work<'a> {
    with_tar(bench, set, "export", "Pack", |(packed, _)| packed)
}

fn unpack<'a>(bench: &'a Bench, set: &'a Set) -> Work<'a> {
    let title = "Unpack into an empty store";
    with_tar(bench, set, "import", title, |(_, unpacked)| unpacked)
}

fn with_tar<'a>(
    bench: &'a Bench,
    set: &'a Set,
    key: &'static str,
    title: &str,
    time: fn((std::time::Duration, std::time::Duration)) -> std::time::Duration,
) -> Work<'a> {
    let peers = &bench.peers;
    let mut contenders = Vec::new();
    contenders.extend(by_library(
        bench,
        "ptest library",
        format!("{key} {}", set.name),
    ));
    let mut tree = None;
    contenders.push(Contender::new("tar --zstd", move |_| {
        let tree = match &tree {
            Some(tree) => tree,
            None => tree.insert(peers.environment("copy", set)?),
        };
        Ok(time(peers.time_tar(tree)?))
    }));
    Work {
        key,
        title: format!("{title}: {}", describe(set)),
        rounds: bench.rounds(5),
        contenders,
    }
}

/// What layers cost, which decides when stacks are made one.
/// Sandboxes of each kind: on a stack of 128 layers, and without one as those of bubblewrap are.
fn isolation(bench: &Bench) -> Vec<Work<'_>> {
    let kinds = [
        ("standard", "standard"),
        ("standard-private", "standard, own network"),
        ("strict", "strict, own network"),
        ("standard-limited", "standard, memory and processes limited"),
        (
            "strict-limited",
            "strict, own network, memory and processes limited",
        ),
    ];
    let of = |work: &str| -> Vec<Contender<'_>> {
        let by_kind = kinds.iter().filter_map(|(kind, name)| {
            by_library(bench, *name, format!("isolation-{work} {kind}"))
        });
        by_kind.collect()
    };
    let mut cycle = of("cycle");
    cycle.extend(bubblewrap(bench, &["true"], "bubblewrap … true"));
    cycle.extend(bubblewrap_apart(bench));
    vec![
        Work {
            key: "isolation-launch",
            title: String::from("A sandbox on 128 layers is ready"),
            rounds: bench.rounds(20),
            contenders: of("launch"),
        },
        Work {
            key: "isolation-cycle",
            title: String::from("A sandbox without layers is made, runs `true` and is gone"),
            rounds: bench.rounds(20),
            contenders: cycle,
        },
    ]
}

fn depth(bench: &Bench) -> Vec<Work<'_>> {
    const DEPTHS: [usize; 6] = [1, 8, 32, 64, 128, 500];
    if bench.ptest.is_none() {
        return Vec::new();
    }
    let work = |(key, what): (&'static str, &str)| Work {
        key,
        title: format!("{what}, 2,000 modules in so many layers"),
        rounds: bench.rounds(10),
        contenders: DEPTHS
            .into_iter()
            .filter_map(|depth| by_library(bench, depth.to_string(), format!("{key} {depth}")))
            .collect(),
    };
    [
        ("depth-launch", "Launch a sandbox"),
        ("depth-list", "List the directory for the first time"),
        ("depth-look-up", "Look all up for the first time after that"),
        ("depth-import", "Import 200 of them for the first time"),
    ]
    .map(work)
    .into()
}

/// Against who lets the kernel choose a port, and hopes that nobody takes it meanwhile.
fn port(bench: &Bench) -> Work<'_> {
    const MANY: usize = 10_000;
    let mut contenders = Vec::new();
    for (name, work) in [
        ("ptest library, lease and release", "port 0".to_owned()),
        ("ptest library, lease", "port-acquire 0".to_owned()),
        (
            "ptest library, lease among 10,000",
            format!("port-acquire {MANY}"),
        ),
        ("bind and close, TCP and UDP", "port-bare 0".to_owned()),
    ] {
        contenders.extend(by_library(bench, name, work));
    }
    if let Some(Ptest { program, .. }) = &bench.ptest {
        contenders.push(command("ptest port acquire", move || {
            program.command(&["port", "acquire", "--ttl", "1s"])
        }));
    }
    Work {
        key: "port",
        title: String::from("Lease a port"),
        rounds: bench.rounds(40),
        contenders,
    }
}

/// Who follows has opened the store for itself.
fn event(bench: &Bench) -> Work<'_> {
    let contenders = by_library(bench, "ptest library", "event empty".to_owned());
    Work {
        key: "event",
        title: String::from("From recording an event until who follows has it"),
        rounds: bench.rounds(20),
        contenders: contenders.into_iter().collect(),
    }
}

/// A project's tests on several Pythons with several sets, each in an environment of its own.
fn matrices(bench: &Bench) -> Vec<Work<'_>> {
    let matrix = bench.ptest.as_ref().and_then(|ptest| ptest.matrix.as_ref());
    let Some(matrix) = matrix else {
        return Vec::new();
    };
    let own = Tests::Own;
    let cold = vec![
        Contender::new("ptest matrix", move |_| matrix.time_ptest_cold(own)),
        Contender::new("tox with tox-uv", move |_| matrix.time_tox_cold(own)),
    ];
    let warm = |tests| {
        vec![
            Contender::new("ptest matrix", move |_| matrix.time_ptest_warm(tests)),
            Contender::new("tox with tox-uv, fresh", move |_| {
                matrix.time_tox_warm(tests, true)
            }),
            Contender::new("tox with tox-uv, used before", move |_| {
                matrix.time_tox_warm(tests, false)
            }),
        ]
    };
    let work = |key, title: &str, rounds, contenders| Work {
        key,
        title: format!("4 Pythons, 3 requirement sets of click: {title}"),
        rounds: bench.rounds(rounds),
        contenders,
    };
    vec![
        work("matrix-cold", "its tests, empty caches", 2, cold),
        work("matrix-warm", "its tests, once more", 5, warm(own)),
        work(
            "matrix-bare",
            "`import click`, once more",
            10,
            warm(Tests::Import),
        ),
    ]
}

/// The library doing one work, if ptest takes part.
fn by_library(bench: &Bench, name: impl Into<String>, work: String) -> Option<Contender<'_>> {
    let Ptest { library, .. } = bench.ptest.as_ref()?;
    Some(Contender::new(name, move |_| library.time(&work)))
}

/// A contender whose whole work is one command.
fn command<'a>(name: &str, make: impl Fn() -> Command + 'a) -> Contender<'a> {
    Contender::new(name, move |_| clock::time(&mut [make()]))
}

fn bubblewrap<'a>(bench: &'a Bench, words: &'a [&'a str], name: &str) -> Option<Contender<'a>> {
    bench.peers.bubblewrap(words)?;
    Some(Contender::new(name, move |_| {
        match bench.peers.bubblewrap(words) {
            Some(command) => clock::time(&mut [command]),
            None => Err("bubblewrap is gone".into()),
        }
    }))
}

/// bubblewrap with a network and control groups of its own too.
fn bubblewrap_apart(bench: &Bench) -> Option<Contender<'_>> {
    bench.peers.bubblewrap_apart(&["true"])?;
    Some(Contender::new(
        "bubblewrap, own network … true",
        move |_| match bench.peers.bubblewrap_apart(&["true"]) {
            Some(command) => clock::time(&mut [command]),
            None => Err("bubblewrap is gone".into()),
        },
    ))
}

fn describe(set: &Set) -> String {
    match set.size {
        0 => String::from("empty"),
        size => format!("{} ({size} distributions)", set.name),
    }
}

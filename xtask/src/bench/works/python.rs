//! Works of the Python package and the pytest plugin, beside what Python users have for the same.

use super::{Work, by_library};
use crate::bench::clock::{self, Contender};
use crate::bench::package::{Package, Run};
use crate::bench::{Bench, Ptest};

/// Every work's key begins with it.
pub(crate) const KEYS: [&str; 10] = [
    "python-import",
    "python-pytest",
    "python-cycle",
    "python-exec",
    "python-fixture",
    "python-isolate",
    "python-isolate-large",
    "python-threads",
    "python-threads-active",
    "python-interpreter",
];

/// How large a process is whose forks are slow.
const LARGE: u32 = 500;

pub(super) fn all(bench: &Bench) -> Vec<Work<'_>> {
    let package = bench
        .ptest
        .as_ref()
        .and_then(|ptest| ptest.package.as_ref());
    let Some(package) = package else {
        return Vec::new();
    };
    vec![
        import(bench, package),
        plugin(bench, package),
        cycle(bench, package),
        exec(bench, package),
        fixture(bench, package),
        isolate(bench, package, 0),
        isolate(bench, package, LARGE),
        threads(bench, package, false),
        threads(bench, package, true),
        interpreter(bench, package),
    ]
}

fn import<'a>(bench: &'a Bench, package: &'a Package) -> Work<'a> {
    let [import, nothing] = ["import ptest", "pass"]
        .map(|statement| move || clock::time(&mut [package.python(&["-c", statement])]));
    Work {
        key: "python-import",
        title: String::from("`import ptest` in a Python that starts"),
        rounds: bench.rounds(40),
        contenders: vec![
            Contender::new("python -c 'import ptest'", move |_| import()),
            Contender::new("bare python -c pass", move |_| nothing()),
            Contender::new("ptest import, the difference", move |_| {
                let without = nothing()?;
                Ok(import()?.saturating_sub(without))
            }),
        ],
    }
}

/// The plugin where it is not used.
fn plugin<'a>(bench: &'a Bench, package: &'a Package) -> Work<'a> {
    let start = |words: &'static [&'static str]| move |_| clock::time(&mut [package.pytest(words)]);
    Work {
        key: "python-pytest",
        title: String::from("Start pytest with a plugin that is not used"),
        rounds: bench.rounds(20),
        contenders: vec![
            Contender::new("ptest", start(&["--version", "-p", "ptest"])),
            Contender::new("no plugin", start(&["--version"])),
            Contender::new(
                "pytest-forked",
                start(&["--version", "-p", "pytest_forked"]),
            ),
            Contender::new(
                "pytest-isolate",
                start(&["--version", "-p", "pytest_isolate"]),
            ),
            Contender::new(
                "pytest-virtualenv",
                start(&["--version", "-p", "virtualenv"]),
            ),
        ],
    }
}

fn cycle<'a>(bench: &'a Bench, package: &'a Package) -> Work<'a> {
    let mut contenders = vec![by_python(package, "ptest from Python", "cycle")];
    if let Some(Ptest { library, .. }) = &bench.ptest {
        contenders.push(Contender::new("ptest library", |_| {
            Ok(library.time("create empty")? + library.time("remove empty")?)
        }));
    }
    contenders.extend([
        by_python(package, "venv.create, no pip", "cycle-venv"),
        by_python(package, "venv.create with pip", "cycle-venv-pip").at_most(bench.rounds(3)),
        by_python(package, "virtualenv.cli_run", "cycle-virtualenv"),
        by_python(
            package,
            "pytest-virtualenv's VirtualEnv",
            "cycle-pytest-virtualenv",
        )
        .at_most(bench.rounds(5)),
    ]);
    Work {
        key: "python-cycle",
        title: String::from("Create and remove from Python: empty"),
        rounds: bench.rounds(20),
        contenders,
    }
}

fn exec<'a>(bench: &'a Bench, package: &'a Package) -> Work<'a> {
    let mut contenders = vec![by_python(package, "ptest from Python", "exec")];
    contenders.extend(by_library(bench, "ptest library", "exec empty".to_owned()));
    contenders.extend([
        by_python(package, "subprocess.run", "exec-subprocess"),
        by_python(package, "pytest-virtualenv's run", "exec-pytest-virtualenv"),
    ]);
    Work {
        key: "python-exec",
        title: String::from("Run `true` from Python in an active environment"),
        rounds: bench.rounds(40),
        contenders,
    }
}

fn fixture<'a>(bench: &'a Bench, package: &'a Package) -> Work<'a> {
    let run = |words, fixture, tests| Run {
        words,
        fixture: Some(fixture),
        tests,
        megabytes: 0,
    };
    let ptest = run(&["-p", "ptest"], "ptest_env", tests(bench, 200));
    let peer = run(&["-p", "virtualenv"], "virtualenv", 3);
    Work {
        key: "python-fixture",
        title: String::from("A fixture's fresh environment, each test"),
        rounds: bench.rounds(10),
        contenders: vec![
            of_a_test(package, "ptest_env", ptest),
            of_a_test(package, "virtualenv of pytest-virtualenv", peer).at_most(bench.rounds(3)),
        ],
    }
}

fn isolate<'a>(bench: &'a Bench, package: &'a Package, megabytes: u32) -> Work<'a> {
    const OWN: [(&str, &[&str]); 5] = [
        (
            "ptest, sandbox, writes thrown away",
            &["-p", "ptest", "--ptest-isolate=test"],
        ),
        (
            "ptest, sandbox, writes kept",
            &["-p", "ptest", "--ptest-isolate=test", "--ptest-writes=keep"],
        ),
        (
            "ptest, no sandbox",
            &[
                "-p",
                "ptest",
                "--ptest-isolate=test",
                "--ptest-profile=none",
            ],
        ),
        (
            "ptest, sandbox, a fork for each module",
            &["-p", "ptest", "--ptest-isolate=module"],
        ),
        ("a bare fork that ends at once", &["-p", "bare_fork"]),
    ];
    const PEERS: [(&str, &[&str]); 2] = [
        ("pytest-forked", &["-p", "pytest_forked", "--forked"]),
        ("pytest-isolate", &["-p", "pytest_isolate", "--isolate"]),
    ];
    let run = |tests| {
        move |words| Run {
            words,
            fixture: None,
            tests,
            megabytes,
        }
    };
    let (many, few) = (
        run(tests(bench, if megabytes == 0 { 1000 } else { 200 })),
        run(10),
    );
    let mut contenders: Vec<Contender<'a>> = OWN
        .into_iter()
        .chain(PEERS)
        .map(|(name, words)| of_a_test(package, name, many(words)))
        .collect();
    let slow = few(&["-p", "isolated", "--isolated"]);
    contenders.push(of_a_test(package, "pytest-isolated", slow).at_most(1));
    let (key, of) = if megabytes == 0 {
        ("python-isolate", String::from("pytest"))
    } else {
        (
            "python-isolate-large",
            format!("pytest with {megabytes} MB"),
        )
    };
    Work {
        key,
        title: format!("A test in a fork of {of}, each test"),
        rounds: bench.rounds(5),
        contenders,
    }
}

fn threads<'a>(bench: &'a Bench, package: &'a Package, is_active: bool) -> Work<'a> {
    let (key, what, works) = if is_active {
        let works = ["threads-active-8", "threads-active-1"];
        ("python-threads-active", "Create, exec and remove", works)
    } else {
        (
            "python-threads",
            "Create and remove",
            ["threads-8", "threads-1"],
        )
    };
    let [eight, one] = works;
    Work {
        key,
        title: format!("{what} by threads of one Python that share the work, each environment"),
        rounds: bench.rounds(10),
        contenders: vec![
            by_python(package, "8 threads", eight),
            by_python(package, "1 thread", one),
        ],
    }
}

/// Who holds the interpreter while it works slows the thread that counts.
fn interpreter<'a>(bench: &'a Bench, package: &'a Package) -> Work<'a> {
    let all = [
        ("alone", "count"),
        ("ptest creates and removes", "count-beside-cycle"),
        ("ptest runs `true`", "count-beside-exec"),
        ("subprocess.run of `true`", "count-beside-subprocess"),
        ("Python that computes", "count-beside-python"),
    ];
    Work {
        key: "python-interpreter",
        title: String::from("A thread counts to ten million while another works"),
        rounds: bench.rounds(10),
        contenders: all
            .map(|(name, work)| by_python(package, name, work))
            .into(),
    }
}

fn by_python<'a>(package: &'a Package, name: &str, work: &'static str) -> Contender<'a> {
    Contender::new(name, move |_| package.time(work))
}

fn of_a_test<'a>(package: &'a Package, name: &str, run: Run) -> Contender<'a> {
    Contender::new(name, move |round| package.time_of_a_test(round, run))
}

/// Fewer tests where nobody looks at the figures.
fn tests(bench: &Bench, full: u32) -> u32 {
    if bench.quick { full.min(50) } else { full }
}

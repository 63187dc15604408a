//! Commands that are run to their end with their output taken, on every engine: what lies above engines.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ptest::config::InstallerChoice;
use ptest::engine::memory::Memory;
use ptest::engine::virtualenv::Virtualenv;
use ptest::engine::{Engine, ExitStatus};
use ptest::progress::Silent;
use ptest::python::HostEnv;
use ptest::settings::Profile;
use ptest::variables::Variables;
use ptest::{
    Environment, EnvironmentSpec, ErrorKind, Input, Keep, Lifetime, Output, Provision, Ptest, Run,
    Spill, causes,
};
use ptest_store::Store;
use ptest_testkit::{require, requirement};
use rustix::process::{Pid, Signal, kill_process};

use crate::context::spec;

/// How long anything may take.
const LIMIT: Duration = Duration::from_mins(1);

/// A store with an engine that has processes and one that has none.
pub(crate) struct Place {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) ptest: Ptest,
}

impl Place {
    pub(crate) fn new() -> Self {
        // How long an init may take to answer.
        Self::with_patience(LIMIT)
    }

    fn with_patience(patience: Duration) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let variables = ["PATH", "HOME"]
            .into_iter()
            .filter_map(|name| Some((name.into(), std::env::var_os(name)?)));
        let virtualenv = Virtualenv::new(&store).unwrap().with_patience(patience);
        let engines: Vec<Arc<dyn Engine>> = vec![Arc::new(Memory::new()), Arc::new(virtualenv)];
        let ptest = Ptest::with_engines(
            store,
            HostEnv::new(variables, "/"),
            Provision::new(InstallerChoice::Pip),
            engines,
        );
        Self {
            directory,
            ptest: ptest.unwrap(),
        }
    }

    pub(crate) fn create(&self, engine: &str, profile: Option<Profile>) -> Environment {
        let mut spec = EnvironmentSpec {
            engine: engine.to_owned(),
            // A test that fails leaves none behind.
            lifetime: Lifetime::Process,
            ..spec(self.directory.path())
        };
        spec.settings.profile = profile;
        self.ptest.create(&spec, &Silent).unwrap()
    }

    /// The process of an active environment's init.
    pub(crate) fn init(&self, environment: &Environment) -> Pid {
        let home = self.directory.path().join("store/envs");
        let holder = fs::read_to_string(home.join(environment.id().as_str()).join("init")).unwrap();
        let pid = holder.split(' ').next().unwrap().parse().unwrap();
        Pid::from_raw(pid).unwrap()
    }
}

/// Runs a test in an environment of each kind that is to be had here. `true` for those that have processes.
pub(crate) fn in_each(test: fn(&Environment, bool)) {
    let place = Place::new();
    let done = |environment: Environment, has_processes| {
        test(&environment, has_processes);
        environment.remove().unwrap();
    };
    done(place.create("memory", Some(Profile::None)), false);
    done(place.create("virtualenv", Some(Profile::None)), true);
    require!(requirement::userns());
    done(place.create("virtualenv", None), true);
}

/// Runs a test in an environment of each kind that has processes.
pub(crate) fn with_processes(test: fn(&Place, &Environment)) {
    let place = Place::new();
    let environment = place.create("virtualenv", Some(Profile::None));
    test(&place, &environment);
    environment.remove().unwrap();
    require!(requirement::userns());
    let environment = place.create("virtualenv", None);
    test(&place, &environment);
    environment.remove().unwrap();
}

pub(crate) fn command<const N: usize>(words: [&str; N]) -> Run {
    Run {
        caller: Variables::from([("PATH".into(), "/usr/bin:/bin".into())]),
        ..Run::new(words.map(OsString::from))
    }
}

pub(crate) fn shell(script: &str) -> Run {
    command(["sh", "-c", script])
}

pub(crate) fn stubborn(has_processes: bool) -> Run {
    if has_processes {
        shell("trap '' TERM; echo; while :; do sleep 3600; done")
    } else {
        command(["stubborn", "3600"])
    }
}

fn exit_by(code: &str, has_processes: bool) -> Run {
    if has_processes {
        shell(&format!("exit {code}"))
    } else {
        command(["exit", code])
    }
}

pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        thread::yield_now();
    }
}

#[test]
fn what_a_command_wrote_and_how_it_ended_is_told() {
    in_each(|environment, has_processes| {
        let done = environment.run(command(["echo", "word"])).unwrap();
        assert_eq!(done.ended.unwrap().status, ExitStatus::Code(0));
        assert_eq!(done.stdout.head, b"word\n");
        assert_eq!((done.stdout.total, done.stdout.dropped()), (5, 0));
        assert_eq!((done.stderr.total, done.stderr.held_open), (0, false));
        assert!(!done.stdout.held_open);
        let done = environment.run(exit_by("7", has_processes)).unwrap();
        assert_eq!(done.ended.unwrap().status, ExitStatus::Code(7));
        let error = environment.run(command(["no-such-program"])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CommandNotFound);
    });
}

#[test]
fn a_working_directory_that_cannot_be_entered_is_named_with_what_is_wrong_with_it() {
    with_processes(|_, environment| {
        for (place, why) in [
            ("/no/such/place", "No such file or directory (os error 2)"),
            ("/bin/sh", "Not a directory (os error 20)"),
        ] {
            let error = environment
                .run(Run {
                    working_directory: Some(place.into()),
                    ..command(["true"])
                })
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(error.to_string().ends_with(place), "{error}");
            assert_eq!(causes(&error), [why]);
            assert!(error.hint().is_some());
        }
    });
}

#[test]
fn of_much_that_passes_both_ends_are_kept_and_the_rest_is_counted() {
    in_each(|environment, _| {
        let all: Vec<u8> = (0..3_000_000_u32)
            .flat_map(u32::to_ne_bytes)
            .take(3_000_000)
            .collect();
        let mut file = tempfile::tempfile().unwrap();
        let done = environment
            .run(Run {
                input: Input::Bytes(all.clone()),
                stdout: Output::Keep(Keep {
                    head: 1000,
                    tail: 2000,
                    spill: Some(Spill {
                        file: file.try_clone().unwrap(),
                        limit: 10_000,
                    }),
                }),
                ..command(["cat"])
            })
            .unwrap();
        assert_eq!(done.ended.unwrap().status, ExitStatus::Code(0));
        let taken = done.stdout;
        assert_eq!(taken.head, all[..1000]);
        assert_eq!(taken.tail, all[all.len() - 2000..]);
        assert_eq!((taken.total, taken.spilled), (3_000_000, 10_000));
        assert_eq!(taken.omitted(), 2_997_000);
        assert_eq!(taken.dropped(), 2_988_000);
        let mut written = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut written).unwrap();
        assert_eq!(written, all[..10_000]);
    });
}

#[test]
fn a_command_reads_and_writes_by_descriptors_when_it_is_given_any() {
    in_each(|environment, _| {
        let (mut input, mut output) =
            (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        std::io::Write::write_all(&mut input, b"\xffbytes").unwrap();
        input.rewind().unwrap();
        let done = environment
            .run(Run {
                input: Input::Descriptor(input.into()),
                stdout: Output::Descriptor(output.try_clone().unwrap().into()),
                stderr: Output::Null,
                ..command(["cat"])
            })
            .unwrap();
        assert_eq!(done.ended.unwrap().status, ExitStatus::Code(0));
        let mut written = Vec::new();
        output.rewind().unwrap();
        output.read_to_end(&mut written).unwrap();
        assert_eq!(written, b"\xffbytes");
        assert_eq!((done.stdout.total, done.stderr.total), (0, 0));
        let done = environment.run(command(["cat"])).unwrap();
        assert_eq!(done.ended.unwrap().status, ExitStatus::Code(0));
        assert_eq!(done.stdout.total, 0);
    });
}

#[test]
fn a_command_whose_time_is_up_has_all_that_it_wrote() {
    in_each(|environment, has_processes| {
        let done = environment
            .run(Run {
                timeout: Some(Duration::from_millis(500)),
                grace: Duration::from_millis(10),
                ..stubborn(has_processes)
            })
            .unwrap();
        assert!(done.ended.unwrap().timed_out);
        assert_eq!(done.stdout.head, b"\n");
        assert!(!done.stdout.held_open);
        let done = environment
            .run(Run {
                timeout: Some(Duration::ZERO),
                grace: Duration::ZERO,
                ..stubborn(has_processes)
            })
            .unwrap();
        assert!(done.ended.unwrap().timed_out);
    });
}

#[test]
fn a_command_can_be_signalled_while_it_is_waited_for() {
    in_each(|environment, has_processes| {
        let file = tempfile::NamedTempFile::new().unwrap();
        let running = environment.start(Run {
            stdout: Output::Keep(Keep {
                spill: Some(Spill {
                    file: file.reopen().unwrap(),
                    limit: 100,
                }),
                ..Keep::default()
            }),
            ..stubborn(has_processes)
        });
        let running = running.unwrap();
        let process = running.process();
        let path = file.path().to_owned();
        let signalling = thread::spawn(move || {
            // Taken as it comes, not when the command has ended.
            eventually("it has written", || !fs::read(&path).unwrap().is_empty());
            let runtime = tokio::runtime::Builder::new_current_thread();
            let signalled = process.signal(9);
            { runtime }.build().unwrap().block_on(signalled).unwrap();
        });
        let done = running.finish().unwrap();
        signalling.join().unwrap();
        assert_eq!(done.ended.unwrap().status, ExitStatus::Signal(9));
        assert_eq!(done.stdout.head, b"\n");
    });
}

#[test]
fn each_stream_is_in_order_however_much_comes_on_the_other() {
    with_processes(|_, environment| {
        let script = "i=0; while [ $i -lt 20000 ]; do echo $i; echo $i >&2; i=$((i+1)); done";
        let done = environment.run(shell(script)).unwrap();
        let lines: String = (0..20000).map(|line| format!("{line}\n")).collect();
        for taken in [done.stdout, done.stderr] {
            assert_eq!(String::from_utf8(taken.head).unwrap(), lines);
        }
    });
}

#[test]
fn who_stays_behind_with_a_stream_is_told_and_waited_for_by_nobody() {
    with_processes(|_, environment| {
        let script = "sleep 1000 & exec 2>&-; echo last";
        let done = environment.run(shell(script)).unwrap();
        let exit = done.ended.unwrap();
        assert_eq!((exit.status, exit.leaked), (ExitStatus::Code(0), 1));
        assert_eq!(done.stdout.head, b"last\n");
        assert!(done.stdout.held_open);

        // All that was written before the end is there, also when somebody goes on without end.
        let script = "head -c 60000 /dev/zero; echo last; yes >&2 &";
        let done = environment.run(shell(script)).unwrap();
        assert!(done.ended.unwrap().leaked >= 1);
        assert_eq!(done.stdout.total, 60_005);
        assert!(done.stdout.head.ends_with(b"last\n"));

        // Who stays behind without one holds nothing.
        let script = "cd \"$VIRTUAL_ENV\"; (exec >/dev/null 2>&1; : > there; exec sleep 1000) & \
                      while [ ! -e there ]; do :; done; echo last";
        let done = environment.run(shell(script)).unwrap();
        assert_eq!(done.ended.unwrap().leaked, 1);
        assert!(!done.stdout.held_open && !done.stderr.held_open);
    });
}

#[test]
fn what_a_command_wrote_is_there_though_its_environment_ended_under_it() {
    with_processes(|place, environment| {
        let file = tempfile::NamedTempFile::new().unwrap();
        let running = environment.start(Run {
            stdout: Output::Keep(Keep {
                spill: Some(Spill {
                    file: file.reopen().unwrap(),
                    limit: 100,
                }),
                ..Keep::default()
            }),
            ..shell("echo last words; exec sleep 1000")
        });
        let running = running.unwrap();
        let init = place.init(environment);
        let path = file.path().to_owned();
        let killing = thread::spawn(move || {
            eventually("it has written", || !fs::read(&path).unwrap().is_empty());
            kill_process(init, Signal::KILL).unwrap();
        });
        let done = running.finish().unwrap();
        killing.join().unwrap();
        assert!(done.ended.is_err());
        assert_eq!(done.stdout.head, b"last words\n");
        // The next command has an environment again.
        let done = environment.run(command(["echo", "well"])).unwrap();
        assert_eq!(done.stdout.head, b"well\n");
    });
}

#[test]
fn an_environment_whose_init_hears_nothing_is_recovered_by_the_next_command() {
    let place = Place::with_patience(Duration::from_millis(300));
    for profile in [Some(Profile::None), None] {
        if profile.is_none() {
            require!(requirement::userns());
        }
        let environment = place.create("virtualenv", profile);
        environment.activate().unwrap();
        kill_process(place.init(&environment), Signal::STOP).unwrap();
        let error = environment.run(command(["echo", "well"])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        let done = environment.run(command(["echo", "well"])).unwrap();
        assert_eq!(done.stdout.head, b"well\n");
        environment.remove().unwrap();
    }
}

#[test]
fn streams_of_commands_that_run_at_once_are_not_mixed_up() {
    with_processes(|_, environment| {
        thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for turn in 0..10 {
                        let words = format!("{thread} {turn}");
                        let done = environment.run(command(["echo", &words])).unwrap();
                        assert_eq!(done.stdout.head, format!("{words}\n").as_bytes());
                        assert!(!done.stdout.held_open && !done.stderr.held_open);
                    }
                });
            }
        });
    });
}

/// A file that nothing can be written to.
fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

#[test]
fn a_file_that_is_full_ends_neither_the_command_nor_the_taking() {
    in_each(|environment, _| {
        let done = environment
            .run(Run {
                stdout: Output::Keep(Keep {
                    spill: Some(Spill {
                        file: full(),
                        limit: 100,
                    }),
                    ..Keep::default()
                }),
                ..command(["echo", "word"])
            })
            .unwrap();
        assert_eq!(done.ended.unwrap().status, ExitStatus::Code(0));
        assert_eq!(
            (&done.stdout.head[..], done.stdout.spilled),
            (&b"word\n"[..], 0)
        );
        assert!(done.stdout.spill_error.is_some());
    });
}

//! The record of runs: what it says, that no way of ending escapes it, and for how long it is kept.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::time::Duration;

use ptest::config::InstallerChoice;
use ptest::engine::ExitStatus;
use ptest::events::{Event, EventFilter, Retention};
use ptest::progress::Silent;
use ptest::python::HostEnv;
use ptest::runs::{Destination, Outcome, RunChoice, RunRecord};
use ptest::settings::Profile;
use ptest::timestamp::Timestamp;
use ptest::{
    Environment, ErrorKind, Housekeeping, Keep, OpenOptions, Output, Provision, Ptest, Run, Spill,
};
use ptest_store::Error as StoreError;
use rustix::process::{Signal, kill_process};

use crate::context::{open, spec};
use crate::run::{Place, command, in_each, shell, stubborn, with_processes};

fn last(environment: &Environment) -> RunRecord {
    environment.runs(1).unwrap().pop().unwrap()
}

fn status(run: &RunRecord) -> ExitStatus {
    run.outcome.as_ref().unwrap().exit().unwrap().status
}

#[test]
fn a_run_is_on_record_from_its_begin_to_its_end() {
    in_each(|environment, _| {
        let running = environment.start(command(["echo", "word"])).unwrap();
        let begun = last(environment);
        assert!(begun.is_active());
        assert_eq!((begun.id, begun.number), (running.id(), 1));
        assert_eq!(&begun.environment, environment.id());
        assert_eq!(begun.label, environment.id().as_str());
        assert_eq!(begun.arguments, ["echo", "word"]);
        assert_eq!(begun.client.pid, std::process::id());
        let record = environment.record().unwrap();
        assert_eq!(begun.directory, record.settings.project.root);
        let achieved = record.achieved.unwrap();
        assert_eq!(begun.conditions.profile, Some(achieved.profile));
        assert_eq!(begun.conditions.limits, achieved.limits);
        assert_eq!(
            begun.streams.stdout.destination,
            Destination::Taken { file: None }
        );

        let done = running.finish().unwrap();
        let ended = last(environment);
        assert_eq!(ended.outcome, Some(Outcome::Ended(done.ended.unwrap())));
        assert!(ended.ended_at.unwrap() >= ended.started_at);
        assert_eq!(ended.streams.stdout.head, b"word\n");
        assert_eq!(ended.streams.stdout.total, Some(5));
        assert_eq!(ended.streams.stderr.total, Some(0));
        assert_eq!((ended.id, ended.number), (done.id, 1));
    });
}

#[test]
fn a_run_is_told_of_in_events_with_what_came_of_it() {
    with_processes(|place, environment| {
        let script = "sleep 1000 >&- 2>&- & exit 3";
        let id = environment.run(shell(script)).unwrap().id.to_string();
        environment.run(command(["no-such-program"])).unwrap_err();
        let filter = EventFilter {
            environments: vec![environment.id().to_string()],
            kinds: ["run_started", "run_ended", "processes_leaked"]
                .map(str::to_owned)
                .to_vec(),
            ..EventFilter::default()
        };
        let events = place.ptest.events(&filter, 99).unwrap();
        let events: Vec<Event> = events.into_iter().map(|recorded| recorded.event).collect();
        let Event::RunStarted {
            run,
            number,
            command,
        } = &events[0]
        else {
            panic!("{events:?}");
        };
        assert_eq!((run, *number), (&id, 1));
        assert_eq!(command, &["sh", "-c", script]);
        assert_eq!(
            events[1],
            Event::ProcessesLeaked {
                run: id.clone(),
                count: 1
            }
        );
        let Event::RunEnded {
            run,
            exit_code,
            elapsed_seconds,
            ..
        } = &events[2]
        else {
            panic!("{events:?}");
        };
        assert_eq!((run, *exit_code), (&id, Some(3)));
        assert!(*elapsed_seconds > 0.0);
        let Event::RunEnded {
            number,
            exit_code,
            message,
            ..
        } = &events[4]
        else {
            panic!("{events:?}");
        };
        assert_eq!((*number, *exit_code), (2, None));
        assert!(message.as_ref().unwrap().contains("no-such-program"));
        assert_eq!(events.len(), 5);
    });
}

#[test]
fn a_command_that_does_not_start_is_on_record_with_the_reason() {
    in_each(|environment, _| {
        environment.run(command(["no-such-program"])).unwrap_err();
        let Some(Outcome::NotStarted { why }) = last(environment).outcome else {
            panic!("{:?}", last(environment));
        };
        assert!(why.contains("no-such-program"), "{why}");
        assert_eq!(environment.runs(9).unwrap().len(), 1);
    });
}

#[test]
fn output_is_recorded_byte_for_byte_whatever_it_is() {
    in_each(|environment, _| {
        let words = b"\xff\xfe\0\n".to_vec();
        let done = environment.run(Run {
            input: ptest::Input::Bytes(words.clone()),
            ..command(["cat"])
        });
        assert_eq!(done.unwrap().ended.unwrap().status, ExitStatus::Code(0));
        let run = last(environment);
        assert_eq!(status(&run), ExitStatus::Code(0));
        assert_eq!(run.streams.stdout.head, words);
        let argument = std::ffi::OsString::from_vec(b"\xff".to_vec());
        let words = [OsStr::new("echo").to_owned(), argument];
        let done = environment.run(Run {
            arguments: words.to_vec(),
            ..command([])
        });
        assert_eq!(done.unwrap().stdout.head, b"\xff\n");
        assert_eq!(last(environment).arguments, words);
    });
}

#[test]
fn of_much_output_both_ends_are_recorded_and_where_the_rest_is() {
    in_each(|environment, _| {
        let all: Vec<u8> = (0..300_000_u32).flat_map(u32::to_ne_bytes).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        let keep = Keep {
            spill: Some(Spill {
                file: file.reopen().unwrap(),
                limit: 1_000_000,
            }),
            ..Keep::default()
        };
        let run = Run {
            input: ptest::Input::Bytes(all.clone()),
            stdout: Output::Keep(keep),
            ..command(["cat"])
        };
        environment.run(run).unwrap().ended.unwrap();
        let stdout = last(environment).streams.stdout;
        assert_eq!(stdout.head, all[..4096]);
        assert_eq!(stdout.tail, all[all.len() - 4096..]);
        assert_eq!(stdout.destination.path().unwrap(), file.path());
        assert_eq!((stdout.total, stdout.in_file), (Some(1_200_000), 1_000_000));
        assert_eq!(stdout.dropped(), 200_000 - 4096);
    });
}

#[test]
fn where_streams_lead_that_are_not_taken_is_recorded() {
    in_each(|environment, _| {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (_reader, pipe) = std::io::pipe().unwrap();
        let run = Run {
            stdout: Output::Descriptor(file.reopen().unwrap().into()),
            stderr: Output::Descriptor(pipe.into()),
            ..command(["true"])
        };
        environment.run(run).unwrap().ended.unwrap();
        let streams = last(environment).streams;
        let path = file.path().to_owned();
        assert_eq!(streams.stdout.destination, Destination::File { path });
        assert_eq!(streams.stderr.destination, Destination::Pipe);
        assert_eq!((streams.stdout.total, streams.stdout.dropped()), (None, 0));
    });
}

#[test]
fn a_command_whose_time_is_up_is_on_record_with_what_it_wrote() {
    in_each(|environment, has_processes| {
        for timeout in [Duration::from_millis(500), Duration::ZERO] {
            let run = Run {
                timeout: Some(timeout),
                grace: Duration::from_millis(10),
                ..stubborn(has_processes)
            };
            assert!(environment.run(run).unwrap().ended.unwrap().timed_out);
            let run = last(environment);
            assert!(run.outcome.unwrap().exit().unwrap().timed_out);
            assert_eq!(run.conditions.timeout, Some(timeout));
            if !timeout.is_zero() {
                assert_eq!(run.streams.stdout.head, b"\n");
            }
        }
    });
}

#[test]
fn grandchildren_of_a_command_whose_time_is_up_are_ended_and_what_they_wrote_is_kept() {
    with_processes(|_, environment| {
        let script =
            "(trap '' TERM; echo deep; while :; do sleep 1000; done) & (setsid sleep 1000) & wait";
        let done = environment.run(Run {
            timeout: Some(Duration::from_secs(1)),
            grace: Duration::from_millis(10),
            ..shell(script)
        });
        assert!(done.unwrap().ended.unwrap().timed_out);
        assert_eq!(environment.status().unwrap().usage.processes, 0);
        assert_eq!(last(environment).streams.stdout.head, b"deep\n");
    });
}

#[test]
fn a_run_that_nobody_waits_for_is_lost_and_so_is_one_whose_environment_ends_under_it() {
    with_processes(|place, environment| {
        drop(environment.start(shell("exec sleep 1000")).unwrap());
        assert!(matches!(
            last(environment).outcome,
            Some(Outcome::Lost { .. })
        ));

        let running = environment.start(shell("exec sleep 1000")).unwrap();
        kill_process(place.init(environment), Signal::KILL).unwrap();
        assert!(running.finish().unwrap().ended.is_err());
        let run = last(environment);
        assert!(matches!(run.outcome, Some(Outcome::Lost { .. })));
        assert_eq!(run.number, 2);
    });
}

/// Makes a run look as one whose client died in the middle of it.
fn kill_client(ptest: &Ptest, run: &RunRecord) {
    let written = ptest.store().database().write(|transaction| {
        transaction.execute(
            "UPDATE runs SET client = json_set(client, '$.start_time', 1), ended_at = NULL, outcome = NULL \
             WHERE environment = ?1 AND number = ?2",
            (run.environment.as_str(), run.number),
        )?;
        Ok::<_, StoreError>(())
    });
    written.unwrap();
}

#[test]
fn a_run_whose_client_died_is_found_by_the_next_opening_and_no_other_is() {
    let place = Place::new();
    let environment = place.create("memory", Some(Profile::None));
    let other = place.create("memory", Some(Profile::None));
    environment.run(command(["true"])).unwrap();
    let active = other.start(command(["sleep", "1000"])).unwrap();
    kill_client(&place.ptest, &last(&environment));
    assert_eq!(place.ptest.runs(true, 9).unwrap().len(), 2);

    let found = place.ptest.recover().unwrap();
    assert_eq!(found.lost, [last(&environment).id]);
    assert!(matches!(
        last(&environment).outcome,
        Some(Outcome::Lost { .. })
    ));
    assert!(place.ptest.recover().unwrap().lost.is_empty());
    let left = place.ptest.runs(true, 9).unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].id, active.id());
}

#[test]
fn runs_at_once_are_numbered_without_a_gap_or_a_double() {
    let place = Place::new();
    let environment = place.create("memory", Some(Profile::None));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    environment.run(command(["true"])).unwrap();
                }
            });
        }
    });
    let runs = environment.runs(1000).unwrap();
    let numbers: Vec<u32> = runs.iter().map(|run| run.number).collect();
    assert_eq!(numbers, (1..=160).collect::<Vec<u32>>());
    assert!(runs.is_sorted_by(|one, next| one.id < next.id));
    assert!(runs.iter().all(|run| status(run) == ExitStatus::Code(0)));
}

#[test]
fn a_run_is_found_by_its_number_its_id_and_as_the_last_also_when_its_environment_is_gone() {
    let place = Place::new();
    let environment = place.create("memory", Some(Profile::None));
    let id = environment.id().clone();
    for code in ["1", "2"] {
        environment.run(command(["exit", code])).unwrap();
    }
    let other = place.create("memory", Some(Profile::None));
    other.run(command(["exit", "3"])).unwrap();
    environment.remove().unwrap();

    assert_eq!(place.ptest.environment_of_runs(id.as_str()).unwrap(), id);
    let find = |text: &str| place.ptest.run_of(&id, text.parse().unwrap());
    let first = find("1").unwrap();
    assert_eq!(status(&first), ExitStatus::Code(1));
    assert_eq!(find(&first.id.to_string()).unwrap(), first);
    assert_eq!(status(&find("last").unwrap()), ExitStatus::Code(2));
    for missing in ["3", &last(&other).id.to_string()] {
        let error = find(missing).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.hint().is_some());
    }
    let error = place.ptest.environment_of_runs("unknown").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(place.ptest.runs(false, 2).unwrap().len(), 2);
    assert_eq!(
        place
            .ptest
            .run_of(other.id(), RunChoice::Last)
            .unwrap()
            .number,
        1
    );
}

#[test]
fn secrets_in_a_command_and_values_of_its_variables_are_nowhere_in_the_store() {
    let place = Place::new();
    let environment = place.create("memory", Some(Profile::None));
    let run = Run {
        variables: [("ANY".into(), "hunter2".into())].into(),
        ..command([
            "true",
            "--password=hunter2",
            "https://me:hunter2@host/",
            "--token",
            "hunter2",
        ])
    };
    environment.run(run).unwrap();
    environment.run(command(["hunter3"])).unwrap_err();
    let all = ["ptest.db", "ptest.db-wal"]
        .map(|name| {
            std::fs::read(place.directory.path().join("store").join(name)).unwrap_or_default()
        })
        .concat();
    let holds = |word: &[u8]| all.windows(word.len()).any(|part| part == word);
    assert!(holds(b"--password=****"));
    assert!(!holds(b"hunter2"));
    assert!(holds(OsStr::new("hunter3").as_bytes()));
}

fn open_with(home: &Path, runs: Retention) -> Ptest {
    let variables = [("PATH".into(), std::env::var_os("PATH").unwrap())];
    let options = OpenOptions {
        housekeeping: Housekeeping {
            runs,
            ..Housekeeping::default()
        },
        ..OpenOptions::new(
            home,
            HostEnv::new(variables, "/"),
            Provision::new(InstallerChoice::Pip),
        )
    };
    Ptest::open(options).unwrap()
}

#[test]
fn old_runs_are_forgotten_by_count_and_by_age_but_never_the_last_of_an_environment() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    let by_count = Retention {
        count: 3,
        age: Duration::from_hours(1),
    };
    let ptest = open_with(&home, by_count);
    let [idle, busy, gone] =
        [(); 3].map(|()| ptest.create(&spec(directory.path()), &Silent).unwrap());
    let numbers = |environment: &ptest::environment::EnvironmentId| -> Vec<u32> {
        let runs = ptest.runs_of(environment, false, 1000).unwrap();
        runs.iter().map(|run| run.number).collect()
    };
    let run = |environment: &Environment| {
        let null = || {
            Output::Descriptor(
                File::options()
                    .write(true)
                    .open("/dev/null")
                    .unwrap()
                    .into(),
            )
        };
        let run = Run {
            stdout: null(),
            stderr: null(),
            ..command(["true"])
        };
        environment.run(run).unwrap().ended.unwrap();
    };
    run(&gone);
    run(&idle);
    let active = busy.start(command(["sleep", "1000"])).unwrap();
    (0..4).for_each(|_| run(&busy));
    let gone_id = gone.id().clone();
    gone.remove().unwrap();
    assert_eq!(numbers(&gone_id), [1]);
    ptest.tidy(Duration::from_mins(1)).unwrap();
    assert_eq!(numbers(&gone_id), Vec::<u32>::new());
    assert_eq!(numbers(idle.id()), [1]);
    // One has not ended.
    assert_eq!(numbers(busy.id()), [1, 3, 4, 5]);
    drop(active);

    let by_age = Retention {
        count: 1000,
        age: Duration::ZERO,
    };
    let later = open_with(&home, by_age);
    let ended = last(&busy).ended_at.unwrap();
    while Timestamp::now() <= ended {
        std::thread::yield_now();
    }
    later.tidy(Duration::from_mins(1)).unwrap();
    assert_eq!(numbers(busy.id()), [5]);
    assert_eq!(numbers(idle.id()), [1]);
    run(&idle);
    assert_eq!(numbers(idle.id()), [1, 2]);
    let ids: Vec<_> = open(&home)
        .runs(false, 9)
        .unwrap()
        .iter()
        .map(|run| run.id)
        .collect();
    assert!(ids.is_sorted());
    for environment in [idle, busy] {
        environment.remove().unwrap();
    }
}

//! The cases of what an instance does: its use, the samples of that, its processes.

use ptest::engine::{ExitStatus, Seen};

use super::cases::Made;
use super::running::{block_on, start};
use super::{Case, Required, Subject, Task};

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// Every case: its name, what it needs, what it does.
pub(super) fn all() -> Vec<(&'static str, Required, Case)> {
    vec![
        (
            "usage::a_running_command_is_counted",
            |capability| capability.usage,
            usage_counts,
        ),
        (
            "samples::what_was_seen_is_not_given_again",
            |capability| capability.samples,
            samples_once,
        ),
        (
            "samples::the_last_of_a_deactivated_instance_has_no_processes",
            |capability| capability.samples,
            samples_end,
        ),
        (
            "processes::a_running_command_is_among_them_and_not_when_it_has_ended",
            |capability| capability.processes,
            processes_run,
        ),
        (
            "processes::an_instance_that_is_not_active_has_none",
            |capability| capability.processes,
            processes_at_rest,
        ),
        (
            "signal_process::a_command_that_is_killed_ends",
            |capability| capability.processes,
            kill_process,
        ),
        (
            "signal_process::a_process_that_has_ended_is_not_signalled",
            |capability| capability.processes,
            kill_ended_process,
        ),
        (
            "usage::an_instance_at_rest_uses_nothing",
            |capability| capability.usage,
            usage_at_rest,
        ),
    ]
}

fn usage_counts(subject: &dyn Subject) {
    let made = Made::active(subject);
    let usage = || block_on(subject.engine().usage(&made.instance.id)).unwrap();
    let before = usage().processes;
    let mut stubborn = start(subject, &made.instance, Task::Stubborn, b"", |_| {}).unwrap();
    stubborn.first_byte();
    assert!(usage().processes > before);
}

fn usage_at_rest(subject: &dyn Subject) {
    let made = Made::created(subject);
    assert_eq!(
        block_on(subject.engine().usage(&made.instance.id))
            .unwrap()
            .processes,
        0
    );
}

fn samples_once(subject: &dyn Subject) {
    let made = Made::active(subject);
    made.output(Task::Echo("hello"), b"");
    made.deactivate();
    let samples = |seen| block_on(subject.engine().samples(&made.instance.id, seen)).unwrap();
    let found = samples(None);
    let seen = Seen {
        series: found.series,
        sequence: found.samples.last().unwrap().sequence,
    };
    assert_eq!(samples(Some(seen)).samples, []);
    // What was seen of another activation is another matter.
    let other = Seen {
        series: seen.series ^ 1,
        ..seen
    };
    assert_eq!(samples(Some(other)), found);
}

fn samples_end(subject: &dyn Subject) {
    let made = Made::active(subject);
    let mut stubborn = start(subject, &made.instance, Task::Stubborn, b"", |_| {}).unwrap();
    stubborn.first_byte();
    made.deactivate();
    let found = block_on(subject.engine().samples(&made.instance.id, None)).unwrap();
    assert_eq!(found.samples.last().unwrap().processes, 0);
}

fn processes_run(subject: &dyn Subject) {
    let made = Made::active(subject);
    let list = || block_on(subject.engine().processes(&made.instance.id)).unwrap();
    assert_eq!(list().processes, []);
    let started = start(subject, &made.instance, Task::Sleep, b"", |_| {}).unwrap();
    assert_eq!(list().processes.len(), 1);
    block_on(started.process.signal(SIGTERM)).unwrap();
    block_on(started.process.wait()).unwrap();
    assert_eq!(list().processes, []);
}

fn processes_at_rest(subject: &dyn Subject) {
    let made = Made::created(subject);
    let list = |id| block_on(subject.engine().processes(id)).unwrap();
    assert_eq!(list(&made.instance.id).processes, []);
    assert_eq!(list(&subject.instance().id).processes, []);
}

fn kill_process(subject: &dyn Subject) {
    let made = Made::active(subject);
    let started = start(subject, &made.instance, Task::Sleep, b"", |_| {}).unwrap();
    let listed = block_on(subject.engine().processes(&made.instance.id)).unwrap();
    let kill = |signal| {
        let engine = subject.engine();
        block_on(engine.signal_process(&made.instance.id, &listed.processes[0], signal)).unwrap()
    };
    assert!(kill(SIGKILL));
    assert_eq!(
        block_on(started.process.wait()).unwrap().status,
        ExitStatus::Signal(SIGKILL)
    );
}

fn kill_ended_process(subject: &dyn Subject) {
    let made = Made::active(subject);
    let started = start(subject, &made.instance, Task::Sleep, b"", |_| {}).unwrap();
    let listed = block_on(subject.engine().processes(&made.instance.id)).unwrap();
    block_on(started.process.signal(SIGTERM)).unwrap();
    block_on(started.process.wait()).unwrap();
    let signal = |process| {
        let engine = subject.engine();
        block_on(engine.signal_process(&made.instance.id, process, SIGKILL)).unwrap()
    };
    assert!(!signal(&listed.processes[0]));
    made.deactivate();
    assert!(!signal(&listed.processes[0]));
}

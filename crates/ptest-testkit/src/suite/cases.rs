//! The cases: one for each line under *Behaviour* in the docs of the engine trait.

use std::fs;
use std::time::Duration;

use ptest::engine::{Change, ChangeKind, Copied, ExitStatus, HandedOver, Instance, Upper};
use ptest::error::ErrorKind;
use ptest::runs::RunId;

use super::running::{block_on, output_of, start, start_run};
use super::{Case, Required, Subject, Task};

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;
const GRACE: Duration = Duration::from_millis(50);

/// Every case: its name, what it needs, what it does.
pub(super) fn all() -> Vec<(&'static str, Required, Case)> {
    let any: Required = |_| true;
    let files: Required = |capability| capability.files;
    let restack: Required = |capability| capability.restack && capability.files;
    let snapshot: Required = |capability| capability.snapshot && capability.files;
    let hand_over: Required = |capability| capability.hand_over && capability.files;
    vec![
        (
            "create::a_created_instance_is_not_active",
            any,
            created_is_not_active,
        ),
        (
            "create::an_id_that_exists_is_refused_and_left_as_it_was",
            files,
            create_twice,
        ),
        (
            "activate::commands_can_be_run_when_it_returns",
            any,
            activate_then_run,
        ),
        (
            "activate::an_active_instance_is_refused",
            any,
            activate_twice,
        ),
        (
            "activate::an_unknown_instance_is_not_found",
            any,
            activate_unknown,
        ),
        (
            "activate::what_was_written_before_deactivation_is_there_again",
            files,
            files_last,
        ),
        (
            "instances::a_created_instance_is_among_them_until_it_is_removed",
            any,
            listed_until_removed,
        ),
        (
            "is_active::an_unknown_instance_is_not_active",
            any,
            unknown_is_not_active,
        ),
        (
            "deactivate::nothing_runs_when_it_returns",
            any,
            deactivate_ends_commands,
        ),
        (
            "deactivate::an_instance_at_rest_is_left_alone",
            any,
            deactivate_twice,
        ),
        ("spawn::the_streams_are_the_descriptors_given", any, streams),
        ("spawn::more_than_a_pipe_holds_passes", any, large),
        ("spawn::bytes_that_are_not_utf8_pass", any, bytes),
        ("spawn::path_begins_with_the_environment", any, path),
        (
            "spawn::it_sees_what_was_set_and_nothing_that_was_not_passed",
            any,
            variables,
        ),
        (
            "spawn::a_missing_command_is_command_not_found",
            any,
            missing,
        ),
        (
            "spawn::a_file_that_cannot_be_executed_is_command_not_executable",
            any,
            not_executable,
        ),
        ("spawn::an_instance_at_rest_is_refused", any, spawn_at_rest),
        ("wait::the_code_is_the_commands_own", any, codes),
        (
            "wait::a_time_limit_ends_a_command_that_ignores_sigterm",
            |capability| capability.timeout,
            timeout,
        ),
        (
            "wait::a_time_limit_of_zero_ends_a_command",
            |capability| capability.timeout,
            timeout_zero,
        ),
        (
            "wait::it_returns_when_the_instance_is_deactivated",
            any,
            wait_sees_deactivation,
        ),
        (
            "signal::a_command_that_does_not_handle_it_ends_by_it",
            |capability| capability.signal,
            signal,
        ),
        (
            "signal::a_command_that_has_ended_is_left_alone",
            |capability| capability.signal,
            signal_after_end,
        ),
        (
            "signal::the_command_of_a_run_ends_by_it_and_no_other_does",
            |capability| capability.signal,
            signal_of_run,
        ),
        (
            "signal::a_run_that_has_ended_or_is_not_of_the_instance_is_not_there",
            |capability| capability.signal,
            signal_of_no_run,
        ),
        (
            "signal::in_an_instance_that_is_not_active_there_is_no_run",
            |capability| capability.signal,
            signal_at_rest,
        ),
        ("disk::what_was_written_counts", files, disk_counts),
        (
            "disk::an_unknown_instance_takes_nothing",
            files,
            disk_of_unknown,
        ),
        (
            "changes::a_file_that_was_written_is_among_them",
            files,
            changes_show_files,
        ),
        (
            "changes::an_instance_in_which_nothing_was_written_has_none",
            files,
            changes_none,
        ),
        (
            "host_files::a_file_that_was_written_is_in_the_last_of_the_trees",
            |capability| capability.host_files,
            host_files,
        ),
        (
            "restack::what_was_written_is_kept_or_dropped_as_asked",
            restack,
            restack_upper,
        ),
        (
            "restack::the_generation_before_is_as_it_was_until_it_is_settled_otherwise",
            restack,
            restack_back,
        ),
        (
            "restack::an_active_instance_is_refused",
            restack,
            restack_active,
        ),
        (
            "settle::an_unknown_instance_is_left_alone",
            restack,
            settle_unknown,
        ),
        (
            "snapshot::an_instance_of_its_stack_shows_what_was_shown_then",
            snapshot,
            snapshot_shows,
        ),
        (
            "snapshot::an_instance_in_which_nothing_was_written_gives_its_own_stack",
            snapshot,
            snapshot_of_nothing,
        ),
        (
            "snapshot::what_runs_in_an_active_instance_goes_on",
            snapshot,
            snapshot_goes_on,
        ),
        (
            "hand_over::the_new_generation_on_the_layer_shows_what_was_shown",
            hand_over,
            hand_over_shows,
        ),
        (
            "hand_over::an_instance_settled_as_it_was_shows_what_it_showed",
            hand_over,
            hand_over_undone,
        ),
        (
            "hand_over::an_instance_in_which_nothing_was_written_hands_nothing_over",
            hand_over,
            hand_over_nothing,
        ),
        (
            "remove::an_active_instance_is_gone_with_its_commands",
            any,
            remove_active,
        ),
        ("remove::its_files_are_gone", files, remove_files),
        (
            "remove::an_unknown_instance_is_left_alone",
            any,
            remove_unknown,
        ),
        ("many::thirty_two_instances_live_at_once", any, many),
    ]
}

/// An instance that is created, and removed when the case ends, however it ends.
pub(super) struct Made<'a> {
    subject: &'a dyn Subject,
    pub(super) instance: Instance,
}

impl<'a> Made<'a> {
    pub(super) fn created(subject: &'a dyn Subject) -> Self {
        let made = Self {
            subject,
            instance: subject.instance(),
        };
        block_on(subject.engine().create(&made.instance)).unwrap();
        made
    }

    pub(super) fn active(subject: &'a dyn Subject) -> Self {
        let made = Self::created(subject);
        made.activate();
        made
    }

    fn activate(&self) {
        block_on(self.subject.engine().activate(&self.instance)).unwrap();
    }

    pub(super) fn deactivate(&self) {
        block_on(self.subject.engine().deactivate(&self.instance.id, GRACE)).unwrap();
    }

    /// Puts it on its own stack once more.
    fn restack(&mut self, upper: Upper) {
        let (engine, instance) = (self.subject.engine(), &mut self.instance);
        let next = block_on(engine.restack(instance, &instance.stack, upper)).unwrap();
        instance.generation = next;
        block_on(engine.settle(&instance.id, next)).unwrap();
    }

    fn snapshot(&self) -> Copied {
        let copied = block_on(self.subject.engine().snapshot(&self.instance)).unwrap();
        assert_eq!(copied.left_out, Vec::<String>::new());
        copied
    }

    /// `None` if it can only be copied.
    fn hand_over(&self) -> Option<HandedOver> {
        block_on(self.subject.engine().hand_over(&self.instance)).unwrap()
    }

    fn signal(&self, id: &str, signal: i32) -> bool {
        let engine = self.subject.engine();
        block_on(engine.signal(&self.instance.id, run(id), signal)).unwrap()
    }

    fn is_active(&self) -> bool {
        block_on(self.subject.engine().is_active(&self.instance.id)).unwrap()
    }

    pub(super) fn output(&self, task: Task<'_>, input: &[u8]) -> Vec<u8> {
        let output = output_of(self.subject, &self.instance, task, input).unwrap();
        assert_eq!(output.exit.status, ExitStatus::Code(0), "{task:?}");
        output.stdout
    }

    fn status(&self, task: Task<'_>) -> ExitStatus {
        output_of(self.subject, &self.instance, task, b"")
            .unwrap()
            .exit
            .status
    }

    fn refused(&self, task: Task<'_>) -> ErrorKind {
        output_of(self.subject, &self.instance, task, b"")
            .unwrap_err()
            .kind()
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        let removed = block_on(self.subject.engine().remove(&self.instance.id));
        if !std::thread::panicking() {
            removed.unwrap();
        }
    }
}

fn created_is_not_active(subject: &dyn Subject) {
    assert!(!Made::created(subject).is_active());
}

fn create_twice(subject: &dyn Subject) {
    let made = Made::active(subject);
    made.output(Task::Put("kept"), b"contents");
    let refused = block_on(subject.engine().create(&made.instance)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    assert_eq!(made.output(Task::Get("kept"), b""), b"contents");
}

fn activate_then_run(subject: &dyn Subject) {
    let made = Made::active(subject);
    assert!(made.is_active());
    assert_eq!(made.output(Task::Echo("hello"), b""), b"hello\n");
}

fn activate_twice(subject: &dyn Subject) {
    let made = Made::active(subject);
    let refused = block_on(subject.engine().activate(&made.instance)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::IllegalState);
    assert_eq!(made.output(Task::Echo("still"), b""), b"still\n");
}

fn activate_unknown(subject: &dyn Subject) {
    let refused = block_on(subject.engine().activate(&subject.instance())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
}

fn files_last(subject: &dyn Subject) {
    let made = Made::active(subject);
    made.output(Task::Put("file"), b"\x00\xffcontents");
    made.deactivate();
    made.activate();
    assert_eq!(made.output(Task::Get("file"), b""), b"\x00\xffcontents");
}

fn listed_until_removed(subject: &dyn Subject) {
    let made = Made::created(subject);
    let listed = || {
        let instances = block_on(subject.engine().instances()).unwrap();
        instances.contains(&made.instance.id)
    };
    assert!(listed());
    block_on(subject.engine().remove(&made.instance.id)).unwrap();
    assert!(!listed());
}

fn unknown_is_not_active(subject: &dyn Subject) {
    assert!(!block_on(subject.engine().is_active(&subject.instance().id)).unwrap());
}

fn deactivate_ends_commands(subject: &dyn Subject) {
    let made = Made::active(subject);
    let mut stubborn = start(subject, &made.instance, Task::Stubborn, b"", |_| {}).unwrap();
    stubborn.first_byte();
    made.deactivate();
    assert!(!made.is_active());
    // The pipe ends only when its last writer is dead.
    stubborn.output();
}

fn deactivate_twice(subject: &dyn Subject) {
    let made = Made::active(subject);
    made.deactivate();
    made.deactivate();
    assert!(!made.is_active());
}

fn streams(subject: &dyn Subject) {
    let made = Made::active(subject);
    assert_eq!(made.output(Task::Cat, b"in and out"), b"in and out");
}

fn large(subject: &dyn Subject) {
    let made = Made::active(subject);
    let input = vec![b'x'; 64 << 20];
    let mut started = start(subject, &made.instance, Task::Cat, &input, |_| {}).unwrap();
    assert_eq!(started.count(), input.len());
    assert_eq!(
        block_on(started.process.wait()).unwrap().status,
        ExitStatus::Code(0)
    );
}

fn bytes(subject: &dyn Subject) {
    let made = Made::active(subject);
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(made.output(Task::Cat, &all), all);
}

fn path(subject: &dyn Subject) {
    let made = Made::active(subject);
    let variables = String::from_utf8(made.output(Task::Variables, b"")).unwrap();
    let value = |name: &str| {
        variables
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .unwrap()
            .to_owned()
    };
    let first = value("PATH").split(':').next().unwrap().to_owned();
    assert_eq!(first, format!("{}/bin", value("VIRTUAL_ENV")));
}

fn variables(subject: &dyn Subject) {
    let made = Made::active(subject);
    let started = start(subject, &made.instance, Task::Variables, b"", |command| {
        command.variables.insert("GIVEN".into(), "a value".into());
    })
    .unwrap();
    block_on(started.process.wait()).unwrap();
    let text = String::from_utf8(started.output()).unwrap();
    assert!(text.lines().any(|line| line == "GIVEN=a value"), "{text}");
    assert!(!text.contains("leaked"), "{text}");
}

fn missing(subject: &dyn Subject) {
    assert_eq!(
        Made::active(subject).refused(Task::Missing),
        ErrorKind::CommandNotFound
    );
}

fn not_executable(subject: &dyn Subject) {
    assert_eq!(
        Made::active(subject).refused(Task::NotExecutable),
        ErrorKind::CommandNotExecutable
    );
}

fn spawn_at_rest(subject: &dyn Subject) {
    assert_eq!(
        Made::created(subject).refused(Task::Exit(0)),
        ErrorKind::IllegalState
    );
}

fn codes(subject: &dyn Subject) {
    let made = Made::active(subject);
    for code in [0, 1, 7, 127, 255] {
        assert_eq!(made.status(Task::Exit(code)), ExitStatus::Code(code.into()));
    }
}

fn timeout(subject: &dyn Subject) {
    let made = Made::active(subject);
    let started = start(subject, &made.instance, Task::Stubborn, b"", |command| {
        command.timeout = Some(Duration::from_millis(300));
    })
    .unwrap();
    let exit = block_on(started.process.wait()).unwrap();
    assert!(exit.timed_out);
    assert_eq!(exit.status, ExitStatus::Signal(SIGKILL));
}

fn timeout_zero(subject: &dyn Subject) {
    let made = Made::active(subject);
    let started = start(subject, &made.instance, Task::Sleep, b"", |command| {
        command.timeout = Some(Duration::ZERO);
    })
    .unwrap();
    assert!(block_on(started.process.wait()).unwrap().timed_out);
}

fn wait_sees_deactivation(subject: &dyn Subject) {
    let made = Made::active(subject);
    let started = start(subject, &made.instance, Task::Sleep, b"", |_| {}).unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| block_on(started.process.wait()));
        made.deactivate();
        let exit = waiter.join().unwrap().unwrap();
        assert!(
            matches!(exit.status, ExitStatus::Signal(SIGTERM | SIGKILL)),
            "{exit:?}"
        );
    });
}

fn signal(subject: &dyn Subject) {
    let made = Made::active(subject);
    let started = start(subject, &made.instance, Task::Sleep, b"", |_| {}).unwrap();
    block_on(started.process.signal(SIGTERM)).unwrap();
    assert_eq!(
        block_on(started.process.wait()).unwrap().status,
        ExitStatus::Signal(SIGTERM)
    );
}

fn signal_after_end(subject: &dyn Subject) {
    let made = Made::active(subject);
    let started = start(subject, &made.instance, Task::Exit(3), b"", |_| {}).unwrap();
    assert_eq!(
        block_on(started.process.wait()).unwrap().status,
        ExitStatus::Code(3)
    );
    block_on(started.process.signal(SIGTERM)).unwrap();
}

fn run(id: &str) -> RunId {
    id.parse().unwrap()
}

fn signal_of_run(subject: &dyn Subject) {
    let made = Made::active(subject);
    let [one, other] =
        ["r1", "r2"].map(|id| start_run(subject, &made.instance, run(id), Task::Sleep).unwrap());
    assert!(made.signal("r1", SIGTERM));
    let exit = block_on(one.process.wait()).unwrap();
    assert_eq!(exit.status, ExitStatus::Signal(SIGTERM));
    assert!(made.signal("r2", SIGKILL));
    let exit = block_on(other.process.wait()).unwrap();
    assert_eq!(exit.status, ExitStatus::Signal(SIGKILL));
}

fn signal_of_no_run(subject: &dyn Subject) {
    let made = Made::active(subject);
    let ended = start_run(subject, &made.instance, run("r1"), Task::Exit(0)).unwrap();
    block_on(ended.process.wait()).unwrap();
    assert!(!made.signal("r1", SIGTERM));
    assert!(!made.signal("r2", SIGTERM));
}

fn signal_at_rest(subject: &dyn Subject) {
    assert!(!Made::created(subject).signal("r1", SIGTERM));
}

fn disk_counts(subject: &dyn Subject) {
    let made = Made::active(subject);
    let disk = || block_on(subject.engine().disk(&made.instance.id)).unwrap();
    let before = disk();
    made.output(Task::Put("large"), &vec![1; 1 << 20]);
    assert!(disk() - before >= 1 << 20);
    made.deactivate();
    assert!(disk() - before >= 1 << 20);
}

fn disk_of_unknown(subject: &dyn Subject) {
    let disk = block_on(subject.engine().disk(&subject.instance().id)).unwrap();
    assert_eq!(disk, 0);
}

fn changes_show_files(subject: &dyn Subject) {
    let made = Made::active(subject);
    made.output(Task::Put("file"), b"contents");
    let written = Change {
        path: "file".into(),
        kind: ChangeKind::Written,
    };
    let changes = || block_on(subject.engine().changes(&made.instance)).unwrap();
    assert_eq!(changes(), std::slice::from_ref(&written));
    made.deactivate();
    assert_eq!(changes(), [written]);
}

fn changes_none(subject: &dyn Subject) {
    let made = Made::active(subject);
    made.output(Task::Echo("nothing"), b"");
    assert_eq!(
        block_on(subject.engine().changes(&made.instance)).unwrap(),
        []
    );
}

fn host_files(subject: &dyn Subject) {
    let made = Made::active(subject);
    made.output(Task::Put("file"), b"contents");
    let files = block_on(subject.engine().host_files(&made.instance)).unwrap();
    let last = files.trees.last().unwrap();
    assert_eq!(fs::read(last.join("file")).unwrap(), b"contents");
}

fn restack_upper(subject: &dyn Subject) {
    let mut made = Made::active(subject);
    made.output(Task::Put("file"), b"contents");
    made.deactivate();
    made.restack(Upper::Keep);
    made.activate();
    assert_eq!(made.output(Task::Get("file"), b""), b"contents");
    made.deactivate();
    made.restack(Upper::Drop);
    made.activate();
    assert_ne!(made.status(Task::Get("file")), ExitStatus::Code(0));
}

fn restack_back(subject: &dyn Subject) {
    let made = Made::active(subject);
    made.output(Task::Put("file"), b"contents");
    made.deactivate();
    let instance = &made.instance;
    for _ in 0..2 {
        // Twice: what is left of one that was given up is in nobody's way.
        block_on(
            subject
                .engine()
                .restack(instance, &instance.stack, Upper::Drop),
        )
        .unwrap();
    }
    block_on(subject.engine().settle(&instance.id, instance.generation)).unwrap();
    made.activate();
    assert_eq!(made.output(Task::Get("file"), b""), b"contents");
}

fn restack_active(subject: &dyn Subject) {
    let made = Made::active(subject);
    made.output(Task::Put("file"), b"contents");
    let instance = &made.instance;
    let refused = block_on(
        subject
            .engine()
            .restack(instance, &instance.stack, Upper::Drop),
    );
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::IllegalState);
    assert_eq!(made.output(Task::Get("file"), b""), b"contents");
}

fn settle_unknown(subject: &dyn Subject) {
    block_on(subject.engine().settle(&subject.instance().id, 7)).unwrap();
}

fn snapshot_shows(subject: &dyn Subject) {
    let made = Made::active(subject);
    made.output(Task::Put("file"), b"before");
    let active = made.snapshot().stack;
    made.output(Task::Put("file"), b"after");
    made.output(Task::Put("more"), b"more");
    made.deactivate();
    let at_rest = made.snapshot().stack;
    for (stack, file, has_more) in [
        (active, b"before".as_slice(), false),
        (at_rest, b"after", true),
    ] {
        let mut other = Made {
            subject,
            instance: subject.instance(),
        };
        other.instance.stack = stack;
        block_on(subject.engine().create(&other.instance)).unwrap();
        other.activate();
        assert_eq!(other.output(Task::Get("file"), b""), file);
        assert_eq!(
            other.status(Task::Get("more")) == ExitStatus::Code(0),
            has_more
        );
        assert_eq!(other.snapshot().stack, other.instance.stack);
    }
}

fn snapshot_of_nothing(subject: &dyn Subject) {
    let made = Made::created(subject);
    assert_eq!(made.snapshot().stack, made.instance.stack);
}

fn snapshot_goes_on(subject: &dyn Subject) {
    let made = Made::active(subject);
    let mut stubborn = start(subject, &made.instance, Task::Stubborn, b"", |_| {}).unwrap();
    stubborn.first_byte();
    made.output(Task::Put("file"), b"contents");
    made.snapshot();
    assert_eq!(made.output(Task::Echo("on"), b""), b"on\n");
    block_on(stubborn.process.signal(SIGKILL)).unwrap();
    let exit = block_on(stubborn.process.wait()).unwrap();
    assert_eq!(exit.status, ExitStatus::Signal(SIGKILL));
}

fn hand_over_shows(subject: &dyn Subject) {
    let mut made = Made::active(subject);
    made.output(Task::Put("file"), b"contents");
    made.deactivate();
    let Some(handed) = made.hand_over() else {
        return;
    };
    let layer = handed.written.publish().unwrap().layer.id;
    made.instance.stack = made.instance.stack.with_top(layer);
    made.instance.generation = handed.generation;
    block_on(
        subject
            .engine()
            .settle(&made.instance.id, handed.generation),
    )
    .unwrap();
    assert_eq!(
        block_on(subject.engine().changes(&made.instance)).unwrap(),
        []
    );
    made.activate();
    assert_eq!(made.output(Task::Get("file"), b""), b"contents");
}

fn hand_over_undone(subject: &dyn Subject) {
    let made = Made::active(subject);
    made.output(Task::Put("file"), b"contents");
    made.deactivate();
    // Twice: what is left of one that was given up is in nobody's way.
    for _ in 0..2 {
        drop(made.hand_over());
        let instance = &made.instance;
        block_on(subject.engine().settle(&instance.id, instance.generation)).unwrap();
    }
    made.activate();
    assert_eq!(made.output(Task::Get("file"), b""), b"contents");
}

fn hand_over_nothing(subject: &dyn Subject) {
    let made = Made::created(subject);
    assert!(made.hand_over().is_none());
}

fn remove_active(subject: &dyn Subject) {
    let made = Made::active(subject);
    let mut stubborn = start(subject, &made.instance, Task::Stubborn, b"", |_| {}).unwrap();
    stubborn.first_byte();
    block_on(subject.engine().remove(&made.instance.id)).unwrap();
    stubborn.output();
    assert!(!made.is_active());
    let refused = block_on(subject.engine().activate(&made.instance)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
}

fn remove_files(subject: &dyn Subject) {
    let made = Made::active(subject);
    made.output(Task::Put("file"), b"contents");
    block_on(subject.engine().remove(&made.instance.id)).unwrap();
    block_on(subject.engine().create(&made.instance)).unwrap();
    made.activate();
    assert_ne!(made.status(Task::Get("file")), ExitStatus::Code(0));
}

fn remove_unknown(subject: &dyn Subject) {
    block_on(subject.engine().remove(&subject.instance().id)).unwrap();
}

fn many(subject: &dyn Subject) {
    std::thread::scope(|scope| {
        for number in 0..32 {
            scope.spawn(move || {
                let made = Made::active(subject);
                let text = format!("instance {number}");
                assert_eq!(
                    made.output(Task::Echo(&text), b""),
                    format!("{text}\n").into_bytes()
                );
            });
        }
    });
}

//! The logs of runs: what is kept of what a command writes while it goes where it was to go.

use std::fs::File;
use std::io::{BufRead as _, BufReader, PipeReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::time::Duration;

use ptest::engine::{Command, Exit, ExitStatus, Stdio};
use ptest::events::Retention;
use ptest::runs::{ActiveRun, Destination, Lines, OutputFilter, Piece, RunChoice, RunRecord};
use ptest::settings::Profile;
use ptest::{Environment, ErrorKind, Ptest, StreamKind};

use crate::run::{Place, command, eventually, with_processes};

const SIGPIPE: i32 = 13;
const LIMIT: u64 = 1 << 20;

/// The caller's side of a command's streams.
struct Streams {
    input: std::io::PipeWriter,
    output: BufReader<PipeReader>,
    errors: BufReader<PipeReader>,
}

impl Streams {
    fn output_line(&mut self) -> String {
        line(&mut self.output)
    }

    fn error_line(&mut self) -> String {
        line(&mut self.errors)
    }
}

fn line(stream: &mut BufReader<PipeReader>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line
}

/// Starts a script with a log of at most so many bytes.
fn start(environment: &Environment, script: &str, most: u64) -> (ActiveRun, Streams) {
    let (stdin, input) = std::io::pipe().unwrap();
    let (output, stdout) = std::io::pipe().unwrap();
    let (errors, stderr) = std::io::pipe().unwrap();
    let stdio = [stdin.into(), stdout.into(), stderr.into()];
    let streams = Streams {
        input,
        output: BufReader::new(output),
        errors: BufReader::new(errors),
    };
    (spawn(environment, script, stdio, most), streams)
}

fn spawn(environment: &Environment, script: &str, stdio: [OwnedFd; 3], most: u64) -> ActiveRun {
    let [stdin, stdout, stderr] = stdio;
    let run = command(["sh", "-c", script]);
    let command = Command {
        arguments: run.arguments,
        working_directory: None,
        caller: run.caller,
        variables: run.variables,
        stdio: Stdio::Descriptors {
            stdin,
            stdout,
            stderr,
        },
        timeout: None,
        grace: Duration::ZERO,
    };
    environment.spawn_logged(command, most).unwrap()
}

fn null() -> OwnedFd {
    File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .unwrap()
        .into()
}

/// Runs a script to its end with its output going nowhere but to its log.
fn run(environment: &Environment, script: &str, most: u64) -> Exit {
    let run = spawn(environment, script, [null(), null(), null()], most);
    environment.wait(&run).unwrap()
}

fn last(place: &Ptest, environment: &Environment) -> RunRecord {
    place.run_of(environment.id(), RunChoice::Last).unwrap()
}

fn pieces(ptest: &Ptest, environment: &Environment, filter: OutputFilter) -> Vec<Piece> {
    let mut output = ptest.output(&last(ptest, environment), filter).unwrap();
    std::iter::from_fn(|| output.piece().unwrap()).collect()
}

/// What is kept of one stream, or of both, as one text.
fn text(ptest: &Ptest, environment: &Environment, filter: OutputFilter) -> String {
    let pieces = pieces(ptest, environment, filter);
    let bytes = pieces.into_iter().flat_map(|piece| match piece {
        Piece::Bytes(_, bytes) => bytes,
        Piece::LeftOut(_, count) => format!("[{count}]").into_bytes(),
    });
    String::from_utf8(bytes.collect()).unwrap()
}

fn only(stream: StreamKind, lines: Lines) -> OutputFilter {
    OutputFilter {
        stream: Some(stream),
        lines,
        ..OutputFilter::default()
    }
}

#[test]
fn what_is_logged_goes_where_it_was_to_go_and_is_kept_in_the_order_in_which_it_came() {
    with_processes(|place, environment| {
        let script = "echo one; read x; printf '\\377 two' >&2; read x; echo three";
        let (run, mut streams) = start(environment, script, LIMIT);
        assert_eq!(streams.output_line(), "one\n");
        streams.input.write_all(b"\n").unwrap();
        let mut two = [0; 5];
        streams.errors.read_exact(&mut two).unwrap();
        assert_eq!(&two, b"\xff two");
        streams.input.write_all(b"\n").unwrap();
        assert_eq!(streams.output_line(), "three\n");
        let exit = environment.wait(&run).unwrap();
        assert_eq!(exit.status, ExitStatus::Code(0));
        assert_eq!(
            (streams.output_line(), streams.error_line()),
            Default::default()
        );

        let kept = pieces(&place.ptest, environment, OutputFilter::default());
        let piece = |kind, bytes: &[u8]| Piece::Bytes(kind, bytes.to_vec());
        assert_eq!(
            kept,
            [
                piece(StreamKind::Stdout, b"one\n"),
                piece(StreamKind::Stderr, b"\xff two"),
                piece(StreamKind::Stdout, b"three\n"),
            ]
        );
        let streams = last(&place.ptest, environment).streams;
        assert!(streams.log);
        assert_eq!(streams.stdout.destination, Destination::Pipe);
        assert_eq!(
            (streams.stdout.total, streams.stdout.in_file),
            (Some(10), 10)
        );
        assert_eq!(streams.stderr.head, b"\xff two");
    });
}

#[test]
fn much_that_is_logged_arrives_whole() {
    with_processes(|place, environment| {
        let script = "head -c 3000000 /dev/zero; head -c 2000000 /dev/zero >&2; echo end";
        let (run, mut streams) = start(environment, script, 8 << 20);
        let errors = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            streams.errors.read_to_end(&mut bytes).unwrap();
            bytes.len()
        });
        let output = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            streams.output.read_to_end(&mut bytes).unwrap();
            bytes
        });
        environment.wait(&run).unwrap();
        let output = output.join().unwrap();
        assert_eq!(
            (output.len(), errors.join().unwrap()),
            (3_000_004, 2_000_000)
        );
        assert!(output.ends_with(b"end\n"));
        let kept = text(&place.ptest, environment, OutputFilter::default());
        assert_eq!(kept.len(), 5_000_004);
    });
}

#[test]
fn who_follows_a_log_hears_each_line_when_it_is_written_and_the_end() {
    with_processes(|place, environment| {
        let (run, mut streams) = start(environment, "echo one; read x; echo two; read x", LIMIT);
        let follow = OutputFilter {
            follow: true,
            ..OutputFilter::default()
        };
        let record = last(&place.ptest, environment);
        let (tell, heard) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut output = place.ptest.output(&record, follow).unwrap();
                while let Some(piece) = output.piece().unwrap() {
                    tell.send(piece).unwrap();
                }
            });
            let line = |text: &str| Piece::Bytes(StreamKind::Stdout, text.into());
            assert_eq!(heard.recv().unwrap(), line("one\n"));
            streams.input.write_all(b"\n").unwrap();
            assert_eq!(heard.recv().unwrap(), line("two\n"));
            streams.input.write_all(b"\n").unwrap();
            environment.wait(&run).unwrap();
            // It ends though this process goes on.
            assert!(heard.recv().is_err());
        });
        // One that has ended is followed to where it ended.
        let record = last(&place.ptest, environment);
        let mut output = place.ptest.output(&record, follow).unwrap();
        assert!(output.piece().unwrap().is_some());
        while output.piece().unwrap().is_some() {}
    });
}

#[test]
fn a_command_whose_output_nobody_reads_any_more_is_told_so() {
    with_processes(|_, environment| {
        let (run, mut streams) = start(environment, "exec yes", LIMIT);
        assert_eq!(streams.output_line(), "y\n");
        drop(streams);
        let exit = environment.wait(&run).unwrap();
        assert_eq!(exit.status, ExitStatus::Signal(SIGPIPE));
    });
}

#[test]
fn a_stream_that_is_not_read_holds_up_its_writer_and_not_the_other_stream() {
    with_processes(|place, environment| {
        let script = "yes & read x; echo heard >&2; kill -9 $!; wait";
        let (run, mut streams) = start(environment, script, LIMIT);
        let id = last(&place.ptest, environment).id;
        let log = || std::fs::metadata(place.ptest.log_path(id)).unwrap().len();
        eventually("both pipes are full", || log() > 64 << 10);
        streams.input.write_all(b"\n").unwrap();
        assert_eq!(streams.error_line(), "heard\n");
        // No more was taken than was there to be passed on.
        assert!(log() < 512 << 10);
        let reading =
            std::thread::spawn(move || std::io::copy(&mut streams.output, &mut std::io::sink()));
        environment.wait(&run).unwrap();
        let passed = reading.join().unwrap().unwrap();
        assert_eq!(
            last(&place.ptest, environment).streams.stdout.total,
            Some(passed)
        );
    });
}

#[test]
fn of_a_log_that_is_full_the_end_is_kept_and_what_is_missing_is_told() {
    with_processes(|place, environment| {
        run(environment, "seq 1 20000; echo last >&2", 1000);
        let whole: String = (1..=20_000).map(|number| format!("{number}\n")).collect();
        let kept = text(
            &place.ptest,
            environment,
            only(StreamKind::Stdout, Lines::All),
        );
        let (begin, rest) = kept.split_once('[').unwrap();
        let (count, end) = rest.split_once(']').unwrap();
        assert!(begin.len() > 900 && whole.starts_with(begin));
        assert!(end.len() == 4096 && whole.ends_with(end));
        let count: usize = count.parse().unwrap();
        assert_eq!(begin.len() + count + end.len(), whole.len());
        let stdout = last(&place.ptest, environment).streams.stdout;
        assert_eq!(stdout.dropped(), count as u64);
        let errors = text(
            &place.ptest,
            environment,
            only(StreamKind::Stderr, Lines::All),
        );
        assert_eq!(errors, "last\n");
    });
}

#[test]
fn some_lines_of_a_log_are_what_was_asked_for() {
    with_processes(|place, environment| {
        run(environment, "seq 1 9; printf ten; echo error >&2", LIMIT);
        let lines = |lines| text(&place.ptest, environment, only(StreamKind::Stdout, lines));
        assert_eq!(lines(Lines::First(2)), "1\n2\n");
        assert_eq!(lines(Lines::Last(2)), "9\nten");
        assert_eq!(lines(Lines::First(0)), "");
        assert_eq!(lines(Lines::Last(0)), "");
        assert_eq!(lines(Lines::First(99)), lines(Lines::All));
        assert_eq!(lines(Lines::Last(99)), lines(Lines::All));
        let all = OutputFilter::default();
        assert_eq!(text(&place.ptest, environment, all).len(), 18 + 3 + 6);
    });
}

#[test]
fn output_that_was_not_taken_is_refused_with_where_it_went() {
    let place = Place::new();
    let environment = place.create("memory", Some(Profile::None));
    let run = ptest::Run {
        stdout: ptest::Output::Null,
        stderr: ptest::Output::Descriptor(std::io::pipe().unwrap().1.into()),
        ..command(["true"])
    };
    environment.run(run).unwrap();
    let record = last(&place.ptest, &environment);
    let error = place
        .ptest
        .output(&record, OutputFilter::default())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("nobody"), "{error}");
    assert!(error.to_string().contains("a pipe"), "{error}");
    // Of what a program took by the library both ends are in the record.
    environment.run(command(["echo", "word"])).unwrap();
    assert_eq!(
        text(&place.ptest, &environment, OutputFilter::default()),
        "word\n"
    );
}

#[test]
fn a_log_goes_with_its_record() {
    with_processes(|place, environment| {
        run(environment, "echo one", LIMIT);
        let first = last(&place.ptest, environment).id;
        run(environment, "echo two", LIMIT);
        let second = last(&place.ptest, environment).id;
        let keep_one = Retention {
            count: 1,
            age: Duration::from_hours(1),
        };
        assert!(place.ptest.log_path(first).exists());
        place.ptest.prune_runs(keep_one).unwrap();
        assert!(!place.ptest.log_path(first).exists());
        assert!(place.ptest.log_path(second).exists());
    });
}

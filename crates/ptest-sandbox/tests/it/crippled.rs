//! Who does not keep to the protocol: clients that an init must not mind, and inits that a client must not wait for.

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Child;
use std::time::{Duration, Instant};

use ptest_sandbox::protocol::VERSION;
use ptest_sandbox::{
    Client, Command, Error, LaunchOptions, Launcher, Listen, Owner, Plan, Sandbox, Stdio, fuzzing,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{
    LIMIT, eventually, helper, launcher, null, open_directory, sh, start, tempdir,
};

/// How long the clients of these tests wait.
const PATIENCE: Duration = Duration::from_millis(200);

/// A sandbox that listens in a directory.
struct Place {
    directory: tempfile::TempDir,
    sandbox: Sandbox,
}

impl Place {
    fn new() -> Self {
        let directory = tempdir();
        let options = LaunchOptions {
            owner: Owner::Process,
            listen: Some(Listen {
                directory: open_directory(directory.path()),
                name: "socket".into(),
            }),
            ..LaunchOptions::default()
        };
        let sandbox = launcher()
            .with_patience(LIMIT)
            .launch(&Plan::bare(), options)
            .unwrap();
        Self { directory, sandbox }
    }

    fn dial(&self) -> UnixStream {
        UnixStream::connect(self.directory.path().join("socket")).unwrap()
    }

    fn client(&self) -> Client {
        Client::connect(open_directory(self.directory.path()), OsStr::new("socket")).unwrap()
    }

    /// Another client is served, and who was there before too.
    fn assert_serves(&self) {
        assert!(self.client().with_patience(LIMIT).usage().is_ok());
        assert_eq!(sh(&self.sandbox, "echo well"), "well");
    }
}

/// A message of so many bytes that says it has so many descriptors, without a body.
fn header(length: u32, version: u16, descriptors: u16) -> Vec<u8> {
    let mut header = length.to_le_bytes().to_vec();
    header.extend(version.to_le_bytes());
    header.extend(descriptors.to_le_bytes());
    header
}

/// One of each request, of which the last is to stop.
fn requests() -> Vec<u8> {
    fuzzing::samples()[0].1.clone()
}

#[test]
fn init_serves_others_whatever_a_client_sends() {
    let place = Place::new();
    let mut random = 0x2545_F491_u32;
    let mut noise = |length: usize| -> Vec<u8> {
        let next = || {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            random as u8
        };
        std::iter::repeat_with(next).take(length).collect()
    };
    let mut open = Vec::new();
    let mut streams: Vec<Vec<u8>> = (0..200).map(&mut noise).collect();
    // Noise where a body should be; lengths and numbers of descriptors that are too large, or are none.
    for length in [0, 1, 10, 1000] {
        streams.push([header(length, VERSION, 0), noise(length as usize)].concat());
    }
    streams.push(header(u32::MAX, VERSION, 0));
    streams.push(header((16 << 20) + 1, VERSION, 0));
    streams.push(header(1, VERSION, u16::MAX));
    streams.push([header(1, VERSION, 3), vec![1]].concat());
    streams.push(header(1, VERSION + 1, 0));
    // What is too much for now but could be a message one day.
    streams.push([header(16 << 20, VERSION, 0), vec![0; 1 << 20]].concat());
    for stream in streams {
        let mut socket = place.dial();
        // It may hang up in the middle of it.
        let _refused = socket.write_all(&stream);
        open.push(socket);
    }
    // Half a message, ever longer.
    let requests = requests();
    for end in 1..50 {
        let mut socket = place.dial();
        socket.write_all(&requests[..end]).unwrap();
        open.push(socket);
    }
    place.assert_serves();
    drop(open);
    place.assert_serves();
}

#[test]
fn init_serves_others_however_many_connect_and_say_nothing() {
    let place = Place::new();
    let mut running = start(&place.sandbox, &Command::new("/bin/sleep").arg("1000"));
    let frozen = place.client().freeze().unwrap();
    let idle: Vec<UnixStream> = (0..3000).map(|_| place.dial()).collect();
    drop(frozen);
    place.assert_serves();
    // It has not kept them all.
    let is_dropped = |stream: &&UnixStream| {
        let mut stream: &UnixStream = stream;
        stream.set_nonblocking(true).unwrap();
        matches!(stream.read(&mut [0]), Ok(0))
    };
    eventually("it has dropped most of them", || {
        idle.iter().filter(is_dropped).count() > 2000
    });
    // None of those who have something running was dropped for them.
    assert_eq!(running.wait_for(Duration::ZERO).unwrap(), None);
    running.signal(libc::SIGKILL).unwrap();
    assert!(running.wait_for(LIMIT).unwrap().is_some());
    drop(idle);
    running = start(&place.sandbox, &Command::new("/bin/true"));
    assert!(running.wait_for(LIMIT).unwrap().is_some());
}

#[test]
fn init_serves_others_when_one_sends_descriptors_without_end() {
    let place = Place::new();
    let socket = place.dial();
    let null = null();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut bytes = header(1 << 20, VERSION, 16)
        .into_iter()
        .chain(std::iter::repeat(0));
    // It hangs up long before the message is whole.
    let is_taken = (0..5000).all(|_| {
        let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
        let passed = [null.as_fd(); 16];
        assert!(control.push(rustix::net::SendAncillaryMessage::ScmRights(&passed)));
        let byte = [bytes.next().unwrap()];
        let flags = rustix::net::SendFlags::NOSIGNAL;
        let byte = [std::io::IoSlice::new(&byte)];
        rustix::net::sendmsg(&socket, &byte, &mut control, flags).is_ok()
    });
    assert!(!is_taken);
    place.assert_serves();
}

#[test]
fn init_serves_others_when_one_asks_without_end_and_hears_nothing() {
    let place = Place::new();
    let usage = requests()
        .windows(9)
        .find(|window| window[..4] == [1, 0, 0, 0] && window[8] == 5)
        .unwrap()
        .to_vec();
    let mut socket = place.dial();
    // Until it hangs up on who does not take its answers.
    let flood = usage.repeat(1000);
    while socket.write_all(&flood).is_ok() {}
    place.assert_serves();
}

#[test]
fn a_client_whose_init_is_stopped_gets_an_error_and_the_init_is_killed() {
    let place = Place::new();
    let client = place.client().with_patience(PATIENCE);
    let init = Pid::from_raw(place.sandbox.pid()).unwrap();
    kill_process(init, Signal::STOP).unwrap();
    let null = null();
    let stdio = Stdio::Descriptors([null.as_fd(); 3]);
    let error = client.spawn(&Command::new("/bin/true"), stdio).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Deadline {
                limit: PATIENCE,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(place.sandbox.wait_for_end(LIMIT).unwrap());
    let error = client.usage().unwrap_err();
    assert!(matches!(error, Error::Ended), "{error:?}");
}

#[test]
fn who_waits_for_a_command_whose_time_is_up_gets_an_error_when_init_is_stopped() {
    let place = Place::new();
    let client = place.client().with_patience(PATIENCE);
    let null = null();
    let mut command = Command::new("/bin/sleep").arg("1000");
    command.timeout = Some(Duration::from_millis(100));
    command.grace = Duration::ZERO;
    let init = Pid::from_raw(place.sandbox.pid()).unwrap();
    let run = client
        .spawn(&command, Stdio::Descriptors([null.as_fd(); 3]))
        .unwrap();
    kill_process(init, Signal::STOP).unwrap();
    let error = run.wait().map(|exit| exit.timed_out);
    // It may have ended the command before it was stopped.
    assert!(
        matches!(error, Err(Error::Deadline { .. }) | Ok(true)),
        "{error:?}"
    );
    if error.is_err() {
        assert!(place.sandbox.wait_for_end(LIMIT).unwrap());
    } else {
        kill_process(init, Signal::CONT).unwrap();
    }
}

#[test]
fn an_init_that_lets_a_command_wait_for_a_reason_is_not_killed() {
    let place = Place::new();
    let client = place.client().with_patience(PATIENCE);
    let frozen = client.freeze().unwrap();
    let null = null();
    let stdio = Stdio::Descriptors([null.as_fd(); 3]);
    let error = client.spawn(&Command::new("/bin/true"), stdio).unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error:?}");
    drop(frozen);
    place.assert_serves();
}

/// What plays init.
struct Impostor {
    directory: tempfile::TempDir,
    process: Child,
}

impl Impostor {
    fn new(says: &str) -> Self {
        let directory = tempdir();
        let socket = directory.path().join("socket");
        let process = helper("crippled::helper_plays_init")
            .env("PTEST_TEST_SOCKET", &socket)
            .env("PTEST_TEST_SAYS", says)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        eventually("it listens", || socket.exists());
        Self { directory, process }
    }

    fn client(&self) -> Client {
        let directory = open_directory(self.directory.path());
        let client = Client::connect(directory, OsStr::new("socket")).unwrap();
        client.with_patience(PATIENCE)
    }

    /// It was killed for what it said.
    fn assert_killed(&mut self) {
        use std::os::unix::process::ExitStatusExt as _;
        let status = self.process.wait().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL));
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        // Whatever the test has come to.
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

#[test]
#[ignore = "run by another test as a process of its own"]
fn helper_plays_init() {
    let Some(socket) = std::env::var_os("PTEST_TEST_SOCKET").map(std::path::PathBuf::from) else {
        return;
    };
    let replies = fuzzing::samples()[1].1.clone();
    let says = match std::env::var("PTEST_TEST_SAYS").unwrap().as_str() {
        "noise" => header(5, VERSION, 0).into_iter().chain([255; 5]).collect(),
        "too much" => header(u32::MAX, VERSION, 0),
        "half" => replies[..9].to_vec(),
        "something else" => replies,
        _ => Vec::new(),
    };
    // There under its name only when it listens.
    let listener = UnixListener::bind(socket.with_extension("new")).unwrap();
    std::fs::rename(socket.with_extension("new"), &socket).unwrap();
    let mut open = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < LIMIT {
        let (mut socket, _) = listener.accept().unwrap();
        // Whoever is answered before it has asked takes the connection for a closed one.
        let _asked = socket.read(&mut [0]);
        let _gone = socket.write_all(&says);
        open.push(socket);
    }
}

#[test]
fn a_client_whose_init_answers_anything_but_an_answer_gets_an_error_and_kills_it() {
    for says in ["noise", "too much", "half", "something else", "nothing"] {
        let mut impostor = Impostor::new(says);
        let client = impostor.client();
        let null = null();
        let stdio = Stdio::Descriptors([null.as_fd(); 3]);
        let error = client.spawn(&Command::new("/bin/true"), stdio).unwrap_err();
        let expected = match says {
            "half" | "nothing" => matches!(error, Error::Deadline { .. }),
            _ => matches!(error, Error::Malformed),
        };
        assert!(expected, "{says}: {error:?}");
        impostor.assert_killed();
        // Who stops it is content.
        client.stop(Duration::ZERO).unwrap();
    }
}

#[test]
fn stopping_a_sandbox_whose_init_hears_nothing_ends_it_nevertheless() {
    let place = Place::new();
    let init = Pid::from_raw(place.sandbox.pid()).unwrap();
    kill_process(init, Signal::STOP).unwrap();
    place.client().stop(Duration::ZERO).unwrap();
    assert!(!place.sandbox.is_alive());
}

#[test]
fn a_program_that_is_no_init_is_an_error_in_bounded_time() {
    let directory = tempdir();
    let program = directory.path().join("program");
    for script in [
        "exec sleep 1000",
        "echo garbage >&0; exec sleep 1000",
        "exit 0",
    ] {
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let launcher = Launcher::new(&program).with_patience(PATIENCE);
        let error = launcher
            .launch(&Plan::bare(), LaunchOptions::default())
            .unwrap_err();
        let expected = matches!(
            error,
            Error::Deadline { .. } | Error::Malformed | Error::Version { .. } | Error::Start { .. }
        );
        assert!(expected, "{script}: {error:?}");
    }
}

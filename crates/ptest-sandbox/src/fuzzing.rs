//! Entry points for a fuzzer: what hears programs that nobody trusts, and what reads the messages of init and of its clients,
//! without a socket.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::plan::Plan;
use crate::protocol::{
    Exit, Failure, Launch, Leftovers, Listed, Listing, Meter, Reply, Request, Spawn, Stage, Status,
    TerminalSize, Usage, VERSION,
};
pub use crate::proxy::fuzzing::{http, rule, socks};
use crate::wire::{self, HEADER, Inbox};

/// Reads what a client could have sent to init; gives how many requests it was.
pub fn requests(stream: &[u8]) -> usize {
    read::<Request>(stream)
}

/// Reads what init could have sent to a client; gives how many replies it was.
pub fn replies(stream: &[u8]) -> usize {
    read::<Reply>(stream)
}

/// Streams to start from, each with a name: one of requests, and one of replies.
pub fn samples() -> [(&'static str, Vec<u8>); 2] {
    let request = |request: &Request| wire::frame(request, 0).unwrap_or_default();
    let reply = |reply: &Reply| wire::frame(reply, 0).unwrap_or_default();
    let spawn = Spawn {
        arguments: vec!["program".into(), OsString::from("argument")],
        environment: vec![("NAME".into(), "value".into())],
        directory: "/".into(),
        terminal: Some(TerminalSize {
            rows: 24,
            columns: 80,
        }),
        timeout: Some(Duration::from_millis(1500)),
        grace: Duration::from_secs(2),
        leftovers: Leftovers::Kill,
        key: Some(1),
    };
    let launch = Launch {
        plan: Plan::bare(),
        owned: true,
        kept: true,
        locked: false,
        listens: false,
        proxied: false,
        recorded: true,
        confinement: Default::default(),
        gauges: Vec::new(),
        duties: Default::default(),
        term: Default::default(),
    };
    let exit = Exit {
        status: Status::Signal {
            signal: 9,
            core: false,
        },
        timed_out: true,
        leaked: 2,
        user_time: Duration::from_millis(1),
        system_time: Duration::from_millis(2),
        peak_memory_bytes: 3,
        elapsed: Duration::from_secs(4),
        struck: None,
        read_bytes: 5,
        written_bytes: 6,
    };
    let usage = Usage {
        processes: 1,
        cpu_time: Duration::from_secs(2),
        memory_bytes: 3,
        peak_memory_bytes: 4,
        memory_source: Meter::Processes,
        read_bytes: 5,
        written_bytes: 6,
        traffic: None,
    };
    let listing = Listing {
        processes: vec![Listed {
            pid: 7,
            parent: Some(6),
            started: 8,
            state: 'S',
            threads: 9,
            cpu_time: Duration::from_secs(1),
            memory_bytes: 2,
            command: "program argument".into(),
        }],
        left_out: 3,
    };
    let failure = Failure {
        stage: Stage::Search,
        subject: "program".into(),
        errno: 2,
    };
    let requests = [
        Request::Launch(Box::new(launch)),
        Request::Adopt,
        Request::Spawn(Box::new(spawn)),
        Request::Signal {
            signal: 15,
            group: true,
        },
        Request::SignalRun { key: 1, signal: 15 },
        Request::Usage,
        Request::Processes,
        Request::SignalProcess {
            pid: 7,
            started: 8,
            signal: 15,
        },
        Request::Freeze,
        Request::Stop {
            grace: Duration::from_secs(10),
        },
    ];
    let replies = [
        Reply::Forked { pid: 1 },
        Reply::Ready {
            left_out: Vec::new(),
            landlock: 6,
        },
        Reply::Failed(failure),
        Reply::Started { pid: 7 },
        Reply::Stopped { signal: 20 },
        Reply::Exited(exit),
        Reply::Usage(usage),
        Reply::Processes(listing),
        Reply::Done,
    ];
    [
        ("requests", requests.iter().flat_map(request).collect()),
        ("replies", replies.iter().flat_map(reply).collect()),
    ]
}

/// Reads a stream twice: as it comes at once, and cut into pieces, which must make no difference.
fn read<T: Serialize + DeserializeOwned>(stream: &[u8]) -> usize {
    let stream = in_our_version(stream);
    let whole = messages::<T>([&stream[..]]);
    let in_pieces = messages::<T>(stream.chunks(7));
    assert_eq!(whole, in_pieces);
    for message in &whole {
        // What was understood can be said, and is then understood in the same way.
        let mut inbox = Inbox::default();
        inbox.push(message);
        let again = inbox.next::<T>().ok().flatten();
        let again = again.and_then(|(again, _): (T, Vec<OwnedFd>)| wire::frame(&again, 0).ok());
        assert_eq!(again.as_ref(), Some(message));
    }
    whole.len()
}

/// The messages of a stream up to the first that is none, each as it would be said.
fn messages<'a, T: Serialize + DeserializeOwned>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<Vec<u8>> {
    let mut inbox = Inbox::default();
    let mut found = Vec::new();
    for piece in pieces {
        inbox.push(piece);
        loop {
            match inbox.next::<T>() {
                Ok(Some((message, _))) => found.extend(wire::frame(&message, 0)),
                Ok(None) => break,
                Err(_) => return found,
            }
        }
    }
    found
}

/// The stream with the version of each message made ours, and without descriptors: neither is what a fuzzer should guess.
fn in_our_version(stream: &[u8]) -> Vec<u8> {
    let mut stream = stream.to_vec();
    let mut place = 0;
    while let Some(header) = stream.get_mut(place..place + HEADER) {
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        header[4..6].copy_from_slice(&VERSION.to_le_bytes());
        header[6..8].fill(0);
        place += HEADER + length as usize;
    }
    stream
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn seeds(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/seeds")
            .join(name)
    }

    /// Reads every file of a directory; gives the most messages that one of them had.
    fn replay(name: &str, read: fn(&[u8]) -> usize) -> usize {
        let files = fs::read_dir(seeds(name)).unwrap();
        let counts = files.map(|file| read(&fs::read(file.unwrap().path()).unwrap()));
        counts.max().unwrap()
    }

    #[test]
    fn nothing_that_fuzzers_were_given_or_found_panics() {
        // The fuzzers start from one of each message.
        assert_eq!(replay("requests", requests), 10);
        assert_eq!(replay("replies", replies), 9);
    }

    #[test]
    #[ignore = "writes the seeds anew: for whoever changes a message"]
    fn helper_writes_seeds() {
        for (name, stream) in samples() {
            fs::create_dir_all(seeds(name)).unwrap();
            fs::write(seeds(name).join("each"), stream).unwrap();
        }
    }
}

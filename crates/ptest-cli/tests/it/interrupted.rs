//! A ptest that is ended while it makes something: while a distribution is fetched, built and unpacked. Nothing is left for
//! which the next command does not do.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::Stdio,
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use ptest_testkit::{
    leftovers::{Leftovers, Scope},
    require, requirement,
};

use crate::{
    context::{TestContext, wait_until},
    signals::send,
    wheel,
};

const LONG: Duration = Duration::from_secs(30);
/// By these it ends, and so: `None` says that it had no time to say anything.
const SIGNALS: [(i32, Option<i32>); 3] = [(2, Some(130)), (15, Some(143)), (9, None)];

/// Runs `alpha`, which nobody has yet, and ends that run by such a signal when `is_there` says that it is where it is to be
/// ended.
fn assert_ended(context: &TestContext, (signal, code): (i32, Option<i32>), is_there: impl Fn()) {
    let child = context
        .command(["run", "--with", "alpha==1.0", "true"])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    is_there();
    send(child.id(), signal);
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        output.status.signal(),
        code.is_none().then_some(signal),
        "{output:?}"
    );
    assert_eq!(output.status.code(), code, "{output:?}");
    if code.is_some() {
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            "error: interrupted; what was begun has been undone\n"
        );
    }
    context.assert_nothing_is_left();
    let scope = Scope {
        roots: vec![fs::canonicalize(context.path("")).unwrap()],
        run: None,
    };
    let left = || {
        let Leftovers {
            processes, mounts, ..
        } = Leftovers::find(&scope).unwrap();
        (processes, mounts)
    };
    wait_until("nothing runs and is mounted", || {
        left() == Default::default()
    });
}

/// An index with the wheel `alpha`, of which the metadata comes at once and the rest never. Tells each time when the rest is
/// asked for.
fn stalling_index(directory: &Path) -> (String, Receiver<()>) {
    let wheel = wheel::make(directory, "alpha", "1.0", "");
    let name = wheel.file_name().unwrap().to_str().unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, asks) = mpsc::channel();
    let answer = move |mut stream: TcpStream| {
        let mut head = [0; 4096];
        let length = stream.read(&mut head).unwrap_or_default();
        let head = String::from_utf8_lossy(&head[..length]).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default();
        let (kind, content) = if path.ends_with(".metadata") {
            let metadata = "Metadata-Version: 2.1\nName: alpha\nVersion: 1.0\n";
            ("application/octet-stream", metadata.to_owned())
        } else if path.ends_with(".whl") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nPK");
            let _ = asked.send(());
            // Until who asked is gone.
            let _ = stream.read(&mut [0]);
            return;
        } else {
            let hash = "0".repeat(64);
            let link = format!(
                "<a href=\"/files/{name}#sha256={hash}\" data-core-metadata=\"true\">{name}</a>"
            );
            ("text/html", link)
        };
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{content}",
            content.len()
        );
    };
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || answer(stream));
        }
    });
    (format!("http://{address}/simple"), asks)
}

#[test]
fn who_is_ended_while_a_distribution_is_fetched_leaves_nothing() {
    require!(requirement::userns());
    let mut context = TestContext::new();
    fs::create_dir(context.path("index")).unwrap();
    let (index, asks) = stalling_index(&context.path("index"));
    context.set("PTEST_INSTALLER", "pip");
    context.set("PIP_INDEX_URL", index);
    for how in SIGNALS {
        assert_ended(&context, how, || asks.recv_timeout(LONG).unwrap());
    }
}

#[test]
fn who_is_ended_while_a_distribution_is_built_leaves_nothing() {
    require!(requirement::userns());
    let mut context = TestContext::new();
    let (building, index) = (context.path("home/building"), context.path("index"));
    fs::create_dir(&index).unwrap();
    wheel::make_source(
        &index,
        "alpha",
        "import os, time\nopen(os.path.expanduser('~/building'), 'w').close()\ntime.sleep(3600)\n",
    );
    context.set("PTEST_INSTALLER", "pip");
    context.set("PIP_NO_INDEX", "1");
    context.set("PIP_FIND_LINKS", wheel::place(&index));
    for how in SIGNALS {
        assert_ended(&context, how, || {
            wait_until("it is built", || fs::remove_file(&building).is_ok());
        });
    }
}

#[test]
fn who_is_ended_while_a_distribution_is_unpacked_leaves_nothing() {
    require!(requirement::userns());
    let index = tempfile::tempdir().unwrap();
    wheel::make_large(index.path(), "alpha");
    for how in SIGNALS {
        // A distribution that is whole before somebody looks for signals is known from then on: each has a store of its own.
        let mut context = TestContext::new();
        context.set("PTEST_INSTALLER", "pip");
        context.set("PIP_NO_INDEX", "1");
        context.set("PIP_FIND_LINKS", wheel::place(index.path()));
        let staging = context.path("store/staging");
        assert_ended(&context, how, || {
            wait_until("it is unpacked", || has_file(&staging, "alpha.bin"));
        });
    }
}

/// Whether a file of that name is somewhere in a directory, which others change meanwhile.
fn has_file(directory: &Path, name: &str) -> bool {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut entries = entries.map(|entry| entry.path());
    entries.any(|path| path.ends_with(name) || has_file(&path, name))
}

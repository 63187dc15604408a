//! The way out of a private network: what it lets through, what it refuses, and when it ends.
//!
//! The outside world is this program's own listeners, which a rule for their address allows.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use ptest_sandbox::proxy::{Options, REFUSALS};
use ptest_sandbox::{
    Command, Error, LaunchOptions, Launcher, Level, Network, Owner, Plan, Run, Sandbox, Shape, lock,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{
    eventually, helper, init_program, lacks, lacks_namespaces, marker, open_directory,
    processes_with, read_line, run, start_piped, tempdir,
};

/// What the scripts inside begin with.
const PRELUDE: &str = "
import socket, struct
def ask(words):
    s = socket.create_connection(('127.0.0.1', 1023), 30)
    s.sendall(words)
    return s
def head(s):
    got = b''
    while b'\\r\\n\\r\\n' not in got:
        part = s.recv(1)
        if not part: break
        got += part
    return got.decode()
def rest(s):
    got = b''
    while part := s.recv(65536): got += part
    return got
def tunnel(host, port):
    s = ask(b'CONNECT %s:%d HTTP/1.1\\r\\n\\r\\n' % (host.encode(), port))
    return s, head(s)
def open_tunnel(host, port):
    s, got = tunnel(host, port)
    assert got.startswith('HTTP/1.1 200 '), got
    return s
def socks(host, port):
    s = ask(b'\\x05\\x01\\x00')
    assert s.recv(2) == b'\\x05\\x00'
    s.sendall(b'\\x05\\x01\\x00\\x03%c%s%s' % (len(host), host.encode(), struct.pack('>H', port)))
    return s, s.recv(10)[1]
";

fn lacks_what_is_needed() -> bool {
    let python = Path::new("/usr/bin/python3").exists();
    lacks_namespaces() || lacks("python", python, "there is no /usr/bin/python3")
}

/// A listener outside, and what it does with each connection.
fn outside(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    port
}

/// One that says everything back.
fn echo() -> u16 {
    outside(|mut stream| {
        let mut reading = stream.try_clone().unwrap();
        // A client that goes away in the middle is none of its business.
        let _ended = std::io::copy(&mut reading, &mut stream);
        let _ended = stream.shutdown(Shutdown::Write);
    })
}

fn private(level: Level) -> Plan {
    Shape {
        level,
        network: Network::Private,
        ..Shape::default()
    }
    .plan()
    .unwrap()
}

fn options(rules: &[&str]) -> Options {
    Options::new(rules.iter().map(|rule| rule.parse().unwrap()).collect())
}

/// A sandbox with a way out, and where its refusals are recorded.
struct Proxied {
    sandbox: Sandbox,
    record: tempfile::TempDir,
}

impl Proxied {
    fn new(rules: &[&str]) -> Self {
        Self::with(options(rules), Level::Strict)
    }

    fn with(options: Options, level: Level) -> Self {
        let record = tempdir();
        let proxy = Options {
            record: Some(open_directory(record.path())),
            ..options
        };
        let options = LaunchOptions {
            proxy: Some(proxy),
            ..LaunchOptions::default()
        };
        let launcher = Launcher::new(init_program());
        Self {
            sandbox: launcher.launch(&private(level), options).unwrap(),
            record,
        }
    }

    /// Runs a script inside, which must succeed.
    fn python(&self, script: &str) -> String {
        let output = run(&self.sandbox, &python(script));
        assert_eq!(output.code(), 0, "{output:?}");
        output.stdout
    }

    fn refusals(&self) -> String {
        fs::read_to_string(self.record.path().join(REFUSALS)).unwrap_or_default()
    }
}

fn python(script: &str) -> Command {
    Command::new("/usr/bin/python3").args(["-I", "-c", &format!("{PRELUDE}{script}")])
}

#[test]
fn an_allowed_host_is_reached_by_tunnel_and_by_socks() {
    if lacks_what_is_needed() {
        return;
    }
    let port = echo();
    let rule = format!("127.0.0.1:{port}");
    for level in [Level::Standard, Level::Strict] {
        let proxied = Proxied::with(options(&[&rule]), level);
        proxied.python(&format!(
            "
data = bytes(range(256)) * 4096
s = open_tunnel('127.0.0.1', {port})
s.sendall(b'early'); assert s.recv(5) == b'early'
s, code = socks('127.0.0.1', {port})
assert code == 0, code
import threading
threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR))).start()
assert rest(s) == data
s = ask(b'CONNECT 127.0.0.1:{port} HTTP/1.1\\r\\n\\r\\nat once')
s.shutdown(socket.SHUT_WR)
assert rest(s).endswith(b'\\r\\n\\r\\nat once')
"
        ));
        assert_eq!(proxied.refusals(), "");
    }
}

#[test]
fn a_plain_request_is_passed_on_to_its_host() {
    if lacks_what_is_needed() {
        return;
    }
    // Answers with the request.
    let port = outside(|mut stream| {
        let mut said = Vec::new();
        let mut byte = [0];
        while !said.ends_with(b"body") && stream.read(&mut byte).unwrap() == 1 {
            said.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        stream.write_all(&said).unwrap();
    });
    let proxied = Proxied::new(&[&format!("127.0.0.1:{port}")]);
    let seen = proxied.python(&format!(
        "
s = ask(b'POST http://127.0.0.1:{port}/path HTTP/1.1\\r\\nHost: other\\r\\nProxy-Connection: keep-alive\\r\\n'
        b'Content-Length: 4\\r\\n\\r\\n')
s.sendall(b'body')
print(rest(s).decode().split('\\r\\n\\r\\n', 1)[1].replace('\\r', ''))
"
    ));
    assert_eq!(
        seen,
        format!(
            "POST /path HTTP/1.1\nHost: 127.0.0.1:{port}\nContent-Length: 4\nConnection: close\n\nbody\n"
        )
    );
}

#[test]
fn what_no_rule_allows_is_refused_in_the_askers_protocol_and_recorded() {
    if lacks_what_is_needed() {
        return;
    }
    let port = echo();
    let proxied = Proxied::new(&["allowed.example", "127.0.0.1:1"]);
    let said = proxied.python(&format!(
        "
s, got = tunnel('127.0.0.1', {port})
print(got + rest(s).decode())
s, code = socks('other.example', 443)
assert code == 2, code
assert rest(s) == b''
s = ask(b'GET http://Other.Example/ HTTP/1.1\\r\\n\\r\\n')
assert head(s).startswith('HTTP/1.1 403 ')
# Who goes on talking has not lost the answer.
while s.recv(4096): pass
for _ in range(20): s.sendall(b'more')
for direct in ('127.0.0.1', '192.0.2.1'):
    try: socket.create_connection((direct, {port}), 30)
    except OSError: continue
    raise SystemExit('there is another way')
"
    ));
    assert!(said.starts_with("HTTP/1.1 403 "), "{said}");
    assert!(
        said.contains(&format!("--allow 127.0.0.1:{port}")),
        "{said}"
    );
    let recorded: Vec<String> = proxied
        .refusals()
        .lines()
        .map(|line| line.split_once("\"host\"").unwrap().1.to_owned())
        .collect();
    let tail = "\"reason\":\"not_allowed\",\"address\":null}";
    assert_eq!(
        recorded,
        [
            format!(":\"127.0.0.1\",\"port\":{port},{tail}"),
            format!(":\"other.example\",\"port\":443,{tail}"),
            format!(":\"other.example\",\"port\":80,{tail}"),
        ]
    );
}

#[test]
fn an_allowed_name_that_leads_home_is_refused_unless_the_address_is_allowed_too() {
    if lacks_what_is_needed() {
        return;
    }
    let port = echo();
    let (name, address) = (format!("localhost:{port}"), format!("127.0.0.0/8:{port}"));
    let named = Proxied::new(&[&name]);
    named.python(&format!(
        "
assert socks('LOCALHOST.', {port})[1] == 2
assert tunnel('localhost', {port})[1].startswith('HTTP/1.1 403 ')
"
    ));
    let recorded = named.refusals();
    assert_eq!(recorded.matches("local_address").count(), 2, "{recorded}");
    let both = Proxied::new(&[&name, &address]);
    both.python(&format!("open_tunnel('localhost', {port})"));
    let addressed = Proxied::new(&[&address]);
    addressed.python(&format!("assert socks('localhost', {port})[1] == 2"));
}

#[test]
fn a_host_that_is_allowed_and_not_there_is_no_refusal() {
    if lacks_what_is_needed() {
        return;
    }
    // Bound and not listened on: nobody else gets it.
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let proxied = Proxied::new(&[&format!("127.0.0.1:{port}"), "nowhere.invalid"]);
    proxied.python(&format!(
        "
assert tunnel('127.0.0.1', {port})[1].startswith('HTTP/1.1 502 ')
assert socks('127.0.0.1', {port})[1] == 5
assert tunnel('nowhere.invalid', 443)[1].startswith('HTTP/1.1 502 ')
assert socks('nowhere.invalid', 443)[1] == 4
"
    ));
    assert_eq!(proxied.refusals(), "");
}

#[test]
fn who_has_said_everything_still_hears_the_answer() {
    if lacks_what_is_needed() {
        return;
    }
    // Answers when it has heard all, and the other way round.
    let after = outside(|mut stream| {
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        stream.write_all(said.to_uppercase().as_bytes()).unwrap();
    });
    let before = outside(|mut stream| {
        stream.write_all(b"all").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        let connection = TcpStream::connect(said.parse::<SocketAddr>().unwrap());
        connection.unwrap().write_all(b"heard").unwrap();
    });
    let proof = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = proof.local_addr().unwrap();
    let proxied = Proxied::new(&[
        &format!("127.0.0.1:{after}"),
        &format!("127.0.0.1:{before}"),
    ]);
    proxied.python(&format!(
        "
s = open_tunnel('127.0.0.1', {after})
s.sendall(b'question'); s.shutdown(socket.SHUT_WR)
assert rest(s) == b'QUESTION'
s = open_tunnel('127.0.0.1', {before})
assert rest(s) == b'all'
s.sendall(b'{address}'); s.close()
"
    ));
    let mut heard = String::new();
    let (mut connection, _) = proof.accept().unwrap();
    connection.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "heard");
}

#[test]
fn two_hundred_connections_are_served_at_once() {
    if lacks_what_is_needed() {
        return;
    }
    let port = echo();
    let proxied = Proxied::new(&[&format!("127.0.0.1:{port}")]);
    proxied.python(&format!(
        "
all = [open_tunnel('127.0.0.1', {port}) for _ in range(200)]
for n, s in enumerate(all): s.sendall(b'%03d' % n)
for n, s in enumerate(all): assert s.recv(3) == b'%03d' % n
"
    ));
}

#[test]
fn more_connections_than_there_are_places_wait_for_one() {
    if lacks_what_is_needed() {
        return;
    }
    let port = echo();
    let proxied = Proxied::new(&[&format!("127.0.0.1:{port}")]);
    proxied.python(&format!(
        "
words = b'CONNECT 127.0.0.1:{port} HTTP/1.1\\r\\n\\r\\n'
all = [ask(words) for _ in range(600)]
for s in all:
    assert head(s).startswith('HTTP/1.1 200 ')
    s.close()
"
    ));
}

#[test]
fn a_request_that_does_not_come_in_time_is_given_up_while_others_are_served() {
    if lacks_what_is_needed() {
        return;
    }
    let port = echo();
    let slow = Options {
        patience: Duration::from_millis(300),
        ..options(&[&format!("127.0.0.1:{port}")])
    };
    let proxied = Proxied::with(slow, Level::Strict);
    proxied.python(&format!(
        "
silent, dripping, half = ask(b''), ask(b'GET http://a'), ask(b'\\x05\\x01')
open_tunnel('127.0.0.1', {port}).close()
def drip():
    try:
        while True: dripping.sendall(b'a')
    except OSError: pass
import threading
thread = threading.Thread(target=drip); thread.start()
assert rest(silent) == b''
assert rest(half) == b''
try: assert head(dripping).startswith('HTTP/1.1 4')
except ConnectionResetError: pass
thread.join()
open_tunnel('127.0.0.1', {port})
"
    ));
}

#[test]
fn garbage_and_endless_heads_are_refused_and_harm_nobody() {
    if lacks_what_is_needed() {
        return;
    }
    let port = echo();
    let proxied = Proxied::new(&[&format!("127.0.0.1:{port}")]);
    proxied.python(&format!(
        "
assert head(ask(b'\\x16\\x03\\x01\\x02\\x00')).startswith('HTTP/1.1 400 ')
assert head(ask(b'\\x04\\x01\\x00\\x50\\x7f\\x00\\x00\\x01\\x00')).startswith('HTTP/1.1 400 ')
assert head(ask(b'hello\\r\\n\\r\\n')).startswith('HTTP/1.1 400 ')
assert head(ask(b'GET / HTTP/1.1\\r\\n\\r\\n')).startswith('HTTP/1.1 400 ')
assert head(ask(b'CONNECT a b:1 HTTP/1.1\\r\\n\\r\\n')).startswith('HTTP/1.1 400 ')
assert head(ask(b'GET http://a/ HTTP/1.1\\r\\n' + b'A: b\\r\\n' * 7000)).startswith('HTTP/1.1 431 ')
assert rest(ask(b'\\x05\\x01\\x02')) == b'\\x05\\xff'
s = ask(b'\\x05\\x01\\x00'); s.recv(2); s.sendall(b'\\x05\\x02\\x00\\x01\\x7f\\x00\\x00\\x01\\x00\\x50')
assert s.recv(10)[1] == 7
s = ask(b'\\x05\\x01\\x00'); s.recv(2); s.sendall(b'\\x05\\x01\\x00\\x09')
assert s.recv(10)[1] == 8
s = ask(b'\\x05\\xff'); s.close()
open_tunnel('127.0.0.1', {port})
"
    ));
    assert_eq!(proxied.refusals(), "");
}

#[test]
fn hosts_are_allowed_only_to_a_private_network() {
    if lacks_namespaces() {
        return;
    }
    let with = |network| {
        let shape = Shape {
            network,
            ..Shape::default()
        };
        shape.plan().unwrap()
    };
    for plan in [Plan::bare(), with(Network::Host), with(Network::None)] {
        let options = LaunchOptions {
            proxy: Some(options(&["a.example"])),
            ..LaunchOptions::default()
        };
        let refused = Launcher::new(init_program()).launch(&plan, options);
        assert!(matches!(refused, Err(Error::NotPrivate)), "{refused:?}");
    }
}

/// The init program under a name that no other process has, so that what was started of it can be found.
struct Named {
    marker: String,
    directory: tempfile::TempDir,
}

impl Named {
    fn new() -> Self {
        let (marker, directory) = (marker(), tempdir());
        symlink(init_program(), directory.path().join(&marker)).unwrap();
        Self { marker, directory }
    }

    fn program(&self) -> PathBuf {
        self.directory.path().join(&self.marker)
    }

    fn launch(&self, options: LaunchOptions) -> Sandbox {
        let launcher = Launcher::new(self.program());
        launcher.launch(&private(Level::Strict), options).unwrap()
    }

    fn proxy(&self) -> Pid {
        let found = processes_with(&format!("{}\0proxy", self.marker));
        assert_eq!(found.len(), 1, "{found:?}");
        Pid::from_raw(found[0] as i32).unwrap()
    }

    fn has_proxy(&self) -> bool {
        !processes_with(&format!("{}\0proxy", self.marker)).is_empty()
    }
}

fn allowing(rule: &str) -> LaunchOptions {
    LaunchOptions {
        proxy: Some(options(&[rule])),
        ..LaunchOptions::default()
    }
}

/// Starts a script inside, and returns when it says something.
fn start(sandbox: &Sandbox, script: &str) -> (Run, std::io::PipeReader) {
    let (run, mut output) = start_piped(sandbox, &python(script));
    assert_eq!(read_line(&mut output), "there");
    (run, output)
}

#[test]
fn when_the_sandbox_has_stopped_its_proxy_has_ended() {
    if lacks_what_is_needed() {
        return;
    }
    let (port, named) = (echo(), Named::new());
    let sandbox = named.launch(allowing(&format!("127.0.0.1:{port}")));
    assert!(named.has_proxy());
    let script =
        format!("s = open_tunnel('127.0.0.1', {port}); print('there', flush=True); s.recv(1)");
    let (_run, _output) = start(&sandbox, &script);
    let proxy = named.proxy();
    sandbox.stop(Duration::ZERO).unwrap();
    assert_eq!(processes_with(&named.marker), []);
    // Nor is it a zombie of ours.
    assert!(!is_a_child(proxy));
}

#[test]
fn the_proxy_of_a_detached_sandbox_is_nobodys_child_and_ends_with_it() {
    if lacks_what_is_needed() {
        return;
    }
    let named = Named::new();
    let sandbox = named.launch(LaunchOptions {
        owner: Owner::Detached,
        ..allowing("a.example")
    });
    assert!(!is_a_child(named.proxy()));
    sandbox.stop(Duration::ZERO).unwrap();
    assert_eq!(processes_with(&named.marker), []);
}

fn is_a_child(process: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero()));
    let parent = format!("PPid:\t{}\n", std::process::id());
    status.is_ok_and(|status| status.contains(&parent))
}

#[test]
fn a_proxy_that_dies_takes_its_connections_with_it_and_nothing_hangs() {
    if lacks_what_is_needed() {
        return;
    }
    let (port, named) = (echo(), Named::new());
    let sandbox = named.launch(allowing(&format!("127.0.0.1:{port}")));
    let script = format!(
        "
s, silent = open_tunnel('127.0.0.1', {port}), ask(b'')
print('there', flush=True)
for one in (s, silent):
    try: assert one.recv(1) == b''
    except ConnectionResetError: pass
try: ask(b'')
except ConnectionRefusedError: print('refused', flush=True)
"
    );
    let (run, mut output) = start(&sandbox, &script);
    kill_process(named.proxy(), Signal::KILL).unwrap();
    assert_eq!(read_line(&mut output), "refused");
    assert!(run.wait().unwrap().status.success());
    sandbox.stop(Duration::ZERO).unwrap();
}

#[test]
fn an_upper_is_in_use_until_the_proxy_has_ended_too() {
    if lacks_what_is_needed() {
        return;
    }
    let (named, directory) = (Named::new(), tempdir());
    let sandbox = named.launch(LaunchOptions {
        lock: Some(lock::take(directory.path()).unwrap()),
        ..allowing("a.example")
    });
    let proxy = named.proxy();
    kill_process(proxy, Signal::STOP).unwrap();
    kill_process(Pid::from_raw(sandbox.pid()).unwrap(), Signal::KILL).unwrap();
    assert!(sandbox.wait_for_end(crate::support::LIMIT).unwrap());
    let taken = lock::take(directory.path());
    assert!(matches!(taken, Err(Error::Locked { .. })), "{taken:?}");
    kill_process(proxy, Signal::CONT).unwrap();
    lock::wait(directory.path()).unwrap();
}

#[test]
fn killing_the_owner_leaves_neither_init_nor_proxy() {
    if lacks_what_is_needed() {
        return;
    }
    let named = Named::new();
    let mut owner = helper("proxies::helper_owner")
        .env("PTEST_TEST_PROGRAM", named.program())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = owner.stdout.take().unwrap();
    while read_line(&mut output) != "there" {}
    assert!(named.has_proxy());
    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("all are gone", || processes_with(&named.marker).is_empty());
}

#[test]
#[ignore = "run by another test as a process of its own"]
fn helper_owner() {
    let Some(program) = std::env::var_os("PTEST_TEST_PROGRAM") else {
        return;
    };
    let launcher = Launcher::new(program);
    let sandbox = launcher
        .launch(&private(Level::Strict), allowing("a.example"))
        .unwrap();
    println!("\nthere");
    sandbox.wait_for_end(Duration::from_mins(5)).unwrap();
}

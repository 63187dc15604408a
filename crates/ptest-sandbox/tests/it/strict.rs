//! What a strict sandbox, and a network of its own, forbid beyond a standard one.

use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use ptest_sandbox::{Command, LaunchOptions, Level, Network, Sandbox, Shape};

use rustix::fs::CWD;

use crate::support::{lacks, lacks_namespaces, launch, launcher, run, sh, shell, tempdir};

fn strict() -> Shape {
    Shape {
        level: Level::Strict,
        network: Network::Private,
        ..Shape::default()
    }
}

fn sandbox(shape: &Shape) -> Sandbox {
    launch(&shape.plan().unwrap())
}

fn fails(sandbox: &Sandbox, script: &str) -> String {
    let output = run(sandbox, &shell(script));
    assert_ne!(output.code(), 0, "{script}: {output:?}");
    output.stderr
}

/// A Python, for what a shell cannot try.
fn python() -> Option<PathBuf> {
    let python = PathBuf::from("/usr/bin/python3");
    let is_there = python.exists();
    (!lacks("python", is_there, "there is no /usr/bin/python3")).then_some(python)
}

fn script(sandbox: &Sandbox, script: &str) -> Option<crate::support::Output> {
    let command = Command::new(python()?).args(["-I", "-c", script]);
    Some(run(sandbox, &command))
}

#[test]
fn untrusted_code_sees_only_system_directories_and_what_it_is_given() {
    if lacks_namespaces() {
        return;
    }
    let given = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::write(given.path().join("file"), "given").unwrap();
    let sandbox = sandbox(&Shape {
        read: vec![given.path().into()],
        ..strict()
    });
    let file = given.path().join("file");
    assert_eq!(
        sh(&sandbox, format!("cat {}", file.display()).as_str()),
        "given"
    );
    fails(&sandbox, &format!("echo x > {}", file.display()));
    let seen = sh(&sandbox, "ls /");
    for hidden in ["home", "root", "opt", "srv", "mnt", "boot"] {
        assert!(!seen.lines().any(|name| name == hidden), "{seen}");
    }
    for secret in [
        "/etc/shadow",
        "/etc/machine-id",
        "/etc/ssh",
        "/sys/kernel",
        "/sys/fs",
    ] {
        fails(&sandbox, &format!("ls {secret}"));
    }
    assert_eq!(sh(&sandbox, "test -e /etc/passwd && echo there"), "there");
}

#[test]
fn untrusted_code_has_no_privileges_even_as_root() {
    if lacks_namespaces() {
        return;
    }
    let status = sh(&sandbox(&strict()), "cat /proc/self/status");
    for set in ["CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"] {
        assert!(
            status.contains(&format!("{set}:\t0000000000000000")),
            "{status}"
        );
    }
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    assert!(status.contains("Seccomp:\t2"), "{status}");
}

#[test]
fn untrusted_code_makes_no_namespaces() {
    if lacks_namespaces() {
        return;
    }
    let sandbox = sandbox(&strict());
    let words = fails(&sandbox, "unshare --user --map-root-user true");
    assert!(words.contains("not permitted"), "{words}");
    assert_eq!(sh(&sandbox, "cat /proc/sys/user/max_user_namespaces"), "0");
    fails(&sandbox, "echo 9 > /proc/sys/user/max_user_namespaces");
}

/// Nobody would notice otherwise that threads, processes, pipes, terminals and sockets need a call that is not allowed.
#[test]
fn ordinary_programs_find_what_they_need_under_the_strict_profile() {
    if lacks_namespaces() {
        return;
    }
    let output = script(
        &sandbox(&strict()),
        "
import asyncio, mmap, multiprocessing, os, pty, select, selectors, shutil, signal, socket, sqlite3, ssl
import subprocess, tempfile, threading, time, urllib.request, zoneinfo
done = []
thread = threading.Thread(target=done.append, args=(1,)); thread.start(); thread.join(); assert done
with multiprocessing.get_context('fork').Pool(2) as pool: assert pool.map(abs, [-1]) == [1]
listener = socket.create_server(('127.0.0.1', 8080)); socket.create_connection(listener.getsockname()).close()
a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'
async def main():
    process = await asyncio.create_subprocess_exec('/bin/true'); return await process.wait()
assert asyncio.run(main()) == 0
with tempfile.TemporaryDirectory() as d:
    os.chmod(d, 0o755)
    with open(d + '/f', 'wb+') as f: f.write(b'x' * 4096); f.flush(); mmap.mmap(f.fileno(), 4096).close()
    os.rename(d + '/f', d + '/g'); shutil.copy(d + '/g', d + '/h'); os.symlink('g', d + '/s')
    sqlite3.connect(d + '/db').execute('create table t (x)')
master, slave = pty.openpty(); assert os.isatty(slave)
signal.setitimer(signal.ITIMER_REAL, 60); os.getloadavg(); os.sched_getaffinity(0); time.sleep(0)
os.nice(1); os.memfd_create('x'); os.eventfd(0) if hasattr(os, 'eventfd') else None
assert subprocess.run(['/bin/sh', '-c', 'exit 3']).returncode == 3
",
    );
    if let Some(output) = output {
        assert_eq!(output.code(), 0, "{output:?}");
    }
}

/// With the host's network nothing but Landlock is in the way.
#[test]
fn landlock_keeps_untrusted_code_from_abstract_sockets_outside() {
    if lacks_namespaces() {
        return;
    }
    let name = format!("ptest-landlock-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let sandbox = sandbox(&Shape {
        network: Network::Host,
        ..strict()
    });
    if lacks(
        "landlock",
        sandbox.landlock() >= 6,
        "the kernel's Landlock has no scopes",
    ) {
        return;
    }
    let reach = format!("import socket; socket.socket(socket.AF_UNIX).connect('\\0{name}')");
    if let Some(output) = script(&sandbox, &reach) {
        assert!(output.stderr.contains("not permitted"), "{output:?}");
    }
}

#[test]
fn a_private_network_has_every_port_and_reaches_nobody() {
    if lacks_namespaces() {
        return;
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let name = format!("ptest-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let reach = format!("import socket; socket.create_connection(('127.0.0.1', {port}), 5)");
    let reach_abstract =
        format!("import socket; socket.socket(socket.AF_UNIX).connect('\\0{name}')");
    let take = format!("import socket; socket.create_server(('127.0.0.1', {port}))");

    let with = |level, network| {
        sandbox(&Shape {
            level,
            network,
            ..Shape::default()
        })
    };
    let shared = with(Level::Standard, Network::Host);
    let code = |sandbox: &Sandbox, text: &str| script(sandbox, text).map(|output| output.code());
    let Some(reached) = code(&shared, &reach) else {
        return;
    };
    assert_eq!(reached, 0);
    assert_eq!(code(&shared, &reach_abstract), Some(0));
    for level in [Level::Standard, Level::Strict] {
        let private = with(level, Network::Private);
        assert_eq!(code(&private, &reach), Some(1));
        assert_eq!(code(&private, &reach_abstract), Some(1));
        assert_eq!(code(&private, &take), Some(0));
        // Not even itself.
        let none = with(level, Network::None);
        assert_eq!(code(&none, &reach), Some(1));
        assert_eq!(code(&none, &take), Some(0));
    }
}

#[test]
fn nothing_of_the_hosts_descriptors_reaches_untrusted_code() {
    if lacks_namespaces() {
        return;
    }
    let directory = tempdir();
    let file = fs::File::create(directory.path().join("open")).unwrap();
    // Not closed on execution, as careless libraries leave theirs.
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
    let sandbox = sandbox(&strict());
    assert_eq!(sh(&sandbox, "ls /proc/self/fd | tr '\\n' ' '"), "0 1 2 3");
}

/// Who can write in a directory swaps one in it for a link, again and again, while others let that be seen.
#[test]
fn a_link_that_appears_while_a_sandbox_is_made_leads_nowhere() {
    if lacks_namespaces() {
        return;
    }
    let (project, secret) = (tempdir(), tempdir());
    fs::write(secret.path().join("file"), "secret").unwrap();
    let root = project.path().canonicalize().unwrap();
    let (given, link) = (root.join("given"), root.join("link"));
    fs::create_dir(&given).unwrap();
    std::os::unix::fs::symlink(secret.path(), &link).unwrap();
    let plan = Shape {
        write: vec![root.clone(), given.clone()],
        ..Shape::default()
    };
    let plan = plan.plan().unwrap();
    let stop = AtomicBool::new(false);
    let (mut made, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(CWD, &given, CWD, &link, flags).unwrap();
                std::thread::yield_now();
            }
        });
        // Until both have happened: who was never refused has not met the link.
        while made < 10 || refused < 10 {
            match launcher().launch(&plan, LaunchOptions::default()) {
                Ok(sandbox) => {
                    made += 1;
                    // What is there is either the directory or, once more, the link, which leads to nothing here.
                    let try_to_write = format!("touch {}/mark", given.display());
                    run(&sandbox, &shell(try_to_write));
                }
                Err(_) => refused += 1,
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(!secret.path().join("mark").exists());
}

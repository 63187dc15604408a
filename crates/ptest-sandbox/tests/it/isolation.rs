//! What a standard sandbox shows, hides and forbids.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ptest_sandbox::profile::{HOME, Home};
use ptest_sandbox::{Sandbox, Shape};

use crate::support::{
    INIT_VARIABLE, is_root, lacks, lacks_namespaces, launch, run, sh, shell, standard, tempdir,
};

fn sandbox(standard: &Shape) -> Sandbox {
    launch(&standard.plan().unwrap())
}

fn fails(sandbox: &Sandbox, script: &str) {
    let output = run(sandbox, &shell(format!("exec 2>/dev/null; {script}")));
    assert_ne!(output.code(), 0, "{script}: {output:?}");
}

#[test]
fn files_of_the_host_can_be_read_and_not_written() {
    if lacks_namespaces() {
        return;
    }
    let sandbox = standard();
    assert_eq!(
        sh(&sandbox, "cat /etc/passwd"),
        fs::read_to_string("/etc/passwd").unwrap().trim_end()
    );
    for place in ["/etc", "/usr", "/", "/dev", "/ptest", "/sys/kernel"] {
        fails(&sandbox, &format!("touch {place}/file"));
    }
}

#[test]
fn a_project_can_be_written_wherever_it_lies() {
    if lacks_namespaces() {
        return;
    }
    // Below a private place.
    let project = tempfile::tempdir_in("/tmp").unwrap();
    let sandbox = sandbox(&Shape {
        write: vec![project.path().into()],
        ..Shape::default()
    });
    let path = project.path().display();
    sh(
        &sandbox,
        &format!("cd {path} && echo written > file && mkdir directory"),
    );
    assert_eq!(
        fs::read_to_string(project.path().join("file")).unwrap(),
        "written\n"
    );
    assert_eq!(
        sh(&sandbox, "ls -A /tmp"),
        project.path().file_name().unwrap().to_str().unwrap()
    );
}

#[test]
fn temporary_directories_are_empty_private_and_writable() {
    if lacks_namespaces() {
        return;
    }
    let mine = tempfile::NamedTempFile::new_in("/tmp").unwrap();
    let sandbox = standard();
    assert_eq!(
        sh(
            &sandbox,
            "for d in /tmp /var/tmp /run /dev/shm; do ls -A $d; done"
        ),
        ""
    );
    fails(&sandbox, &format!("test -e {}", mine.path().display()));
    sh(
        &sandbox,
        "for d in /tmp /var/tmp /run /dev/shm; do echo x > $d/x; done",
    );
    let other = standard();
    fails(&other, "test -e /tmp/x");
}

#[test]
fn what_must_be_read_is_visible_in_private_and_hidden_places_and_only_that() {
    if lacks_namespaces() {
        return;
    }
    let directory = tempdir();
    let root = directory.path();
    for name in ["store/python/bin", "store/secret", "other"] {
        fs::create_dir_all(root.join(name)).unwrap();
        fs::write(root.join(name).join("file"), name).unwrap();
    }
    let sandbox = sandbox(&Shape {
        read: vec![root.join("store/python"), root.join("absent")],
        write: vec![root.to_owned()],
        hide: vec![root.join("store")],
        ..Shape::default()
    });
    let root = root.display();
    assert_eq!(
        sh(&sandbox, &format!("cat {root}/store/python/bin/file")),
        "store/python/bin"
    );
    assert_eq!(sh(&sandbox, &format!("ls {root}/store")), "python");
    fails(&sandbox, &format!("touch {root}/store/python/x"));
    fails(&sandbox, &format!("touch {root}/store/x"));
    sh(&sandbox, &format!("touch {root}/other/x"));
    let left_out: Vec<_> = sandbox
        .left_out()
        .iter()
        .map(|one| one.path.display().to_string())
        .collect();
    assert!(left_out.contains(&format!("{root}/absent")), "{left_out:?}");
}

#[test]
fn the_home_is_private_or_a_given_directory() {
    if lacks_namespaces() {
        return;
    }
    assert_eq!(
        sh(&standard(), &format!("cd {HOME} && echo x > x && ls -A")),
        "x"
    );
    let home = tempdir();
    let given = Shape {
        home: Home::Directory(home.path().into()),
        ..Shape::default()
    };
    sh(&sandbox(&given), &format!("echo kept > {HOME}/file"));
    assert_eq!(
        fs::read_to_string(home.path().join("file")).unwrap(),
        "kept\n"
    );
}

#[test]
fn processes_of_the_host_are_out_of_sight_and_reach() {
    if lacks_namespaces() {
        return;
    }
    let sandbox = standard();
    assert_eq!(sh(&sandbox, "cat /proc/1/comm"), "ptest-init");
    // Whatever has not been reaped yet of the command before, it is one of the sandbox's own.
    let seen = sh(&sandbox, "cat /proc/[0-9]*/comm 2>/dev/null || true");
    let own = ["ptest-init", "sh", "cat", "dash", "bash"];
    let foreign: Vec<&str> = seen.lines().filter(|name| !own.contains(name)).collect();
    assert!(foreign.is_empty(), "{foreign:?} are visible");
    // Commands are the same user, but init is closed to them.
    fails(&sandbox, "readlink /proc/1/exe");
    fails(&sandbox, "readlink /proc/1/fd/0");
    fails(&sandbox, "ls /proc/1/root/");
    fails(&sandbox, "cat /proc/1/environ | grep .");
}

#[test]
fn init_is_closed_to_commands_even_where_nothing_else_keeps_them_apart() {
    if lacks(
        "ordinary-user",
        !is_root(),
        "root may look into every process of the host",
    ) {
        return;
    }
    let sandbox = launch(&ptest_sandbox::Plan::bare());
    fails(&sandbox, &format!("readlink /proc/{}/exe", sandbox.pid()));
}

#[test]
fn nothing_that_acts_on_the_machine_can_be_written() {
    if lacks_namespaces() {
        return;
    }
    let sandbox = standard();
    for path in [
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/vm/swappiness",
        "/proc/sysrq-trigger",
        "/proc/irq/default_smp_affinity",
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "/sys/power/state",
    ] {
        // Opened for writing, but nothing is written should it succeed.
        fails(&sandbox, &format!("test -e {path} && exec 3>>{path}"));
    }
    assert_eq!(sh(&sandbox, "ls -A /sys/fs/cgroup"), "");
}

#[test]
fn only_harmless_devices_are_there_and_they_work() {
    if lacks_namespaces() {
        return;
    }
    let sandbox = standard();
    let devices = sh(&sandbox, "ls /dev | tr '\\n' ' '");
    assert_eq!(
        devices.trim(),
        "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero"
    );
    sh(
        &sandbox,
        "echo x > /dev/null && head -c 1 /dev/urandom | wc -c | grep -q 1",
    );
    sh(
        &sandbox,
        "echo shared > /dev/shm/x && cat /dev/shm/x && echo out > /dev/stdout",
    );
    fails(&sandbox, "mknod /tmp/device b 1 1");
}

#[test]
fn commands_have_few_privileges_and_cannot_gain_more() {
    if lacks_namespaces() {
        return;
    }
    let sandbox = standard();
    let status = sh(&sandbox, "cat /proc/self/status");
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_once(":\t").unwrap().1.to_owned()
    };
    let kept = if is_root() {
        "00000000800000fb"
    } else {
        "0000000000000000"
    };
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(field(set), kept, "{set}");
    }
    assert_eq!(field("CapAmb"), "0000000000000000");
    assert_eq!(
        (field("NoNewPrivs").as_str(), field("Seccomp").as_str()),
        ("1", "2")
    );
    fails(&sandbox, "mount -t tmpfs x /tmp");
    fails(&sandbox, "umount /tmp");
}

#[test]
fn system_calls_that_reach_the_machine_are_refused() {
    if lacks_namespaces()
        || lacks(
            "perl",
            Path::new("/usr/bin/perl").exists(),
            "there is no perl",
        )
    {
        return;
    }
    let sandbox = standard();
    let call = |number: i64, arguments: &str| {
        let script = format!(
            "perl -e '$x = \"x\" x 64; print((syscall({number}, {arguments}) < 0) ? $!+0 : \"allowed\")'"
        );
        sh(&sandbox, &script)
    };
    let refused = libc::EPERM.to_string();
    assert_eq!(call(libc::SYS_keyctl, "0, 0, 0, 0, 0"), refused);
    assert_eq!(call(libc::SYS_bpf, "0, 0, 0"), refused);
    assert_eq!(call(libc::SYS_userfaultfd, "1"), refused);
    assert_eq!(
        call(libc::SYS_ioctl, &format!("0, {}, $x", libc::TIOCSTI)),
        refused
    );
    // Other requests fail for their own reasons.
    assert_eq!(
        call(libc::SYS_ioctl, &format!("0, {}, $x", libc::TIOCGPGRP)),
        libc::ENOTTY.to_string()
    );
    assert_eq!(call(libc::SYS_getpid, "0"), "allowed");
}

#[test]
fn programs_can_make_namespaces_of_their_own() {
    if lacks_namespaces() {
        return;
    }
    let sandbox = standard();
    sh(
        &sandbox,
        "unshare --user --map-root-user --mount sh -c 'mount -t tmpfs x /tmp && touch /tmp/x'",
    );
    if !is_root() {
        sh(
            &sandbox,
            "unshare --user --map-root-user --pid --fork --mount-proc true",
        );
    }
}

#[test]
fn a_sandbox_can_be_made_in_a_sandbox() {
    if lacks_namespaces()
        || lacks(
            "ordinary-user",
            !is_root(),
            "root's /proc/sys is masked, so a nested /proc is refused",
        )
    {
        return;
    }
    let program = std::env::current_exe().unwrap();
    let init = crate::support::init_program();
    let outer = sandbox(&Shape {
        read: vec![program.clone(), init.clone()],
        ..Shape::default()
    });
    let command = shell(format!(
        "cd /tmp && exec {} --exact isolation::processes_of_the_host_are_out_of_sight_and_reach",
        program.display()
    ))
    .env(INIT_VARIABLE, init);
    let output = run(&outer, &command);
    assert!(
        output.code() == 0 && output.stdout.contains("1 passed"),
        "{output:?}"
    );
}

#[test]
fn the_host_name_is_the_plans() {
    if lacks_namespaces() {
        return;
    }
    let named = Shape {
        hostname: Some("inside".into()),
        ..Shape::default()
    };
    assert_eq!(sh(&sandbox(&named), "uname -n"), "inside");
    assert_eq!(
        sh(&standard(), "uname -n"),
        rustix::system::uname().nodename().to_str().unwrap()
    );
}

#[test]
fn names_can_still_be_resolved() {
    if lacks_namespaces()
        || lacks(
            "resolver",
            Path::new("/etc/resolv.conf").exists(),
            "there is no resolv.conf",
        )
    {
        return;
    }
    let expected = fs::read_to_string("/etc/resolv.conf").unwrap();
    assert_eq!(sh(&standard(), "cat /etc/resolv.conf"), expected.trim_end());
}

#[test]
fn the_runtime_directory_is_private_and_the_users() {
    if lacks_namespaces() {
        return;
    }
    let standard = Shape {
        runtime_directory: Some("/run/user/42".into()),
        ..Shape::default()
    };
    assert_eq!(
        sh(
            &sandbox(&standard),
            "touch /run/user/42/x && stat -c %a /run/user/42"
        ),
        "700"
    );
}

#[test]
fn set_user_id_programs_give_nothing() {
    if lacks_namespaces()
        || lacks(
            "root",
            is_root(),
            "only root can make such a program for another user",
        )
    {
        return;
    }
    let project = tempdir();
    let program = project.path().join("id");
    fs::copy("/usr/bin/id", &program).unwrap();
    std::os::unix::fs::chown(&program, Some(1234), Some(1234)).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o6755)).unwrap();
    let sandbox = sandbox(&Shape {
        write: vec![project.path().into()],
        ..Shape::default()
    });
    assert_eq!(sh(&sandbox, &format!("{} -u", program.display())), "0");
}

#[test]
fn root_can_use_files_of_other_users() {
    if lacks_namespaces() || lacks("root", is_root(), "an ordinary user can not anywhere") {
        return;
    }
    let project = tempdir();
    let file = project.path().join("file");
    fs::write(&file, "theirs").unwrap();
    std::os::unix::fs::chown(&file, Some(1234), Some(1234)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let sandbox = sandbox(&Shape {
        write: vec![project.path().into()],
        ..Shape::default()
    });
    let path = file.display();
    assert_eq!(
        sh(
            &sandbox,
            &format!("echo more >> {path}; chown 77 {path}; stat -c %u {path}")
        ),
        "77"
    );
}

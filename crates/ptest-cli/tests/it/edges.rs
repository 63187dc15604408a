//! What is the same for every command: usage errors, streams, colours, pipes.

use std::{
    fs::{self, File},
    process::Stdio,
};

use insta::assert_snapshot;

use crate::context::TestContext;

#[test]
fn help_and_version_are_data() {
    let context = TestContext::new();
    let version = context.run(["--version"]).success();
    assert_eq!(
        version.stdout(),
        format!("ptest {}\n", env!("CARGO_PKG_VERSION"))
    );
    let help = context.run(["config", "list", "--help"]).success();
    assert!(help.stdout().contains("Usage: ptest config list"), "{help}");
    assert_eq!(help.stderr(), "");
}

#[test]
fn wrong_usage_goes_to_stderr_and_ends_with_2() {
    let context = TestContext::new();
    for arguments in [
        &["no-such-command"][..],
        &["--no-such-option"],
        &["config", "get"],
        &["--quiet", "--verbose", "man"],
        &["run", "--pass", "NAME=VALUE", "true"],
        &["run", "--pass", "", "true"],
        &["run", "--env", "NAME", "true"],
    ] {
        let outcome = context.run(arguments);
        assert_eq!(outcome.code(), Some(2), "{outcome}");
        assert_eq!(outcome.stdout(), "");
        assert!(outcome.stderr().starts_with("error: "), "{outcome}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_program_quietly() {
    let context = TestContext::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = context
        .command(["completions", "bash"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_full_disk_below_stdout_is_an_error() {
    let context = TestContext::new();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = context
        .command(["completions", "bash"])
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_snapshot!(context.outcome(output), @r"
    exit: 125
    ----- stdout -----

    ----- stderr -----
    error: cannot write standard output
      because: No space left on device (os error 28)
    ");
}

#[test]
fn quiet_leaves_only_errors() {
    let context = TestContext::new();
    let outcome = context.run(["-q", "config", "set", "pids", "4"]).success();
    assert_eq!(outcome.stderr(), "");
    let failed = context.run(["-q", "config", "set", "pids", "many"]);
    assert!(failed.stderr().starts_with("error: "), "{failed}");
}

#[test]
fn colours_are_for_terminals_unless_asked_for() {
    let mut context = TestContext::new();
    let colored = |outcome: crate::context::Outcome| outcome.stderr().contains('\x1b');
    let wrong = ["config", "set", "pids", "many"];
    assert!(!colored(context.run(wrong)));
    assert!(colored(
        context.run(["--color", "always"].iter().chain(&wrong))
    ));
    context.set("CLICOLOR_FORCE", "1");
    assert!(colored(context.run(wrong)));
    assert!(!colored(
        context.run(["--color=never"].iter().chain(&wrong))
    ));
    context.set("NO_COLOR", "1");
    assert!(!colored(context.run(wrong)));
}

#[test]
fn completions_are_printed_for_every_shell() {
    let context = TestContext::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = context.run(["completions", shell]).success().stdout();
        assert!(script.contains("config"), "{shell}");
    }
    assert_eq!(context.run(["completions", "tcsh"]).code(), Some(2));
}

#[test]
fn manual_pages_are_printed_or_written() {
    let context = TestContext::new();
    assert!(
        context
            .run(["man"])
            .success()
            .stdout()
            .contains(".TH ptest 1")
    );
    let written = context.run(["man", "--dir", "pages/man1"]).success();
    assert_eq!(
        written.stderr(),
        "Wrote the manual pages into [ROOT]/project/pages/man1\n"
    );
    let page = fs::read_to_string(context.project().join("pages/man1/ptest-config-set.1")).unwrap();
    assert!(page.contains(".TH ptest-config-set 1"), "{page}");
    assert!(
        !context
            .project()
            .join("pages/man1/ptest-reference.1")
            .exists()
    );
    assert_snapshot!(context.run(["man", "--dir", "/dev/null/pages"]), @r"
    exit: 125
    ----- stdout -----

    ----- stderr -----
    error: cannot write the manual pages into /dev/null/pages
      because: Not a directory (os error 20)
    ");
}

#[test]
fn what_the_kernel_shows_is_no_project_of_anybody() {
    let context = TestContext::new();
    let mut command = context.command(["run", "sh", "-c", "ls /dev"]);
    let outcome = context
        .outcome(command.current_dir("/dev").output().unwrap())
        .success();
    let devices =
        "fd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n";
    assert_eq!(outcome.stdout(), devices, "{outcome}");
    assert!(
        outcome.stderr().contains("because it is the kernel's"),
        "{outcome}"
    );
}

//! `ptest path`: an environment as the machine's programs see it.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use ptest_testkit::{require, requirement};
use serde_json::{Value, json};

use crate::{context::TestContext, packages::with_index, reference::assert_conforms};

fn report(context: &TestContext, name: &str) -> Value {
    let report = context
        .run(["path", name, "--format", "json"])
        .success()
        .json();
    assert_conforms("ptest.path", &report);
    report
}

/// Prints each file below the directory that is given as its argument, with a digest of its contents.
const FILES: &str = r#"
import hashlib, os, sys
root = sys.argv[1]
for directory, _, files in os.walk(root):
    for name in files:
        path = os.path.join(directory, name)
        if "__pycache__" not in path:
            with open(path, "rb") as file:
                digest = hashlib.sha256(file.read()).hexdigest()
            print(os.path.relpath(path, root), digest)
"#;

fn files(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
    lines
        .map(|(path, digest)| (path.to_owned(), digest.to_owned()))
        .collect()
}

/// The files of the packages as they are seen on the host and inside.
fn assert_the_same_files(context: &TestContext, name: &str) -> BTreeMap<String, String> {
    let site_packages = PathBuf::from(report(context, name)["site_packages"].as_str().unwrap());
    let python = site_packages.parent().unwrap().file_name().unwrap();
    let inside = format!("/ptest/env/lib/{}/site-packages", python.to_str().unwrap());
    let inside = context
        .run(["exec", name, "--", "python", "-c", FILES, &inside])
        .success();
    let mut host = Command::new("python3");
    let host = context.outcome(
        host.args(["-I", "-c", FILES])
            .arg(&site_packages)
            .output()
            .unwrap(),
    );
    let (host, inside) = (files(&host.success().stdout()), files(&inside.stdout()));
    assert!(!host.is_empty());
    assert_eq!(host, inside);
    host
}

#[test]
fn the_view_has_the_files_that_are_seen_inside_and_follows_the_packages() {
    require!(requirement::userns());
    let context = with_index();
    context
        .run(["create", "web", "--with", "alpha==1.0"])
        .success();
    let path = context.run(["path", "web"]).success();
    assert_eq!(path.stdout(), "[ROOT]/store/views/web\n");
    let first = assert_the_same_files(&context, "web");
    assert!(first.contains_key("alpha.py"));

    // What a command writes, replaces and deletes, in directories of layers and of its own.
    let script = "cd $VIRTUAL_ENV/lib/python*/site-packages; rm beta.py; echo 1 > pip/new.py; \
                  echo 2 > alpha.py; mkdir own; echo 3 > own/x.py; rm -r pip/_vendor; mkdir pip/_vendor; \
                  echo 4 > pip/_vendor/y.py";
    context.run(["exec", "web", "sh", "-c", script]).success();
    let second = assert_the_same_files(&context, "web");
    for (name, is_there) in [("beta.py", false), ("pip/new.py", true), ("own/x.py", true)] {
        assert_eq!(second.contains_key(name), is_there, "{name}");
    }

    context
        .run(["create", "db", "--with", "alpha==1.0"])
        .success();
    context.run(["path", "db"]).success();
    context.run(["upgrade", "db", "alpha"]).success();
    let view = context.path("store/views/db");
    let module = view
        .join("lib")
        .read_dir()
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let module = module.path().join("site-packages/alpha.py");
    assert!(fs::read_to_string(&module).unwrap().contains("2.0"));
    context.run(["uninstall", "db", "alpha"]).success();
    assert!(fs::symlink_metadata(&module).is_err());

    context.run(["remove", "web", "db"]).success();
    assert_eq!(context.path("store/views").read_dir().unwrap().count(), 0);
    context.assert_nothing_is_left();
}

#[test]
fn a_python_of_the_host_imports_from_the_view_and_changes_no_layer() {
    require!(requirement::userns());
    let context = with_index();
    context
        .run(["create", "web", "--with", "alpha==1.0"])
        .success();
    let report = report(&context, "web");
    let mut python = Command::new("python3");
    let said = python
        .args([
            "-c",
            "import alpha, beta, pip; print(alpha.version, alpha.__file__)",
        ])
        .env_remove("PYTHONDONTWRITEBYTECODE")
        .env("PYTHONPATH", report["site_packages"].as_str().unwrap())
        .output()
        .unwrap();
    let said = context.outcome(said).success().stdout();
    assert!(
        said.starts_with("1.0 [ROOT]/store/views/web/lib/"),
        "{said}"
    );
    context.run(["verify", "--store"]).success();
    context.run(["verify", "web"]).success();
    context.run(["remove", "web"]).success();
}

#[test]
fn the_programs_of_the_view_run_inside_and_see_themselves_where_they_are() {
    require!(requirement::userns());
    let context = with_index();
    context
        .run(["create", "web", "--with", "alpha==1.0"])
        .success();
    let shims = context.run(["path", "web", "--shims"]).success();
    assert_eq!(shims.stdout(), "[ROOT]/store/views/web/bin\n");
    let bin = context.path("store/views/web/bin");
    let said = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(bin.join(program));
        command.args(arguments).current_dir(context.project());
        context.outcome(command.output().unwrap())
    };
    assert_eq!(said("alpha", &[]).success().stdout(), "alpha 1.0\n");
    let script = "import os, sys; print(os.getpid() < 100, sys.prefix)";
    let prefix = said("python", &["-c", script]).success().stdout();
    let real = fs::canonicalize(context.path("store/views/web")).unwrap();
    let root = fs::canonicalize(context.path("")).unwrap();
    let expected = real.strip_prefix(root).unwrap().display().to_string();
    assert_eq!(prefix, format!("True [ROOT]/{expected}\n"));
    assert_eq!(
        said("python", &["-c", "raise SystemExit(7)"]).code(),
        Some(7)
    );
    assert!(context.path("store/views/web/pyvenv.cfg").is_file());

    let inode = || fs::metadata(context.path("store/views/web")).unwrap().ino();
    let before = inode();
    context.run(["path", "web"]).success();
    assert_eq!(inode(), before, "nothing had changed");
    let script = "cd $VIRTUAL_ENV/bin && echo echo mine > mine && chmod +x mine";
    context.run(["exec", "web", "sh", "-c", script]).success();
    context.run(["path", "web"]).success();
    assert_ne!(inode(), before);
    assert!(bin.join("mine").exists());

    let status = context
        .run(["status", "web", "--format", "json"])
        .success()
        .json();
    let view = context.path("store/views/web");
    assert_eq!(status["environment"]["path"], json!(view.to_str().unwrap()));
    context.run(["remove", "web"]).success();
    assert!(fs::symlink_metadata(&view).is_err());
}

#[test]
fn a_shell_that_reads_activate_finds_the_programs_of_the_environment() {
    require!(requirement::userns());
    let context = with_index();
    context
        .run(["create", "web", "--with", "alpha==1.0"])
        .success();
    context.run(["path", "web"]).success();
    let view = context.path("store/views/web");
    let bin = view.join("bin");
    for (shell, script, run) in [
        ("bash", "activate", "source \"$0\""),
        ("sh", "activate", ". \"$0\""),
        ("zsh", "activate", "source \"$0\""),
        ("fish", "activate.fish", "source $argv[1]"),
        ("csh", "activate.csh", "source \"$argv[1]\""),
    ] {
        let found = Command::new("sh")
            .args(["-c", "command -v \"$0\"", shell])
            .output();
        if !found.unwrap().status.success() {
            continue;
        }
        let commands = format!("{run}\necho $VIRTUAL_ENV\nwhich python\nalpha\ndeactivate\nalpha");
        let mut command = Command::new(shell);
        let outcome = command
            .args(["-c", &commands])
            .arg(bin.join(script))
            .current_dir(context.project())
            .output()
            .unwrap();
        assert_eq!(
            context.outcome(outcome).stdout(),
            "[ROOT]/store/views/web\n[ROOT]/store/views/web/bin/python\nalpha 1.0\n",
            "{shell}"
        );
    }
    context.run(["remove", "web"]).success();
}

#[test]
fn a_copied_environment_has_a_view_too() {
    let context = TestContext::new();
    context
        .run(["create", "web", "--profile", "none"])
        .success();
    let view = PathBuf::from(report(&context, "web")["path"].as_str().unwrap());
    let mut command = Command::new(view.join("bin/pip"));
    let version = context.outcome(
        command
            .arg("--version")
            .current_dir(context.project())
            .output()
            .unwrap(),
    );
    assert!(version.success().stdout().contains("/tree/lib/python"));
    context.run(["remove", "web"]).success();
    assert!(fs::symlink_metadata(Path::new(&view)).is_err());
}

#[test]
fn a_program_of_the_view_says_that_ptest_is_gone() {
    let context = TestContext::new();
    context
        .run(["create", "web", "--profile", "none"])
        .success();
    context.run(["path", "web"]).success();
    let bin = context.path("store/views/web/bin");
    let script = fs::read_to_string(bin.join("pip")).unwrap();
    let without = script.replace(crate::context::PTEST, "/nonexistent/ptest");
    assert_ne!(without, script);
    fs::write(bin.join("pip"), without).unwrap();
    let mut command = Command::new(bin.join("pip"));
    let outcome = context.outcome(command.env("PATH", "/bin:/usr/bin").output().unwrap());
    assert_eq!(outcome.code(), Some(125), "{outcome}");
    assert!(outcome.stderr().contains("ptest is gone"), "{outcome}");
    context.run(["remove", "web"]).success();
}

#[test]
fn an_environment_that_is_not_there_has_no_view() {
    let context = TestContext::new();
    let outcome = context.run(["path", "web", "--format", "json"]);
    assert_eq!(outcome.code(), Some(125), "{outcome}");
    assert_conforms("ptest.error", &outcome.json());
}

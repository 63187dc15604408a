//! `improve`, what happens by itself after a command, and stacks that are deeper than a kernel mounts.

use std::{fs, process::Command};

use ptest_testkit::{require, requirement};

use crate::{
    context::{TestContext, wait_until},
    packages::with_index,
    reference::assert_conforms,
    wheel,
};

/// More than the kernel mounts, and more than anybody installs.
const COUNT: usize = 600;

/// Whether the bytecode of a module is there in a fresh environment.
fn is_compiled(context: &TestContext, module: &str) -> bool {
    let code = format!(
        "import importlib.util, os; \
         print(os.path.exists(importlib.util.cache_from_source(importlib.util.find_spec('{module}').origin)))"
    );
    let run = ["run", "--no-pip", "--with", "alpha", "python", "-Bc", &code];
    context.run(run).success().stdout() == "True\n"
}

#[test]
fn improve_compiles_what_was_used_and_says_so() {
    require!(requirement::userns());
    let context = with_index();
    assert!(!is_compiled(&context, "alpha"));
    let report = context
        .run(["improve", "--format", "json"])
        .success()
        .json();
    assert_conforms("ptest.improved", &report);
    assert_eq!(
        (&report["compiled"], &report["flattened"]),
        (&2.into(), &0.into())
    );
    assert!(is_compiled(&context, "alpha") && is_compiled(&context, "beta"));
    let again = context.run(["improve"]).success();
    assert!(
        again.stderr().starts_with("Improved 0 distributions"),
        "{again}"
    );
    context.assert_nothing_is_left();
}

#[test]
fn what_was_used_is_improved_by_itself_when_the_command_has_ended() {
    require!(requirement::userns());
    let mut context = with_index();
    context.set("PTEST_IMPROVE", "true");
    assert!(!is_compiled(&context, "alpha"));
    let place = context.path("store");
    let is_at_work = || {
        let found = Command::new("pgrep")
            .arg("-f")
            .arg(&place)
            .output()
            .unwrap();
        !found.stdout.is_empty()
    };
    wait_until("it has ended", || !is_at_work());
    context.set("PTEST_IMPROVE", "false");
    assert!(is_compiled(&context, "alpha") && is_compiled(&context, "beta"));
    context.assert_nothing_is_left();
}

#[test]
fn six_hundred_distributions_are_more_layers_than_a_kernel_mounts_and_work() {
    require!(requirement::userns());
    require!(requirement::uv());
    let mut context = with_index();
    context.set("PTEST_INSTALLER", "uv");
    if let Some(uv) = std::env::var_os("PTEST_UV") {
        context.set("PTEST_UV", uv);
    }
    let names: Vec<String> = (0..COUNT).map(|number| format!("d{number}")).collect();
    wheel::make_all(&context.path("index"), &names, "1.0", "");
    let lines: String = names.iter().map(|name| format!("{name}==1.0\n")).collect();
    fs::write(context.project().join("many.txt"), lines).unwrap();
    context
        .run(["create", "web", "--no-pip", "-r", "many.txt"])
        .success();
    let code = "import d0, d299, d599; print(d0.version, d299.version, d599.version)";
    let said = context.run(["exec", "web", "python", "-c", code]).success();
    assert_eq!(said.stdout(), "1.0 1.0 1.0\n");
    let packages = context.run(["packages", "web"]).success().stdout();
    assert_eq!(packages.lines().count(), COUNT + 1);
    context.run(["verify", "web"]).success();
    context.run(["uninstall", "web", "d0"]).success();
    let code = "import importlib.util, d1, d599; print(importlib.util.find_spec('d0'))";
    let said = context.run(["exec", "web", "python", "-c", code]).success();
    assert_eq!(said.stdout(), "None\n");
    context.run(["remove", "web"]).success();
    context.assert_nothing_is_left();
}

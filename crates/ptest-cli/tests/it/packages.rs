//! `install uninstall upgrade packages verify`, and `run --with`, on wheels made on the spot.

use std::fs;

use ptest_testkit::{require, requirement};
use serde_json::{Value, json};

use crate::{context::TestContext, reference::assert_conforms, wheel};

/// A user whose only index is a directory with `alpha` 1.0 and 2.0, which need `beta`, and `beta` 1.0.
pub(crate) fn with_index() -> TestContext {
    let mut context = TestContext::new();
    let index = context.path("index");
    fs::create_dir(&index).unwrap();
    wheel::make(&index, "alpha", "1.0", "beta");
    wheel::make(&index, "alpha", "2.0", "beta");
    wheel::make(&index, "beta", "1.0", "");
    context.set("PIP_NO_INDEX", "1");
    context.set("PIP_FIND_LINKS", wheel::place(&index));
    context
}

/// A project with a build backend of its own, which needs nothing else.
fn project(context: &TestContext, name: &str) {
    const BACKEND: &str = r#"
import glob, os, shutil
def build_wheel(directory, settings=None, metadata=None):
    wheel = glob.glob("made/*.whl")[0]
    shutil.copy(wheel, directory)
    return os.path.basename(wheel)
build_editable = build_wheel
"#;
    context.write(
        &format!("{name}/pyproject.toml"),
        "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n",
    );
    context.write(&format!("{name}/backend.py"), BACKEND);
    context.write(&format!("{name}/made/readme"), "");
    wheel::make(&context.path(&format!("{name}/made")), name, "1.0", "");
}

#[test]
fn run_with_a_requirement_has_it_and_its_command() {
    require!(requirement::userns());
    let context = with_index();
    let code = "import alpha, beta; print(alpha.version, beta.version)";
    let outcome = context
        .run(["run", "--with", "alpha==1.0", "--", "python", "-c", code])
        .success();
    assert_eq!(outcome.stdout(), "1.0 1.0\n");
    assert_eq!(
        context
            .run(["run", "--with", "alpha==1.0", "alpha"])
            .success()
            .stdout(),
        "alpha 1.0\n"
    );
    // Newest first, and nothing of one run in another.
    assert_eq!(
        context
            .run(["run", "--with", "alpha", "alpha"])
            .success()
            .stdout(),
        "alpha 2.0\n"
    );
    assert_eq!(
        context.run(["run", "python", "-c", "import alpha"]).code(),
        Some(1)
    );
    context.assert_nothing_is_left();
}

#[test]
fn requirements_files_and_wheels_are_found_from_the_working_directory() {
    require!(requirement::userns());
    let context = with_index();
    context.write("project/requirements.txt", "beta\n");
    context.write("project/constraints.txt", "alpha<2\n");
    wheel::make(context.project(), "gamma", "3.0", "alpha");
    let code = "import alpha, beta, gamma; print(alpha.version, beta.version, gamma.version)";
    let options = [
        "run",
        "-r",
        "requirements.txt",
        "-c",
        "constraints.txt",
        "--with",
        "./gamma-3.0-py3-none-any.whl",
    ];
    let outcome = context
        .run(options.iter().chain(&["--", "python", "-c", code]))
        .success();
    assert_eq!(outcome.stdout(), "1.0 1.0 3.0\n");
}

#[test]
fn a_wheel_with_another_hash_than_a_requirements_file_says_is_refused() {
    require!(requirement::userns());
    let context = with_index();
    let zeros = "0".repeat(64);
    context.write(
        "project/requirements.txt",
        &format!("beta==1.0 --hash=sha256:{zeros}\n"),
    );
    let outcome = context.run(["run", "-r", "requirements.txt", "true"]);
    assert_eq!(outcome.code(), Some(125), "{outcome}");
    let said = outcome.stderr().to_lowercase();
    assert!(said.contains("hash") && said.contains("beta"), "{outcome}");
    context.assert_nothing_is_left();
}

#[test]
fn variables_that_redirect_python_or_pip_redirect_no_installation() {
    require!(requirement::userns());
    let mut context = with_index();
    let elsewhere = context.path("elsewhere");
    let files = ["alpha.py", "sitecustomize.py"];
    for file in files {
        context.write(
            &format!("elsewhere/{file}"),
            "raise SystemExit('of the host')",
        );
    }
    for name in [
        "PIP_TARGET",
        "PIP_PREFIX",
        "PYTHONHOME",
        "PYTHONPATH",
        "VIRTUAL_ENV",
    ] {
        context.set(name, &elsewhere);
    }
    let code = "import alpha, sys; print(alpha.version, sys.prefix)";
    let python = ["python", "-c", code];
    let run = ["run", "--with", "alpha==1.0", "--"];
    let said = context.run(run.iter().chain(&python)).success().stdout();
    assert_eq!(said, "1.0 /ptest/env\n");
    context.run(["create", "web"]).success();
    context.run(["install", "web", "alpha==2.0"]).success();
    let exec = ["exec", "web", "--"];
    let said = context.run(exec.iter().chain(&python)).success().stdout();
    assert_eq!(said, "2.0 /ptest/env\n");
    context.run(["remove", "web"]).success();
    let mut left: Vec<_> = fs::read_dir(elsewhere)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, files);
}

#[test]
fn pip_is_there_unless_it_is_left_out() {
    require!(requirement::userns());
    let context = TestContext::new();
    context
        .run(["run", "python", "-m", "pip", "--version"])
        .success();
    assert_eq!(
        context
            .run(["run", "--no-pip", "python", "-c", "import pip"])
            .code(),
        Some(1)
    );
}

#[test]
fn what_cannot_be_had_is_an_error_in_the_installers_words_and_nothing_is_made() {
    require!(requirement::userns());
    let context = with_index();
    let outcome = context.run(["run", "--with", "nonexistent-thing", "true"]);
    assert_eq!(outcome.code(), Some(125), "{outcome}");
    assert!(outcome.stderr().contains("nonexistent-thing"), "{outcome}");
    assert!(outcome.stderr().contains("  | "), "{outcome}");
    let report = context.run(["create", "web", "--with", "alpha==9", "--format", "json"]);
    assert_eq!(report.code(), Some(125));
    assert_conforms("ptest.error", &report.json());
    assert_eq!(report.json()["error"]["kind"], json!("resolution"));
    context.assert_nothing_is_left();
}

#[test]
fn what_looks_like_an_option_is_no_requirement() {
    let context = TestContext::new();
    for requirement in ["--help", "-r", ""] {
        let outcome = context.run([
            "run".to_owned(),
            format!("--with={requirement}"),
            "true".to_owned(),
        ]);
        assert_eq!(outcome.code(), Some(125), "{requirement:?}\n{outcome}");
        let install = context.run(["install", "web", "--", requirement]);
        assert_eq!(install.code(), Some(125), "{requirement:?}\n{install}");
    }
}

#[test]
fn packages_come_change_and_go() {
    require!(requirement::userns());
    let context = with_index();
    context.run(["create", "web"]).success();
    assert_eq!(
        context
            .run(["install", "web", "alpha==1.0"])
            .success()
            .stdout(),
        "+ alpha 1.0\n+ beta 1.0\n"
    );
    let again = context.run(["install", "web", "alpha==1.0"]).success();
    assert_eq!(
        (again.stdout(), again.stderr()),
        (String::new(), "web has all that already\n".to_owned())
    );
    assert_eq!(
        context.run(["exec", "web", "alpha"]).success().stdout(),
        "alpha 1.0\n"
    );
    assert_eq!(
        context.run(["upgrade", "web", "alpha"]).success().stdout(),
        "~ alpha 1.0 -> 2.0\n"
    );
    assert_eq!(
        context.run(["exec", "web", "alpha"]).success().stdout(),
        "alpha 2.0\n"
    );
    assert_eq!(
        context
            .run(["uninstall", "web", "alpha"])
            .success()
            .stdout(),
        "- alpha 2.0\n"
    );
    assert_eq!(
        context
            .run(["exec", "web", "python", "-c", "import alpha"])
            .code(),
        Some(1)
    );
    assert_eq!(installed(&context), ["beta", "pip"]);
    context.run(["remove", "web"]).success();
    context.assert_nothing_is_left();
}

#[test]
fn every_report_of_packages_conforms_to_its_schema() {
    require!(requirement::userns());
    let context = with_index();
    context.run(["create", "web"]).success();
    let json = |arguments: &[&str]| {
        context
            .run(arguments.iter().chain(&["--format", "json"]))
            .success()
            .json()
    };
    for (arguments, changes) in [
        (
            &["install", "web", "alpha==1.0"][..],
            json!([
                {"name": "alpha", "before": null, "after": "1.0"},
                {"name": "beta", "before": null, "after": "1.0"},
            ]),
        ),
        (
            &["upgrade", "web", "alpha"],
            json!([{"name": "alpha", "before": "1.0", "after": "2.0"}]),
        ),
        (
            &["uninstall", "web", "alpha"],
            json!([{"name": "alpha", "before": "2.0", "after": null}]),
        ),
    ] {
        let report = json(arguments);
        assert_conforms("ptest.changes", &report);
        assert_eq!(report["changes"], changes, "{arguments:?}");
        assert_eq!(report["environment"], json!("web"));
    }
    let packages = json(&["packages", "web"]);
    assert_conforms("ptest.packages", &packages);
    let verification = json(&["verify", "web"]);
    assert_conforms("ptest.verification", &verification);
    assert_eq!(verification["whole"], json!(true));
    context.run(["remove", "web"]).success();
}

#[test]
fn an_operation_that_fails_leaves_the_environment_as_it_was() {
    require!(requirement::userns());
    let context = with_index();
    context
        .run(["create", "web", "--with", "alpha==1.0"])
        .success();
    let before = installed(&context);
    for arguments in [
        ["install", "web", "alpha==9"],
        ["upgrade", "web", "nothing"],
        ["uninstall", "web", "nothing"],
    ] {
        let outcome = context.run(arguments);
        assert_eq!(outcome.code(), Some(125), "{arguments:?}\n{outcome}");
        assert_eq!(outcome.stdout(), "", "{arguments:?}");
        assert_eq!(installed(&context), before, "{arguments:?}");
    }
    assert_eq!(
        context.run(["exec", "web", "alpha"]).success().stdout(),
        "alpha 1.0\n"
    );
    context.run(["remove", "web"]).success();
}

#[test]
fn what_was_uninstalled_stays_away_when_something_else_is_installed() {
    require!(requirement::userns());
    let context = with_index();
    for name in ["one", "two"] {
        project(&context, name);
    }
    let (one, two) = (context.path("one"), context.path("two"));
    let create = ["create", "web", "--with", "alpha==1.0"].map(std::ffi::OsStr::new);
    let local = [
        "--with".as_ref(),
        one.as_os_str(),
        "-e".as_ref(),
        two.as_os_str(),
    ];
    context.run(create.into_iter().chain(local)).success();
    assert_eq!(installed(&context), ["alpha", "beta", "one", "pip", "two"]);
    for name in ["alpha", "beta", "one", "pip", "two"] {
        context.run(["uninstall", "web", name]).success();
    }
    context.run(["install", "web", "alpha==2.0"]).success();
    assert_eq!(installed(&context), ["alpha", "beta"]);
    context.run(["remove", "web"]).success();
}

#[test]
fn only_what_is_there_is_upgraded() {
    require!(requirement::userns());
    let context = with_index();
    context.run(["create", "web"]).success();
    let outcome = context.run(["upgrade", "web", "alpha"]);
    assert_eq!(outcome.code(), Some(125), "{outcome}");
    assert!(outcome.stderr().contains("not installed"), "{outcome}");
    assert_eq!(installed(&context), ["pip"]);
    context.run(["remove", "web"]).success();
}

#[test]
fn packages_tells_who_installed_what() {
    require!(requirement::userns());
    let context = with_index();
    context
        .run(["create", "web", "--with", "alpha==1.0"])
        .success();
    wheel::make(context.project(), "gamma", "3.0", "");
    let pip = [
        "exec",
        "web",
        "--",
        "pip",
        "install",
        "--no-index",
        "./gamma-3.0-py3-none-any.whl",
    ];
    context.run(pip).success();
    let columns = context.run(["packages", "web"]).success().columns();
    let lines: Vec<&str> = columns.lines().collect();
    assert_eq!(
        lines[..3],
        ["PACKAGE VERSION NOTE", "alpha 1.0 asked for", "beta 1.0"],
        "{columns}"
    );
    assert_eq!(
        lines[3], "gamma 3.0 installed by a command inside",
        "{columns}"
    );
    assert!(
        context
            .run(["install", "web", "beta"])
            .stderr()
            .contains("gamma")
    );
    context.run(["remove", "web"]).success();
}

#[test]
fn verify_names_what_a_command_inside_broke() {
    require!(requirement::userns());
    let context = with_index();
    context
        .run(["create", "web", "--with", "alpha==1.0"])
        .success();
    let whole = context.run(["verify", "web"]).success();
    assert_eq!(whole.stdout(), "");
    assert!(
        whole.stderr().starts_with("Verified web: 3 packages, "),
        "{whole}"
    );
    let script =
        "cd $VIRTUAL_ENV/lib/python3*/site-packages && echo broken >> alpha.py && rm beta.py";
    context.run(["exec", "web", "sh", "-c", script]).success();
    let broken = context.run(["verify", "web"]);
    assert_eq!(broken.code(), Some(1), "{broken}");
    let text = broken.stdout();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines.len(), 2, "{broken}");
    assert!(lines[0].starts_with("alpha: lib/python3"), "{broken}");
    assert!(
        lines[0].ends_with("/site-packages/alpha.py was changed by a command inside"),
        "{broken}"
    );
    assert!(
        lines[1].ends_with("/site-packages/beta.py was deleted by a command inside"),
        "{broken}"
    );
    let report = context.run(["verify", "web", "--format", "json"]);
    assert_eq!(report.code(), Some(1));
    assert_conforms("ptest.verification", &report.json());
    assert_eq!(report.json()["problems"].as_array().map(Vec::len), Some(2));
    context.run(["remove", "web"]).success();
}

#[test]
fn verify_finds_a_layer_that_is_not_what_was_committed() {
    require!(requirement::userns());
    let context = with_index();
    context
        .run(["create", "web", "--with", "alpha==1.0"])
        .success();
    let layers = fs::read_dir(context.path("store/layers")).unwrap();
    let module = layers
        .map(|layer| layer.unwrap().path().join("lib"))
        .flat_map(|lib| fs::read_dir(lib).into_iter().flatten())
        .map(|python| python.unwrap().path().join("site-packages/alpha.py"))
        .find(|module| module.exists())
        .unwrap();
    fs::write(module, "version = 'planted'\n").unwrap();
    let outcome = context.run(["verify", "web"]);
    assert_eq!(outcome.code(), Some(1), "{outcome}");
    assert!(outcome.stdout().starts_with("alpha: "), "{outcome}");
    assert!(outcome.stdout().contains("alpha.py"), "{outcome}");

    // The whole store: the layer is taken out of service and made of its wheel again.
    let mended = context.run(["verify", "--store", "--format", "json"]);
    assert_eq!(mended.code(), Some(1), "{mended}");
    assert_conforms("ptest.store_verification", &mended.json());
    let damaged = &mended.json()["damaged"];
    assert_eq!(damaged[0]["environments"], json!(["web"]), "{mended}");
    assert_eq!(damaged[0]["outcome"], json!("made_again"), "{mended}");
    context.run(["verify", "web"]).success();
    let whole = context.run(["verify", "--store"]).success();
    assert!(whole.stderr().starts_with("Verified "), "{whole}");
    context.run(["remove", "web"]).success();
}

#[test]
fn a_damaged_layer_that_cannot_be_made_again_is_out_of_service_all_the_same() {
    let context = with_index();
    context
        .run(["create", "web", "--profile", "none", "--with", "alpha==1.0"])
        .success();
    let sampled = ["verify", "--store", "--layers", "sampled"];
    context.run(sampled).success();
    let mut layers = fs::read_dir(context.path("store/layers"))
        .unwrap()
        .map(Result::unwrap);
    let layer = layers
        .find(|layer| layer.path().join("bin/alpha").exists())
        .unwrap();
    fs::write(layer.path().join("planted"), "").unwrap();
    fs::remove_dir_all(context.path("index")).unwrap();
    let outcome = context.run(sampled);
    assert_eq!(outcome.code(), Some(1), "{outcome}");
    let line = outcome.stdout();
    let id = layer.file_name().into_string().unwrap();
    assert!(
        line.starts_with(&format!("{id} (of web): planted was added: ")),
        "{outcome}"
    );
    assert!(line.contains("out of service"), "{outcome}");
    assert!(!layer.path().exists());
    context.run(["remove", "web"]).success();
}

fn installed(context: &TestContext) -> Vec<String> {
    let report = context
        .run(["packages", "web", "--format", "json"])
        .success()
        .json();
    let names = report["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| &package["name"]);
    names.filter_map(Value::as_str).map(str::to_owned).collect()
}

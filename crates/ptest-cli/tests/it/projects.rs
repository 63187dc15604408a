//! Local projects: built from a copy, used in place, in a repository and in a linked working tree of one.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use ptest_testkit::{require, requirement};

use crate::context::TestContext;

/// A build back-end without requirements, so that nothing needs a network. It writes into the project, as the usual
/// ones do, and a dot for each build, and each time that it is asked, into the home of who builds.
const BACKEND: &str = r#"
import base64, hashlib, os, zipfile

INFO = "mine-0.1.dist-info"

def write(directory, files):
    os.makedirs("mine.egg-info", exist_ok=True)
    with open("mine.egg-info/built", "a") as file:
        file.write(".")
    files[f"{INFO}/METADATA"] = "Metadata-Version: 2.1\nName: mine\nVersion: 0.1\n"
    files[f"{INFO}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{INFO}/entry_points.txt"] = "[console_scripts]\nmine = mine:main\n"
    record = ""
    name = "mine-0.1-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        for file, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{file},sha256={digest},{len(text.encode())}\n"
            wheel.writestr(file, text)
        wheel.writestr(f"{INFO}/RECORD", record + f"{INFO}/RECORD,,\n")
    return name

def prepare_metadata_for_build_wheel(directory, settings=None):
    with open(os.path.expanduser("~/asked"), "a") as file:
        file.write(".")
    os.mkdir(os.path.join(directory, INFO))
    with open(os.path.join(directory, INFO, "METADATA"), "w") as file:
        file.write("Metadata-Version: 2.1\nName: mine\nVersion: 0.1\n")
    return INFO

def build_wheel(directory, settings=None, metadata=None):
    with open(os.path.expanduser("~/builds"), "a") as file:
        file.write(".")
    files = {"mine.py": open("src/mine.py").read()}
    if os.path.exists("src/mine.h"):
        files["mine-0.1.data/headers/mine.h"] = "int mine;\n"
    return write(directory, files)

def build_editable(directory, settings=None, metadata=None):
    return write(directory, {"mine.pth": os.path.abspath("src") + "\n"})
"#;

/// A user in a project of their own, and what else they have.
fn with_project(installer: Option<OsString>) -> TestContext {
    let mut context = TestContext::new();
    context.set("PTEST_UV", installer.unwrap_or_else(|| "none".into()));
    context.write(
        "project/pyproject.toml",
        "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\"build-tools\"]\n\
         [project]\nname = \"mine\"\nversion = \"0.1\"\n",
    );
    context.write("project/build-tools/backend.py", BACKEND);
    version(&context, 1);
    context
}

/// Gives the project's module another content.
fn version(context: &TestContext, number: u32) {
    let text = format!("def main():\n    print('version', {number})\n");
    context.write("project/src/mine.py", &text);
}

/// Does the same with pip and, where it is there, with uv.
fn with_each_installer(test: impl Fn(TestContext)) {
    test(with_project(None));
    if let Some(uv) = requirement::uv().or_skip("projects with uv") {
        test(with_project(Some(uv.into())));
    }
}

fn names(directory: &Path) -> Vec<OsString> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    names
}

#[test]
fn a_project_is_built_once_for_an_interpreter_until_it_changes() {
    require!(requirement::userns());
    with_each_installer(|context| {
        let builds = || fs::read(context.path("home/builds")).unwrap().len();
        // Two sets of distributions that have the project in common.
        let both = || {
            for more in [&[][..], &["--no-pip"]] {
                let words = ["run", "--with", "."].iter().chain(more).chain(&["mine"]);
                context.run(words).success();
            }
        };
        both();
        assert_eq!(builds(), 1);
        version(&context, 2);
        both();
        assert_eq!(builds(), 2);
    });
}

#[test]
fn thirty_two_at_once_of_one_new_recipe_build_it_once_and_give_thirty_two_right_results() {
    require!(requirement::userns());
    let context = with_project(None);
    // So that whoever chooses versions has to ask it.
    let definition = fs::read_to_string(context.project().join("pyproject.toml")).unwrap();
    let computed = definition.replace("version = \"0.1\"", "dynamic = [\"version\"]");
    context.write("project/pyproject.toml", &computed);
    let run = || {
        let mut command = context.command(["run", "--with", ".", "mine"]);
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(Stdio::piped()).spawn().unwrap()
    };
    let started: Vec<Child> = (0..32).map(|_| run()).collect();
    for child in started {
        let outcome = context.outcome(child.wait_with_output().unwrap());
        assert_eq!(
            (outcome.stdout().as_str(), outcome.code()),
            ("version 1\n", Some(0)),
            "{outcome}"
        );
    }
    // pip asks it when it chooses versions, and when it builds.
    for (counted, expected) in [("home/builds", 1), ("home/asked", 2)] {
        let times = fs::read(context.path(counted)).unwrap().len();
        assert_eq!(times, expected, "{counted}");
    }
    context.assert_nothing_is_left();
}

#[test]
fn a_project_that_is_built_is_not_asked_what_it_needs() {
    require!(requirement::userns());
    with_each_installer(|context| {
        // What its definition says is read there.
        let definition = fs::read_to_string(context.project().join("pyproject.toml")).unwrap();
        let computed = definition.replace("version = \"0.1\"", "dynamic = [\"version\"]");
        context.write("project/pyproject.toml", &computed);
        let asked = || fs::read(context.path("home/asked")).unwrap().len();
        context.run(["run", "--with", ".", "mine"]).success();
        let before = asked();
        let words = ["run", "--no-pip", "--with", ".", "mine"];
        assert_eq!(context.run(words).success().stdout(), "version 1\n");
        assert_eq!(asked(), before);
        // A layer that is gone is made again from the project, not from what is known of it.
        context.run(["gc", "--older-than", "0s"]).success();
        let words = ["run", "--no-pip", "--with", ".", "--refresh", "mine"];
        assert_eq!(context.run(words).success().stdout(), "version 1\n");
        context.assert_nothing_is_left();
    });
}

/// Two Pythons that look for packages at different places.
fn two_pythons() -> Option<[PathBuf; 2]> {
    let python = |version| requirement::python(version).or_skip("projects of two Pythons");
    Some([python("3.12")?, python("3.11")?])
}

/// How often the project is built for these Pythons, in each of which it is whole.
fn builds(context: &TestContext, pythons: &[PathBuf], file: &str) -> usize {
    let code = format!("import mine, os, sys; mine.main(); assert os.path.exists({file})");
    for python in pythons {
        let mut command = context.command(["run", "--with", ".", "--python"]);
        command.arg(python).args(["python", "-c", &code]);
        let outcome = context.outcome(command.output().unwrap()).success();
        assert_eq!(outcome.stdout(), "version 1\n");
    }
    context.run(["verify", "--store"]).success();
    fs::read(context.path("home/builds")).unwrap().len()
}

#[test]
fn a_project_that_leaves_nothing_to_the_python_that_builds_it_is_built_once_for_all() {
    require!(requirement::userns());
    let Some(pythons) = two_pythons() else { return };
    with_each_installer(|context| {
        assert_eq!(builds(&context, &pythons, "mine.__file__"), 1);
    });
    with_each_installer(|context| {
        let definition = fs::read_to_string(context.project().join("pyproject.toml")).unwrap();
        let computed = format!("{definition}dynamic = [\"dependencies\"]\n");
        context.write("project/pyproject.toml", &computed);
        assert_eq!(builds(&context, &pythons, "mine.__file__"), 2);
    });
}

#[test]
fn a_project_with_headers_is_built_for_each_python_because_they_lie_elsewhere() {
    require!(requirement::userns());
    let Some(pythons) = two_pythons() else { return };
    with_each_installer(|context| {
        context.write("project/src/mine.h", "");
        let file = "f'{sys.prefix}/include/site/python3.{sys.version_info[1]}/mine/mine.h'";
        assert_eq!(builds(&context, &pythons, file), 2);
    });
}

#[test]
fn a_project_is_built_as_it_is_now_and_not_written_into() {
    require!(requirement::userns());
    with_each_installer(|context| {
        let before = names(context.project());
        for (number, with) in [(1, "."), (2, "."), (3, "./"), (4, "../project")] {
            version(&context, number);
            let outcome = context.run(["run", "--with", with, "mine"]).success();
            assert_eq!(outcome.stdout(), format!("version {number}\n"));
            assert_eq!(outcome.stderr(), "");
        }
        let code = "import mine; print(mine.__file__)";
        let place = context
            .run(["run", "--with", ".", "python", "-c", code])
            .success()
            .stdout();
        assert!(place.starts_with("/ptest/env/lib/"), "{place}");
        assert_eq!(names(context.project()), before);
        context.assert_nothing_is_left();
    });
}

#[test]
fn an_editable_project_is_built_once_says_so_and_is_seen_as_it_is() {
    require!(requirement::userns());
    with_each_installer(|context| {
        let first = context.run(["run", "-e", ".", "mine"]).success();
        assert_eq!(first.stdout(), "version 1\n");
        assert_eq!(
            first.stderr(),
            "building the editable project [ROOT]/project writes into it\n"
        );
        let built = || fs::read(context.project().join("mine.egg-info/built")).unwrap();
        let builds = built();
        version(&context, 2);
        let second = context.run(["run", "-e", ".", "mine"]).success();
        assert_eq!(second.stdout(), "version 2\n");
        assert_eq!((second.stderr(), built()), (String::new(), builds.clone()));
        // What says how it is built makes it be built again.
        let definition = context.project().join("pyproject.toml");
        let text = fs::read_to_string(&definition).unwrap();
        fs::write(&definition, text + "# changed\n").unwrap();
        assert_eq!(
            context.run(["run", "-e", ".", "mine"]).success().stdout(),
            "version 2\n"
        );
        assert_ne!(built(), builds);
        context.assert_nothing_is_left();
    });
}

#[test]
fn a_build_that_fails_is_told_in_its_own_words_and_leaves_nothing() {
    require!(requirement::userns());
    with_each_installer(|context| {
        context.write(
            "project/build-tools/backend.py",
            "def build_wheel(*_):\n    raise SystemExit('no wheel today')\n",
        );
        let outcome = context.run(["run", "--with", ".", "mine"]);
        assert_eq!(outcome.code(), Some(125), "{outcome}");
        assert!(outcome.stderr().contains("no wheel today"), "{outcome}");
        assert!(outcome.stderr().contains("[ROOT]/project"), "{outcome}");
        context.assert_nothing_is_left();
    });
}

#[test]
fn a_version_is_read_from_a_repository_and_from_a_linked_working_tree() {
    require!(requirement::userns());
    require!(requirement::network());
    let git = require!(requirement::program("git"));
    let mut context = TestContext::new();
    for name in ["HTTPS_PROXY", "https_proxy", "PIP_INDEX_URL", "PIP_CERT"] {
        if let Some(value) = std::env::var_os(name) {
            context.set(name, value);
        }
    }
    context.set("PTEST_UV", "none");
    context.write(
        "project/pyproject.toml",
        "[build-system]\nrequires = [\"setuptools>=64\", \"setuptools-scm>=8\"]\n\
         build-backend = \"setuptools.build_meta\"\n\
         [project]\nname = \"mine\"\ndynamic = [\"version\"]\n\
         [tool.setuptools]\npy-modules = [\"mine\"]\n[tool.setuptools_scm]\n",
    );
    context.write("project/mine.py", "");
    let git = |directory: &Path, arguments: &[&str]| {
        let output = Command::new(&git)
            .args(["-c", "user.name=t", "-c", "user.email=t@t"])
            .args(arguments)
            .current_dir(directory)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let project = context.project();
    git(project, &["init", "-q"]);
    git(project, &["add", "-A"]);
    git(project, &["commit", "-qm", "one"]);
    git(project, &["tag", "v1.2.3"]);
    let linked = context.path("linked");
    git(
        project,
        &["worktree", "add", "-q", linked.to_str().unwrap()],
    );
    git(&linked, &["commit", "-q", "--allow-empty", "-m", "two"]);
    let code = "import importlib.metadata as m; print(m.version('mine'))";
    let version_in = |directory: &Path| {
        let mut command = context.command(["run", "--with", ".", "python", "-c", code]);
        let output = command.current_dir(directory).output().unwrap();
        context.outcome(output).success().stdout()
    };
    assert_eq!(version_in(project), "1.2.3\n");
    let later = version_in(&linked);
    assert!(later.starts_with("1.2.4.dev1+g"), "{later}");
    for directory in [project, &linked] {
        assert_eq!(git(directory, &["status", "--short", "--ignored"]), "");
    }
    context.assert_nothing_is_left();
}

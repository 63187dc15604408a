//! Finding and asking real interpreters, and the skeleton made from them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use ptest::python::{
    ENV_PREFIX, HostEnv, Interpreter, InterpreterError, NoCache, PythonRequest, Supervision,
    skeleton,
};

use super::support::{MemoryCache, find, host, python, skip};

fn parse(text: &str, host: &HostEnv) -> PythonRequest {
    PythonRequest::parse(text, host).unwrap()
}

#[test]
fn every_supported_version_is_found_by_its_number() {
    for minor in 8..=14 {
        let asked = format!("3.{minor}");
        let Some(found) = python(&asked) else {
            skip(&format!("python{asked}"), "it is not installed");
            continue;
        };
        assert_eq!((found.version.major, found.version.minor), (3, minor));
        assert_eq!(found.executable.canonicalize().unwrap(), found.executable);
        assert!(
            found
                .tags()
                .next()
                .unwrap()
                .starts_with(&format!("cp3{minor}-"))
        );
        assert!(found.tags().any(|tag| tag == "py3-none-any"));
        assert_eq!(found.lib_name(), format!("python3.{minor}"));
        let markers = found.marker_environment().unwrap();
        assert_eq!(markers.python_version().to_string(), asked);
    }
}

#[test]
fn a_known_interpreter_is_not_run_again() {
    let directory = tempfile::tempdir().unwrap();
    let Some(real) = python(">=3.8") else {
        return skip("python", "there is none");
    };
    let cache = MemoryCache::default();
    let host = host();
    let request = PythonRequest::Path(real.executable.clone());
    let first = find(&request, &host, &cache).unwrap();
    assert_eq!(cache.len(), 1);

    // An attendant that cannot be started shows that nothing is started.
    let second = ptest::python::discover::find(
        &request,
        &ptest::python::Asking {
            host: &host,
            cache: &cache,
            pip: &super::support::pip_tool().carried_wheel().unwrap(),
            supervision: &Supervision {
                attendant: Some(directory.path().join("absent")),
                ..Supervision::default()
            },
        },
    );
    assert_eq!(second.unwrap(), first);
}

#[test]
fn a_virtual_environment_leads_to_its_base_interpreter() {
    let Some(base) = python("3.12").or_else(|| python(">=3.9")) else {
        return skip("python", "there is none");
    };
    let directory = tempfile::tempdir().unwrap();
    for (name, option) in [("linked", "--symlinks"), ("copied", "--copies")] {
        let venv = directory.path().join(name);
        let made = Command::new(&base.executable)
            .args(["-I", "-m", "venv", "--without-pip", option])
            .arg(&venv)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let found = find(&PythonRequest::Path(venv), &host(), &NoCache).unwrap();
        assert_eq!(found, base, "{name}");
    }
}

#[test]
fn a_shim_is_resolved_without_running_it() {
    let Some(real) = python(">=3.8") else {
        return skip("python", "there is none");
    };
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("pyenv");
    let version = root.join("versions/9.9.9/bin");
    fs::create_dir_all(&version).unwrap();
    fs::create_dir_all(root.join("shims")).unwrap();
    symlink(&real.executable, version.join("python3")).unwrap();
    program(&root.join("shims/python3"), "#!/bin/sh\nexit 77\n");
    fs::write(root.join("version"), "9.9\n").unwrap();

    let mut host = HostEnv::new([], directory.path());
    host.env.insert("PYENV_ROOT".into(), root.clone().into());
    host.env.insert("PATH".into(), root.join("shims").into());
    for request in [PythonRequest::Any, parse("python3", &host)] {
        let found = find(&request, &host, &NoCache).unwrap();
        assert_eq!(found.executable, real.executable);
    }
    let by_path = PythonRequest::Path(root.join("shims/python3"));
    assert_eq!(
        find(&by_path, &host, &NoCache).unwrap().executable,
        real.executable
    );
}

#[test]
fn a_python_that_uv_manages_is_found_in_each_place_that_uv_has() {
    let Some(real) = python(">=3.8") else {
        return skip("python", "there is none");
    };
    let directory = tempfile::tempdir().unwrap();
    let version = &real.version;
    let minor = format!("{}.{}", version.major, version.minor);
    // As uv lays it out, with what else is there.
    let lay_out = |root: &Path| {
        let build = "linux-x86_64-gnu";
        let name = format!("cpython-{}-{build}", version.full);
        let bin = root.join(&name).join("bin");
        fs::create_dir_all(&bin).unwrap();
        symlink(&real.executable, bin.join(format!("python{minor}"))).unwrap();
        for link in ["python3", "python"] {
            symlink(format!("python{minor}"), bin.join(link)).unwrap();
        }
        symlink(&name, root.join(format!("cpython-{minor}-{build}"))).unwrap();
        let other = root.join(format!("cpython-3.7.9-{build}/bin"));
        fs::create_dir_all(&other).unwrap();
        program(&other.join("python3"), "#!/bin/sh\nexit 77\n");
        fs::write(root.join(".lock"), "").unwrap();
        fs::create_dir(root.join(".temp")).unwrap();
    };
    let [own, data, home] = ["own", "data", "home"].map(|name| directory.path().join(name));
    lay_out(&own);
    lay_out(&data.join("uv/python"));
    lay_out(&home.join(".local/share/uv/python"));
    for (name, value) in [
        ("UV_PYTHON_INSTALL_DIR", &own),
        ("XDG_DATA_HOME", &data),
        ("HOME", &home),
    ] {
        let host = HostEnv::new([(name.into(), value.into())], directory.path());
        for request in [minor.clone(), version.full.clone(), ">=3.8".to_owned()] {
            let found = find(&parse(&request, &host), &host, &NoCache).unwrap();
            assert_eq!(found.executable, real.executable, "{name} {request}");
        }
        assert!(find(&parse("3.7", &host), &host, &NoCache).is_err());
    }
}

#[test]
fn a_launcher_script_leads_to_the_real_interpreter_and_is_asked_each_time() {
    let Some(real) = python(">=3.8") else {
        return skip("python", "there is none");
    };
    let directory = tempfile::tempdir().unwrap();
    let launcher = directory.path().join("python3");
    program(
        &launcher,
        &format!(
            "#!/bin/sh\necho started >&2\nexec {} \"$@\"\n",
            real.executable.display()
        ),
    );
    let cache = MemoryCache::default();
    let found = find(&PythonRequest::Path(launcher), &host(), &cache).unwrap();
    assert_eq!(found.executable, real.executable);
}

#[test]
fn what_is_broken_says_so_in_its_own_words() {
    let directory = tempfile::tempdir().unwrap();
    let broken = directory.path().join("python3");
    program(
        &broken,
        "#!/bin/sh\necho 'libpython is missing' >&2\nexit 1\n",
    );
    match find(&PythonRequest::Path(broken), &host(), &NoCache) {
        Err(InterpreterError::Broken { words, .. }) => assert_eq!(words, "libpython is missing"),
        other => panic!("unexpected: {other:?}"),
    }
}

#[test]
fn a_broken_program_on_the_search_path_is_passed_over() {
    let Some(real) = python(">=3.8") else {
        return skip("python", "there is none");
    };
    let directory = tempfile::tempdir().unwrap();
    program(&directory.path().join("python3"), "#!/bin/sh\nexit 1\n");
    symlink(&real.executable, directory.path().join("python")).unwrap();
    let mut host = host();
    host.env.insert("PATH".into(), directory.path().into());
    let found = find(&PythonRequest::Any, &host, &NoCache).unwrap();
    assert_eq!(found.executable, real.executable);
}

#[test]
fn what_is_not_there_names_what_is() {
    let host = host();
    match find(&parse("3.99", &host), &host, &NoCache) {
        Err(error @ InterpreterError::NotFound { .. }) => {
            insta_like(
                &error.to_string(),
                "no interpreter found for Python 3.99; searched PATH",
            );
            assert!(error.hint().unwrap().contains("there is: 3."));
        }
        other => panic!("unexpected: {other:?}"),
    }
    assert!(matches!(
        find(&parse("./absent", &host), &host, &NoCache),
        Err(InterpreterError::Missing { .. })
    ));
}

fn insta_like(text: &str, start: &str) {
    assert!(text.starts_with(start), "{text}");
}

#[test]
fn a_python_that_is_too_old_is_refused() {
    for version in ["2.7.18", "3.6.15", "3.7.16"] {
        let host = host();
        let Some(path) = host
            .home()
            .map(|home| {
                home.join(".pyenv/versions")
                    .join(version)
                    .join("bin/python")
            })
            .filter(|path| path.exists())
        else {
            skip(&format!("python{version}"), "it is not installed");
            continue;
        };
        assert!(matches!(
            find(&PythonRequest::Path(path), &host, &NoCache),
            Err(InterpreterError::TooOld { .. })
        ));
    }
}

#[test]
fn variables_that_redirect_python_do_not_reach_it() {
    let Some(real) = python(">=3.8") else {
        return skip("python", "there is none");
    };
    let mut host = host();
    for name in ["PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "PYTHONSTARTUP"] {
        host.env.insert(name.into(), "/nonexistent".into());
    }
    let request = PythonRequest::Path(real.executable.clone());
    assert_eq!(find(&request, &host, &NoCache).unwrap(), real);
}

#[test]
fn a_skeleton_is_the_same_tree_each_time_and_complete() {
    for minor in 8..=14 {
        let Some(interpreter) = python(&format!("3.{minor}")) else {
            continue;
        };
        let directory = tempfile::tempdir().unwrap();
        let one = skeleton_of(&interpreter, &directory.path().join("one"));
        let two = skeleton_of(&interpreter, &directory.path().join("it's two é"));
        assert_eq!(one, two);
        let python = format!("python3.{minor}");
        for name in [
            "bin/activate",
            "bin/activate.csh",
            "bin/activate.fish",
            "pyvenv.cfg",
        ] {
            assert!(one.contains_key(Path::new(name)), "{name} of {python}");
        }
        assert_eq!(
            one[Path::new("bin/python")],
            interpreter.executable.to_string_lossy()
        );
        assert_eq!(one[&PathBuf::from(format!("bin/{python}"))], "python");
        assert_eq!(
            one[&PathBuf::from(format!("lib/{python}/site-packages"))],
            "directory"
        );
        assert_eq!(one.contains_key(Path::new("lib64")), minor < 15);
        let activate = &one[Path::new("bin/activate")];
        assert!(activate.contains(ENV_PREFIX));
        assert!(activate.contains("(ptest) ") || activate.contains("ptest"));
        assert!(one.values().all(|text| !text.contains("/proc/self")));
        assert!(one[Path::new("pyvenv.cfg")].contains("include-system-site-packages = false\n"));
    }
}

#[test]
fn a_skeleton_in_place_is_an_isolated_environment() {
    let Some(interpreter) = python("3.12").or_else(|| python(">=3.8")) else {
        return skip("python", "there is none");
    };
    let directory = tempfile::tempdir().unwrap();
    let dest = directory.path().join("env");
    skeleton_of(&interpreter, &dest);
    let output = Command::new(dest.join("bin/python"))
        .args([
            "-c",
            "import sys, site; print(sys.prefix); print(site.getsitepackages())",
        ])
        .env_clear()
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        text,
        format!(
            "{dest}\n['{dest}/{site}']\n",
            dest = dest.display(),
            site = interpreter.site_packages.display()
        )
    );
}

/// Builds a skeleton and lists it: contents of files, targets of links.
fn skeleton_of(interpreter: &Interpreter, dest: &Path) -> BTreeMap<PathBuf, String> {
    skeleton::build(interpreter, dest, &Supervision::default()).unwrap();
    let mut tree = BTreeMap::new();
    let mut directories = vec![dest.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let facts = path.symlink_metadata().unwrap();
            let content = if facts.is_symlink() {
                path.read_link().unwrap().to_string_lossy().into_owned()
            } else if facts.is_dir() {
                directories.push(path.clone());
                "directory".to_owned()
            } else {
                assert_eq!(facts.permissions().mode() & 0o777, 0o644);
                fs::read_to_string(&path).unwrap()
            };
            tree.insert(path.strip_prefix(dest).unwrap().to_owned(), content);
        }
    }
    tree
}

/// Writes a program through another process: one that this process has open for writing while
/// another thread forks cannot be executed.
fn program(path: &Path, text: &str) {
    let source = path.with_extension("source");
    fs::write(&source, text).unwrap();
    let installed = Command::new("install")
        .args(["-m", "755"])
        .args([&source, path])
        .status()
        .unwrap();
    assert!(installed.success());
}

//! uv and pip on real indexes and real projects: the same answers, and clear failures.

use std::fs;
use std::path::Path;
use std::process::Command;

use ptest::python::provenance::direct_url;
use ptest::python::{FailureKind, Installer, InstallerError, Pip, Resolution, Source};

use super::installing::{Bench, listing, uv};
use super::support::skip;

fn installers() -> Vec<Box<dyn Installer>> {
    let mut installers: Vec<Box<dyn Installer>> = vec![Box::new(Pip)];
    if let Some(uv) = uv() {
        installers.push(Box::new(uv));
    }
    installers
}

#[test]
fn uv_cold_uv_warm_and_pip_give_the_same_trees() {
    let (Some(mut bench), Some(uv)) = (Bench::with_network("3.12"), uv()) else {
        return;
    };
    bench.set("UV_CACHE_DIR", bench.path("uv-cache"));
    let with = [
        "requests==2.28.1",
        "httpx[http2]==0.27.2",
        "PyYAML==6.0.2",
        "colorama==0.4.6; sys_platform == 'win32'",
        "tomli==2.0.1; python_version < '3.11'",
    ];
    // What is released between two runs is not what is tested here; urllib3 1.26 is complete.
    bench.write(
        "fixed.txt",
        "anyio==4.6.0\ncertifi==2024.8.30\nh11==0.14.0\nh2==4.1.0\nhpack==4.0.0\nhttpcore==1.0.5\n\
         hyperframe==6.0.1\nidna==3.10\nsniffio==1.3.1\ntyping-extensions==4.12.2\n",
    );
    bench.write("with.txt", "-c fixed.txt\n");
    let files = ["with.txt"];
    let cold = bench.install(&uv, &with, &files);
    let warm = bench.install(&uv, &with, &files);
    let pip = bench.install(&Pip, &with, &files);
    assert_eq!(cold.resolution, pip.resolution);
    assert_eq!(cold.resolution, warm.resolution);
    assert_eq!(cold.listing(), pip.listing());
    assert_eq!(cold.listing(), warm.listing());
    let names = cold.names();
    for name in ["requests", "urllib3", "h2", "pyyaml"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(!names.contains(&"colorama") && !names.contains(&"tomli"));
    let requested: Vec<&str> = cold
        .resolution
        .distributions
        .iter()
        .filter(|pin| pin.requested)
        .map(|pin| pin.name.as_str())
        .collect();
    assert_eq!(requested, ["httpx", "pyyaml", "requests"]);
    assert!(!cold.resolution.exact);
    assert_eq!(
        cold.run(
            &bench.interpreter,
            "import requests, yaml, h2; print(requests.__version__)"
        ),
        "2.28.1"
    );
}

#[test]
fn old_and_new_pythons_are_served() {
    for version in ["3.8", "3.9", "3.13"] {
        let Some(bench) = Bench::with_network(version) else {
            continue;
        };
        for installer in installers() {
            let installed = bench.install(installer.as_ref(), &["requests==2.28.1"], &[]);
            assert_eq!(
                installed.run(
                    &bench.interpreter,
                    "import requests; print(requests.__version__)"
                ),
                "2.28.1",
                "{version} with {}",
                installer.name()
            );
        }
    }
}

#[test]
fn a_source_only_distribution_is_built() {
    let Some(bench) = Bench::with_network("3.12") else {
        return;
    };
    for installer in installers() {
        let installed = bench.install(installer.as_ref(), &["docopt==0.6.2"], &[]);
        assert!(matches!(
            installed.resolution.distributions[0].source,
            Source::Sdist { .. }
        ));
        assert!(installed.resolution.exact);
        assert_eq!(
            installed.run(
                &bench.interpreter,
                "import docopt; print(docopt.__version__)"
            ),
            "0.6.2"
        );
    }
}

#[test]
fn what_does_not_exist_or_conflicts_is_told_apart_with_the_installers_words() {
    let Some(bench) = Bench::with_network("3.12") else {
        return;
    };
    let cases: [(&[&str], FailureKind, &str); 3] = [
        (
            &["requests==99.99"],
            FailureKind::NoSuchRequirement,
            "requests==99.99",
        ),
        (
            &["this-name-is-nobodys-ptest"],
            FailureKind::NoSuchRequirement,
            "this-name-is-nobodys-ptest",
        ),
        (
            &["requests==2.28.1", "urllib3==2.0"],
            FailureKind::Conflict,
            "urllib3",
        ),
    ];
    for installer in installers() {
        for (with, kind, words) in &cases {
            let error = failure(&bench, installer.as_ref(), with, &[]);
            assert_eq!(error.kind(), *kind, "{} {error}", installer.name());
            assert!(said(&error).contains(words), "{error:?}");
            assert!(error.hint().is_some());
        }
    }
}

#[test]
fn an_index_that_cannot_be_reached_or_refuses_is_a_network_failure() {
    let Some(mut bench) = Bench::new("3.12") else {
        return;
    };
    let refusing = super::server::refusing(403);
    let unauthorised = super::server::refusing(401);
    bench.set("UV_CACHE_DIR", bench.path("uv-cache"));
    bench.set("PIP_RETRIES", "0");
    bench.set("UV_HTTP_RETRIES", "0");
    for url in [
        "http://127.0.0.1:9/simple".to_owned(),
        format!("http://user:secret@{refusing}/simple"),
        format!("http://{unauthorised}/simple"),
    ] {
        bench.set("PIP_INDEX_URL", &url);
        for installer in installers() {
            let error = failure(&bench, installer.as_ref(), &["requests==2.28.1"], &[]);
            assert_eq!(
                error.kind(),
                FailureKind::Network,
                "{} at {url}: {error}",
                installer.name()
            );
            assert!(
                !format!("{error} {error:?}").contains("secret"),
                "{error:?}"
            );
        }
    }
}

#[test]
fn wrong_hashes_are_refused() {
    let Some(bench) = Bench::with_network("3.12") else {
        return;
    };
    let zeros = "0".repeat(64);
    bench.write("wrong.txt", &format!("six==1.17.0 --hash=sha256:{zeros}\n"));
    bench.write(
        "right.txt",
        "six==1.17.0 \\\n  --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274\n",
    );
    for installer in installers() {
        let error = failure(&bench, installer.as_ref(), &[], &["wrong.txt"]);
        assert_eq!(error.kind(), FailureKind::HashMismatch, "{error}");
        let installed = bench.install(installer.as_ref(), &[], &["right.txt"]);
        assert_eq!(installed.names(), ["six"]);
        assert!(installed.resolution.exact);
    }
}

#[test]
fn a_file_that_is_not_the_pinned_one_is_refused() {
    let Some(bench) = Bench::with_network("3.12") else {
        return;
    };
    let requirements = bench.requirements(&["six==1.17.0"], &[]);
    let (work, resolution) = bench.resolve(&Pip, &requirements);
    let mut resolution = resolution.unwrap();
    if let Source::Wheel { sha256, .. } = &mut resolution.distributions[0].source {
        *sha256 = Some("0".repeat(64));
    }
    let error = bench
        .fetch(&work, &Pip, &requirements, &resolution)
        .unwrap_err();
    assert_eq!(error.kind(), FailureKind::HashMismatch, "{error}");
}

#[test]
fn variables_that_redirect_an_installation_have_no_effect() {
    let Some(mut bench) = Bench::with_network("3.12") else {
        return;
    };
    let elsewhere = bench.path("elsewhere");
    for name in [
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_ROOT",
        "PIP_SRC",
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONUSERBASE",
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
        "UV_PROJECT_ENVIRONMENT",
        "UV_PYTHON",
        "UV_TARGET",
        "PIP_PYTHON",
    ] {
        bench.set(name, &elsewhere);
    }
    for name in [
        "PIP_USER",
        "PIP_REQUIRE_VIRTUALENV",
        "UV_SYSTEM_PYTHON",
        "PIP_NO_DEPS",
    ] {
        bench.set(name, "1");
    }
    bench.set("PIP_REQUIREMENT", "/nonexistent");
    for installer in installers() {
        let installed = bench.install(installer.as_ref(), &["requests==2.28.1"], &[]);
        assert!(installed.names().contains(&"urllib3"));
    }
    assert!(!elsewhere.exists());
}

#[test]
fn a_local_project_is_built_from_a_copy() {
    let Some(bench) = Bench::with_network("3.12") else {
        return;
    };
    project(&bench, "my project", "");
    for installer in installers() {
        let before = listing(&bench.path("my project"));
        for (with, files) in [
            (&["./my project"][..], &[][..]),
            (&[], &["sub/requirements.txt"]),
        ] {
            bench.write("sub/requirements.txt", "# local\n-r more.txt\n");
            bench.write("sub/more.txt", "./my project\n");
            let installed = bench.install(installer.as_ref(), with, files);
            assert_eq!(
                installed.run(
                    &bench.interpreter,
                    "import mine, idna; print(mine.__file__)"
                ),
                installed.unpacked["my-project"]
                    .0
                    .join(&bench.interpreter.site_packages)
                    .join("mine.py")
                    .display()
                    .to_string()
            );
            let pin = installed
                .resolution
                .distributions
                .iter()
                .find(|pin| pin.name == "my-project")
                .unwrap();
            assert!(pin.requested);
            let expected = format!(
                "{{\"dir_info\":{{}},\"url\":\"file://{}/my%20project\"}}",
                bench.directory.path().canonicalize().unwrap().display()
            );
            assert_eq!(direct_url(pin).unwrap(), expected);
        }
        assert_eq!(listing(&bench.path("my project")), before);
    }
}

#[test]
fn an_editable_project_is_used_from_where_it_is() {
    for version in ["3.8", "3.12"] {
        let Some(bench) = Bench::with_network(version) else {
            continue;
        };
        project(
            &bench,
            "project",
            "[project.scripts]\nmine = \"mine:main\"\n",
        );
        bench.write("requirements.txt", "-e ./project\n");
        for installer in installers() {
            let installed = bench.install(installer.as_ref(), &[], &["requirements.txt"]);
            assert_eq!(
                installed.run(&bench.interpreter, "import mine; print(mine.__file__)"),
                bench
                    .path("project/mine.py")
                    .canonicalize()
                    .unwrap()
                    .display()
                    .to_string()
            );
            let (tree, unpacked) = &installed.unpacked["my-project"];
            assert_eq!(unpacked.scripts, ["mine"]);
            let script = fs::read_to_string(tree.join("bin/mine")).unwrap();
            assert!(script.starts_with("#!/ptest/env/bin/python\n"));
            assert!(
                bench.requirements(&[], &["requirements.txt"]).editables()[0].ends_with("project")
            );
        }
    }
}

#[test]
fn a_build_that_fails_says_why() {
    let Some(bench) = Bench::with_network("3.12") else {
        return;
    };
    bench.write("bad/setup.py", "raise SystemExit('boom from setup.py')\n");
    for installer in installers() {
        let error = failure(&bench, installer.as_ref(), &["./bad"], &[]);
        assert_eq!(error.kind(), FailureKind::BuildFailed, "{error}");
        assert!(said(&error).contains("boom from setup.py"), "{error:?}");
        let path = bench.path("bad").canonicalize().unwrap();
        assert!(
            !said(&error).contains("projects/0"),
            "names a working file instead of {}: {error:?}",
            path.display()
        );
    }
    assert_eq!(fs::read_dir(bench.path("bad")).unwrap().count(), 1);
}

#[test]
fn a_version_is_read_from_a_repository_and_from_a_linked_working_tree() {
    let Some(bench) = Bench::with_network("3.12") else {
        return;
    };
    if Command::new("git").arg("--version").output().is_err() {
        return skip("git", "it is not installed");
    }
    bench.write(
        "repo/pyproject.toml",
        "[build-system]\nrequires = [\"setuptools>=61\", \"setuptools-scm>=8\"]\nbuild-backend = \"setuptools.build_meta\"\n\
         [project]\nname = \"scm\"\ndynamic = [\"version\"]\n[tool.setuptools]\npy-modules = [\"scm\"]\n[tool.setuptools_scm]\n",
    );
    bench.write("repo/scm.py", "");
    let repo = bench.path("repo");
    git(&repo, &["init", "-q"]);
    git(&repo, &["add", "-A"]);
    git(&repo, &["commit", "-qm", "first"]);
    git(&repo, &["tag", "v1.2.3"]);
    git(
        &repo,
        &["worktree", "add", "-q", "../linked", "-b", "other"],
    );
    for name in ["./repo", "./linked"] {
        let before = listing(&repo);
        for installer in installers() {
            let installed = bench.install(installer.as_ref(), &[name], &[]);
            assert_eq!(installed.unpacked["scm"].1.version, "1.2.3", "{name}");
        }
        assert_eq!(listing(&repo), before, "{name} changed the repository");
    }
}

#[test]
fn a_repository_and_an_archive_url_are_installed_and_remembered() {
    let Some(bench) = Bench::with_network("3.12") else {
        return;
    };
    if Command::new("git").arg("--version").output().is_err() {
        return skip("git", "it is not installed");
    }
    project(&bench, "repo", "");
    let repo = bench.path("repo");
    git(&repo, &["init", "-q"]);
    git(&repo, &["add", "-A"]);
    git(&repo, &["commit", "-qm", "first"]);
    git(&repo, &["tag", "v1"]);
    let url = format!("git+file://{}", repo.canonicalize().unwrap().display());
    let indexed = bench.install(&Pip, &["six==1.17.0"], &[]).resolution;
    let Source::Wheel { url: six, .. } = &indexed.distributions[0].source else {
        panic!("six comes as a wheel: {indexed:?}");
    };
    let with = [format!("my-project @ {url}@v1"), format!("six @ {six}")];
    let with: Vec<&str> = with.iter().map(String::as_str).collect();
    let mut seen: Vec<Resolution> = Vec::new();
    for installer in installers() {
        let installed = bench.install(installer.as_ref(), &with, &[]);
        installed.run(&bench.interpreter, "import mine, six");
        let texts: Vec<Option<String>> = installed
            .resolution
            .distributions
            .iter()
            .map(direct_url)
            .collect();
        assert_eq!(texts[0], None, "idna is of the index");
        assert!(
            texts[1]
                .as_ref()
                .unwrap()
                .contains("\"requested_revision\":\"v1\"")
        );
        assert!(texts[2].as_ref().unwrap().contains(six.as_str()));
        seen.push(installed.resolution);
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:#?}");
}

#[test]
fn a_directory_of_wheels_needs_no_network() {
    let Some(mut bench) = Bench::new("3.12") else {
        return;
    };
    let links = bench.path("my links");
    fs::create_dir(&links).unwrap();
    super::wheels::Builder::new("Some_Thing", "1.0")
        .file("some_thing.py", "value = 7\n")
        .write(&links);
    bench.set("PIP_NO_INDEX", "1");
    bench.set(
        "PIP_FIND_LINKS",
        format!("file://{}/my%20links", bench.directory.path().display()),
    );
    bench.set("UV_CACHE_DIR", bench.path("uv-cache"));
    let mut seen = Vec::new();
    for installer in installers() {
        let installed = bench.install(installer.as_ref(), &["some-thing"], &[]);
        assert_eq!(
            installed.run(
                &bench.interpreter,
                "import some_thing; print(some_thing.value)"
            ),
            "7"
        );
        let direct = bench.install(
            installer.as_ref(),
            &["./my links/some_thing-1.0-py3-none-any.whl"],
            &[],
        );
        assert_eq!(direct.listing(), installed.listing());
        assert!(direct_url(&direct.resolution.distributions[0]).is_some());
        seen.push(installed.listing());
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
}

fn said(error: &InstallerError) -> &str {
    error.words().unwrap_or_default()
}

fn failure(
    bench: &Bench,
    installer: &dyn Installer,
    with: &[&str],
    files: &[&str],
) -> InstallerError {
    let requirements = bench.requirements(with, files);
    match bench.resolve(installer, &requirements).1 {
        Err(error) => error,
        Ok(resolution) => panic!("{} resolved {resolution:?}", installer.name()),
    }
}

fn project(bench: &Bench, name: &str, more: &str) {
    bench.write(
        &format!("{name}/pyproject.toml"),
        &format!(
            "[build-system]\nrequires = [\"setuptools>=61\"]\nbuild-backend = \"setuptools.build_meta\"\n\
             [project]\nname = \"my-project\"\nversion = \"0.1\"\ndependencies = [\"idna==3.10\"]\n\
             {more}[tool.setuptools]\npy-modules = [\"mine\"]\n"
        ),
    );
    bench.write(&format!("{name}/mine.py"), "def main(): pass\n");
}

fn git(directory: &Path, args: &[&str]) {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@t",
            "-c",
            "init.defaultBranch=main",
        ])
        .args(args)
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

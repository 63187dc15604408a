"""The nox backend: noxfiles with one line more."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Callable

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("nox")

Nox = Callable[..., str]

SESSIONS = """
import sys

import nox
import ptest.nox

@nox.session
@nox.parametrize("six", ["1.15.0", "1.16.0"])
def tests(session, six):
    session.install(f"six=={six}")
    session.install("iniconfig", silent=False)
    session.run("python", "-c", "import six, iniconfig, sys; print('RAN', six.__version__, sys.prefix)")

@nox.session(venv_backend="venv")
def other(session):
    session.run("python", "-c", "import sys; print('OTHER', sys.prefix)")

@nox.session
def project(session):
    session.install("-e", ".")
    session.run("python", "-c", "import nox_of_test; print('PROJECT', nox_of_test.__file__)")

@nox.session(python=["{0.major}.{0.minor}", "3.4"])
def pythons(session):
    session.run("python", "-c", "import sys; print('PYTHON', sys.version_info[:2])")

@nox.session
def broken(session):
    session.install("six==0.0.0.dev999")
""".replace("{0.major}.{0.minor}", f"{sys.version_info.major}.{sys.version_info.minor}{sys.abiflags}")


@pytest.fixture
def nox(store: object, project: Path) -> Nox:  # noqa: ARG001 (the store is the default one)
    (project / "noxfile.py").write_text(SESSIONS)

    def run(*arguments: str, fails: bool = False, **more: str) -> str:
        variables = {name: value for name, value in os.environ.items() if not name.startswith("NOX_")}
        ran = subprocess.run(
            [sys.executable, "-m", "nox", *arguments],
            cwd=project,
            env={**variables, **more},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        said = ran.stdout + ran.stderr
        assert (ran.returncode != 0) == fails, said
        return said

    return run


def made(project: Path) -> set[str]:
    return {path.parent.name for path in (project / ".nox").glob("*/.ptest.json")}


@pytest.mark.one_python
def test_sessions_get_what_they_install_and_are_used_again(project: Path, nox: Nox) -> None:
    said = nox("-s", "tests", "other")
    first, second = (project / ".nox" / f"tests-six-1-{minor}-0" for minor in (15, 16))
    assert f"RAN 1.15.0 {first}" in said
    assert f"RAN 1.16.0 {second}" in said
    assert f"OTHER {project / '.nox' / 'other'}" in said
    assert made(project) == {first.name, second.name}

    (first / "kept").touch()
    said = nox("-R", "-s", "tests(six='1.15.0')")
    assert f"RAN 1.15.0 {first}" in said
    assert "_plain" not in said
    assert (first / "kept").exists()
    nox("-s", "tests(six='1.15.0')")
    assert not (first / "kept").exists()


def test_a_project_is_installed_in_place(project: Path, nox: Nox) -> None:
    (project / "nox_of_test.py").touch()
    (project / "pyproject.toml").write_text(
        "[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n"
        "[project]\nname = 'nox-of-test'\nversion = '1.0'\n[tool.setuptools]\npy-modules = ['nox_of_test']\n"
    )
    assert f"PROJECT {project / 'nox_of_test.py'}" in nox("-s", "project")


@pytest.mark.one_python
def test_pythons_that_are_not_there_are_missing_as_nox_has_it(nox: Nox) -> None:
    said = nox("-s", "pythons", "--no-error-on-missing-interpreters", "--download-python", "never")
    assert f"PYTHON {sys.version_info[:2]}" in said
    assert "pythons-3.4: skipped" in said


@pytest.mark.one_python
def test_what_cannot_be_installed_fails_the_session(nox: Nox) -> None:
    assert "No matching distribution found for six==0.0.0.dev999" in nox("-s", "broken", fails=True)


@pytest.mark.parametrize("line", ["nox.options.default_venv_backend = 'venv'", ""])
def test_the_import_is_the_default_unless_the_noxfile_says_another(project: Path, nox: Nox, line: str) -> None:
    (project / "noxfile.py").write_text(
        f"import nox\n{line}\nimport ptest.nox\n\n@nox.session\ndef it(session):\n    session.run('python', '-V')\n"
    )
    nox("-s", "it")
    assert made(project) == (set() if line else {"it"})


@pytest.mark.one_python
def test_a_variable_says_another_default(project: Path, nox: Nox) -> None:
    nox(
        "-s",
        "pythons",
        "--no-error-on-missing-interpreters",
        "--download-python",
        "never",
        NOX_DEFAULT_VENV_BACKEND="venv",
    )
    assert made(project) == set()

"""Directories of virtual environments that others take care of, and the words of ``pip install`` for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ptest
from ptest._plain import Plain, command

pytest.importorskip("packaging")

from ptest._pip import Asked, LeftToPip


@pytest.fixture
def plain(store: ptest.Store, project: Path) -> Plain:  # noqa: ARG001 (the store is the default one)
    made = Plain(project / "env")
    made.make(sys.executable)
    return made


@pytest.fixture
def library(project: Path) -> Path:
    """A project with a dependency and an extra."""
    root = project / "library"
    (root / "lib_of_test").mkdir(parents=True)
    (root / "lib_of_test" / "__init__.py").write_text("number = 1\n")
    (root / "pyproject.toml").write_text(
        "[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n"
        "[project]\nname = 'lib-of-test'\nversion = '1.0'\ndependencies = ['six']\n"
        "[project.optional-dependencies]\nmore = ['iniconfig']\n"
    )
    return root


def said_by(plain: Plain, program: str) -> str:
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    ran = subprocess.run([plain.python, "-c", program], capture_output=True, text=True, check=False, env=variables)
    return ran.stdout.strip() or ran.stderr


def names(plain: Plain) -> set[str]:
    return {path.name.partition("-")[0] for path in plain.site_packages.glob("*.dist-info")}


def test_what_is_installed_is_there_besides_what_was_there(plain: Plain) -> None:
    assert [(it.name, it.version) for it in plain.install(["six==1.16.0"])] == [("six", "1.16.0")]
    plain.install(["iniconfig"])
    assert said_by(plain, "import six, iniconfig, sys; print(six.__version__, sys.prefix)") == f"1.16.0 {plain.path}"
    assert names(plain) == {"pip", "six", "iniconfig"}
    before = plain.site_packages.stat().st_ino
    assert plain.install(["six", "iniconfig>1", "attrs; python_version < '3'", "attrs; sys_platform == 'win32'"]) == []
    assert plain.site_packages.stat().st_ino == before
    plain.install(["attrs; python_version > '3'"])
    assert "attrs" in names(plain)


def test_another_version_is_installed_when_it_is_asked_for(plain: Plain) -> None:
    plain.install(["six==1.16.0"])
    plain.install(["six>1.16"])
    assert said_by(plain, "import six; print(six.__version__)") == "1.17.0"
    plain.install(["six==1.15.0"])
    plain.install(["--upgrade", "six<1.17"])
    assert said_by(plain, "import six; print(six.__version__)") == "1.16.0"


def test_what_cannot_be_installed_leaves_the_directory_as_it_was(plain: Plain) -> None:
    plain.install(["six==1.16.0"])
    before = sorted(path for path in plain.path.rglob("*"))
    with pytest.raises(ptest.ResolutionError):
        plain.install(["six==0.0.0.dev999"])
    assert sorted(path for path in plain.path.rglob("*")) == before
    assert os.listdir(plain.path.parent).count(".env.ptest-aside") == 0  # noqa: PTH208


def test_a_project_is_installed_as_it_is_or_in_place_with_its_extras(plain: Plain, library: Path) -> None:
    plain.install([str(library)])
    assert names(plain) == {"pip", "six", "lib_of_test"}
    plain.install(["-e", f"{library}[more]"])
    assert names(plain) == {"pip", "six", "lib_of_test", "iniconfig"}
    (library / "lib_of_test" / "__init__.py").write_text("number = 2\n")
    assert said_by(plain, "import lib_of_test; print(lib_of_test.number)") == "2"


def test_files_name_requirements_and_constraints_also_within_the_directory(plain: Plain) -> None:
    (plain.path / "constraints.txt").write_text("six<1.17\n")
    (plain.path.parent / "requirements.txt").write_text("six\n")
    plain.install(["-r", "requirements.txt", f"-c{plain.path}/constraints.txt"])
    assert said_by(plain, "import six; print(six.__version__)") == "1.16.0"


def test_what_others_put_into_the_directory_stays(plain: Plain) -> None:
    (plain.path / "log").mkdir()
    (plain.path / "log" / "1.txt").write_text("kept")
    plain.install(["six"])
    assert (plain.path / "log" / "1.txt").read_text() == "kept"
    plain.install(["iniconfig"])
    assert (plain.path / "log" / "1.txt").read_text() == "kept"


def test_what_pip_installed_there_stays(plain: Plain) -> None:
    subprocess.run([plain.python, "-m", "pip", "install", "-q", "six==1.15.0"], check=True, capture_output=True)
    plain.install(["iniconfig"])
    assert said_by(plain, "import six; print(six.__version__)") == "1.15.0"


def test_what_was_compiled_is_not_compiled_again(plain: Plain) -> None:
    plain.install(["six"])
    said_by(plain, "import six")
    (compiled,) = plain.site_packages.glob("__pycache__/six.*.pyc")
    plain.install(["iniconfig"])
    facts = compiled.stat()
    said_by(plain, "import six")
    assert (compiled.stat().st_ino, compiled.stat().st_mtime_ns) == (facts.st_ino, facts.st_mtime_ns)


def test_what_was_compiled_is_there_beside_what_the_store_compiled(plain: Plain, store: ptest.Store) -> None:
    plain.install(["six"])
    said_by(plain, "import six")
    store.improve()
    own = plain.site_packages / "__pycache__" / "own.pyc"
    own.touch()
    plain.install(["iniconfig"])
    assert own.exists()
    assert list(own.parent.glob("six.*.pyc"))


@pytest.mark.one_python
def test_the_same_archive_is_not_installed_again_and_a_changed_one_is(plain: Plain, library: Path) -> None:
    def built() -> str:
        subprocess.run(
            [plain.python, "-m", "pip", "wheel", "-q", "--no-deps", "-w", "dist", str(library)],
            check=True,
            capture_output=True,
        )
        (wheel,) = Path("dist").glob("*.whl")
        return str(wheel.resolve())

    asked = ["--force-reinstall", "--no-deps", built()]
    plain.install(["six"])
    assert [it.name for it in plain.install(asked)] == ["lib-of-test"]
    marker = (plain.site_packages / "lib_of_test").stat().st_ino
    built()
    assert plain.install(asked) == []
    assert (plain.site_packages / "lib_of_test").stat().st_ino == marker
    (library / "lib_of_test" / "__init__.py").write_text("number = 3\n")
    built()
    plain.install(asked)
    assert said_by(plain, "import lib_of_test; print(lib_of_test.number)") == "3"


def test_without_dependencies_pip_is_left_to_break_what_needs_them(plain: Plain, library: Path) -> None:
    before = names(plain)
    with pytest.raises(LeftToPip, match="six"):
        plain.install(["--no-deps", str(library)])
    assert names(plain) == before


def test_who_is_killed_in_between_leaves_nothing_that_the_next_does_not_put_right(plain: Plain) -> None:
    plain.install(["six==1.16.0"])
    plain.path.rename(plain.path.with_name(".env.ptest-aside"))
    plain.path.mkdir()
    plain.install(["iniconfig"])
    assert names(plain) == {"pip", "six", "iniconfig"}
    assert not plain.path.with_name(".env.ptest-aside").exists()


def test_a_virtual_environment_of_somebody_else_is_left_alone(store: ptest.Store, project: Path) -> None:  # noqa: ARG001
    (project / "theirs").mkdir()
    (project / "theirs" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    theirs = Plain(project / "theirs")
    with pytest.raises(ptest.AlreadyExistsError):
        theirs.make(sys.executable)
    with pytest.raises(LeftToPip):
        theirs.install(["six"])
    assert os.listdir(theirs.path) == ["pyvenv.cfg"]  # noqa: PTH208


@pytest.mark.parametrize("option", ["--pre", "--no-binary=six", "--target", "-t", "--index-url=https://example.org"])
def test_options_of_pip_are_left_to_pip(option: str) -> None:
    with pytest.raises(LeftToPip):
        Asked.read([option, "six"])


def test_what_is_left_to_pip_is_done_by_the_pip_that_is_there(plain: Plain) -> None:
    ran = subprocess.run(
        [*command(plain.path), "--pre", "six==1.16.0"], capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    assert "ptest leaves this to pip: --pre" in ran.stderr
    assert said_by(plain, "import six; print(six.__version__)") == "1.16.0"

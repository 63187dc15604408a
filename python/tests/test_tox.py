"""The tox plugin: projects' configurations as they are, with environments that ptest makes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from importlib import metadata
from typing import TYPE_CHECKING, Callable

import pytest

import ptest
from ptest._plain import Plain

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("tox")

Tox = Callable[..., "subprocess.CompletedProcess[str]"]

CONFIGURATION = """\
[tox]
env_list = sdist, wheel, editable
skip_missing_interpreters = true

[testenv]
skip_install = true

[project]
skip_install = false
extras = more
deps = iniconfig<2.1
constrain_package_deps = true
commands = python -c 'import demo_of_test, iniconfig, six, sys; print("RAN", "{envname}", sys.prefix, demo_of_test)'

[testenv:{sdist,wheel,editable}]
base = project
package = {envname}

[testenv:variables]
pass_env = WANTED
set_env = ANSWER = 42
commands = python -c 'import os; print("SEES", *sorted(set(os.environ) & set("WANTED UNWANTED ANSWER".split())))'

[testenv:own]
deps = six
install_command = python -c 'print("OWN COMMAND")' {packages}

[testenv:old]
base_python = python3.4

[testenv:none]
deps = six==0.0.0.dev999

[testenv:lowest]
uv_resolution = lowest

[testenv:named]
base_python = python3
commands = python -c 'import sys; print("BASE", sys.base_prefix)'
"""


@pytest.fixture
def demo(project: Path) -> Path:
    (project / "src" / "demo_of_test").mkdir(parents=True)
    (project / "src" / "demo_of_test" / "__init__.py").touch()
    (project / "pyproject.toml").write_text(
        "[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n"
        "[project]\nname = 'demo-of-test'\nversion = '1.0'\n[project.optional-dependencies]\nmore = ['six']\n"
    )
    (project / "tox.ini").write_text(CONFIGURATION)
    return project


@pytest.fixture
def variables(store: object, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:  # noqa: ARG001
    """The variables that tox is started with: it finds the plugin also where the package is not installed."""
    found = {name: value for name, value in os.environ.items() if not name.startswith(("TOX_", "VIRTUALENV_"))}
    try:
        metadata.distribution("ptest-env")
    except metadata.PackageNotFoundError:
        stand_in = tmp_path_factory.mktemp("installed") / "ptest_env-0.dist-info"
        stand_in.mkdir()
        (stand_in / "METADATA").write_text("Metadata-Version: 2.1\nName: ptest-env\nVersion: 0\n")
        (stand_in / "entry_points.txt").write_text("[tox]\nptest = ptest.tox\n")
        found["PYTHONPATH"] = str(stand_in.parent)
    return found


@pytest.fixture
def tox(project: Path, variables: dict[str, str]) -> Tox:
    def run(*arguments: str, at: Path = project, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tox", "--colored", "no", *arguments],
            cwd=at,
            env={**variables, **more},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    return run


def test_every_way_of_packaging_installs_the_project_with_its_extras(demo: Path, tox: Tox) -> None:
    ran = tox("run")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    said = dict(re.findall(r"^RAN (\w+) (.*)$", ran.stdout, re.MULTILINE))
    assert {name: text.split()[0] for name, text in said.items()} == {
        name: str(demo / ".tox" / name) for name in ("sdist", "wheel", "editable")
    }
    assert str(demo / "src") in said["editable"]
    assert str(demo / ".tox" / "wheel" / "lib") in said["wheel"]
    made = {path.parent.name for path in (demo / ".tox").glob("*/.ptest.json")}
    assert made == {"sdist", "wheel", "editable", ".pkg"}
    assert "pip install" not in ran.stdout

    again = tox("run", "-e", "wheel")
    assert again.returncode == 0, again.stdout
    assert "install_deps" not in again.stdout
    assert "ptest installed\n" in again.stdout or "ptest installed demo" not in again.stdout

    anew = tox("run", "-e", "wheel", "-r", "--notest")
    assert anew.returncode == 0, anew.stdout
    assert "install_deps" in anew.stdout
    assert "RAN" not in anew.stdout


@pytest.mark.one_python
def test_side_by_side_and_as_an_environment_to_work_in(demo: Path, tox: Tox) -> None:
    ran = tox("run-parallel", "-e", "wheel,editable", "--parallel-no-spinner")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    ran = tox("devenv", "-e", "editable", "work")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    python = demo / "work" / "bin" / "python"
    said = subprocess.run([python, "-c", "import six, demo_of_test"], check=False, cwd="/", capture_output=True)
    assert said.returncode == 0, said.stderr


def test_variables_and_install_commands_are_the_configurations(demo: Path, tox: Tox) -> None:  # noqa: ARG001
    ran = tox("run", "-e", "variables,own", WANTED="1", UNWANTED="1")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "SEES ANSWER WANTED\n" in ran.stdout
    assert "OWN COMMAND" in ran.stdout


@pytest.mark.one_python
def test_a_python_that_is_not_there_is_skipped_or_an_error_as_tox_has_it(demo: Path, tox: Tox) -> None:  # noqa: ARG001
    ran = tox("run", "-e", "old,variables")
    assert "old: SKIP" in ran.stdout
    assert ran.returncode == 0
    ran = tox("run", "-e", "old", "--skip-missing-interpreters", "false")
    assert "python3.4" in ran.stdout
    assert ran.returncode == 1


@pytest.mark.one_python
def test_a_python_that_is_named_on_the_command_line_comes_first(demo: Path, tox: Tox, store: ptest.Store) -> None:  # noqa: ARG001
    older = f"<{sys.version_info.major}.{sys.version_info.minor}"
    try:
        with store.create(python=older, pip=False) as found:
            other = found.status().interpreter
    except ptest.NotFoundError:
        pytest.skip(f"no Python {older}")
    ran = tox("run", "-e", "named", "--discover", str(other))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"BASE {other.parent.parent}\n" in ran.stdout


@pytest.mark.one_python
def test_a_word_of_another_runner_is_not_without_effect(demo: Path, tox: Tox) -> None:  # noqa: ARG001
    ran = tox("run", "-e", "lowest")
    assert ran.returncode == 1
    assert "runner = uv-venv-runner" in ran.stdout


@pytest.mark.one_python
def test_what_cannot_be_installed_is_told_in_the_words_of_pip(demo: Path, tox: Tox) -> None:  # noqa: ARG001
    ran = tox("run", "-e", "none")
    assert ran.returncode == 1
    assert "No matching distribution found for six==0.0.0.dev999" in ran.stdout + ran.stderr


@pytest.mark.one_python
def test_beside_tox_uv_it_is_the_default_and_an_environment_can_be_another_s(project: Path, tox: Tox) -> None:
    pytest.importorskip("tox_uv")
    (project / "tox.ini").write_text(
        "[testenv]\nskip_install = true\ncommands = python --version\n"
        "[testenv:ours]\n[testenv:theirs]\nrunner = uv-venv-runner\nbase_python = "
        f"{sys.executable}\n"
    )
    ran = tox("run", "-e", "ours,theirs")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    made = {path.parent.name for path in (project / ".tox").glob("*/.ptest.json")}
    assert made == {"ours"}
    ran = tox("run", "-e", "ours", TOX_DISABLED_EXTERNAL_PLUGINS="ptest")
    assert ran.returncode == 0, ran.stdout
    assert not (project / ".tox" / "ours" / ".ptest.json").exists()


@pytest.mark.one_python
def test_a_real_project_s_suite_ends_as_with_plain_tox(project: Path, tox: Tox) -> None:
    tools = Plain(project / "tools")
    tools.make(sys.executable)
    download = [tools.python, "-m", "pip", "download", "-q", "--no-deps", "--no-binary=pluggy", "pluggy==1.6.0"]
    subprocess.run(download, check=True)
    (archive,) = project.glob("pluggy-*.tar.gz")
    with tarfile.open(archive) as source:
        source.extractall(project, filter="data")
    root = archive.with_name("pluggy-1.6.0")
    outcomes = []
    for disabled in ("tox-uv", "tox-uv,ptest"):
        work = str(project / f"work-{len(outcomes)}")
        ran = tox("run", "-e", "py312", "--workdir", work, at=root, TOX_DISABLED_EXTERNAL_PLUGINS=disabled)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        outcomes.append(re.findall(r"^testing/\S+ .*\[|=+ (.*) in [\d.]+s =+", ran.stdout, re.MULTILINE))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][-1] == "124 passed"

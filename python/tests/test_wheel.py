"""What came with the wheel: only where the package was installed from one."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

import pytest

import ptest


@pytest.fixture(scope="module")
def distribution() -> metadata.Distribution:
    try:
        return metadata.distribution("ptest-env")
    except metadata.PackageNotFoundError:
        pytest.skip("the package is not installed")


@pytest.fixture
def program(distribution: metadata.Distribution) -> Path:
    assert distribution.files is not None
    return Path(sysconfig.get_path("scripts"), "ptest")


def test_the_package_the_program_and_the_module_have_one_version(
    distribution: metadata.Distribution, program: Path
) -> None:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    assert said.split()[-1] == distribution.version == ptest.__version__


def test_types_come_with_the_package_and_tests_do_not(distribution: metadata.Distribution) -> None:
    files = {file.as_posix() for file in distribution.files or []}
    own = sysconfig.get_config_var("EXT_SUFFIX") if sysconfig.get_config_var("Py_GIL_DISABLED") else ".abi3.so"
    assert {"ptest/py.typed", "ptest/_core.pyi", f"ptest/_core{own}", "ptest/_environment.py"} <= files
    assert [file for file in files if "tests/" in file or file.endswith("conftest.py")] == []


def test_the_program_uses_the_uv_beside_it(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = program.with_name("uv")
    if not beside.exists():
        pytest.skip("uv, an extra, is not installed")
    monkeypatch.delenv("PTEST_UV", raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    report = subprocess.run([program, "doctor", "--format", "json"], capture_output=True, text=True, check=False)
    (uv,) = (found for found in json.loads(report.stdout)["findings"] if found["name"] == "uv")
    assert (uv["state"], uv["detail"]) == ("ok", str(beside))


def test_importing_the_package_loads_the_installed_one(distribution: metadata.Distribution) -> None:
    where = subprocess.run(
        [sys.executable, "-c", "import ptest; print(ptest.__file__)"], capture_output=True, text=True, check=True
    ).stdout
    assert Path(where.strip()) == Path(str(distribution.locate_file("ptest/__init__.py"))).resolve()

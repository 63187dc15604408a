"""What the tests of the package share: a store of their own, which must be empty afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Callable

import pytest

import ptest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest_plugins = ["pytester"]  # only here, says pytest, for the tests of the plugin

IS_THE_ONE_PYTHON = sys.version_info[:2] == (3, 12)  # `cargo xtask test` has it too

if not IS_THE_ONE_PYTHON:
    collect_ignore = ["documents"]  # they are the same everywhere: one Python looks at them

Script = Callable[..., "subprocess.CompletedProcess[str]"]


# Not in pyproject.toml: projects that tests make lie below it, and pytest would take what it says for theirs.
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "one_python: runs in Python 3.12 alone, because what it asks is the same in every Python and takes long: "
        "what programs and files do, not what is done within the interpreter that runs the tests",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left = [] if IS_THE_ONE_PYTHON else [item for item in items if item.get_closest_marker("one_python")]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the tests' store."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="session")
def store(home: Path) -> Iterator[ptest.Store]:
    os.environ["PTEST_HOME"] = str(home)
    with ptest.Store(home=home) as store:
        yield store
        left = store.environments()
        for status in left:
            store.find(status.id).remove()
        assert left == []


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of each test's own, which it stands in."""
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def six(store: ptest.Store) -> ptest.Snapshot:
    """A snapshot with a small package."""
    with store.create(requirements=["six==1.16.0"]) as made:
        return made.snapshot("six")


@pytest.fixture
def env(store: ptest.Store, six: ptest.Snapshot) -> Iterator[ptest.Environment]:
    """An environment with a small package."""
    with store.fork(six) as made:
        yield made


@pytest.fixture
def script(home: Path, project: Path) -> Script:
    """Runs a program in a Python of its own, which uses the same store."""

    def run(text: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(text), *arguments],
            cwd=project,
            env={**os.environ, "PTEST_HOME": str(home), **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run

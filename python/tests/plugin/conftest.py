"""What the plugin's tests share: a project with tests, and pytest runs in it, each in a process of its own."""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Callable

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    import ptest

Pytest = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, home: Path, store: ptest.Store, monkeypatch: pytest.MonkeyPatch) -> Pytest:
    """Runs pytest with the plugin on the files that were made, in the tests' store."""
    del store
    pytester.makepyprojecttoml('[tool.pytest.ini_options]\naddopts = "--strict-markers"\n')
    monkeypatch.setenv("PTEST_HOME", str(home))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    named = [] if any(point.name == "ptest" for point in _plugins()) else ["-p", "ptest._pytest"]

    def run(*arguments: str | Path) -> pytest.RunResult:
        return pytester.runpytest_subprocess(*named, *arguments, timeout=120)

    return run


def _plugins() -> list[object]:
    found = entry_points()
    return list(found.select(group="pytest11") if hasattr(found, "select") else found.get("pytest11", []))

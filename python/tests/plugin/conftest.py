"""What the plugin's tests share: a project with tests, and pytest runs in it, each in a process of its own."""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Callable
from xml.etree import ElementTree as ET

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    import ptest

Pytest = Callable[..., pytest.RunResult]
Results = Callable[..., "tuple[list[object], dict[str, int]]"]
Everything = Callable[..., str]

EVERYTHING = """
import logging
import warnings

import pytest

# MARK

@pytest.fixture(scope="session")
def everywhere():
    print("everywhere up")
    yield 1
    print("everywhere down")

@pytest.fixture(scope="module")
def shared(everywhere):
    print("shared up")
    yield 1
    print("shared down")

@pytest.fixture
def broken():
    raise RuntimeError("broken set-up")

@pytest.fixture(scope="module")
def broken_module():
    raise RuntimeError("broken set-up of a module")

@pytest.fixture
def broken_after():
    yield
    raise RuntimeError("broken tear-down")

def test_passes(shared, record_property):
    record_property("number", 7)
    print("said")
    logging.getLogger().warning("logged")

def test_fails(shared):
    assert [1, 2] == [1, 3]

def test_fails_deeper():
    try:
        {}["none"]
    except KeyError as error:
        raise ValueError("deeper") from error

def test_skips(): pytest.skip("no reason")

@pytest.mark.skip(reason="never")
def test_skipped(): pass

@pytest.mark.xfail(reason="known")
def test_xfails(): assert False

@pytest.mark.xfail(reason="mended")
def test_xpasses(): pass

@pytest.mark.xfail(reason="mended", strict=True)
def test_xpasses_strictly(): pass

def test_broken(broken): pass

def test_broken_module(broken_module): pass

def test_broken_module_again(broken_module): pass

def test_broken_after(broken_after): pass

def test_warns(): warnings.warn("careful")

@pytest.mark.filterwarnings("error")
def test_strict(): warnings.warn("too much")

class TestClass:
    @pytest.mark.parametrize("number", [1, 2])
    def test_parametrized(self, number, shared): assert number == 1
"""


@pytest.fixture(scope="session")
def named() -> list[str]:
    """What pytest is told so that it loads the plugin, where that is not installed."""
    return [] if any(point.name == "ptest" for point in _plugins()) else ["-p", "ptest._pytest"]


@pytest.fixture
def run(
    pytester: pytest.Pytester, named: list[str], home: Path, store: ptest.Store, monkeypatch: pytest.MonkeyPatch
) -> Pytest:
    """Runs pytest with the plugin on the files that were made, in the tests' store."""
    del store
    pytester.makepyprojecttoml('[tool.pytest.ini_options]\naddopts = "--strict-markers"\n')
    monkeypatch.setenv("PTEST_HOME", str(home))
    # It is that of the test otherwise, and no project.
    monkeypatch.setenv("HOME", str(home.parent))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))

    def run(*arguments: str | Path) -> pytest.RunResult:
        return pytester.runpytest_subprocess(*named, *arguments, timeout=120)

    return run


@pytest.fixture
def results(run: Pytest, pytester: pytest.Pytester) -> Results:
    """What JUnit XML and the last line say of a run, without what differs from run to run."""

    def results(*arguments: str) -> tuple[list[object], dict[str, int]]:
        result = run("--junitxml=report.xml", "-o", "junit_logging=all", *arguments)
        cases = []
        for case in ET.parse(pytester.path / "report.xml").iter("testcase"):  # noqa: S314 - of our own run
            inner = [(it.tag, it.get("message"), re.sub("0x[0-9a-f]+", "", it.text or "").strip()) for it in case]
            cases.append((case.get("classname"), case.get("name"), inner))
        return cases, result.parseoutcomes()

    return results


@pytest.fixture
def everything() -> Everything:
    """The text of a module whose tests come to all that tests can come to, with a line that marks them."""
    return lambda mark="": EVERYTHING.replace("# MARK", mark)


def _plugins() -> list[object]:
    found = entry_points()
    return list(found.select(group="pytest11") if hasattr(found, "select") else found.get("pytest11", []))

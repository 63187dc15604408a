"""``--ptest-python``: the whole suite in each of several Pythons.

The tests are collected where they run, and stand here for themselves: with their names, and their markers, so that what
is selected and in which order it runs is decided here as ever. Not for how they run: see `_elsewhere`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ptest._errors import PtestError
from ptest._pytest._elsewhere import PLUGIN_FIXTURES, elsewhere, is_elsewhere, told
from ptest._pytest._marker import options as marked
from ptest._pytest._there import GoneError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ptest._pytest._elsewhere import Elsewhere, Group


class Place(pytest.Collector):
    """What holds tests there: a directory, a class."""

    def __init__(self, *, shown: str, **given: Any) -> None:
        super().__init__(**given)
        self._shown = shown

    def __repr__(self) -> str:
        return f"<{self._shown} {self.name}>"

    def collect(self) -> list[pytest.Item]:
        return []


class PlaceFile(Place, pytest.File):
    """A file that holds tests there."""


class Test(pytest.Item):
    """A test that is collected there."""

    def __init__(self, *, said: Mapping[str, Any], shown: str, python: str, **given: Any) -> None:
        super().__init__(**given)
        self._shown = shown
        path, line, domain = said["location"]
        self._place = (str(path), line, with_label(str(domain), python))
        self.funcargs: dict[str, Any] = {}
        self.fixturenames = [str(name) for name in said["fixtures"]]
        self.extra_keyword_matches.update(map(str, said["words"]))
        for name, args, kwargs in said["marks"]:
            self.own_markers.append(pytest.Mark(str(name), tuple(args), dict(kwargs), _ispytest=True))
            self.keywords[str(name)] = self.own_markers[-1]

    def __repr__(self) -> str:
        return f"<{self._shown} {self.name}>"

    @property
    def location(self) -> tuple[str, int | None, str]:
        return self._place

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, *self._place[1:]

    def runtest(self) -> None:
        message = "this test runs elsewhere"
        raise RuntimeError(message)


class Missing(pytest.Item):
    """Stands for all tests of a Python in which none could be collected."""

    def __init__(self, *, why: str, **given: Any) -> None:
        super().__init__(**given)
        self._why = why
        self.funcargs: dict[str, Any] = {}

    def setup(self) -> None:
        pytest.fail(self._why, pytrace=False)

    def runtest(self) -> None:
        """Not reached: its set-up fails."""

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, self.name


class Pythons:
    """Collects the tests in each of these Pythons."""

    def __init__(self, config: pytest.Config, asked: list[str]) -> None:
        self._config = config
        self._labels = {label(python): python for python in asked}
        if "" in self._labels:
            message = "--ptest-python: say Pythons with commas between them, as 3.9,3.12"
            raise pytest.UsageError(message)
        if len(self._labels) < len(asked):
            message = f"--ptest-python: two of {', '.join(asked)} would be called the same"
            raise pytest.UsageError(message)
        self._alone: set[str] = set()
        """The tests whose markers say in which Python they run: there, and once."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool | None:
        config = self._config
        if config.pluginmanager.hasplugin("dsession"):
            # The workers of pytest-xdist collect.
            return None
        session.items = []
        runner = elsewhere(config)
        for name, python in self._labels.items():
            args = self._args(name)
            if args:
                session.items.extend(self._collect(session, runner, name, python, args))
        # Those of the project's conftest.py files have seen the tests there.
        conftests = [it for it in config.pluginmanager.get_plugins() if it in config.pluginmanager._conftest_plugins]
        hook = config.pluginmanager.subset_hook_caller("pytest_collection_modifyitems", conftests)
        try:
            hook(session=session, config=config, items=session.items)
        finally:
            config.hook.pytest_collection_finish(session=session)
        session.testscollected = len(session.items)
        return True

    def _args(self, name: str) -> list[str]:
        """What of the arguments is meant for a Python: those that name a test of another are not."""
        found = []
        for arg in self._config.args:
            plain = {it: without(arg, it) for it in self._labels}
            named = next((it for it, text in plain.items() if text != arg), name)
            if named == name:
                found.append(plain[name])
        return found

    def _collect(
        self, session: pytest.Session, runner: Elsewhere, name: str, python: str, args: list[str]
    ) -> Iterator[pytest.Item]:
        group = runner.group({"python": python})
        try:
            group.there.start(args, describe=True)
            found = group.take(lambda report: self._not_collected(session, report, name))
        except (PtestError, GoneError) as error:
            why = told(error) if isinstance(error, PtestError) else f"{error}\n{group.there.last_words()}".rstrip()
            yield Missing.from_parent(session, name=name, nodeid=name, why=why)
            return
        files: dict[pytest.Collector, list[pytest.Item]] = {}
        places: dict[str, pytest.Collector] = {}
        for said in found:
            alone = _own_python(said)
            item, file = self._stands(session, places, said, name if alone is None else label(alone))
            if alone is not None and item.nodeid in self._alone:
                continue
            if alone is not None:
                self._alone.add(item.nodeid)
            runner.add(item, self._group_of(item, group, runner, python), str(said["nodeid"]))
            files.setdefault(file, []).append(item)
        for file, items in files.items():
            report = pytest.CollectReport(with_label(file.nodeid, name), "passed", None, [*items])
            config = session.config
            config.hook.pytest_collectreport(report=report)
            for item in items:
                config.hook.pytest_itemcollected(item=item)
        for items in files.values():
            yield from items

    def _group_of(self, item: pytest.Item, group: Group, runner: Elsewhere, python: str) -> Group:
        """A marker can ask for more than the Python, and for another."""
        return runner.group({"python": python, **marked(item)}) if is_elsewhere(item) else group

    def _stands(
        self, session: pytest.Session, places: dict[str, pytest.Collector], said: Mapping[str, Any], name: str
    ) -> tuple[pytest.Item, pytest.Collector]:
        """What stands for a test, and for the file that it is in."""
        parent: Any = session
        file: Any = session
        *above, (shown, own, _, path, _) = said["chain"]
        for kind, place, nodeid, where, is_file in above:
            key = f"{kind} {nodeid}"
            if key not in places:
                cls = PlaceFile if is_file else Place
                places[key] = cls.from_parent(parent, name=place, nodeid=nodeid, path=Path(where), shown=kind)
            parent = places[key]
            file = parent if is_file else file
        nodeid = with_label(str(said["nodeid"]), name)
        named = {"name": with_label(own, name), "nodeid": nodeid, "path": Path(path), "shown": shown, "python": name}
        return Test.from_parent(parent, said=said, **named), file

    def _not_collected(self, session: pytest.Session, said: Mapping[str, Any], name: str) -> None:
        data = said["data"]
        nodeid, outcome = with_label(str(data["nodeid"]), name), data["outcome"]
        longrepr = data.get("longrepr")
        told_: Any = tuple(longrepr) if outcome == "skipped" and isinstance(longrepr, list) else str(said["text"])
        report = pytest.CollectReport(nodeid, outcome, told_, [])
        session.config.hook.pytest_collectreport(report=report)


def _own_python(said: Mapping[str, Any]) -> str | None:
    """The Python that the nearest marker of a test asks for, if the test runs in an environment of its own."""
    if not PLUGIN_FIXTURES.isdisjoint(said["fixtures"]):
        return None
    asked = (kwargs["python"] for name, _, kwargs in said["marks"] if name == "ptest" and "python" in kwargs)
    return next(map(str, asked), None)


def label(python: str) -> str:
    """What a Python is called in the names of tests: ``py3.12``."""
    text = re.sub(r"[^A-Za-z0-9._]", "_", python).strip("_.")
    return f"py{text}" if text[:1].isdigit() else text


def with_label(nodeid: str, name: str) -> str:
    """The name of a test in a Python: as if that were its last parameter."""
    return f"{nodeid[:-1]}-{name}]" if nodeid.endswith("]") else f"{nodeid}[{name}]"


def without(nodeid: str, name: str) -> str:
    """The name that it has there."""
    if nodeid.endswith(f"-{name}]"):
        return nodeid[: -len(name) - 2] + "]"
    return nodeid[: -len(name) - 2] if nodeid.endswith(f"[{name}]") else nodeid

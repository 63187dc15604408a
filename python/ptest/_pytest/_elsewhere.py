"""Tests that run in environments of their own, with results as if they had run here.

All tests of one environment share one pytest in it, which runs each when its turn comes here: what is selected, in
which order, and when it is enough, is decided here. Not for how that pytest is started and talked with: see `_there`.
"""

from __future__ import annotations

import time
import warnings
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Callable

import pytest
from _pytest.outcomes import Exit

from ptest._errors import PtestError
from ptest._pytest import _made_of, _reports
from ptest._pytest._fixtures import keeper
from ptest._pytest._marker import options as marked
from ptest._pytest._there import GoneError, There

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

_MAKING = frozenset({"python", "requirements", "requirements_files", "editable", "constraints"})
PLUGIN_FIXTURES = frozenset(
    {"ptest_env", "ptest_env_factory", "ptest_env_session", "ptest_options", "ptest_ports", "ptest_snapshot"}
)
_SOME = -1
"""Which test is next there is not known, but there may be one."""
_PATIENCE = 30.0
"""How long pytest there may take to tear down what is set up, when all is over."""
_NOT_COLLECTED = "in its environment the test was not collected: what is collected there must not depend on what is not"


def is_elsewhere(item: pytest.Item) -> bool:
    """Whether a test's markers say what its environment is made of, and no fixture of ptest's makes use of them."""
    fixtures = getattr(item, "fixturenames", ())
    return not _MAKING.isdisjoint(marked(item)) and PLUGIN_FIXTURES.isdisjoint(fixtures)


class Group:
    """The tests of one environment."""

    def __init__(self, there: There) -> None:
        self.there = there
        self.names: dict[pytest.Item, str] = {}
        """What each is called there."""
        self.numbers: dict[str, int] = {}
        """Of those that were collected there."""
        self.errors: dict[str, str] = {}
        """Why files could not be collected."""
        self.last: pytest.Item | None = None

    def collects(self) -> None:
        """Starts pytest there, which collects the files of the tests.

        Raises
        ------
        PtestError
            If there is no such environment.
        GoneError
            If pytest does not get so far.
        """
        files = dict.fromkeys(str(item.path) for item in self.names)
        self.there.start(list(files), describe=False)
        self.errors.clear()

        def note(report: Mapping[str, Any]) -> None:
            self.errors[str(report["data"]["nodeid"])] = str(report["text"])

        self.take(note)

    def take(self, not_collected: Callable[[Mapping[str, Any]], None]) -> list[dict[str, Any]]:
        """What was collected there; tells what could not be."""
        for kind, value in self.there.listen(until=("collected", "usage", "finished")):
            if kind == "collectreport":
                not_collected(value)
            elif kind == "collected":
                self.numbers = {str(test["nodeid"]): number for number, test in reversed(list(enumerate(value)))}
                return list(value)
            elif kind == "warning":
                _reports.warn(self.there.config, value, str(value["nodeid"]))
            elif kind in ("usage", "exit"):
                self.there.end()
                raise GoneError(str(value if kind == "usage" else value[0]))
        self.there.end()
        reason = "it ended before any test ran"
        raise GoneError(reason)


class Elsewhere:
    """Runs the tests that have environments of their own there."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._keep = keeper(config)
        self._groups: dict[str, Group] = {}
        self._of: dict[pytest.Item, Group] = {}
        self._turn: dict[pytest.Item, int] = {}
        self._last: pytest.Item | None = None
        self._exit: Exit | None = None

    def group(self, asked: dict[str, Any]) -> Group:
        """The tests of the environment that this is asked of."""
        key = repr(sorted(asked.items()))
        if key not in self._groups:
            options = _made_of.options(self._config, asked)
            self._groups[key] = Group(There(self._config, self._keep, options))
        return self._groups[key]

    def add(self, item: pytest.Item, group: Group, name: str) -> None:
        """Says that a test runs there, under that name."""
        group.names[item] = name
        self._of[item] = group

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            if item not in self._of and is_elsewhere(item):
                self.add(item, self.group(dict(marked(item))), item.nodeid)
        self._turn = {item: number for number, item in enumerate(session.items)}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        self._last = item
        group = self._of.get(item)
        if group is None:
            return None
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        reports = self._runs(item, nextitem, group)
        for report in reports:
            self._keep.looks(item, report)
            report.user_properties += [it for it in item.user_properties if it not in report.user_properties]
        for report in reports[:-1]:
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logreport(report=_reports.torn_down(item, nextitem, reports[-1]))
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        if self._exit is not None:
            raise self._exit
        return True

    def _runs(self, item: pytest.Item, nextitem: pytest.Item | None, group: Group) -> list[pytest.TestReport]:
        """Runs a test where it belongs; gives its reports, which are complete."""
        name = group.names[item]
        there = group.there
        refused = self._starts(group)
        if refused is not None:
            return _reports.not_begun(item, refused)
        if name not in group.numbers:
            return _reports.not_begun(item, group.errors.get(name.partition("::")[0], _NOT_COLLECTED))
        if there.environment is not None:
            self._keep.uses(item, there.environment)
        group.last = item
        maxfail = self._config.getoption("maxfail")
        left = max(maxfail - item.session.testsfailed, 1) if maxfail else None
        there.ask(run=group.numbers[name], next=self._next(item, nextitem, group), failures=left)
        return self._follows(item, group)

    def _starts(self, group: Group) -> str | None:
        """Sees to it that pytest is there; says why it cannot be."""
        if group.there.is_running:
            return None
        isolation = self._config.pluginmanager.getplugin("ptest-isolate")
        try:
            with nullcontext() if isolation is None else isolation.sparing():
                group.collects()
        except PtestError as error:
            return told(error)
        except GoneError as gone:
            return f"pytest could not begin in the environment: {gone}\n{group.there.last_words()}".rstrip()
        return None

    def _follows(self, item: pytest.Item, group: Group) -> list[pytest.TestReport]:
        reports: list[pytest.TestReport] = []
        started = time.monotonic()
        timeout = self._config.getoption("--ptest-timeout")
        try:
            for kind, value in group.there.listen(until=("done", "exit", "finished"), timeout=timeout):
                if kind == "report":
                    reports.append(_reports.received(item, value))
                elif kind == "warning":
                    _reports.warn(self._config, value, item.nodeid)
                elif kind == "exit":
                    self._exit = Exit(str(value[0]), value[1])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            group.there.end()
            gone: Exception = GoneError(f"what it said is no report: {error}")
        except GoneError as error:
            gone = error
        else:
            if reports:
                return reports
            gone = GoneError("it did not say what came of it")
        when = _reports.PHASES[min(len(reports), 2)]
        words = group.there.last_words()
        return [*reports, *_reports.lost(item, when, str(gone), words, time.monotonic() - started)]

    def _next(self, item: pytest.Item, nextitem: pytest.Item | None, group: Group) -> int | None:
        """Which test is next there: what is set up for both stays."""
        if nextitem is None:
            return None
        if hasattr(self._config, "workerinput"):
            # Which tests a worker gets is said one test ahead.
            return group.numbers.get(group.names.get(nextitem, ""), _SOME)
        for other in item.session.items[self._turn[item] + 1 :]:
            if other in group.names and group.names[other] in group.numbers:
                return group.numbers[group.names[other]]
        return None

    @pytest.hookimpl(hookwrapper=True, trylast=True)
    def pytest_runtestloop(self) -> Generator[None, Any, None]:
        outcome = yield
        is_over = outcome.excinfo is None
        for group in self._groups.values():
            if group.there.is_running:
                if is_over:
                    self._finishes(group)
                group.there.end()

    def _finishes(self, group: Group) -> None:
        """Lets pytest there tear down what is set up: a failure is the last test's."""
        # A worker can tell of no other test than the one that it ran last.
        item = self._last if hasattr(self._config, "workerinput") else group.last
        try:
            group.there.ask(finish=True)
            for kind, value in group.there.listen(until=("finished",), timeout=_PATIENCE):
                if kind == "report" and item is not None:
                    report = _reports.received(item, value)
                    item.ihook.pytest_runtest_logreport(report=report)
                elif kind == "warning":
                    _reports.warn(self._config, value, str(value["nodeid"]))
                elif kind == "unmeasured":
                    _warn(f"the lines that ran in {group.there} are not covered: {value}")
        except (GoneError, ValueError, TypeError, KeyError, AttributeError) as error:
            _warn(f"what was set up in {group.there} is not torn down: {error}")

    def pytest_sessionfinish(self) -> None:
        for group in self._groups.values():
            group.there.remove()


_PLUGIN = "ptest-elsewhere"


def elsewhere(config: pytest.Config) -> Elsewhere:
    """What runs tests elsewhere in this run; there from when it is first asked for."""
    found: Elsewhere | None = config.pluginmanager.getplugin(_PLUGIN)
    if found is None:
        found = Elsewhere(config)
        # In an environment that tests run in, this does nothing: they are where they belong.
        config.pluginmanager.register(found, _PLUGIN)
    return found


def _warn(message: str) -> None:
    warnings.warn(pytest.PytestWarning(message), stacklevel=2)


def told(error: PtestError) -> str:
    """What went wrong, why, and what to do."""
    told = [": ".join([error.message, *error.causes])]
    if error.output:
        told.append(str(error.output).rstrip())
    if error.hint:
        told.append(f"hint: {error.hint}")
    return "\n".join(told)

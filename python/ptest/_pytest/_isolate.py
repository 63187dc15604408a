"""Tests in forks of the running interpreter, with results as if they had run here.

A test is begun here, with all that sets it up for more than itself: fixtures of a wider scope, which are so set up once
and torn down once. In the middle of its set-up, before its own fixtures, the interpreter is forked: the child goes on
with the test, and sends its reports; the parent waits, and leaves the set-up. Not for how a fork is made and ended: see
`_child`.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
import warnings
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.outcomes import Exit
from _pytest.runner import call_and_report
from _pytest.skipping import evaluate_xfail_marks, xfailed_key
from _pytest.warnings import catch_warnings_for_item

from ptest import _core
from ptest._pytest import _child, _coverage
from ptest._pytest._fixtures import keeper

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from ptest._pytest._enclose import Enclosing

_PHASES = ("setup", "call", "teardown")
_MOST_OUTPUT = 256 << 20
_NARROW = {"test": ("function",), "module": ("function", "class", "module")}
"""The scopes of what is set up in the child."""


class _LeftError(Exit):
    """Leaves the set-up of a test whose reports have come from the child: pytest lets it through."""

    def __init__(self, lost: str | None) -> None:
        super().__init__("the test ran in a fork")
        self.lost = lost


class Isolation:
    """Runs each test, or the tests of each module together, in a fork."""

    def __init__(self, mode: str, timeout: float | None, enclosing: Enclosing | None) -> None:
        self._mode = mode
        self._timeout = timeout
        self._enclosing = enclosing
        self._child: _child.Child | None = None
        self._module: pytest.Item | pytest.Collector | None = None
        self._channel: _child.Channel | None = None
        self._threads: set[threading.Thread] = set()
        self._taken: list[tuple[str, Any]] = []
        self._finalizers: dict[Any, int] = {}
        self._data_files: set[Path] = set()
        self._warnings: AbstractContextManager[None] | None = None

    def pytest_sessionstart(self) -> None:
        _child.adopt_orphans(yes=True)
        if self._enclosing is not None:
            self._enclosing.check()
        # Those of pytest-xdist, say: they are no test's.
        self._threads = set(threading.enumerate())

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._child is not None:
            self._let_go(session.items[0])
        _child.adopt_orphans(yes=False)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        if self._channel is not None:
            # The next test of a module, in the child.
            self._phases(item, nextitem)
            return True
        if self._child is not None and self._module is not _module(item):
            self._let_go(item)
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        self._taken = []
        sections = len(item._report_sections)
        started = time.monotonic()
        lost = None
        try:
            if self._child is not None and self._module is _module(item):
                lost = self._asks(item, nextitem)
            else:
                self._phases(item, nextitem)
        except _LeftError as left:
            lost = left.lost
        except BaseException as error:
            if self._channel is None:
                raise
            self._ends(error)
        if self._channel is not None:
            self._serves(item, nextitem)
        self._logs(item, nextitem, lost, sections, time.monotonic() - started)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    # The parent.

    def sparing(self) -> AbstractContextManager[None]:
        """For who starts processes here while the tests of a module run in their fork."""
        return nullcontext() if self._child is None else self._child.sparing()

    def _let_go(self, item: pytest.Item) -> None:
        """Ends the child of a module of which not all tests are run, or the last ones not in it."""
        assert self._child is not None  # noqa: S101
        self._child.channel.send("finish")
        self._follow(item)

    def _begins(self, item: pytest.Item, setup: Any) -> None:
        """In the set-up of a test, in the place of its own."""
        self._set_up_wider(item)
        started = [thread.name for thread in threading.enumerate() if thread not in self._threads]
        if started:
            self._threads.update(threading.enumerate())
            message = f"{item.nodeid} is run in a fork, in which these threads do not run: {', '.join(started)}"
            warnings.warn(pytest.PytestWarning(message), stacklevel=2)
        forked = _child.start(self._enclosure(item))
        if isinstance(forked, _child.Child):
            self._child = forked
            self._module = _module(item)
            raise _LeftError(self._follow(item))
        self._channel = forked
        if item.config.getoption("--ptest-keep") != "none":
            keeper(item.config).tells = forked.send
        self._data_files = _coverage.data_files()
        self._finalizers = {node: len(it[0]) for node, it in item.session._setupstate.stack.items()}
        recorded: Any = item.config.hook.pytest_warning_recorded
        for other in recorded.get_hookimpls():
            # A worker's would go to the controller from here, where a warning goes to the parent.
            if other.plugin is not self:
                recorded._remove_plugin(other.plugin)
        self._warnings = catch_warnings_for_item(item.config, item.ihook, when="runtest", item=item)
        self._warnings.__enter__()
        setup()

    def _enclosure(self, item: pytest.Item) -> _core.Enclosure | None:
        if self._enclosing is None:
            return None
        return self._enclosing.prepare(item if self._mode == "test" else _module(item))

    def _set_up_wider(self, item: Any) -> None:
        if not getattr(item, "_request", None):
            return
        for name in getattr(item, "fixturenames", ()):
            if self._is_wider(item, name):
                value = item._request.getfixturevalue(name)
                if isinstance(value, pytest.TempPathFactory):
                    # It makes its directory when it is asked, and takes away what was there: once for all tests.
                    value.getbasetemp()
            else:
                self._set_up_overridden(item, name)
        if self._mode == "module":
            names = {name for other in _of_module(item) for name in _fixtures(other) if self._is_wider(other, name)}
            for name in sorted(names):
                # What fails is known, and raised again when the test that asked for it does so.
                with suppress(Exception):
                    item._request.getfixturevalue(name)

    def _set_up_overridden(self, item: Any, name: str) -> None:
        """A wider fixture can be below a narrow one that has its name and asks for it."""
        known = item._request._arg2fixturedefs
        definitions = list(known.get(name, ()))
        while definitions and definitions[-1].scope in _NARROW[self._mode] and name in definitions[-1].argnames:
            definitions.pop()
        if not definitions or definitions[-1].scope in _NARROW[self._mode]:
            return
        all_of_them, known[name] = known[name], definitions
        try:
            item._request.getfixturevalue(name)
        finally:
            known[name] = all_of_them
            # The narrow one is yet to be asked for, under this name.
            item._request._fixture_defs.pop(name, None)

    def _is_wider(self, item: Any, name: str) -> bool:
        definitions = item._fixtureinfo.name2fixturedefs.get(name)
        if not definitions or definitions[-1].scope in _NARROW[self._mode]:
            return False
        # With another parameter it is set up anew in the middle of the module: that is the child's.
        return self._mode == "test" or name not in getattr(getattr(item, "callspec", None), "params", ())

    def _asks(self, item: pytest.Item, nextitem: pytest.Item | None) -> str | None:
        items = item.session.items
        assert self._child is not None  # noqa: S101
        self._child.channel.send("run", (items.index(item), items.index(nextitem) if nextitem else None))
        # So that the last words of a child that is lost are read, as they are in the set-up of its first test.
        with _captured(item, "setup"):
            return self._follow(item)

    def _follow(self, item: pytest.Item) -> str | None:
        """Takes what the child sends of a test; gives why there is not all of it."""
        assert self._child is not None  # noqa: S101
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        limits = _child.Limits(
            deadline, _MOST_OUTPUT, item.config.getoption("--ptest-pids") or _core.Enclosures.PROCESSES
        )
        is_over = True
        try:
            while True:
                kind, value = self._child.receive(limits)
                if kind == "done":
                    is_over = bool(value)
                    return None
                if kind == "stop":
                    item.session.shouldfail, item.session.shouldstop = value
                elif kind == "uses":
                    keeper(item.config).hears(*value)
                elif kind == "coverage":
                    _coverage.add(value)
                elif kind == "broken":
                    return f"pytest failed in its fork:\n{value}"
                else:
                    self._taken.append((kind, value))
        except _child.LostError as lost:
            return str(lost)
        finally:
            if is_over:
                self._child.end()
                self._child = None

    def _logs(
        self, item: pytest.Item, nextitem: pytest.Item | None, lost: str | None, sections: int, elapsed: float
    ) -> None:
        """Tells pytest what came of a test, and tears down here what is not needed any more."""
        hook = item.ihook
        reports = self._reports(item)
        if lost is not None:
            left = keeper(item.config).lost(item)
            reports += _substitutes(item, _PHASES[min(len(reports), 2)], lost, sections, elapsed)
            for environment in left:
                keeper(item.config).release(environment)
        for report in reports[:-1]:
            hook.pytest_runtest_logreport(report=report)
        if reports:
            hook.pytest_runtest_logreport(report=self._torn_down(item, nextitem, reports[-1]))
        for kind, value in self._taken:
            if kind == "exit":
                raise Exit(*value)
            if kind == "interrupt":
                raise KeyboardInterrupt

    def _reports(self, item: pytest.Item) -> list[pytest.TestReport]:
        """The reports that came; warnings are told at once."""
        config, hook = item.config, item.ihook
        reports: list[pytest.TestReport] = []
        for kind, value in self._taken:
            if kind == "report":
                reports.append(config.hook.pytest_report_from_serializable(config=config, data=value))
            elif kind == "warning":
                hook.pytest_warning_recorded.call_historic(kwargs={**value, "nodeid": item.nodeid})
        return reports

    def _torn_down(
        self, item: pytest.Item, nextitem: pytest.Item | None, report: pytest.TestReport
    ) -> pytest.TestReport:
        state = item.session._setupstate
        boundary = self._boundary(item)
        if item in state.stack:
            state.teardown_exact(boundary)
        if item.session.shouldfail or item.session.shouldstop:
            nextitem = None
        needed = nextitem.listchain() if nextitem is not None else []
        if list(state.stack) == needed[: len(state.stack)] and needed:
            return report
        with _captured(item, "teardown"):
            call = pytest.CallInfo.from_call(
                lambda: state.teardown_exact(nextitem), when="teardown", reraise=(Exit, KeyboardInterrupt)
            )
        here: pytest.TestReport = item.ihook.pytest_runtest_makereport(item=item, call=call)
        report.duration += here.duration
        _add_sections(report, here.sections)
        if here.failed and report.passed:
            report.outcome, report.longrepr = here.outcome, here.longrepr
        elif here.failed:
            report.sections.append(("teardown of wider fixtures", here.longreprtext))
        return report

    # The child.

    def _phases(self, item: Any, nextitem: pytest.Item | None) -> None:
        if hasattr(item, "_request") and not item._request:
            item._initrequest()
        if self._channel is None:
            setup = item.setup
            item.setup = lambda: self._begins(item, setup)
        try:
            report = call_and_report(item, "setup", log=False)
            self._tell(item, report)
            if report.passed:
                self._tell(item, call_and_report(item, "call", log=False))
            if item.session.shouldfail or item.session.shouldstop:
                nextitem = None
            if self._channel is not None:
                nextitem = self._next_in_child(item, nextitem)
            self._tell(item, call_and_report(item, "teardown", log=False, nextitem=nextitem))
        finally:
            item.__dict__.pop("setup", None)
            if hasattr(item, "_request"):
                item._request = False
                # Not None in the parent, which makes reports yet: plugins look for their fixtures in it.
                item.funcargs = {} if self._channel is None else None

    def _tell(self, item: pytest.Item, report: pytest.TestReport) -> None:
        if self._channel is None:
            item.ihook.pytest_runtest_logreport(report=report)
            return
        data = item.config.hook.pytest_report_to_serializable(config=item.config, report=report)
        try:
            self._channel.send("report", data)
        except Exception:  # noqa: BLE001 - whatever its properties raise when they are pickled
            data["user_properties"] = [(str(name), str(value)) for name, value in report.user_properties]
            self._channel.send("report", data)

    def pytest_warning_recorded(self, warning_message: Any, when: str, location: Any) -> None:
        if self._channel is None:
            return
        value = {"warning_message": warning_message, "when": when, "location": location}
        try:
            self._channel.send("warning", value)
        except Exception:  # noqa: BLE001 - whatever the warning raises when it is pickled
            message = f"{warning_message.category.__name__}: {warning_message.message}"
            where = (warning_message.filename, warning_message.lineno)
            value["warning_message"] = warnings.WarningMessage(UserWarning(message), UserWarning, *where)
            self._channel.send("warning", value)

    def _boundary(self, item: pytest.Item) -> Any:
        """What stays set up in the parent while the child tears down everything below it."""
        return item.parent if self._mode == "test" else _module(item).parent

    def _next_in_child(self, item: pytest.Item, nextitem: pytest.Item | None) -> Any:
        return nextitem if self._goes_on(item, nextitem) else self._boundary(item)

    def _goes_on(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        return self._mode == "module" and nextitem is not None and _module(nextitem) is _module(item)

    def _serves(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """The rest of the child's life: further tests of the module, as the parent asks for them."""
        assert self._channel is not None  # noqa: S101
        assert self._warnings is not None  # noqa: S101
        session = item.session
        try:
            self._warnings.__exit__(None, None, None)
            while self._goes_on(item, nextitem):
                self._channel.send("done", value=False)
                kind, value = self._channel.receive()
                if kind == "finish":
                    session._setupstate.teardown_exact(self._boundary(item))
                    break
                item = session.items[value[0]]
                nextitem = None if value[1] is None else session.items[value[1]]
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
            self._finalize(session)
        except BaseException as error:  # noqa: BLE001 - there is nobody else to tell it to
            self._ends(error)
        if session.shouldfail or session.shouldstop:
            self._channel.send("stop", (session.shouldfail, session.shouldstop))
        self._leaves()

    def _finalize(self, session: pytest.Session) -> None:
        """Tears down what was set up in the child for more than it: the parent does not know of it."""
        for node, (finalizers, _) in reversed(list(session._setupstate.stack.items())):
            while len(finalizers) > self._finalizers.get(node, 0):
                finalizers.pop()()

    def _ends(self, error: BaseException) -> None:
        assert self._channel is not None  # noqa: S101
        if isinstance(error, Exit):
            self._channel.send("exit", (error.msg, error.returncode))
        elif isinstance(error, KeyboardInterrupt):
            self._channel.send("interrupt")
        else:
            self._channel.send("broken", "".join(traceback.format_exception(type(error), error, error.__traceback__)))
        self._leaves()

    def _leaves(self) -> None:
        assert self._channel is not None  # noqa: S101
        measured = _coverage.measured(self._data_files)
        if measured:
            self._channel.send("coverage", measured)
        sys.stdout.flush()
        sys.stderr.flush()
        self._channel.send("done", value=True)
        # What is to be done at exit is the parent's.
        os._exit(0)


def _module(item: pytest.Item) -> Any:
    return item.getparent(pytest.Module) or item.parent


def _of_module(item: pytest.Item) -> list[pytest.Item]:
    module = _module(item)
    return [other for other in item.session.items if _module(other) is module]


def _fixtures(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", []) if hasattr(item, "_fixtureinfo") else []


def _captured(item: pytest.Item, when: str) -> AbstractContextManager[None]:
    """Takes what is written meanwhile, and puts it into the test's report, as pytest does it for a phase."""
    capture = item.config.pluginmanager.getplugin("capturemanager")
    return capture.item_capture(when, item) if capture is not None else nullcontext()


def _add_sections(report: pytest.TestReport, sections: list[tuple[str, str]]) -> None:
    """Adds what was captured here to what was captured in the child, under the same title."""
    there = dict(report.sections)
    for title, text in sections:
        there[title] = there.get(title, "") + text
    report.sections = list(there.items())


def _substitutes(item: pytest.Item, when: Any, lost: str, sections: int, elapsed: float) -> list[pytest.TestReport]:
    """The reports that a child could not make: of the phase in which it was lost, and to end with."""
    if xfailed_key not in item.stash:
        item.stash[xfailed_key] = evaluate_xfail_marks(item)
    # Its last words were in the file that was open here meanwhile.
    item._report_sections[sections:] = [(when, *it[1:]) for it in item._report_sections[sections:]]

    def happened() -> None:
        pytest.fail(f"the test did not end by itself: {lost}", pytrace=False)

    call = pytest.CallInfo.from_call(happened, when=when)
    call.duration = elapsed
    calls = [call]
    if when != "teardown":
        calls.append(pytest.CallInfo.from_call(lambda: None, when="teardown"))
    return [item.ihook.pytest_runtest_makereport(item=item, call=call) for call in calls]

"""pytest in another environment: it collects and runs what it is asked for, and sends what came of that.

This file is all that there is of ptest in that environment, where it comes by standard input: it needs pytest and
nothing else, on whatever Python and of whatever version. Not for who asks: see `_there`.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from importlib.util import find_spec
from traceback import format_exception
from typing import Any

import pytest
from _pytest.config import Config, builtin_plugins
from _pytest.outcomes import Exit

_SOME = -1
"""Which test is next is not known, but there may be one."""


class Line:
    """What is said to who asks, and by them: lines of JSON, by streams that no test finds."""

    def __init__(self) -> None:
        self._asked = os.fdopen(os.dup(0), "rb")
        self._told = os.fdopen(os.dup(1), "wb")
        self._pid = os.getpid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)

    def send(self, kind: str, value: Any = None) -> None:
        # A test may fork, and its fork may go on as if it were pytest.
        if os.getpid() == self._pid:
            self._told.write(json.dumps([kind, value], default=repr).encode() + b"\n")
            self._told.flush()

    def receive(self) -> dict[str, Any]:
        line = self._asked.readline()
        return dict(json.loads(line)) if line else {}


class Serving:
    """The plugin that runs what it is asked for in the place of pytest's own loop."""

    def __init__(self, config: pytest.Config, line: Line, *, describes: bool) -> None:
        self._config = config
        self._line = line
        self._describes = describes

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        config.addinivalue_line("markers", "ptest(**options): the environment that the test runs in")
        reporter: Any = config.pluginmanager.getplugin("terminalreporter")
        if reporter is not None:
            # Plugins want one, but it is not here that anything is shown.
            reporter._tw._file = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if not report.passed:
            self._tell("collectreport", report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._tell("report", report)

    def _tell(self, kind: str, report: Any) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        # In words too: who is told may have another pytest, or not the plugin that such a report is of.
        text = report.longreprtext if report.longrepr is not None else ""
        self._line.send(kind, {"data": data or dict(report.__dict__), "text": text})

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        describe = _described if self._describes else _named
        self._line.send("collected", [describe(item) for item in session.items])
        item = None
        while True:
            asked = self._line.receive()
            if "run" not in asked:
                break
            item = session.items[asked["run"]]
            following: Any = asked["next"]
            if following is not None:
                # A session in the place of the next test: what is set up for all of it stays.
                following = session if following == _SOME else session.items[following]
            if asked["failures"] is not None:
                session.config.option.maxfail = session.testsfailed + asked["failures"]
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            self._line.send("done")
        if item is not None and session._setupstate.stack:
            _tear_down(session, item)
        return True

    def pytest_warning_recorded(self, warning_message: Any, when: str, nodeid: str, location: Any) -> None:
        told = {
            "message": str(warning_message.message),
            "category": [warning_message.category.__module__, warning_message.category.__name__],
            "filename": warning_message.filename,
            "lineno": warning_message.lineno,
            "when": when,
            "nodeid": nodeid,
            "location": location,
        }
        self._line.send("warning", told)

    def pytest_keyboard_interrupt(self, excinfo: Any) -> None:
        if isinstance(excinfo.value, Exit):
            self._line.send("exit", [excinfo.value.msg, excinfo.value.returncode])

    def pytest_internalerror(self, excrepr: Any) -> None:
        self._line.send("broken", str(excrepr))


def _tear_down(session: pytest.Session, item: pytest.Item) -> None:
    """Tears down what is still set up for more than the last test; if that fails, it is that test's."""
    call = pytest.CallInfo.from_call(lambda: session._setupstate.teardown_exact(None), when="teardown")
    if call.excinfo is not None:
        report = item.ihook.pytest_runtest_makereport(item=item, call=call)
        item.ihook.pytest_runtest_logreport(report=report)


def _named(item: pytest.Item) -> dict[str, Any]:
    return {"nodeid": item.nodeid}


def _described(item: pytest.Item) -> dict[str, Any]:
    """All of a test that is to be known where it does not run."""
    function = getattr(item, "function", None)
    return {
        "nodeid": item.nodeid,
        "location": item.location,
        "chain": [
            [type(node).__name__, node.name, node.nodeid, str(node.path), isinstance(node, pytest.File)]
            for node in item.listchain()[1:]
        ],
        "marks": [_mark(mark) for mark in item.iter_markers()],
        "words": sorted({*item.listextrakeywords(), *getattr(function, "__dict__", ())}),
        "fixtures": list(getattr(item, "fixturenames", ())),
    }


def _mark(mark: pytest.Mark) -> list[Any]:
    if mark.name == "parametrize":
        # Its values can be anything, and of any size.
        return [mark.name, [], {}]
    return [mark.name, list(mark.args), dict(mark.kwargs)]


def _measuring(asked: Any) -> Any:
    """Measures which lines run, if that was asked for and can be done here."""
    if asked is None:
        return None
    try:
        from coverage import Coverage
    except ImportError:
        return None
    coverage = Coverage(data_suffix=True, **asked)
    coverage.start()
    return coverage


def _is_there(plugin: str) -> bool:
    if plugin.startswith("no:") or plugin in builtin_plugins:
        return True
    with suppress(ImportError, ValueError):
        return find_spec(plugin) is not None
    return False


def _serve(line: Line, asked: dict[str, Any]) -> None:
    options = asked["options"]
    wanted = [name for name in options.pop("plugins", ()) if _is_there(name)]
    options["plugins"] = []
    # The tests are where they belong, whatever their markers say.
    plugins = [word for name in ("no:ptest-elsewhere", *wanted) for word in ("-p", name)]
    try:
        config: Any = Config.fromdictargs(options, [*plugins, *asked["args"]])
        # As pytest-xdist has it: who writes something about the whole run leaves it to who asks.
        config.workerinput, config.workeroutput = asked["worker"], {}
        config.pluginmanager.register(Serving(config, line, describes=asked["describe"]), "ptest-serving")
        config.hook.pytest_cmdline_main(config=config)
    except pytest.UsageError as error:
        line.send("usage", "\n".join(map(str, error.args)))
    except BaseException as error:  # noqa: BLE001 - there is nobody else to tell it to
        line.send("broken", "".join(format_exception(type(error), error, error.__traceback__)))


def main() -> None:
    line = Line()
    asked = line.receive()
    sys.argv = asked["argv"]
    if sys.path[0] == "":
        del sys.path[0]
    sys.path[:0] = asked["path"]
    coverage = _measuring(asked["coverage"])
    _serve(line, asked)
    if coverage is not None:
        coverage.stop()
        try:
            coverage.save()
        except Exception as error:  # noqa: BLE001 - a directory that cannot be written, or another program's database
            line.send("unmeasured", str(error))
    line.send("finished")


if __name__ == "__main__":
    main()

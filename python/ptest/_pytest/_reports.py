"""Reports of tests that ran elsewhere, as this pytest has them, and those that nobody could make there.

What comes from elsewhere may be of another version of pytest, and of whatever else ran there: it is read with care.
"""

from __future__ import annotations

import builtins
import warnings
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.outcomes import Exit
from _pytest.skipping import evaluate_xfail_marks, xfailed_key

if TYPE_CHECKING:
    from collections.abc import Mapping

PHASES = ("setup", "call", "teardown")
_OUTCOMES = ("passed", "failed", "skipped")


def received(item: pytest.Item, said: Mapping[str, Any]) -> pytest.TestReport:
    """A report of a test that runs elsewhere.

    Raises
    ------
    ValueError
        If it is none.
    """
    data, text = dict(said["data"]), str(said["text"])
    when, outcome = data.get("when"), data.get("outcome")
    if when not in PHASES or outcome not in _OUTCOMES:
        message = f"a report of {when!r} that {outcome!r}"
        raise ValueError(message)
    properties = [(str(name), value) for name, value in data.get("user_properties") or ()]
    sections = [(str(title), str(content)) for title, content in data.get("sections") or ()]
    longrepr = data.get("longrepr")
    if isinstance(longrepr, list):
        data["longrepr"] = tuple(longrepr)
    report: Any = None
    try:
        report = item.config.hook.pytest_report_from_serializable(config=item.config, data=dict(data))
    except Exception:  # noqa: BLE001 - whatever another version has that this one has not
        report = None
    if not isinstance(report, pytest.TestReport):
        plain = data.get("longrepr") if outcome == "skipped" else text or None
        report = pytest.TestReport(item.nodeid, item.location, {}, outcome, plain, when)
        report.duration = float(data.get("duration") or 0)
        if "wasxfail" in data:
            report.wasxfail = str(data["wasxfail"])
    # What another version of the test is called there is its name here.
    report.nodeid, report.location = item.nodeid, item.location
    report.user_properties, report.sections = properties, sections
    given: pytest.TestReport = report
    return given


def not_begun(item: pytest.Item, why: str) -> list[pytest.TestReport]:
    """Of a test that could not begin: an error that no mark expects."""
    item.stash[xfailed_key] = None
    return [_failing(item, "setup", why, 0.0), _passing(item)]


def lost(item: pytest.Item, when: Any, why: str, words: str, elapsed: float) -> list[pytest.TestReport]:
    """Of the phase in which a test was lost, and to end with."""
    if xfailed_key not in item.stash:
        item.stash[xfailed_key] = evaluate_xfail_marks(item)
    if words:
        item.add_report_section(when, "stderr", words)
    reports = [_failing(item, when, f"the test did not end by itself: {why}", elapsed)]
    return reports if when == "teardown" else [*reports, _passing(item)]


def _failing(item: pytest.Item, when: Any, why: str, elapsed: float) -> pytest.TestReport:
    def happened() -> None:
        pytest.fail(why, pytrace=False)

    call = pytest.CallInfo.from_call(happened, when=when)
    call.duration = elapsed
    report: pytest.TestReport = item.ihook.pytest_runtest_makereport(item=item, call=call)
    return report


def _passing(item: pytest.Item) -> pytest.TestReport:
    call = pytest.CallInfo.from_call(lambda: None, when="teardown")
    report: pytest.TestReport = item.ihook.pytest_runtest_makereport(item=item, call=call)
    return report


def torn_down(item: pytest.Item, nextitem: pytest.Item | None, report: pytest.TestReport) -> pytest.TestReport:
    """Tears down what is set up here and not needed any more, as a part of a test's last report."""
    state = item.session._setupstate
    if item.session.shouldfail or item.session.shouldstop:
        nextitem = None
    needed = nextitem.listchain() if nextitem is not None else []
    if list(state.stack) == needed[: len(state.stack)]:
        return report
    capture = item.config.pluginmanager.getplugin("capturemanager")
    with capture.item_capture("teardown", item) if capture is not None else nullcontext():
        call = pytest.CallInfo.from_call(
            lambda: state.teardown_exact(nextitem), when="teardown", reraise=(Exit, KeyboardInterrupt)
        )
    here: pytest.TestReport = item.ihook.pytest_runtest_makereport(item=item, call=call)
    report.duration += here.duration
    report.sections += here.sections
    if here.failed and report.passed:
        report.outcome, report.longrepr = here.outcome, here.longrepr
    elif here.failed:
        report.sections.append(("teardown of wider fixtures", here.longreprtext))
    return report


def warn(config: pytest.Config, said: Mapping[str, Any], nodeid: str) -> None:
    """Tells a warning that was given elsewhere."""
    module, name = said["category"]
    where = {"builtins": builtins, "pytest": pytest}.get(str(module).partition(".")[0].lstrip("_"))
    category = getattr(where, str(name), None)
    text = str(said["message"])
    if not (isinstance(category, type) and issubclass(category, Warning)):
        # One that may not be there is not looked for: that would run its module here.
        category, text = UserWarning, f"{name}: {text}"
    message = warnings.WarningMessage(category(text), category, str(said["filename"]), int(said["lineno"]))
    location = said["location"]
    told = {"warning_message": message, "when": said["when"], "nodeid": nodeid}
    config.hook.pytest_warning_recorded.call_historic(
        kwargs={**told, "location": tuple(location) if isinstance(location, list) else None}
    )

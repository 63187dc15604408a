"""Which environments stay after their test, and where that is said."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Callable

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from ptest._environment import Environment

PROPERTY = "ptest_kept"
"""The property of a report that names a kept environment: it comes back from workers and forks, and is in JUnit XML."""


class Keeper:
    """Keeps the environments of tests that ended as it was asked for, and takes away all others."""

    def __init__(self, policy: str) -> None:
        self.policy = policy
        self._used: dict[str, list[tuple[Environment, str | None]]] = {}
        self._kept: dict[str, str] = {}
        self._heard: dict[str, list[str]] = {}
        self.tells: Callable[[str, Any], None] | None = None
        """Set in a fork: tells who made it, and stays, what a test uses."""

    @property
    def may_keep(self) -> bool:
        """Whether an environment may outlast the process: such a one is made so that it does."""
        return self.policy != "none"

    def uses(self, test: pytest.Item | None, environment: Environment, fixture: str | None = None) -> None:
        """Says that a test uses an environment; or all that use this fixture, if no test is said."""
        self._used.setdefault("" if test is None else test.nodeid, []).append((environment, fixture))
        if self.tells is not None and test is not None and self.may_keep:
            self.tells("uses", (test.nodeid, environment.id))

    def hears(self, test: str, environment: str) -> None:
        """That a test in a fork uses an environment, of which the fork may not live to tell."""
        self._heard.setdefault(test, []).append(environment)

    def lost(self, test: pytest.Item) -> list[Environment]:
        """The environments that a test used whose fork is lost: they are to be released here."""
        from ptest._api import default_store
        from ptest._errors import NotFoundError

        left: list[Environment] = []
        for id_ in self._heard.pop(test.nodeid, ()):
            # The fork may have taken it away before.
            with suppress(NotFoundError):
                left.append(default_store().find(id_))
        self._used.setdefault(test.nodeid, []).extend((environment, None) for environment in left)
        return left

    def release(self, environment: Environment) -> None:
        """Takes an environment away when its test is over, unless that is to be looked at."""
        if environment.id in self._kept:
            return
        from ptest._errors import NotFoundError

        # The test may have removed it.
        with suppress(NotFoundError):
            environment.remove()

    def _of(self, item: pytest.Item) -> list[Environment]:
        fixtures = getattr(item, "fixturenames", ())
        shared = [environment for environment, fixture in self._used.get("", ()) if fixture in fixtures]
        return [environment for environment, _ in self._used.get(item.nodeid, ())] + shared

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, Any, None]:
        outcome = yield
        if self._used:
            self.looks(item, outcome.get_result())

    def looks(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Keeps the environments of a test if its report is one after which they are to be kept, and says so in it."""
        if report.failed if self.policy == "failed" else self.policy == "all" and report.when == "call":
            for environment in self._of(item):
                if environment.id not in self._kept:
                    # The reports of later phases are to say so too: JUnit's XML takes it from the last one.
                    report.user_properties.append((PROPERTY, environment.id))
                    item.user_properties.append((PROPERTY, environment.id))
                    self._kept[environment.id] = item.nodeid
                report.sections.append(("ptest", f"kept environment: ptest shell {environment.id}"))
        if report.when == "teardown":
            self._used.pop(item.nodeid, None)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == PROPERTY:
                self._kept[str(value)] = report.nodeid

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._kept:
            terminalreporter.section("kept environments")
            for environment, test in self._kept.items():
                terminalreporter.line(f"ptest shell {environment}  # {test}")

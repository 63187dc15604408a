"""The pytest plugin: environments as fixtures, and tests apart from each other.

pytest loads it in every run where ptest is installed, so it imports nothing at that time that pytest has not: all else
is imported by the fixture, option or marker that asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ptest._pytest._fixtures import (
    keeper,
    ptest_env,
    ptest_env_factory,
    ptest_env_session,
    ptest_options,
    ptest_ports,
    ptest_snapshot,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ptest_env",
    "ptest_env_factory",
    "ptest_env_session",
    "ptest_options",
    "ptest_ports",
    "ptest_snapshot",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("ptest", "disposable environments (ptest)")
    group.addoption(
        "--ptest-keep",
        choices=("none", "failed", "all"),
        default="none",
        help="which tests' environments stay, for `ptest shell`: none (default), failed or all",
    )
    group.addoption(
        "--ptest-isolate",
        choices=("none", "test", "module"),
        default="none",
        help="run each test, or the tests of each module together, in a fork of this process: none (default), test or "
        "module",
    )
    group.addoption(
        "--ptest-timeout",
        type=float,
        metavar="SECONDS",
        help="end a test in its fork after that time, with all that it started (needs --ptest-isolate)",
    )
    group.addoption(
        "--ptest-python",
        metavar="PYTHONS",
        help="run the tests in each of these Pythons, in an environment as `ptest matrix` makes it: 3.9,3.12",
    )

    group.addoption(
        "--ptest-profile",
        choices=("standard", "none"),
        default="standard",
        help="the sandbox of a fork: standard (default), or none, which shares everything but memory with this process",
    )
    group.addoption(
        "--ptest-writes",
        choices=("discard", "keep"),
        default="discard",
        help="what becomes of files that a test in a fork writes: discard (default), when the fork ends, or keep",
    )
    group.addoption("--ptest-memory", metavar="SIZE", help="most memory of a fork, as 512M (default: no limit)")
    group.addoption("--ptest-pids", type=int, metavar="N", help="most processes and threads of a fork (default: 1024)")
    group.addoption(
        "--ptest-disk", metavar="SIZE", help="most that a fork can write and have discarded, as 100M (default: 1G)"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "ptest(**options): what the environments of the test's ptest fixtures are made of and what they are like, or, "
        "without such a fixture, the environment that the test itself runs in; "
        "the options are those of ptest.create, as python='3.12', requirements=['six'], memory='512M', network='none'",
    )
    if config.getoption("--ptest-keep") != "none":
        keeper(config)
    if config.getoption("--ptest-python") is not None:
        from ptest._pytest._pythons import Pythons

        asked = [it.strip() for it in config.getoption("--ptest-python").split(",")]
        config.pluginmanager.register(Pythons(config, asked), "ptest-pythons")
    if _is_isolated(config):
        from ptest._pytest._isolate import Isolation

        enclosing = None
        if config.getoption("--ptest-profile") != "none":
            from ptest._pytest._enclose import Enclosing

            enclosing = Enclosing(config)
        plugin = Isolation(config.getoption("--ptest-isolate"), config.getoption("--ptest-timeout"), enclosing)
        config.pluginmanager.register(plugin, "ptest-isolate")


def _is_isolated(config: pytest.Config) -> bool:
    """Whether tests run in forks here."""
    timeout = config.getoption("--ptest-timeout")
    if config.getoption("--ptest-isolate") == "none":
        _refuse(config, ("timeout", "memory", "pids", "disk"), "--ptest-isolate")
        return False
    if config.getoption("--ptest-profile") == "none":
        _refuse(config, ("memory", "disk"), "--ptest-profile=standard")
    if config.getoption("--ptest-writes") == "keep":
        _refuse(config, ("disk",), "--ptest-writes=discard")
    if timeout is not None and not timeout > 0:
        message = f"--ptest-timeout is a time in seconds, not {timeout}"
        raise pytest.UsageError(message)
    # Who debugs is at a terminal, which a fork in the background cannot read; set-ups are shown where they happen.
    return not any(config.getoption(name, False) for name in ("usepdb", "trace", "setuponly", "setupshow"))


def _refuse(config: pytest.Config, options: Sequence[str], needed: str) -> None:
    """Refuses options that nothing would look at."""
    for name in options:
        if config.getoption(f"--ptest-{name}") is not None:
            message = f"--ptest-{name} needs {needed}"
            raise pytest.UsageError(message)


def pytest_collection_modifyitems(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    is_used = False
    for item in items:
        for mark in item.iter_markers("ptest"):
            from ptest._pytest._marker import check

            check(item, mark)
            is_used = True
    if is_used:
        from ptest._pytest._elsewhere import elsewhere

        elsewhere(config)

"""The pytest plugin: environments as fixtures, and tests apart from each other.

pytest loads it in every run where ptest is installed, so it imports nothing at that time that pytest has not: all else
is imported by the fixture, option or marker that asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptest._pytest._fixtures import (
    ptest_env,
    ptest_env_factory,
    ptest_env_session,
    ptest_options,
    ptest_ports,
    ptest_snapshot,
)
from ptest._pytest._keep import Keeper
from ptest._pytest._marker import check

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

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


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "ptest(**options): what the environments of the test's ptest fixtures are made of and what they are like; "
        "the options are those of ptest.create, as python='3.12', requirements=['six'], memory='512M', network='none'",
    )
    config.pluginmanager.register(Keeper(config.getoption("--ptest-keep")), "ptest-keep")


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("ptest"):
            check(item, mark)

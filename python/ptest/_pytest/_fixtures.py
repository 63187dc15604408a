"""The fixtures."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Callable

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ptest._environment import Environment
    from ptest._options import EnvironmentOptions
    from ptest._pytest._keep import Keeper
    from ptest._records import Port, Snapshot

# pytest looks at what a fixture is named and takes, not at its types; what they are of is imported for type checkers.


@pytest.fixture(scope="session")
def ptest_options() -> EnvironmentOptions:
    """The options of every environment that the ptest fixtures make: define it anew in conftest.py to say some."""
    return {}


@pytest.fixture
def ptest_env_factory(
    request: pytest.FixtureRequest, ptest_options: EnvironmentOptions
) -> Iterator[Callable[..., Environment]]:
    """Makes environments for a test: ``ptest_env_factory(python="3.11")``, or forks of ``ptest_env_factory(snapshot)``.

    They are gone when the test is over.
    """
    from ptest._api import default_store
    from ptest._pytest._marker import options

    keep = keeper(request.config)
    made: list[Environment] = []
    asked: Any = {**ptest_options, **options(request.node)}

    def make(source: str | Snapshot | Environment | None = None, **options: Any) -> Environment:
        if source is None:
            environment = default_store().create(detached=keep.may_keep, **{**asked, **options})
        else:
            environment = default_store().fork(source, detached=keep.may_keep, **options)
        made.append(environment)
        keep.uses(request.node, environment)
        return environment

    yield make
    for environment in reversed(made):
        keep.release(environment)


@pytest.fixture
def ptest_env(ptest_env_factory: Callable[..., Environment]) -> Environment:
    """An environment of the test's own, as its marker ``ptest`` says. It is gone when the test is over."""
    return ptest_env_factory()


@pytest.fixture(scope="session")
def ptest_env_session(request: pytest.FixtureRequest, ptest_options: EnvironmentOptions) -> Iterator[Environment]:
    """An environment that all tests share, as the fixture ``ptest_options`` says."""
    from ptest._api import default_store

    keep = keeper(request.config)
    environment = default_store().create(detached=keep.may_keep, **ptest_options)
    keep.uses(None, environment, "ptest_env_session")
    yield environment
    keep.release(environment)


@pytest.fixture(scope="session")
def ptest_snapshot() -> Iterator[Callable[[Environment], Snapshot]]:
    """Keeps what an environment is now, for ``ptest_env_factory`` to make forks of, until the session is over."""
    from ptest._errors import NotFoundError

    taken: list[tuple[Environment, Snapshot]] = []

    def take(environment: Environment) -> Snapshot:
        snapshot = environment.snapshot()
        taken.append((environment, snapshot))
        return snapshot

    yield take
    for environment, snapshot in reversed(taken):
        # A test may have removed it.
        with suppress(NotFoundError):
            environment.store.remove_snapshot(snapshot)


@pytest.fixture
def ptest_ports() -> Iterator[Callable[..., list[Port]]]:
    """Leases ports to a test, as `Store.acquire_ports` does: ``first, second = ptest_ports(2)``."""
    from ptest._api import default_store

    leased: list[Port] = []

    def acquire(count: int = 1, **options: Any) -> list[Port]:
        ports = default_store().acquire_ports(count, **options)
        leased.extend(ports)
        return ports

    yield acquire
    if leased:
        default_store().release_ports(leased)


def keeper(config: pytest.Config) -> Keeper:
    """What keeps environments in this run; there from when it is first asked for."""
    found: Keeper | None = config.pluginmanager.getplugin("ptest-keep")
    if found is None:
        from ptest._pytest._keep import Keeper

        found = Keeper(config.getoption("--ptest-keep"))
        config.pluginmanager.register(found, "ptest-keep")
    return found

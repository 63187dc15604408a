"""What the tests of the predecessor's API share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

import pytest

from ptest.isolation import IsolationEvent, IsolationManager, VirtualenvEnvironment, VirtualenvIsolationEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import ptest

Seen = list[tuple[str, dict[str, object]]]
Watch = Callable[[object], Seen]


@pytest.fixture(autouse=True)
def in_the_store(store: ptest.Store) -> None:
    """Every environment is made in the tests' store."""


@pytest.fixture
def engine() -> Iterator[VirtualenvIsolationEngine]:
    engine = VirtualenvIsolationEngine({"command_timeout": 60, "pip_timeout": 120})
    yield engine
    engine.cleanup_all_environments()
    engine.snapshots.clear()


@pytest.fixture
def env(engine: VirtualenvIsolationEngine, tmp_path: Path) -> VirtualenvEnvironment:
    return engine.create_isolation(tmp_path / "env", "test_env", {})


@pytest.fixture
def manager() -> Iterator[IsolationManager]:
    with IsolationManager() as manager:
        yield manager


@pytest.fixture
def watch() -> Watch:
    """Lists what happens, as it happens."""

    def watch(watched: VirtualenvEnvironment | VirtualenvIsolationEngine) -> Seen:
        seen: Seen = []
        for event in IsolationEvent:
            watched.add_event_listener(event, lambda _, event, **payload: seen.append((event.value, payload)))
        return seen

    return watch

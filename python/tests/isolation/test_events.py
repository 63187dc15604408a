"""Every event is told, in order, to whoever listens; nobody who listens hurts anybody."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ptest.isolation import EnvironmentStatus, IsolationEvent, ProcessStatus, VirtualenvEnvironment

if TYPE_CHECKING:
    from pathlib import Path

    from ptest.isolation import VirtualenvIsolationEngine


def test_every_event_happens(engine: VirtualenvIsolationEngine, tmp_path: Path, watch) -> None:
    seen = watch(engine)
    env = engine.create_isolation(tmp_path / "e", "e", {})
    env.activate()
    env.install_package("six==1.15.0")
    env.install_package("six==1.16.0")
    snapshot = env.create_snapshot()
    env.restore_from_snapshot(snapshot)
    env.delete_snapshot(snapshot["snapshot_id"])
    env.uninstall_package("six")
    env.execute_command(["sleep", "60"], timeout=0.1)
    env.release_port(env.allocate_port())
    env.release_port(1)
    env.deactivate()
    env.cleanup()
    assert [event for event, _ in seen] == [
        "environment_creating",
        "environment_created",
        "environment_activating",
        "environment_activated",
        "package_installing",
        "package_installed",
        "package_installing",
        "package_updated",
        "package_installed",
        "snapshot_creating",
        "snapshot_created",
        "snapshot_restoring",
        "snapshot_restored",
        "snapshot_deleting",
        "snapshot_deleted",
        "package_uninstalled",
        "process_starting",
        "process_started",
        "process_stopping",
        "process_stopped",
        "network_allocating",
        "network_allocated",
        "network_releasing",
        "network_released",
        "network_releasing",
        "error_occurred",
        "environment_deactivating",
        "environment_deactivated",
        "environment_cleanup_start",
        "environment_cleanup_complete",
    ]
    assert {event.value for event in IsolationEvent} == {event for event, _ in seen}
    assert dict(seen)["package_updated"] == {"package": "six", "before": "1.15.0", "after": "1.16.0"}
    stopped = dict(seen)["process_stopped"]
    assert stopped.pop("process_id")
    assert stopped == {"command": ["sleep", "60"], "returncode": -15, "timed_out": True}


def test_a_command_is_among_the_processes_while_it_runs(env: VirtualenvEnvironment) -> None:
    found = []
    env.add_event_listener(
        IsolationEvent.PROCESS_STARTED,
        lambda env, _, process_id, command: found.append((env.processes[process_id], command)),
    )
    assert env.execute_command(["true"]).success
    [(process, command)] = found
    assert command == ["true"]
    assert process.status is ProcessStatus.STOPPED
    assert process.to_dict()["exit_code"] == 0
    assert env.processes == {}


def test_a_listener_that_raises_is_missed_by_nobody(env: VirtualenvEnvironment) -> None:
    heard = []

    def fail(*_: object) -> None:
        raise RuntimeError

    env.add_event_listener(IsolationEvent.ENVIRONMENT_ACTIVATED, fail)
    env.add_event_listener(IsolationEvent.ENVIRONMENT_ACTIVATED, lambda *_: heard.append(1))
    assert env.activate()
    assert heard == [1]


def test_a_listener_can_call_the_environment(env: VirtualenvEnvironment) -> None:
    results = []

    def call(env: VirtualenvEnvironment, _: IsolationEvent) -> None:
        results.append(env.execute_command(["echo", "1"]).stdout)
        results.append(env.activate())
        results.append(env.status)

    env.add_event_listener(IsolationEvent.ENVIRONMENT_ACTIVATING, call)
    assert env.activate()
    assert results[:2] == ["1\n", True]


def test_a_listener_can_clean_up_the_environment_that_it_hears_of(env: VirtualenvEnvironment) -> None:
    env.add_event_listener(IsolationEvent.PROCESS_STARTED, lambda env, _, **__: env.cleanup(force=True))
    assert not env.execute_command(["sleep", "60"], timeout=30).timed_out
    assert env.status is EnvironmentStatus.CLEANUP_COMPLETE


def test_a_listener_that_blocks_holds_up_only_who_called_it(env: VirtualenvEnvironment) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def block(*_: object) -> None:
        entered.set()
        go_on.wait(60)

    env.add_event_listener(IsolationEvent.ENVIRONMENT_ACTIVATING, block)
    thread = threading.Thread(target=env.activate)
    thread.start()
    try:
        assert entered.wait(60)
        assert env.activate()
        assert env.execute_command(["true"]).success
        assert env.install_package("six==1.16.0")
        assert env.create_snapshot()
        assert env.cleanup()
    finally:
        go_on.set()
        thread.join()
    assert env.status is EnvironmentStatus.CLEANUP_COMPLETE


def test_events_of_ones_own_are_told_too(env: VirtualenvEnvironment, engine: VirtualenvIsolationEngine) -> None:
    heard = []
    env.add_event_listener("deployed", lambda env, event, version: heard.append((env.env_id, event, version)))
    engine.add_event_listener("deployed", lambda *_, version: heard.append(version))
    env.emit_event("deployed", version=3)
    assert heard == [("test_env", "deployed", 3), 3]
    assert engine.remove_event_listener("deployed", print) is False


def test_what_fails_to_be_made_is_told_to_the_engines_listeners(
    engine: VirtualenvIsolationEngine,
    tmp_path: Path,
    watch,
) -> None:
    import pytest

    seen = watch(engine)
    with pytest.raises(ValueError, match="requirement"):
        engine.create_isolation(tmp_path / "e", "e", {"requirements": ["--help"]})
    assert [event for event, _ in seen] == ["environment_creating", "error_occurred"]
    assert not (tmp_path / "e").exists()
    assert engine.list_environments() == {}
    assert engine.create_isolation(tmp_path / "e", "e", {}).validate_isolation()

"""Where the predecessor failed: each is a promise here. The numbers are those of the list of its failures."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

import ptest
from ptest.isolation import (
    DuplicateEnvironmentError,
    EngineNotAvailableError,
    EnvironmentStatus,
    IsolationEvent,
    IsolationManager,
    TooManyEnvironmentsError,
    VirtualenvEnvironment,
    VirtualenvIsolationEngine,
)

if TYPE_CHECKING:
    from pathlib import Path


def ended(path: Path) -> bool:
    """Whether a heartbeat has stopped: waits until it has not grown for a while, or for long."""
    size, since = -1, time.monotonic()
    deadline = since + 10
    while time.monotonic() < deadline:
        now = path.stat().st_size
        if now != size:
            size, since = now, time.monotonic()
        elif time.monotonic() - since > 0.5:
            return True
    return False


# 1. Snapshots.


def test_1_a_failed_restore_leaves_the_environment_as_it_was(env: VirtualenvEnvironment, watch) -> None:
    assert env.install_package("six==1.16.0")
    seen = watch(env)
    assert not env.restore_from_snapshot({"snapshot_id": "gone", "name": "gone", "packages": {"six": "1.15.0"}})
    assert env.status is EnvironmentStatus.ERROR
    assert [event for event, _ in seen] == ["snapshot_restoring", "error_occurred"]
    assert env.get_package_version("six") == "1.16.0"
    assert env.execute_command([env.python_path, "-c", "import six"]).success


def test_1_a_restored_environment_has_what_it_had(env: VirtualenvEnvironment) -> None:
    assert env.install_package("six==1.16.0")
    snapshot = env.create_snapshot()
    assert snapshot["packages"]["six"] == "1.16.0"
    assert env.install_package("six==1.15.0")
    assert env.restore_from_snapshot(snapshot)
    assert env.get_installed_packages() == snapshot["packages"]
    assert env.delete_snapshot(snapshot["snapshot_id"])
    assert not env.delete_snapshot(snapshot["snapshot_id"])


def test_1_snapshots_of_one_moment_have_ids_of_their_own(env: VirtualenvEnvironment) -> None:
    taken = [env.create_snapshot()["snapshot_id"] for _ in range(5)]
    assert len(set(taken)) == 5
    assert [it["snapshot_id"] for it in env.list_snapshots()] == taken
    assert env.create_snapshot("once")
    assert env.create_snapshot("once") == {}


def test_1_no_name_in_a_snapshot_leads_out_of_the_store(env: VirtualenvEnvironment, tmp_path: Path, home: Path) -> None:
    before = {path for path in tmp_path.rglob("*") if home not in path.parents}
    snapshot = env.create_snapshot("../../x")
    assert snapshot["snapshot_id"] == "../../x"
    assert env.restore_from_snapshot("../../x")
    assert not env.restore_from_snapshot({**snapshot, "name": "../../x"})
    assert {path for path in tmp_path.rglob("*") if home not in path.parents} == before
    assert env.delete_snapshot("../../x")


# 2. Clean-up.


def test_2_clean_up_takes_away_what_was_made_and_leaves_what_was_there(
    engine: VirtualenvIsolationEngine,
    tmp_path: Path,
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "file").write_text("mine")
    for path in (mine, tmp_path / "made/deep"):
        env = engine.create_isolation(path, "e", {})
        port = env.allocate_port()
        assert port in env.allocated_ports
        assert env.execute_command(["touch", "written"]).success
        assert env.cleanup()
        assert env.status is EnvironmentStatus.CLEANUP_COMPLETE
        assert env.allocated_ports == []
    assert sorted(it.name for it in mine.iterdir()) == ["file", "written"]
    assert not (tmp_path / "made").exists()


def test_2_what_is_not_gone_is_no_success(
    engine: VirtualenvIsolationEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    env = engine.create_isolation(tmp_path / "made", "e", {})

    def refuse(*_: object) -> None:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", refuse)
        assert not env.cleanup()
    assert isinstance(env.last_error, PermissionError)
    assert env.cleanup()
    assert not (tmp_path / "made").exists()


def test_2_no_command_runs_after_clean_up(env: VirtualenvEnvironment, engine: VirtualenvIsolationEngine) -> None:
    assert engine.cleanup_isolation(env)
    result = env.execute_command(["true"])
    assert (result.success, result.returncode) == (False, 125)
    assert "test_env" in result.stderr
    assert not env.install_package("six")
    assert not env.activate()
    assert env.cleanup()


def test_2_what_ran_is_gone_with_the_environment(engine: VirtualenvIsolationEngine, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    env = engine.create_isolation(tmp_path / "mine", "e", {})
    beat = env.path / "beat"
    heart = "(while :; do echo >> beat; sleep 0.05; done) > /dev/null 2>&1 & until [ -e beat ]; do sleep 0.01; done"
    assert env.execute_command(["sh", "-c", heart]).success
    assert env.cleanup(force=True)
    assert ended(beat)


# 3. Packages.


def test_3_an_option_is_no_package(env: VirtualenvEnvironment, watch) -> None:
    seen = watch(env)
    assert not env.install_package("--help")
    assert env.status is EnvironmentStatus.ERROR
    assert [event for event, _ in seen] == ["package_installing", "error_occurred"]
    assert seen[-1][1]["operation"] == "install_package"
    assert env.install_package("six==1.16.0")
    assert env.status is not EnvironmentStatus.ERROR


def test_3_an_installation_does_not_go_elsewhere(
    env: VirtualenvEnvironment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("PYTHONHOME", "/nonexistent")
    monkeypatch.setenv("MY_TOKEN", "secret")
    assert env.install_package("six", "1.16.0")
    assert not (tmp_path / "elsewhere").exists()
    assert env.execute_command([env.python_path, "-c", "import six"]).success
    variables = env.execute_command(["env"]).stdout
    assert "MY_TOKEN" not in variables
    assert "PYTHONHOME" not in variables


def test_3_the_installers_words_are_told(env: VirtualenvEnvironment, watch) -> None:
    seen = watch(env)
    before = env.get_installed_packages()
    assert not env.install_package("six==0.0.0.dev999")
    assert "six" in env.last_error.output
    assert seen[-1][1]["error"] is env.last_error
    assert env.get_installed_packages() == before


# 4. Timeouts.


def test_4_a_timeout_ends_all_and_keeps_what_was_written(engine: VirtualenvIsolationEngine, tmp_path: Path) -> None:
    env = engine.create_isolation(tmp_path, "e", {})
    command = "echo partial; (while :; do echo >> beat; sleep 0.05; done) & sleep 60"
    result = env.execute_command(["sh", "-c", command], timeout=1)
    assert (result.timed_out, result.success, result.stdout) == (True, False, "partial\n")
    assert result.duration < 30
    assert ended(env.path / "beat")


def test_4_no_time_is_no_time(env: VirtualenvEnvironment) -> None:
    assert env.execute_command(["sleep", "60"], timeout=0).timed_out


# 5. Output.


def test_5_much_output_takes_little_memory(env: VirtualenvEnvironment) -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = env.execute_command(["sh", "-c", "echo first; head -c 200000000 /dev/zero | tr '\\0' x; echo; echo last"])
    assert result.success
    assert result.stdout.startswith("first\n")
    assert result.stdout.endswith("last\n")
    assert "bytes left out" in result.stdout
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150 << 10


def test_5_what_is_no_text_is_no_failure(env: VirtualenvEnvironment) -> None:
    result = env.execute_command(["printf", r"a\377b"])
    assert (result.success, result.stdout) == (True, "a\ufffdb")


def test_5_a_command_does_not_read_what_the_caller_reads(env: VirtualenvEnvironment) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"the caller's\n")
    kept = os.dup(0)
    try:
        os.dup2(reading, 0)
        assert env.execute_command(["cat"]).stdout == ""
    finally:
        os.dup2(kept, 0)
        for number in (kept, reading, writing):
            os.close(number)


def test_5_what_a_command_leaves_behind_does_not_hold_it_up(env: VirtualenvEnvironment) -> None:
    assert env.execute_command(["sh", "-c", "echo 1; sleep 60 &"], timeout=30).stdout == "1\n"


# 6. Threads.


def test_6_there_are_never_more_environments_than_allowed(tmp_path: Path) -> None:
    with IsolationManager({"max_environments": 1}) as manager, ThreadPoolExecutor(4) as threads:
        tries = [threads.submit(manager.create_environment, tmp_path / str(i)) for i in range(4)]
        failures = [it.exception() for it in tries]
        assert failures.count(None) == 1
        assert {type(it) for it in failures if it is not None} == {TooManyEnvironmentsError}
        assert isinstance(failures[0] or failures[1], RuntimeError)
        [env] = manager.active_environments.values()
        assert env.cleanup()
        assert manager.create_environment(tmp_path / "next")


def test_6_a_second_environment_of_an_id_is_refused(engine: VirtualenvIsolationEngine, tmp_path: Path) -> None:
    env = engine.create_isolation(tmp_path / "a", "one", {})
    with pytest.raises(DuplicateEnvironmentError):
        engine.create_isolation(tmp_path / "b", "one", {})
    with pytest.raises(DuplicateEnvironmentError):
        engine.create_isolation(tmp_path / "a", "two", {})
    assert env.validate_isolation()
    assert not (tmp_path / "b").exists()
    assert engine.cleanup_isolation(env)
    assert engine.create_isolation(tmp_path / "a", "one", {}).validate_isolation()


def test_6_installations_at_the_same_time_all_happen(env: VirtualenvEnvironment) -> None:
    wanted = {"six": "1.16.0", "attrs": "23.2.0", "idna": "3.4"}
    with ThreadPoolExecutor(3) as threads:
        assert all(threads.map(env.install_package, wanted, wanted.values()))
    assert wanted.items() <= env.get_installed_packages().items()


def test_6_threads_that_activate_see_one_activation(env: VirtualenvEnvironment, watch) -> None:
    seen = watch(env)
    barrier = threading.Barrier(8)

    def activate() -> bool:
        barrier.wait()
        return env.activate()

    with ThreadPoolExecutor(8) as threads:
        assert all(it.result() for it in [threads.submit(activate) for _ in range(8)])
    assert [event for event, _ in seen] == ["environment_activating", "environment_activated"]


def test_6_who_looked_before_another_activated_tells_of_no_activation(
    env: VirtualenvEnvironment, watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = watch(env)
    look = ptest.Environment.status

    def looks_early(environment: ptest.Environment) -> ptest.Status:
        found = look(environment)
        monkeypatch.setattr(ptest.Environment, "status", look)
        with ThreadPoolExecutor(1) as other:
            assert other.submit(env.activate).result()
        return found

    monkeypatch.setattr(ptest.Environment, "status", looks_early)
    assert env.activate()
    assert [event for event, _ in seen] == ["environment_activating", "environment_activated"]


def test_6_a_listener_that_removes_itself_is_missed_by_nobody(env: VirtualenvEnvironment) -> None:
    heard = []

    def once(env: VirtualenvEnvironment, event: IsolationEvent) -> None:
        heard.append("once")
        assert env.remove_event_listener(event, once)

    env.add_event_listener(IsolationEvent.ENVIRONMENT_ACTIVATED, once)
    env.add_event_listener(IsolationEvent.ENVIRONMENT_ACTIVATED, lambda *_: heard.append("always"))
    env.activate()
    env.deactivate()
    env.activate()
    assert heard == ["once", "always", "always"]
    assert not env.remove_event_listener(IsolationEvent.ENVIRONMENT_ACTIVATED, once)


# 7. Ports.


def test_7_nobody_gets_a_port_twice(engine: VirtualenvIsolationEngine, tmp_path: Path) -> None:
    envs = [engine.create_isolation(tmp_path / str(i), str(i), {}) for i in range(2)]
    with ThreadPoolExecutor(8) as threads:
        ports = list(threads.map(lambda i: envs[i % 2].allocate_port(), range(40)))
    assert len(set(ports)) == 40
    assert sorted(envs[0].allocated_ports + envs[1].allocated_ports) == sorted(ports)
    theirs = envs[1].allocated_ports[0]
    assert not envs[0].release_port(theirs)
    assert envs[1].release_port(theirs)
    assert not envs[1].release_port(theirs)


# 8 is in test_configuration.


# 9. Reports.


def test_9_a_package_is_found_in_any_spelling(env: VirtualenvEnvironment, watch) -> None:
    assert env.install_package("typing_extensions==4.12.2")
    assert env.get_package_version("Typing.Extensions") == "4.12.2"
    seen = watch(env)
    assert env.uninstall_package("Typing-Extensions")
    assert [event for event, _ in seen] == ["package_uninstalled"]
    assert env.get_package_version("typing_extensions") is None
    assert not env.uninstall_package("typing_extensions")


def test_9_usage_is_what_is_used(env: VirtualenvEnvironment) -> None:
    assert env.execute_command([env.python_path, "-c", "sum(range(10**7))"]).success
    # What is just being executed has no memory yet.
    executed = "sleep 60 > /dev/null 2>&1 & until grep -q sleep /proc/$!/comm; do :; done"
    assert env.execute_command(["sh", "-c", executed]).success
    env.allocate_port()
    usage = env.resource_usage
    assert usage["cpu"] > 0.01
    assert usage["memory"] > 0
    assert usage["disk"] > 0
    assert usage["port"] == 1
    assert env.get_status()["process_count"] == 1


def test_9_an_environment_that_is_gone_is_not_healthy(
    engine: VirtualenvIsolationEngine,
    env: VirtualenvEnvironment,
    store,
) -> None:
    assert engine.check_environment_health(env)
    store.find(env.environment.id).remove()
    assert not engine.check_environment_health(env)
    assert not env.validate_isolation()
    assert env.status is EnvironmentStatus.CLEANUP_COMPLETE
    assert engine.cleanup_isolation(env)


def test_9_an_environment_whose_link_is_gone_is_not_healthy(
    engine: VirtualenvIsolationEngine,
    env: VirtualenvEnvironment,
) -> None:
    env.venv_path.unlink()
    assert not engine.check_environment_health(env)
    assert not env.validate_isolation()


# 10. Paths.


def test_10_a_relative_path_is_one_place(engine: VirtualenvIsolationEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    env = engine.create_isolation("relative", "e", {})
    monkeypatch.chdir("/")
    assert env.python_path.is_absolute()
    assert env.validate_isolation()


# 11. Migration.


def test_11_what_migrates_has_all_that_it_had(manager: IsolationManager, tmp_path: Path) -> None:
    env = manager.create_environment(tmp_path / "e")
    assert env.install_package("six==1.16.0")
    assert env.execute_command(["sh", "-c", "echo 1 > $VIRTUAL_ENV/file; echo 2 > file"]).success
    new = manager.migrate_environment(env.env_id, "basic")
    assert manager.active_environments == {new.env_id: new}
    assert env.status is EnvironmentStatus.CLEANUP_COMPLETE
    assert new.get_package_version("six") == "1.16.0"
    result = new.execute_command(
        [new.python_path, "-c", "import six, os; print(open(os.environ['VIRTUAL_ENV'] + '/file').read())"]
    )
    assert result.stdout == "1\n\n", result.stderr
    assert (tmp_path / "e/file").read_text() == "2\n"
    assert manager.validate_environment(new.env_id)


def test_11_what_cannot_migrate_stays(manager: IsolationManager, tmp_path: Path) -> None:
    env = manager.create_environment(tmp_path / "e")
    with pytest.raises(EngineNotAvailableError):
        manager.migrate_environment(env.env_id, "docker")
    manager.register_engine("broken", VirtualenvIsolationEngine({"python_path": "/nonexistent/python"}))
    with pytest.raises(ptest.UnsupportedError):
        manager.migrate_environment(env.env_id, "broken", copy_files=False)
    assert manager.get_environment(env.env_id) is env
    assert manager.validate_environment(env.env_id)

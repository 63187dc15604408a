"""The manager: many environments, their levels, snapshots and reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import ptest
from ptest.isolation import (
    EngineNotAvailableError,
    EnvironmentStatus,
    IsolationLevel,
    IsolationManager,
    UnknownSnapshotError,
    VirtualenvIsolationEngine,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_an_environment_is_known_by_its_id_until_it_is_gone(manager: IsolationManager, tmp_path: Path) -> None:
    env = manager.create_environment(str(tmp_path / "e"), "virtualenv", {"env_id": "mine"})
    assert manager.get_environment("mine") is env
    assert manager.validate_environment("mine")
    assert manager.list_environments()["mine"]["isolation_type"] == "virtualenv"
    assert manager.get_environment_status("mine")["env_id"] == "mine"
    assert manager.cleanup_environment("mine")
    assert not manager.cleanup_environment("mine")
    assert manager.get_environment("mine") is None
    assert not manager.validate_environment("mine")
    assert manager.get_environment_status("mine") == {"status": "not_found"}


def test_containers_are_said_to_be_missing_and_never_pretended(manager: IsolationManager, tmp_path: Path) -> None:
    engines = manager.list_available_engines()
    assert {name for name, engine in engines.items() if engine["available"]} == {"basic", "virtualenv"}
    for level in (IsolationLevel.DOCKER, IsolationLevel.KUBERNETES):
        assert "no engine" in engines[level.value]["reason"]
        with pytest.raises(EngineNotAvailableError, match="no engine"):
            manager.create_environment(tmp_path / "e", level)
    assert not (tmp_path / "e").exists()
    assert manager.list_environments() == {}


def test_the_basic_level_is_not_kept_apart_from_the_machine(manager: IsolationManager, tmp_path: Path) -> None:
    env = manager.create_environment(tmp_path / "e", IsolationLevel.BASIC)
    assert env.get_status()["isolation_type"] == "basic"
    assert env.validate_isolation()
    assert env.environment.status().profile == "none"


def test_an_engine_of_ones_own_serves_its_level(manager: IsolationManager, tmp_path: Path) -> None:
    class Mine(VirtualenvIsolationEngine):
        name = "mine"

    manager.register_engine("mine", Mine)
    env = manager.create_environment(tmp_path / "e", "mine")
    assert env.isolation_engine.name == "mine"
    assert manager.list_available_engines()["mine"]["environment_count"] == 1


@pytest.mark.parametrize(
    ("requirements", "level"),
    [
        ({}, "virtualenv"),
        ({"security_level": "low"}, "basic"),
        ({"security_level": "low", "resource_limits": {"memory": "1G"}}, "virtualenv"),
        ({"security_level": "HIGH", "network_isolation": True}, "virtualenv"),
        ({"custom_image": True}, "docker"),
    ],
)
def test_the_weakest_level_is_chosen_that_will_do(manager: IsolationManager, requirements, level: str) -> None:
    assert manager.auto_select_isolation_level(requirements) == level


def test_a_snapshot_outlives_its_environment(manager: IsolationManager, tmp_path: Path) -> None:
    env = manager.create_environment(tmp_path / "e", None, {"env_id": "e"})
    assert env.install_package("six==1.16.0")
    snapshot = manager.create_snapshot("e", "good")
    assert manager.list_snapshots("e") == [snapshot]
    assert env.uninstall_package("six")
    assert manager.restore_from_snapshot("good") is env
    assert env.get_package_version("six") == "1.16.0"
    assert env.cleanup()
    again = manager.restore_from_snapshot("good")
    assert (again.env_id, again.path) == ("e", env.path)
    assert again.get_package_version("six") == "1.16.0"
    assert again.validate_isolation()
    assert manager.delete_snapshot("good")
    assert not manager.delete_snapshot("good")
    with pytest.raises(UnknownSnapshotError):
        manager.restore_from_snapshot("good")


def test_a_snapshot_can_be_written_and_read(manager: IsolationManager, tmp_path: Path) -> None:
    env = manager.create_environment(tmp_path / "e", None, {"env_id": "e"})
    assert env.install_package("six==1.16.0")
    manager.create_snapshot("e", "good")
    assert manager.export_snapshot("good", tmp_path / "file")
    assert not manager.export_snapshot("none", tmp_path / "other")
    assert manager.delete_snapshot("good")
    imported = manager.import_snapshot(tmp_path / "file")
    assert imported["packages"]["six"] == "1.16.0"
    assert env.uninstall_package("six")
    assert env.restore_from_snapshot(imported)
    assert env.get_package_version("six") == "1.16.0"
    (tmp_path / "broken").write_text("no snapshot")
    with pytest.raises(ptest.PtestError):
        manager.import_snapshot(tmp_path / "broken")


def test_many_are_made_and_taken_away_at_once(manager: IsolationManager, tmp_path: Path) -> None:
    made = manager.create_environments_bulk(
        [{"env_id": "a"}, {"env_id": "b", "path": tmp_path / "mine"}, {}],
        path_template=str(tmp_path / "{env_id}"),
    )
    assert len(made) == 3
    assert made["a"].path == tmp_path / "a"
    assert made["b"].path == tmp_path / "mine"
    health = manager.check_environments_health(["a", "none"])
    assert {env_id: it["status"] for env_id, it in health.items()} == {"a": "healthy", "none": "unknown"}
    metrics = manager.collect_environment_metrics()
    assert metrics["a"]["performance"]["packages_count"] >= 1
    assert metrics["a"]["resource_usage"]["disk_bytes"] > 0
    assert manager.collect_environment_metrics(["none"])["none"]["collection_failed"]
    assert manager.cleanup_environments_bulk(["a", "none"]) == {"a": True, "none": False}
    assert all(manager.cleanup_environments_bulk().values())
    assert made["b"].status is EnvironmentStatus.CLEANUP_COMPLETE


def test_when_one_of_many_cannot_be_made_none_is(manager: IsolationManager, tmp_path: Path) -> None:
    with pytest.raises(ptest.InvalidInputError):
        manager.create_environments_bulk([{"env_id": "a"}, {"unknown": 1}], str(tmp_path / "{env_id}"))
    assert manager.list_environments() == {}
    assert not (tmp_path / "a").exists()


def test_many_are_made_at_once(manager: IsolationManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ptest.Store, "create")
    configs = [{"env_id": str(number), "requirements": ["six==1.16.0"]} for number in range(4)]
    made = manager.create_environments_bulk(configs, str(tmp_path / "{env_id}"))
    assert [env.get_package_version("six") for env in made.values()] == ["1.16.0"] * 4
    assert all((env.path / "venv/bin/python").exists() for env in made.values())


def test_why_one_of_many_cannot_be_made_is_told_as_of_one(manager: IsolationManager, tmp_path: Path, store) -> None:
    with store.create("only"):
        with pytest.raises(ptest.ResolutionError):
            manager.create_environments_bulk(
                [{}, {"requirements": ["six==0.0.0.dev9"]}, {}], str(tmp_path / "{env_id}")
            )
        assert manager.list_environments() == {}
        assert [it.name for it in store.environments()] == ["only"]
    assert list(tmp_path.glob("env_*")) == []


def test_an_environment_that_is_gone_is_unhealthy(manager: IsolationManager, tmp_path: Path, store) -> None:
    env = manager.create_environment(tmp_path / "e", None, {"env_id": "e"})
    store.find(env.environment.id).remove()
    assert manager.check_environments_health()["e"]["status"] == "unhealthy"

"""Every configuration key does what it says (8 of the predecessor's failures), and none is read by nothing."""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING, Any

import pytest

import ptest
from ptest.isolation import DuplicateEnvironmentError, EnvironmentStatus, IsolationManager, VirtualenvIsolationEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Any]:
    """Makes an environment of an engine of this configuration."""
    engines = []

    def make(config: dict[str, Any], isolation_config: dict[str, Any] | None = None, path: str = "e") -> Any:
        engines.append(VirtualenvIsolationEngine(config))
        return engines[-1].create_isolation(tmp_path / path, "e", isolation_config)

    yield make
    for engine in engines:
        engine.cleanup_all_environments()


def test_8_python_path_is_its_python(made) -> None:
    # That of one without a lock is 3.14.7t.
    env = made({"python_path": platform.python_version() + sys.abiflags})
    assert env.execute_command(["python", "-V"]).stdout == f"Python {platform.python_version()}\n"
    with pytest.raises(ptest.PtestError):
        made({"python_path": "/nonexistent/python"}, path="other")


@pytest.mark.parametrize("asked", [True, False])
def test_8_system_site_packages_are_seen_or_not(made, *, asked: bool) -> None:
    env = made({"system_site_packages": asked})
    question = "import sys; print(any(it.startswith(sys.base_prefix) and 'site-packages' in it for it in sys.path))"
    for python in ("python", env.python_path):
        assert env.execute_command([python, "-c", question]).stdout == f"{asked}\n"
    assert env.install_package("six==1.16.0")
    assert env.execute_command([env.python_path, "-c", question]).stdout == f"{asked}\n"


@pytest.mark.parametrize("asked", [True, False])
def test_8_symlinks_decides_what_python_is(made, *, asked: bool) -> None:
    env = made({"symlinks": asked})
    test = "if test -L $VIRTUAL_ENV/bin/python; then echo True; else echo False; fi"
    assert env.execute_command(["sh", "-c", test]).stdout == f"{asked}\n"
    assert env.validate_isolation()


def test_8_clear_and_upgrade_take_the_place_of_what_is_there(made) -> None:
    first = made({})
    assert first.install_package("six==1.16.0")
    with pytest.raises(DuplicateEnvironmentError):
        made({})
    second = made({"upgrade": True})
    assert first.status is EnvironmentStatus.CLEANUP_COMPLETE
    assert second.get_package_version("six") == "1.16.0"
    third = made({"clear": True})
    assert second.status is EnvironmentStatus.CLEANUP_COMPLETE
    assert third.get_package_version("six") is None
    assert third.validate_isolation()
    assert not VirtualenvIsolationEngine({"clear": True, "upgrade": True}).validate_config()


def test_8_what_ptest_did_not_make_is_never_cleared(made, tmp_path: Path) -> None:
    (tmp_path / "e/venv").mkdir(parents=True)
    (tmp_path / "e/venv/file").touch()
    with pytest.raises(DuplicateEnvironmentError):
        made({"clear": True})
    assert (tmp_path / "e/venv/file").exists()


def test_8_command_timeout_holds_unless_another_is_said(made) -> None:
    env = made({"command_timeout": 0.2})
    assert env.execute_command(["sleep", "60"]).timed_out
    assert env.execute_command(["sleep", "0.5"], timeout=30).success


def test_8_pip_timeout_ends_an_installation_and_undoes_it(made) -> None:
    env = made({"pip_timeout": 0.01})
    before = env.get_installed_packages()
    assert not env.install_package("attrs==22.2.0")
    assert isinstance(env.last_error, TimeoutError)
    assert env.get_installed_packages() == before


def test_what_an_environment_is_given_counts_more_than_its_engines(made) -> None:
    env = made({"command_timeout": 0, "env": {"GIVEN": "1"}}, {"command_timeout": 60})
    assert env.execute_command(["sh", "-c", "echo $GIVEN"]).stdout == "1\n"
    assert env.config == {"command_timeout": 60, "env": {"GIVEN": "1"}}


@pytest.mark.parametrize(
    "config",
    [{"comand_timeout": 3}, {"clear": "yes"}, {"pip_timeout": -1}, {"cleanup_policy": "later"}, {"python_path": 3}],
)
def test_a_configuration_that_cannot_be_used_is_refused(made, tmp_path: Path, config: dict[str, Any]) -> None:
    assert not VirtualenvIsolationEngine(config).validate_config()
    with pytest.raises(ValueError, match=next(iter(config))):
        made(config)
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize("config", [{"max_environment": 3}, {"max_environments": -1}, {"cleanup_policy": 3}])
def test_a_managers_configuration_that_cannot_be_used_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ptest.InvalidInputError, match=next(iter(config))):
        IsolationManager(config)


def test_8_the_configuration_of_a_second_manager_counts(tmp_path: Path) -> None:
    configs = [{"virtualenv": {"env": {"GIVEN": str(i)}}, "max_environments": i + 1} for i in range(2)]
    for i, config in enumerate(configs):
        with IsolationManager(config) as manager:
            assert manager.max_environments == i + 1
            env = manager.create_environment(tmp_path / str(i))
            assert env.execute_command(["sh", "-c", "echo $GIVEN"]).stdout == f"{i}\n"


def test_policies_say_when_environments_go(tmp_path: Path, store: ptest.Store) -> None:
    gone_after_block = {"immediate": True, "on_request": True, "on_shutdown": False, "scheduled": False, "never": False}
    for policy, gone in gone_after_block.items():
        with IsolationManager({"cleanup_policy": policy, "cleanup_after": 100}) as manager:
            env = manager.create_environment(tmp_path / policy)
            status = store.find(env.environment.id).status()
            assert (status.owner == "detached") is (policy == "never")
            assert (status.ends_at is not None) is (policy == "scheduled")
        assert (env.status is EnvironmentStatus.CLEANUP_COMPLETE) is gone, policy
        assert env.cleanup()


def test_an_environment_of_the_immediate_policy_goes_when_it_is_deactivated(tmp_path: Path) -> None:
    with IsolationManager({"cleanup_policy": "immediate"}) as manager:
        env = manager.create_environment(tmp_path / "e")
        assert env.activate()
        assert env.deactivate()
        assert manager.active_environments == {}
        assert not (tmp_path / "e").exists()

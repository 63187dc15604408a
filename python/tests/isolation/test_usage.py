"""What programs were written like for the predecessor, unchanged."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import ptest.isolation
from ptest.isolation import EnvironmentStatus, IsolationEvent, VirtualenvEnvironment, VirtualenvIsolationEngine


@pytest.mark.parametrize("as_text", [True, False])
def test_the_first_example_runs_as_it_is_written(tmp_path: Path, *, as_text: bool) -> None:
    temp_dir = str(tmp_path / "work") if as_text else tmp_path / "work"

    engine = VirtualenvIsolationEngine({"command_timeout": 300, "pip_timeout": 300})
    env = engine.create_isolation(temp_dir, "test_env", {})
    env.activate()
    assert env.install_package("requests==2.28.1")
    result = env.execute_command([env.python_path, "-c", "import requests; print(requests.__version__)"])
    assert (result.returncode, result.stdout) == (0, "2.28.1\n"), result.stderr
    assert engine.cleanup_isolation(env)
    assert not Path(temp_dir).exists()


def test_the_example_of_events_runs_as_it_is_written(env: VirtualenvEnvironment) -> None:
    installed = []

    def on_package_installed(env: VirtualenvEnvironment, event: IsolationEvent, package: str) -> None:
        installed.append((env.env_id, event, package))

    env.add_event_listener(IsolationEvent.PACKAGE_INSTALLED, on_package_installed)
    assert env.install_package("six==1.16.0")
    assert installed == [("test_env", IsolationEvent.PACKAGE_INSTALLED, "six==1.16.0")]


def test_the_example_of_threads_runs_with_fifty(engine: VirtualenvIsolationEngine, tmp_path: Path) -> None:
    def create_env(i: int) -> VirtualenvEnvironment:
        env = engine.create_isolation(tmp_path / f"env_{i}", f"env_{i}", {})
        assert env.activate()
        assert env.execute_command([env.python_path, "-c", f"print({i})"]).stdout == f"{i}\n"
        return env

    with ThreadPoolExecutor(max_workers=50) as executor:
        futures = [executor.submit(create_env, i) for i in range(50)]
        environments = [f.result() for f in futures]
    assert len({env.env_id for env in environments}) == 50
    assert engine.cleanup_all_environments() == 50
    assert list(tmp_path.glob("env_*")) == []


def test_python_path_is_the_same_python_inside_and_outside(env: VirtualenvEnvironment) -> None:
    assert env.install_package("six==1.16.0")
    question = [env.python_path, "-c", "import six, sys; print(six.__file__ != '', sys.prefix != sys.base_prefix)"]
    assert env.execute_command(question).stdout == "True True\n"
    outside = subprocess.run(question, capture_output=True, text=True, check=False)
    assert outside.stdout == "True True\n", outside.stderr
    assert env.execute_command([env.pip_path, "--version"]).success
    assert env.execute_command(["sh", "-c", f". {env.activate_script} && command -v python"]).success


def test_commands_start_in_the_callers_directory_and_write_there(env: VirtualenvEnvironment) -> None:
    assert env.execute_command(["sh", "-c", "pwd; mkdir below; echo 1 > below/file"]).stdout == f"{env.path}\n"
    assert (env.path / "below/file").read_text() == "1\n"
    assert env.execute_command(["cat", "file"], cwd="below").stdout == "1\n"
    assert env.execute_command(["sh", "-c", "echo $GIVEN"], env_vars={"GIVEN": "it"}).stdout == "it\n"


def test_activation_changes_nothing_of_this_process(env: VirtualenvEnvironment) -> None:
    before = (dict(os.environ), list(sys.path), sys.prefix, Path.cwd())
    assert env.activate()
    assert (dict(os.environ), list(sys.path), sys.prefix, Path.cwd()) == before
    assert env.status is EnvironmentStatus.ACTIVE
    assert env.deactivate()
    assert env.status is EnvironmentStatus.INACTIVE
    assert env.activated_at is not None
    assert env.deactivated_at is not None


def test_importing_the_package_imports_none_of_this() -> None:
    script = "import sys, ptest; sys.exit(any(name.startswith('ptest.isolation') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_every_public_name_is_there() -> None:
    for name in ptest.isolation.__all__:
        assert getattr(ptest.isolation, name).__name__ == name
    with pytest.raises(AttributeError):
        _ = ptest.isolation.nothing


def test_get_status_has_the_keys_that_it_had(env: VirtualenvEnvironment) -> None:
    assert list(env.get_status()) == [
        "env_id",
        "path",
        "status",
        "created_at",
        "activated_at",
        "deactivated_at",
        "last_activity",
        "isolation_type",
        "process_count",
        "allocated_ports",
        "resource_usage",
        "config",
    ]


def test_what_a_killed_process_left_in_a_directory_is_in_nobodys_way(
    engine: VirtualenvIsolationEngine,
    tmp_path: Path,
    script,
) -> None:
    killed = script(
        """
        import os, signal, sys
        from ptest.isolation import VirtualenvIsolationEngine
        VirtualenvIsolationEngine().create_isolation(sys.argv[1], "left")
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        str(tmp_path / "left"),
    )
    assert killed.returncode == -9, killed.stderr
    assert (tmp_path / "left/venv").is_symlink()
    env = engine.create_isolation(tmp_path / "left", "next")
    assert env.validate_isolation()


def test_what_is_not_cleaned_up_goes_with_the_process(tmp_path: Path, store: ptest.Store, script) -> None:
    before = store.snapshots()
    (tmp_path / "mine").mkdir()
    ended = script(
        """
        import sys
        from ptest.isolation import VirtualenvIsolationEngine
        engine = VirtualenvIsolationEngine()
        envs = [engine.create_isolation(path, path) for path in sys.argv[1:]]
        assert envs[0].create_snapshot()
        """,
        str(tmp_path / "mine"),
        str(tmp_path / "made"),
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert list((tmp_path / "mine").iterdir()) == []
    assert not (tmp_path / "made").exists()
    assert store.environments() == []
    assert store.snapshots() == before

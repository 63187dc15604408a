"""What is done with a store: declared, run in many, put in order, looked at, configured."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from typing import TYPE_CHECKING

import pytest

import ptest

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Script


def test_an_engine_says_what_it_can_do(store: ptest.Store) -> None:
    engines = {engine.name: engine for engine in store.engines()}
    assert vars(engines["virtualenv"].capability) == store._core.engines()["virtualenv"]
    assert engines["virtualenv"].capability.signal
    with store.create(engine=engines["virtualenv"]) as made:
        assert made.status().engine == "virtualenv"


def test_the_configuration_says_what_counts_and_where_it_comes_from(
    home: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "ptest.toml").write_text("memory = '1G'\npids = 7\n")
    monkeypatch.setenv("PTEST_PIDS", "8")
    config = ptest.Config(home=home)
    assert (config["memory"], config["pids"], config["home"]) == ("1G", 8, str(home))
    memory, pids = config.setting("memory"), config.setting("pids")
    assert (memory.source, memory.file, memory.line) == ("project", project / "ptest.toml", 1)
    assert (pids.source, pids.variable) == ("variable", "PTEST_PIDS")
    assert {it.key for it in config.settings()} == set(config)
    with pytest.raises(ptest.InvalidInputError, match="there is no setting `memry`"):
        ptest.Config(memry=1)  # type: ignore[call-arg]


def test_a_setting_is_written_in_the_users_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(project / "config"))
    file = ptest.Config.set("keep_runs", 12)
    assert file == project / "config/ptest/config.toml"
    assert ptest.Config.set("improve", value=False) == file
    config = ptest.Config()
    assert (config["keep_runs"], config["improve"], config.setting("improve").source) == (12, False, "user")
    assert [(it.source, it.exists) for it in ptest.Config.files() if it.path == file] == [("user", True)]


def test_an_environment_can_be_for_another_project(home: Path, project: Path) -> None:
    other = project / "other"
    other.mkdir()
    (other / "pyproject.toml").touch()
    (other / "ptest.toml").write_text("env = { X = '1' }\n")
    store = ptest.Store(home=home, project=other)
    with store.create() as made:
        assert made.status().project == other
        made.exec(["sh", "-c", "echo $X > file"], cwd=other, check=True)
    assert (other / "file").read_text() == "1\n"
    with store.create(project=project) as made:
        assert made.status().project == project


def test_a_file_is_applied_and_nothing_is_left_to_do(store: ptest.Store, project: Path) -> None:
    file = project / "environments.toml"
    file.write_text("name = 'team'\n[environment.web]\nmemory = '1G'\n[environment.db]\n")
    assert [(it.name, it.action, it.result) for it in store.apply(file, plan=True).environments] == [
        ("web", "create", "planned"),
        ("db", "create", "planned"),
    ]
    try:
        assert store.apply(file).check().converged
        assert {it.action for it in store.apply(file).environments} == {"keep"}
        file.write_text("name = 'team'\n[environment.web]\nmemory = '2G'\n")
        applied = store.apply("environments.toml", prune=True)
        assert [(it.name, it.action, it.result) for it in applied.environments] == [
            ("web", "change", "done"),
            ("db", "remove", "done"),
        ]
        [difference] = applied.environments[0].differences
        assert (difference.what, difference.wanted) == ("limits", "memory=2147483648")
    finally:
        store.remove(all=True)


def test_what_cannot_be_applied_is_told_and_raised_when_asked(store: ptest.Store, project: Path) -> None:
    file = project / "environments.toml"
    file.write_text("[environment.web]\n")
    with store.create("web", detached=True):
        applied = store.apply(file)
        assert (applied.converged, applied.environments[0].result) == (False, "failed")
        with pytest.raises(ptest.AlreadyExistsError):
            applied.check()


def test_a_matrix_gives_each_cell_as_it_ends(store: ptest.Store, project: Path) -> None:
    command = ["sh", "-c", "echo $PTEST_CELL; case $PTEST_CELL in *bad*) exit 3;; esac"]
    sets = {"good": "six==1.16.0", "bad": [], "slow": ()}
    assert [it.name for it in store.cells(sets=sets)] == ["bad", "good", "slow"]
    with store.matrix(command, sets=sets, junit_xml=project / "junit.xml") as matrix:
        first = next(matrix)
        assert first.result is not None
        cells = matrix.wait()
        assert matrix.next() is None
        assert matrix.ended
    assert {it.name: it.result.outcome for it in cells if it.result} == {
        "bad": "failed",
        "good": "passed",
        "slow": "passed",
    }
    assert [it.result.exit_code for it in cells if it.result] == [3, 0, 0]
    assert cells[1].result is not None
    assert cells[1].result.output.read_text() == "good\n"
    assert "good" in (project / "junit.xml").read_text()


def test_a_matrix_that_is_left_ends_what_runs(store: ptest.Store) -> None:
    with store.matrix(["sh", "-c", "test $PTEST_CELL = a || sleep 60"], sets={"a": (), "b": ()}, jobs=2) as matrix:
        assert next(matrix).name == "a"
    assert matrix.next() is None
    assert store.environments() == []


def test_the_cells_that_are_meant_are_those_of_the_project(store: ptest.Store, project: Path) -> None:
    (project / "ptest.toml").write_text("[matrix]\ncommand = 'true'\n[matrix.env]\nX = ['1', '2']\n")
    cells = store.cells()
    assert [it.env for it in cells] == [{"X": "1"}, {"X": "2"}]
    [cell] = store.matrix(cells=cells[1].name).wait()
    assert cell.result is not None
    assert cell.result.passed
    with pytest.raises(ptest.InvalidInputError, match="there is no cell `x`"):
        store.cells(cells="x")


def test_many_are_worked_on_at_once(store: ptest.Store) -> None:
    made = store.create_many(["one", "two"], detached=True, labels={"team": "a"})
    with store.create("mine", labels={"team": "a"}):
        assert {it.name for it in store.activate("team=a").check().environments} == {"one", "two"}
        assert {it.state for it in store.deactivate("team=a", grace=0).environments} == {"inactive"}
        removed = store.remove("one", made[1], "three")
        assert (removed.removed, [it.environment for it in removed.failed]) == (["one", "two"], ["three"])
        with pytest.raises(ptest.NotFoundError):
            removed.check()
        assert store.remove(all=True).removed == []
    with pytest.raises(TypeError):
        store.remove()


def test_a_fork_with_labels_is_like_its_source_otherwise(store: ptest.Store) -> None:
    with store.create(memory="1G", env={"X": "1"}) as made, made.fork(labels={"team": "a"}) as fork:
        assert fork.status().labels == {"team": "a"}
        assert fork.exec(["sh", "-c", "echo $X"]).stdout == "1\n"


def test_what_is_of_no_use_is_found_and_kept_if_only_looked_at(store: ptest.Store) -> None:
    collected = store.gc(dry_run=True, older_than=0)
    assert collected.bytes >= 0
    assert store.gc(dry_run=True, older_than=0).bytes == collected.bytes
    assert store.prune(older_than=3600).removed == []
    assert store.recover().removed == []
    assert store.improve().compiled >= 0
    assert store.verify(layers="sampled").whole


def test_damage_is_told_with_its_path(store: ptest.Store) -> None:
    with store.create(requirements=["six==1.16.0"]) as made:
        assert made.verify().whole
        made.exec(["sh", "-c", "for file in $VIRTUAL_ENV/lib/python3*/site-packages/six.py; do echo >> $file; done"])
        verified = made.verify()
        assert not verified.whole
        [problem] = verified.problems
        assert (problem.package, problem.path and problem.path.name) == ("six", "six.py")
        assert str(problem).startswith("six lib/")


def test_a_damaged_database_is_made_anew(tmp_path: Path) -> None:
    home = tmp_path / "home"
    ptest.Store(home=home).close()
    for file in home.glob("ptest.db*"):
        file.unlink()
    (home / "ptest.db").write_bytes(b"x" * 4096)
    with pytest.raises(ptest.CorruptError):
        ptest.Store(home=home)
    rebuilt = ptest.Store.rebuild(home=home)
    assert rebuilt.damage
    assert ptest.Store(home=home).environments() == []


def test_the_machine_is_looked_at_without_a_sound_store(home: Path, tmp_path: Path) -> None:
    assert {"store", "python", "user namespaces"} <= {it.name for it in ptest.doctor(home=home)}
    (tmp_path / "file").touch()
    found = {it.name: it for it in ptest.doctor(home=tmp_path / "file")}
    assert found["store"].state == "missing"


def test_only_profiles_can_be_attacked(store: ptest.Store) -> None:
    with pytest.raises(ptest.InvalidInputError):
        store.prove(["lax"])


def test_hooks_are_those_of_the_configuration(home: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(project))
    (project / "ptest").mkdir()
    (project / "ptest/config.toml").write_text("[[hooks]]\nevents = ['failed']\ncommand = ['true']\n")
    [hook] = ptest.Store(home=home).hooks()
    assert (hook.events, hook.command, hook.source) == (["failed"], ["true"], None)


def test_what_was_run_is_remembered_when_the_environment_is_gone(store: ptest.Store) -> None:
    with store.create() as made:
        made.exec(["sh", "-c", "echo out; echo err >&2; exit 3"])
        [run] = made.runs()
        assert (run.command[0], run.exit_code, run.state, run.number) == ("sh", 3, "ended", 1)
    assert store.runs(made.id) == [run]
    assert store.logs(made, run, stream="stderr").text == "err\n"
    with pytest.raises(ptest.NotFoundError):
        store.logs(made, 2)  # type: ignore[arg-type]


def test_a_log_is_followed_until_its_command_has_ended(env: ptest.Environment) -> None:
    command = ["sh", "-c", "echo 1; read line; echo $line"]
    with env.popen(command, log=True, stdin=ptest.PIPE, stdout=ptest.DEVNULL) as process:
        follower = env.follow_logs(process.id)
        assert next(follower).text == "1\n"
        assert follower.next(0.01) is None
        assert not follower.ended
        process.communicate("2\n")
    assert [piece.text for piece in follower] == ["2\n"]
    assert follower.ended
    assert env.logs(tail=1).text == "2\n"


def test_any_process_can_signal_a_run(store: ptest.Store, env: ptest.Environment) -> None:
    with env.popen(["sleep", "60"]) as process:
        store.kill(env, process.id, signal=signal.SIGINT)
        assert process.wait(20) == -signal.SIGINT
    with pytest.raises(ptest.IllegalStateError):
        env.kill(process.id)


def test_a_command_left_running_outlives_the_process(store: ptest.Store, script: Script) -> None:
    with store.create("left", detached=True) as made:
        ended = script(
            """
            import ptest
            print(ptest.find("left").detach(["sh", "-c", "echo $X; exec sleep 60"], env={"X": "kept"}))
            """
        )
        assert ended.stderr == ""
        run = ended.stdout.strip()
        follower = made.follow_logs(run)
        assert next(follower).text == "kept\n"
        [active] = made.runs(active=True)
        assert active.id == run
        made.kill(run)
        assert list(follower) == []
        with pytest.raises(ptest.PtestError) as caught:
            made.detach(["no-such-program"])
        assert "no-such-program" in str(caught.value.output)


def test_a_shell_has_this_process_s_terminal(home: Path, project: Path) -> None:
    ours, theirs = os.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", "import ptest, sys\nwith ptest.create() as env: sys.exit(env.shell())"],
        cwd=project,
        env={**os.environ, "PTEST_HOME": str(home), "SHELL": "/bin/sh"},
        stdin=theirs,
        stdout=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    os.write(ours, b"test -t 0 && exit 7\n")
    try:
        assert child.wait(60) == 7
    finally:
        child.kill()
        os.close(ours)


def test_what_was_used_over_time_is_kept(env: ptest.Environment) -> None:
    env.exec(["python", "-c", "x = 0\nfor i in range(3_000_000): x += i"], check=True)
    deadline = time.monotonic() + 20
    while not env.stats().points and time.monotonic() < deadline:
        env.exec("true")
    stats = env.stats(since=600)
    assert stats.points
    assert stats.totals.cpu_seconds > 0
    assert stats.begin < stats.end
    assert "ptest_environments" in env.store.metrics()


def test_a_package_can_be_written_into_an_open_file(env: ptest.Environment, tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        env.export(file, compression="gzip")
    with tarfile.open(tmp_path / "file") as archive:
        assert "oci-layout" in archive.getnames()
    with pytest.raises(ptest.InvalidInputError):
        env.export(tmp_path / "other", compression="zip")  # type: ignore[arg-type]
    with pytest.raises(io.UnsupportedOperation):
        env.export(io.BytesIO())


def test_a_kernel_is_installed_found_and_taken_away(
    env: ptest.Environment, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(project / "jupyter"))
    assert ptest.kernels() == []
    with pytest.raises(ptest.PtestError, match="ipykernel"):
        env.install_kernel("mine")
    with pytest.raises(ptest.NotFoundError):
        ptest.remove_kernel("mine")

"""Environments: made, changed, kept, found and taken away."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

import ptest


def test_an_environment_is_gone_when_its_block_is_left(store: ptest.Store) -> None:
    with store.create("short") as made:
        assert made.name == "short"
        assert made.status().state == "inactive" or made.status().state == "created"
        assert [it.id for it in store.environments()] == [made.id]
    with pytest.raises(ptest.NotFoundError):
        store.find("short")


def test_a_removed_environment_says_that_it_is_gone(store: ptest.Store) -> None:
    with store.create() as made:
        made.remove()
        with pytest.raises(FileNotFoundError):
            made.exec("true")


def test_without_a_python_it_is_the_one_that_runs_this(env: ptest.Environment) -> None:
    import platform

    assert env.status().python == platform.python_version()


def test_what_is_installed_is_importable_and_what_is_uninstalled_is_not(env: ptest.Environment) -> None:
    assert env.install("attrs==23.2.0") == [ptest.PackageChange("attrs", None, "23.2.0")]
    assert env.exec(["python", "-c", "import attr"]).success
    package = env.package("ATTRS")
    assert package is not None
    assert (package.version, package.requested) == ("23.2.0", True)
    [change] = env.upgrade("attrs")
    assert change.before == "23.2.0"
    assert change.after is not None
    assert env.uninstall("attrs") == [ptest.PackageChange("attrs", change.after, None)]
    assert not env.exec(["python", "-c", "import attr"]).success
    assert env.verify().whole


def test_a_failed_installation_leaves_everything_as_it_was(env: ptest.Environment) -> None:
    before = env.packages()
    with pytest.raises(ptest.ResolutionError) as caught:
        env.install("six==0.0.0.dev999")
    assert caught.value.kind == "resolution"
    assert "six" in str(caught.value) + str(caught.value.output)
    assert env.packages() == before


def test_nothing_is_needed_besides_python(script) -> None:
    ran = script(
        """
        import sys
        sys.modules["typing_extensions"] = None
        import ptest, ptest.isolation
        for package in (ptest, ptest.isolation):
            for name in package.__all__:
                getattr(package, name)
        """
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_numbers_of_time_are_seconds(store: ptest.Store) -> None:
    with store.create(ttl=100.5, idle=timedelta(minutes=1), limits=ptest.Limits(cpu_time=90)) as made:
        ends = made.status().ends_at
        assert ends is not None
        assert 90 < (ends - made.status().created_at).total_seconds() <= 101
        made.exec("true", check=True)
        assert "90" in str(made.details()["limits"])


def test_what_could_be_an_option_is_no_requirement(env: ptest.Environment) -> None:
    with pytest.raises(ptest.InvalidInputError):
        env.install("--help")


def test_a_snapshot_is_what_it_was_and_can_be_gone_back_to(store: ptest.Store, env: ptest.Environment) -> None:
    env.exec(["sh", "-c", "echo 1 > $VIRTUAL_ENV/file"], check=True)
    snapshot = env.snapshot()
    env.exec(["sh", "-c", "rm $VIRTUAL_ENV/file"], check=True)
    difference = env.diff(snapshot)
    assert [(it.path, it.change) for it in difference.files] == [(Path("file"), "removed")]
    env.restore(snapshot)
    assert env.exec(["sh", "-c", "cat $VIRTUAL_ENV/file"]).stdout == "1\n"
    assert snapshot in store.snapshots()
    store.remove_snapshot(snapshot)
    with pytest.raises(ptest.NotFoundError):
        store.snapshot(snapshot.name)


def test_a_fork_is_on_its_own(env: ptest.Environment) -> None:
    with env.fork() as fork:
        fork.exec(["sh", "-c", "echo 1 > $VIRTUAL_ENV/file"], check=True)
        assert not env.exec(["sh", "-c", "cat $VIRTUAL_ENV/file"]).success


def test_many_are_made_at_once_and_all_or_none(store: ptest.Store, six: ptest.Snapshot) -> None:
    made = store.fork_many(six, 8) + store.create_many(4, requirements=["six==1.16.0"])
    assert len({it.id for it in made}) == 12
    for environment in made:
        environment.remove()
    with store.create("taken"):
        with pytest.raises(ptest.AlreadyExistsError):
            store.create_many(["free", "taken"])
        assert [it.name for it in store.environments()] == ["taken"]


def test_a_detached_environment_stays_until_it_is_removed(store: ptest.Store) -> None:
    made = store.create("stays", detached=True, labels={"team": "a"})
    del made
    assert [it.name for it in store.environments("team=a")] == ["stays"]
    store.find("stays").remove()


def test_an_object_that_goes_takes_its_environment_away_and_says_so(store: ptest.Store) -> None:
    made = store.create()
    id_ = made.id
    with pytest.warns(ResourceWarning, match=id_):
        del made
    with pytest.raises(ptest.NotFoundError):
        store.find(id_)


def test_the_paths_of_the_machine_lead_into_the_environment(env: ptest.Environment) -> None:
    assert (env.path / "pyvenv.cfg").is_file()
    assert env.python.parent == env.path / "bin"
    [module] = env.path.glob("lib/python*/site-packages/six.py")
    assert module.exists()


def test_options_are_read_as_on_the_command_line(store: ptest.Store) -> None:
    with store.create(
        profile=ptest.Profile.STRICT,
        memory=256 << 20,
        pids=50,
        ttl=timedelta(hours=1),
        env={"X": "1"},
        labels={"team": "a"},
        ports=["http"],
    ) as made:
        assert made.exec(["sh", "-c", "echo $X"]).stdout == "1\n"
        status = made.status()
    assert status.profile == "strict"
    assert status.labels == {"team": "a"}
    assert [port.name for port in status.ports] == ["http"]
    assert status.ends_at is not None
    assert status.ends_at - status.created_at == timedelta(hours=1)


@pytest.mark.parametrize(
    ("options", "told", "hint"),
    [
        ({"memry": "1G"}, "there is no key `memry`", "did you mean `memory`?"),
        ({"memory": "much"}, "`memory` must be a size", None),
        ({"profile": "lax"}, "`profile` must be", None),
        ({"python": "2.7"}, "2.7", None),
    ],
)
def test_a_wrong_option_says_what_is_wrong_with_it(
    store: ptest.Store, options: dict[str, str], told: str, hint: str | None
) -> None:
    with pytest.raises(ptest.PtestError) as caught:
        store.create(**options)
    assert told in str(caught.value)
    assert hint is None or caught.value.hint == hint


def test_ports_are_leased_to_one(store: ptest.Store, env: ptest.Environment) -> None:
    port = env.acquire_port("db")
    assert env.exec(["sh", "-c", "echo $PTEST_PORT_DB"]).stdout == f"{port.port}\n"
    mine = store.acquire_ports(3)
    assert int(port) not in {int(it) for it in mine}
    assert sorted(store.release_ports(mine)) == sorted(int(it) for it in mine)
    assert env.release_ports() == [int(port)]


def test_events_are_told_in_order_and_as_they_come(env: ptest.Environment) -> None:
    follower = env.follow(["deployed"])
    number = env.emit("deployed", {"to": "here"})
    [event] = follower.next(20)
    assert (event.sequence, event.payload["data"]) == (number, {"to": "here"})
    kinds = [it.kind for it in env.events()]
    assert kinds[:2] == ["creating", "created"]
    assert follower.next(0.01) == []


def test_what_a_run_wrote_can_be_read_later(env: ptest.Environment) -> None:
    env.popen(["echo", "kept"], log=True, stdout=ptest.DEVNULL).wait()
    assert env.logs().text == "kept\n"


def test_an_environment_moves_as_a_file(store: ptest.Store, env: ptest.Environment, tmp_path: Path) -> None:
    env.export(tmp_path / "file")
    name = store.import_(tmp_path / "file", "arrived")
    with store.find(name) as arrived:
        assert arrived.package("six") is not None


def test_a_plain_directory_needs_ptest_no_more(store: ptest.Store, tmp_path: Path) -> None:
    import subprocess

    made = store.materialize(tmp_path / "plain", requirements=["six==1.16.0"])
    told = subprocess.run(
        [made / "bin/python", "-c", "import six, sys; print(sys.prefix)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == f"{made}\n"


def test_one_command_needs_one_call(store: ptest.Store) -> None:
    run = store.run(["python", "-c", "import six; print(six.__name__)"], requirements=["six"], timeout=60)
    assert run.stdout == "six\n"


def test_a_strict_environment_does_not_trust_the_projects_file(
    home: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "x")
    (project / "ptest.toml").write_text("pass = ['TOKEN']\n")
    store = ptest.Store(home=home)
    for profile, told in (("standard", "x\n"), ("strict", "\n")):
        with store.create(profile=profile) as made:
            assert made.exec(["sh", "-c", "echo $TOKEN"]).stdout == told


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A project whose build does not end."""
    project = tmp_path / "endless"
    project.mkdir()
    backend = "[build-system]\nrequires = []\nbuild-backend = 'endless'\nbackend-path = ['.']\n"
    (project / "pyproject.toml").write_text(backend)
    (project / "endless.py").write_text("import time\ntime.sleep(3600)\n")
    return project


def test_an_installation_has_a_time_limit_on_any_thread(env: ptest.Environment, endless: Path) -> None:
    before = env.packages()
    with ThreadPoolExecutor() as pool:
        for call in (lambda work: work(), lambda work: pool.submit(work).result()):
            with pytest.raises(ptest.TimedOutError) as caught:
                call(lambda: env.install(endless, timeout=0.3))
            assert isinstance(caught.value, TimeoutError)
            assert env.packages() == before
    assert env.install("attrs==23.2.0", timeout=timedelta(minutes=5)) != []


def test_what_is_made_has_a_time_limit(store: ptest.Store, endless: Path) -> None:
    with pytest.raises(ptest.TimedOutError):
        store.create(requirements=endless, timeout=0.3)
    with pytest.raises(ptest.TimedOutError):
        store.create_many(2, requirements=[endless], timeout=0.3)
    with pytest.raises(ptest.TimedOutError):
        store.materialize(endless.parent / "plain", requirements=[endless], timeout=0.3)
    assert store.environments() == []
    assert not (endless.parent / "plain").exists()


def test_what_the_python_says_of_itself_is_there_on_the_machine(env: ptest.Environment) -> None:
    ask = (
        "import json, site, six, sys; print(json.dumps([sys.path, sys.prefix, sys.base_prefix, sys.executable, "
        "sys.exec_prefix, site.getsitepackages(), site.__file__, six.__file__]))"
    )
    told = subprocess.run([env.python, "-c", ask], capture_output=True, text=True, check=True)
    path, *others, packages, standard, package = json.loads(told.stdout)
    # Every Python names a zip file of the standard library that nobody has.
    named = [it for it in path if it and not it.endswith(".zip")]
    assert [it for it in [*named, *others, *packages, standard, package] if not Path(it).exists()] == []
    assert package.startswith(others[0])

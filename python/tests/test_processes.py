"""Environments, and the processes that they live for."""

from __future__ import annotations

import inspect
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

import ptest
from ptest import aio

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Script


def _code(environment: ptest.Environment) -> int:
    return environment.exec(["python", "-c", "import six, sys; sys.exit(5)"]).returncode


def _in_a_fork(work: Callable[[], object]) -> int:
    """What a child ends with that does this and then ends as a program does."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_an_environment_works_in_other_processes_and_stays_its_owners(env: ptest.Environment, method: str) -> None:
    with multiprocessing.get_context(method).Pool(8) as pool:
        assert pool.map(_code, [env] * 16) == [5] * 16
    # Activated by one of them, it goes on without it.
    assert env.status().state == "active"
    assert _code(env) == 5


def test_a_forked_child_that_ends_leaves_the_environment_alone(env: ptest.Environment) -> None:
    assert _in_a_fork(lambda: env.exec("true", check=True)) == 0
    assert env.exec("true").success


def test_a_fork_in_the_middle_of_work_harms_neither_side(store: ptest.Store, six: ptest.Snapshot) -> None:
    done = threading.Event()
    failures: list[Exception] = []

    def work() -> None:
        while not done.is_set():
            try:
                with store.fork(six) as made:
                    made.exec("true", check=True)
            except Exception as error:
                failures.append(error)
                return

    def child() -> None:
        with store.fork(six) as made:
            made.exec("true", check=True)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    codes = [_in_a_fork(child) for _ in range(8)]
    done.set()
    for thread in threads:
        thread.join()
    assert (codes, failures) == ([0] * 8, [])


def test_what_a_process_made_goes_with_it(store: ptest.Store, script: Script) -> None:
    ended = script(
        """
        import ptest
        kept = [ptest.create(), ptest.create()]
        kept[0].exec("true", check=True)
        print(*[it.id for it in kept])
        """
    )
    assert ended.stderr == ""
    for id_ in ended.stdout.split():
        with pytest.raises(ptest.NotFoundError):
            store.find(id_)


def test_what_a_worker_of_a_pool_made_goes_with_the_worker(store: ptest.Store, script: Script) -> None:
    ended = script(
        """
        import multiprocessing, ptest
        store = ptest.default_store()
        own = store.create()
        kept = []

        def work(name):
            kept.append(store.create(name))

        def made():
            return {it.name for it in store.environments()} & {"first", "second"}

        with multiprocessing.get_context("fork").Pool(1) as pool:
            pool.map(work, ["first", "second"])
            print(len(made()))
            pool.close()
            pool.join()
        print(len(made()), own.exec("true").success)
        """,
        # Not that this process has threads, which Python 3.12 and later say of a fork.
        PYTHONWARNINGS="ignore::DeprecationWarning",
    )
    assert (ended.stdout, ended.stderr) == ("2\n0 True\n", "")
    assert store.environments() == []


def test_what_a_fork_made_goes_with_it_whatever_its_parent_has(script: Script) -> None:
    ended = script(
        """
        import os, sys, ptest
        store = ptest.default_store()
        own = store.create()
        if os.fork() == 0:
            made = store.create("of-the-fork")
            sys.exit(0)
        os.wait()
        print([it.name for it in store.environments() if it.name], own.exec("true").success)
        """,
        # Not that this process has threads, which Python 3.12 and later say of a fork.
        PYTHONWARNINGS="ignore::DeprecationWarning",
    )
    assert (ended.stdout, ended.stderr) == ("[] True\n", "")


def test_what_a_killed_process_made_goes_with_the_next_opening(home: Path, script: Script) -> None:
    ended = script(
        """
        import os, signal, ptest
        made = ptest.create()
        made.exec("true", check=True)
        print(made.id, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    assert ended.returncode == -signal.SIGKILL
    again = ptest.Store(home=home)
    with pytest.raises(ptest.NotFoundError):
        again.find(ended.stdout.strip())


@pytest.mark.parametrize(
    "call",
    [
        "env.exec(['sleep', '60'])",
        "env.popen(['sleep', '60']).wait()",
        "next(iter(env.follow(['nothing'])))",
    ],
)
def test_ctrl_c_interrupts_a_call_at_once(home: Path, project: Path, call: str) -> None:
    # Python leaves SIGINT alone where it was started with that ignored, as a shell starts what is in the background.
    program = f"""
import ptest, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
with ptest.create() as env:
    env.exec("true")
    print("ready", flush=True)
    {call}
"""
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=project,
        env={**os.environ, "PTEST_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        # Until it is in the call: it sleeps, whatever it waits for.
        while _state(child.pid) != "S":
            time.sleep(0.001)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=20)
    finally:
        child.kill()
    assert child.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in err
    assert ptest.Store(home=home).environments() == []


def _state(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
        return stat.read().rpartition(")")[2].split()[0]


def test_other_threads_go_on_while_one_is_in_a_call(env: ptest.Environment) -> None:
    steps = 0
    done = threading.Event()

    def count() -> None:
        nonlocal steps
        while not done.is_set():
            steps += 1

    thread = threading.Thread(target=count)
    thread.start()
    env.exec(["sleep", "0.5"])
    during = steps
    done.set()
    thread.join()
    assert during > 10_000


def test_importing_loads_next_to_nothing(script: Script) -> None:
    ended = script(
        """
        import sys
        before = set(sys.modules)
        import ptest
        print(*sorted(set(sys.modules) - before - {"__future__"}))
        """
    )
    assert ended.stdout.split() == ["ptest"]


def test_nothing_but_the_standard_library_is_needed(script: Script) -> None:
    ended = script(
        """
        import sys
        sys.modules["typing_extensions"] = None
        import ptest
        for name in ptest.__all__:
            getattr(ptest, name)
        """
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_public_exception_says_that_it_is_of_the_package_and_is_pickled_so() -> None:
    public = [value for name in ptest.__all__ if isinstance(value := getattr(ptest, name), type)]
    errors = [cls for cls in public if issubclass(cls, ptest.PtestError)]
    assert errors
    for error in errors:
        assert error.__module__ == "ptest"
        assert pickle.loads(pickle.dumps(error)) is error


def test_a_traceback_names_an_exception_as_it_is_caught(script: Script) -> None:
    ended = script("import ptest; ptest.find('nobody')")
    assert "\nptest.NotFoundError: " in ended.stderr


@pytest.mark.parametrize("cls", [ptest.Environment, ptest.Store])
def test_wrong_arguments_are_told_with_the_name_of_a_class_that_users_know(cls: type) -> None:
    bases = [base for base in cls.__mro__ if base is not object]
    methods = [it for base in bases for it in vars(base).values() if inspect.isfunction(it)]
    assert {it.__qualname__.partition(".")[0] for it in methods} == {cls.__name__}
    # Python 3.9 says only the name of the method.
    with pytest.raises(TypeError, match=r"^(Store\.)?__init__\(\) takes 1 positional argument"):
        ptest.Store("/x")  # type: ignore[misc]


def test_what_is_shown_of_an_object_is_one_short_line(env: ptest.Environment, store: ptest.Store) -> None:
    with env.popen(["true"]) as process, store.matrix(["true"], sets={"a": (), "b": ()}) as matrix:
        matrix.wait()
        assert repr(env) == f"<ptest.Environment {env.id}>"
        assert repr(store) == f"<ptest.Store '{store.home}'>"
        assert repr(process) == f"<ptest.Process {process.id} ['true'] returncode={process.returncode}>"
        assert repr(matrix) == "<ptest.Matrix of 2 cells, 2 of them ended>"
        assert repr(aio.Environment(env)) == f"<ptest.aio.Environment of {env!r}>"
        assert repr(aio.Matrix(matrix)) == f"<ptest.aio.Matrix of {matrix!r}>"


def test_every_public_name_is_there() -> None:
    for name in ptest.__all__:
        assert getattr(ptest, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ptest.nothing  # type: ignore[attr-defined]

"""What a process does that uses environments, and must not harm them: threads, callbacks, signals, its own end."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import ptest
from ptest import _core
from ptest._matrix import asked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType

    from conftest import Script

THREADS = 16

without_a_lock = pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python has a lock")


def test_sixteen_threads_work_on_sixteen_environments(store: ptest.Store, six: ptest.Snapshot) -> None:
    together = threading.Barrier(THREADS)

    def work(number: int) -> tuple[str, list[str], int]:
        with store.fork(six, env={"NUMBER": str(number)}) as made:
            together.wait(60)
            told = made.exec(["sh", "-c", "echo $NUMBER; echo $NUMBER > $VIRTUAL_ENV/mine"], check=True).stdout
            made.uninstall("six")
            snapshot = made.snapshot()
            with made.fork() as copy:
                mine = copy.exec(["sh", "-c", "cat $VIRTUAL_ENV/mine"]).stdout
            store.remove_snapshot(snapshot)
            return told, [it.name for it in made.packages()], int(mine)

    with ThreadPoolExecutor(THREADS) as pool:
        done = list(pool.map(work, range(THREADS)))
    assert done == [(f"{number}\n", ["pip"], number) for number in range(THREADS)]


def test_sixteen_threads_do_everything_in_one_environment(store: ptest.Store, six: ptest.Snapshot) -> None:
    together = threading.Barrier(THREADS)
    with store.fork(six) as env:

        def work(number: int) -> object:
            together.wait(60)
            if number % 4 == 0:
                return env.exec(["sh", "-c", f"exit {number}"]).returncode
            if number % 4 == 1:
                with env.popen(["sh", "-c", f"echo {number}"], stdout=ptest.PIPE) as process:
                    return process.communicate()[0]
            if number % 4 == 2:
                port = env.acquire_port()
                return env.release_ports([port]) == [int(port)]
            with env.fork() as copy:
                return copy.package("six") is not None

        with ThreadPoolExecutor(THREADS) as pool:
            done = list(pool.map(work, range(THREADS)))
        expected = [[number, f"{number}\n", True, True][number % 4] for number in range(THREADS)]
        assert done == expected
        assert env.status().usage.processes == 0


def test_threads_that_change_one_environment_wait_for_each_other(env: ptest.Environment) -> None:
    names = ["attrs==23.2.0", "idna==3.6", "colorama==0.4.6", "iniconfig==2.0.0"]
    with ThreadPoolExecutor(len(names)) as pool:
        changes = list(pool.map(env.install, names))
    assert [[f"{it.name}=={it.after}" for it in change] for change in changes] == [[name] for name in names]
    assert {it.name for it in env.packages()} >= {"attrs", "idna", "colorama", "iniconfig", "six"}


@without_a_lock
def test_variables_are_set_while_another_thread_calls(script: Script) -> None:
    # So many that the C library gives their table another place again and again.
    ended = script(
        """
        import os, threading, ptest

        def set_variables():
            for number in range(20000):
                os.environ[f"SET_MEANWHILE_{number}"] = "x"
            for number in range(20000):
                del os.environ[f"SET_MEANWHILE_{number}"]

        setting = threading.Thread(target=set_variables)
        setting.start()
        while setting.is_alive():
            ptest.Config.files()
        """
    )
    assert (ended.returncode, ended.stderr) == (0, "")


@without_a_lock
def test_the_package_does_not_bring_the_interpreter_s_lock_back(script: Script) -> None:
    ended = script(
        """
        import sys, ptest, ptest.aio, ptest.isolation
        with ptest.create() as env:
            print(env.exec(["python", "-c", "import sys; print(sys._is_gil_enabled())"], check=True).stdout, end="")
        print(sys._is_gil_enabled())
        """,
        PYTHONWARNINGS="error",
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("False\nFalse\n", "", 0)


@pytest.mark.parametrize(
    "left_behind",
    [
        "env.popen(['sleep', '600'])",
        "env.popen(['sleep', '600'], stdout=ptest.PIPE, log=True)",
        "in_a_thread(lambda: env.exec(['sleep', '600']))",
        "in_a_thread(lambda: env.popen(['sleep', '600']).wait())",
        "in_a_thread(lambda: list(env.follow_logs(env.popen(['sleep', '600'], log=True).id)))",
        "in_a_thread(lambda: list(env.follow(['nothing'])))",
        "in_a_thread(lambda: store.matrix(['sleep', '600'], sets={'a': ()}).wait())",
    ],
)
def test_a_process_ends_whatever_runs_and_leaves_nothing(store: ptest.Store, script: Script, left_behind: str) -> None:
    began = time.monotonic()
    ended = script(
        f"""
        import contextlib, threading, ptest
        store = ptest.default_store()
        env = store.create("ending")
        started = store.follow(["run_started"])

        def in_a_thread(work):
            def told_that_it_is_gone():
                with contextlib.suppress(ptest.PtestError):
                    work()

            threading.Thread(target=told_that_it_is_gone, daemon=True).start()

        kept = {left_behind}
        if "sleep" in {left_behind!r}:
            assert started.next(60)
        """
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert time.monotonic() - began < 100
    assert store.recover().failed == []
    assert store.environments() == []


def test_threads_may_be_anywhere_in_a_call_when_the_interpreter_ends(script: Script) -> None:
    ended = script(
        f"""
        import contextlib, itertools, threading, ptest
        store = ptest.default_store()
        together = threading.Barrier({THREADS} + 1)

        def work():
            for number in itertools.count():
                with contextlib.suppress(ptest.InvalidInputError):
                    store.verify(layers="nothing")
                if number == 100:
                    together.wait()

        for _ in range({THREADS}):
            threading.Thread(target=work, daemon=True).start()
        together.wait()
        """
    )
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    "call",
    [
        "store.create(pip=False).remove()",
        "store.create_many(1, pip=False)[0].remove()",
        "store.fork('six', env={'NAME': 'VALUE'}).remove()",
        "store.apply('wanted.toml', plan=True)",
        "store.cells(sets={'a': ()})",
        "store.matrix(['true'], sets={'a': ()}).stop()",
    ],
)
def test_other_threads_run_while_what_is_asked_for_is_looked_up(
    script: Script, project: Path, six: ptest.Snapshot, call: str
) -> None:
    assert six.name == "six"
    (project / "wanted.toml").write_text("[environment.web]\npip = false\n")
    ended = script(
        f"""
        import contextlib, os, threading, ptest
        store = ptest.default_store()
        # Read when it is looked up who the caller's commits are by, which waits until somebody writes to it.
        os.mkfifo("git")
        os.environ["GIT_CONFIG_GLOBAL"] = os.path.abspath("git")
        thread = threading.Thread(target=lambda: {call})
        thread.start()
        waited = 0
        while thread.is_alive():
            with contextlib.suppress(OSError):
                os.close(os.open("git", os.O_WRONLY | os.O_NONBLOCK))
                waited += 1
            thread.join(0.01)
        print(waited > 0)
        """
    )
    assert (ended.stdout, ended.stderr) == ("True\n", "")


def test_what_is_done_at_the_end_may_wait_for_threads_that_are_in_calls(script: Script) -> None:
    ended = script(
        """
        import atexit, threading

        stop = threading.Event()

        @atexit.register
        def last():
            stop.set()
            thread.join()

        # Later, so that what it does at the end is done before.
        import ptest
        store = ptest.default_store()

        def work():
            while not stop.is_set():
                store.events(last=1)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        """
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_calls_of_the_extension_run_no_code_of_python(env: ptest.Environment, tmp_path: Path) -> None:
    within: list[str] = []
    run: list[str] = []

    def watch(frame: FrameType, event: str, called: Any) -> None:
        if event == "call" and within:
            run.append(f"{frame.f_code.co_name} in {within[-1]}")
        elif event.startswith("c_") and "ptest._core" in (called.__module__, type(called.__self__).__module__):
            if event == "c_call":
                within.append(called.__name__)
            else:
                within.pop()

    collects = gc.isenabled()
    gc.disable()
    sys.setprofile(watch)
    try:
        store = ptest.Store(home=env.store.home, project=tmp_path)
        ptest.Config.files(tmp_path)
        with store.create(env={"NAME": "VALUE"}, project=tmp_path) as made:
            made.exec(["sh", "-c", "exit 3"], cwd=tmp_path)
            made.verify()
            with pytest.raises(ptest.InvalidInputError):
                store.events(since=-1.0)
        with pytest.raises(ptest.NotFoundError):
            store.find("nothing")
        with pytest.raises(ptest.InvalidInputError):
            env.install(tmp_path / "none-1.0-py3-none-any.whl")
    finally:
        sys.setprofile(None)
        if collects:
            gc.enable()
    assert run == []


class _Place:
    """What says its path when it is asked, which is Python's code."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked = 0

    def __fspath__(self) -> str:
        self.asked += 1
        return str(self.path)


@pytest.mark.parametrize(
    "call",
    [
        lambda place, _: _core.configuration({}, place),
        lambda place, _: _core.configuration_files(place),
        lambda place, _: _core.doctor({}, place, None),
        lambda place, _: _core.doctor({}, None, place),
        lambda place, _: _core.rebuild({}, place, None),
        lambda place, _: _core.rebuild({}, None, place),
        lambda place, _: _core.Store({}, place, "python", None),
        lambda place, _: _core.Store({}, None, "python", place),
        lambda place, _: _core.Enclosures({}, [place], []),
        lambda place, _: _core.Enclosures({}, None, [place]),
        lambda place, env: env.store._core.create({"project": place}, None, False, False, None),
        lambda place, env: env.store._core.materialize(place, {}, False, None),
        lambda place, env: env.store._core.apply(place, True, False, False, False),
        lambda place, env: env.store._core.requirements_of_cells(place, []),
        lambda place, env: env.store._core.requirements_of_cells("/", [place]),
        lambda place, env: env.store._core.matrix({}, {**asked("true", {}), "output": place}),
        lambda place, env: env.store._core.matrix({}, {**asked("true", {}), "junit_xml": place}),
        lambda place, env: env.store._core.export(env.id, place, "zstd"),
        lambda place, env: env.store._core.import_(place, None),
        lambda place, env: env._core.install([], [place], [], [], False, None),
        lambda place, env: env._core.install([], [], [], [place], False, None),
    ],
)
def test_the_extension_asks_no_object_for_its_path(
    env: ptest.Environment, tmp_path: Path, call: Callable[[Any, Any], object]
) -> None:
    place = _Place(tmp_path / "place")
    with pytest.raises(TypeError) as raised:
        call(place, env)
    told = str(raised.value.__cause__ or raised.value)
    assert "'_Place'" in told
    assert "'str'" in told
    assert place.asked == 0


def test_an_exception_of_the_extension_is_as_its_class_makes_it(store: ptest.Store) -> None:
    with pytest.raises(ptest.NotFoundError) as raised:
        store.find("nothing")
    told = raised.value
    made = type(told)(told.message, causes=told.causes, hint=told.hint, output=told.output)
    assert (told.args, vars(told)) == (made.args, vars(made))
    assert told.hint is not None
    assert type(told.causes) is tuple


def test_an_exception_ends_a_process_as_it_does_without_environments(store: ptest.Store, script: Script) -> None:
    ended = script(
        """
        import ptest
        env = ptest.create()
        process = env.popen(["sleep", "600"])
        raise SystemExit(3)
        """
    )
    assert (ended.returncode, ended.stderr) == (3, "")
    assert store.environments() == []


def test_a_signal_s_handler_runs_during_a_call_which_goes_on(env: ptest.Environment) -> None:
    told: list[bool] = []
    done = threading.Event()

    def handle(*_: object) -> None:
        told.append(env.exec("true").success)
        done.set()

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        with env.popen(["sleep", "600"]) as waiting:
            threading.Thread(target=_signal_until, args=(signal.SIGUSR1, done)).start()
            with pytest.raises(ptest.TimedOutError):
                waiting.wait(1.0)
            assert done.wait(60)
        assert set(told) == {True}
        assert env.exec(["sh", "-c", "exit 3"]).returncode == 3
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_what_a_signal_s_handler_raises_ends_the_call(env: ptest.Environment) -> None:
    done = threading.Event()

    class Enough(Exception):  # noqa: N818
        pass

    def handle(*_: object) -> None:
        if not done.is_set():
            done.set()
            raise Enough

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        threading.Thread(target=_signal_until, args=(signal.SIGUSR1, done)).start()
        with pytest.raises(Enough):
            env.exec(["sleep", "600"])
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert env.status().usage.processes == 0


def _signal_until(number: int, done: threading.Event) -> None:
    while not done.wait(0.05):
        os.kill(os.getpid(), number)


def test_a_sub_interpreter_is_told_that_it_cannot_use_it(home: Path, project: Path) -> None:
    program = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
import ptest
with ptest.create() as env:
    interpreters.run_string(interpreters.create(), '''
import ptest
try:
    ptest.create
except ImportError as error:
    print(error)
''')
    print(env.exec(["echo", "works"]).stdout, end="")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=project,
        env={**os.environ, "PTEST_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "ptest" in ended.stdout.splitlines()[0]
    assert "subinterpreters" in ended.stdout.splitlines()[0].lower()
    assert ended.stdout.splitlines()[1:] == ["works"]
    assert ended.returncode == 0

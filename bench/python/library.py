"""The Python side of ``cargo xtask bench``: the calls alone, without the start of a process, and their peers.

``library.py HOME PYTHON UV`` reads one work a line, does it once, and answers with nanoseconds or with ``error`` and
the words. A work leaves nothing to the next; what it needs is made and taken away outside the clock. Not an example of
how to use the package.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Callable

import virtualenv
from pytest_virtualenv import VirtualEnv

import ptest

if TYPE_CHECKING:
    from collections.abc import Iterable

CYCLES = 400
"""How many environments threads make and remove together."""
ACTIVE_CYCLES = 80
"""How many of them if a command runs in each."""
TRUE = ["true"]
COUNT = 10_000_000
"""How far a thread counts while another works."""


def timed(work: Callable[[], object]) -> int:
    """Does it, and gives its nanoseconds."""
    begin = time.perf_counter_ns()
    work()
    return time.perf_counter_ns() - begin


class Bench:
    """The store, and what stays from one work to the next."""

    def __init__(self, home: str, python: str) -> None:
        self.store = ptest.Store(home=home)
        self.python = python
        self.scratch = Path(tempfile.mkdtemp(prefix="python-", dir=Path(home).parent))
        self._active: ptest.Environment | None = None
        self._peer: VirtualEnv | None = None

    def cycle(self) -> None:
        """Creates an environment and removes it."""
        self.store.create(python=self.python).remove()

    def active_cycle(self) -> None:
        """The same with a command in between."""
        with self.store.create(python=self.python) as environment:
            environment.exec(TRUE)

    def exec(self) -> None:
        """Runs a command in an environment that is active but for the first time."""
        if self._active is None:
            self._active = self.store.create(python=self.python)
        self._active.exec(TRUE)

    def peer_exec(self) -> None:
        """Runs a command in an environment of pytest-virtualenv's."""
        if self._peer is None:
            self._peer = VirtualEnv()
        self._peer.run(TRUE, capture=True)

    def on_disk(self, create: Callable[[str], object]) -> int:
        """Creates an environment in a directory and deletes it."""
        directory = str(self.scratch / "environment")

        def work() -> None:
            create(directory)
            shutil.rmtree(directory)

        return timed(work)

    def in_threads(self, count: int, cycle: Callable[[], None], cycles: int) -> int:
        """The time for each of these many, done by so many threads."""

        def part() -> None:
            for _ in range(cycles // count):
                cycle()

        return together([part] * count) // cycles

    def beside(self, work: Callable[[], object] | None) -> int:
        """The time in which a thread counts while another does this again and again."""
        is_over = threading.Event()

        def again() -> None:
            while work is not None and not is_over.is_set():
                work()

        other = threading.Thread(target=again)
        other.start()
        try:
            return timed(count)
        finally:
            is_over.set()
            other.join()

    def end(self) -> None:
        """Leaves nothing."""
        if self._active is not None:
            self._active.remove()
        if self._peer is not None:
            self._peer.teardown()
        shutil.rmtree(self.scratch)


def spawn() -> None:
    """Runs a command as Python does."""
    subprocess.run(TRUE, capture_output=True, check=True)


def count() -> None:
    """Counts, which takes the interpreter and nothing else."""
    for _ in range(COUNT):
        pass


def together(parts: Iterable[Callable[[], None]]) -> int:
    """The time until all of these are over, each in a thread of its own.

    Raises
    ------
    Exception
        What one of them raised.
    """
    failures: list[Exception] = []

    def guarded(part: Callable[[], None]) -> None:
        try:
            part()
        except Exception as error:  # noqa: BLE001 - raised by who waits for them
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=[part]) for part in parts]

    def work() -> None:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    nanoseconds = timed(work)
    if failures:
        raise failures[0]
    return nanoseconds


def works(bench: Bench) -> dict[str, Callable[[], int]]:
    """What can be asked for."""
    return {
        "cycle": lambda: timed(bench.cycle),
        "cycle-venv": lambda: bench.on_disk(lambda place: venv.create(place, symlinks=True)),
        "cycle-venv-pip": lambda: bench.on_disk(lambda place: venv.create(place, symlinks=True, with_pip=True)),
        "cycle-virtualenv": lambda: bench.on_disk(lambda place: virtualenv.cli_run(["--no-download", place])),
        "cycle-pytest-virtualenv": lambda: timed(lambda: VirtualEnv().teardown()),
        "exec": lambda: timed(bench.exec),
        "exec-subprocess": lambda: timed(spawn),
        "exec-pytest-virtualenv": lambda: timed(bench.peer_exec),
        "threads-1": lambda: bench.in_threads(1, bench.cycle, CYCLES),
        "threads-8": lambda: bench.in_threads(8, bench.cycle, CYCLES),
        "threads-active-1": lambda: bench.in_threads(1, bench.active_cycle, ACTIVE_CYCLES),
        "threads-active-8": lambda: bench.in_threads(8, bench.active_cycle, ACTIVE_CYCLES),
        "count": lambda: bench.beside(None),
        "count-beside-cycle": lambda: bench.beside(bench.cycle),
        "count-beside-exec": lambda: bench.beside(bench.exec),
        "count-beside-subprocess": lambda: bench.beside(spawn),
        "count-beside-python": lambda: bench.beside(lambda: sum(range(1000))),
    }


def main() -> None:
    """Answers until nothing more is asked for."""
    home, python, _ = sys.argv[1:4]
    # What the peers say on standard output is no answer.
    answers = os.fdopen(os.dup(1), "w")
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    bench = Bench(home, python)
    known = works(bench)
    for line in sys.stdin:
        try:
            answer = str(known[line.strip()]())
        except Exception as error:  # noqa: BLE001 - who asked says what to do about it
            answer = f"error {error!r}"
        print(answer, file=answers, flush=True)
    bench.end()


main()

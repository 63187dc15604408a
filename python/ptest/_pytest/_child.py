"""A fork of this interpreter: what it sends, how long it is waited for, and that nothing of it is left.

Not for what is run in it: see `_isolate`; nor for what its sandbox is like: see `_enclose`.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import stat
import struct
import sys
import time
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ptest import _core

_LENGTH = struct.Struct("!Q")
_SET_PARENT_DEATH_SIGNAL = 1
_SET_CHILD_SUBREAPER = 36
_TICK = 50
"""After how many milliseconds the clock, what was written and the number of processes are looked at."""


class Limits(NamedTuple):
    """When a child is ended."""

    deadline: float | None
    """At which time of the monotonic clock."""
    output: int
    """After how many bytes of output."""
    processes: int
    """With how many processes below it, unless its sandbox lets it have no more than it may."""


class LostError(Exception):
    """A child ended, or was ended, before it had said that it is ready."""


class Channel:
    """One end of what parent and child say to each other: messages of a kind and a value."""

    def __init__(self, reading: int, writing: int) -> None:
        self.reading = reading
        self._writing = writing
        self._taken = bytearray()

    def send(self, kind: str, value: Any = None) -> None:
        data = pickle.dumps((kind, value))
        left = memoryview(_LENGTH.pack(len(data)) + data)
        while left:
            left = left[os.write(self._writing, left) :]

    def take(self) -> bool:
        """Reads what is there, or waits for it; says whether more may come."""
        data = os.read(self.reading, 1 << 16)
        self._taken += data
        return bool(data)

    def message(self) -> tuple[str, Any] | None:
        """The next message, if all of it has been read."""
        end = _LENGTH.size
        if len(self._taken) < end:
            return None
        end += _LENGTH.unpack_from(self._taken)[0]
        if len(self._taken) < end:
            return None
        kind, value = pickle.loads(self._taken[_LENGTH.size : end])  # noqa: S301 - of our own fork
        del self._taken[:end]
        return kind, value

    def receive(self) -> tuple[str, Any]:
        """The next message; ``("finish", None)`` when the other side is gone."""
        while True:
            message = self.message()
            if message is not None:
                return message
            if not self.take():
                return "finish", None

    def close(self) -> None:
        os.close(self.reading)
        os.close(self._writing)


class Child:
    """A fork, as its parent sees it."""

    def __init__(self, pid: int, channel: Channel, others: set[int], enclosure: _core.Enclosure | None) -> None:
        self.channel = channel
        self._enclosure = enclosure
        self._pid = pid
        self._others = others
        self._descriptor = os.pidfd_open(pid)
        self._is_ended = False
        self._memory: int | None = None

    def receive(self, limits: Limits) -> tuple[str, Any]:
        """The next message.

        Raises
        ------
        LostError
            If none comes any more: the child has ended, or it was ended at a limit.
        """
        poll = select.poll()
        poll.register(self.channel.reading, select.POLLIN)
        poll.register(self._descriptor, select.POLLIN)
        while True:
            message = self.channel.message()
            if message is not None:
                return message
            ready = {number for number, _ in poll.poll(_TICK)}
            if self.channel.reading in ready:
                if not self.channel.take():
                    poll.unregister(self.channel.reading)
            elif self._descriptor in ready:
                raise LostError(self._told(self.end()))
            reason = self._exceeds(limits, is_quiet=not ready)
            if reason is not None:
                self.end()
                raise LostError(reason)

    def _exceeds(self, limits: Limits, *, is_quiet: bool) -> str | None:
        """Which limit it does not keep."""
        if limits.deadline is not None and time.monotonic() >= limits.deadline:
            return "it had not ended when its time was up"
        if _written() > limits.output:
            return f"it wrote more than {limits.output >> 20} MiB to standard output or standard error"
        is_held = self._enclosure is not None and self._enclosure.holds_processes()
        # Who has something to say is not counted every time.
        if is_quiet and not is_held and len(_descendants({self._pid}, limits.processes)) > limits.processes:
            return f"it started more than {limits.processes} processes"
        return None

    @contextmanager
    def sparing(self) -> Iterator[None]:
        """What this process starts meanwhile is its own, and none of what the child leaves behind."""
        before = _children(os.getpid())
        yield
        self._others |= _children(os.getpid()) - before

    def end(self) -> int:
        """Ends it and everything that it started, wherever that went; gives how it ended by itself, as `os.wait`."""
        if self._is_ended:
            return 0
        self._is_ended = True
        for end in (os.killpg, os.kill):
            with suppress(OSError):
                end(self._pid, signal.SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        if self._enclosure is not None:
            self._memory = self._enclosure.memory_ran_out()
            self._enclosure.end()
        _end_orphans(self._others)
        os.close(self._descriptor)
        self.channel.close()
        return status

    def _told(self, status: int) -> str:
        told = _told(status)
        if self._memory is None:
            return told
        return f"{told}: there was no more memory for it than {self._memory >> 20} MiB"


def start(enclosure: _core.Enclosure | None = None) -> Child | Channel:
    """Forks, into a sandbox if one is given: gives the child to the parent, and to the child what it talks with.

    Raises
    ------
    ptest.PtestError
        In the parent, if the child did not come into its sandbox. Nothing is left of it.
    """
    down, up = os.pipe(), os.pipe()
    others = _children(os.getpid())
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # Which threads run is told by who knows the test.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        os.close(down[0])
        os.close(up[1])
        with suppress(OSError):
            os.setpgid(pid, pid)
        child = Child(pid, Channel(up[0], down[1]), others, enclosure)
        if enclosure is not None:
            try:
                enclosure.admit(pid)
            except BaseException:
                child.end()
                raise
        return child
    os.close(down[1])
    os.close(up[0])
    if enclosure is not None:
        _enter(enclosure)
    with suppress(OSError):
        os.setpgid(0, 0)
    _prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    return Channel(down[0], up[1])


def _enter(enclosure: _core.Enclosure) -> None:
    try:
        directory: str | None = os.getcwd()  # noqa: PTH109 - what it was is not to be looked at
    except OSError:
        directory = None
    try:
        enclosure.enter()
    except BaseException:  # noqa: BLE001 - the parent knows why
        os._exit(125)
    if directory is not None:
        with suppress(OSError):
            os.chdir(directory)


def adopt_orphans(*, yes: bool) -> None:
    """Whether what a child leaves behind becomes a child of this process, which then finds it."""
    _prctl(_SET_CHILD_SUBREAPER, int(yes))


def _prctl(option: int, value: int) -> None:
    try:
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        # A Python without ctypes: what is left behind is found as far as it stayed in the process group.
        return


def _end_orphans(others: set[int]) -> None:
    """Ends the children of this process besides these, with all that they started."""
    me = os.getpid()
    orphans = _children(me) - others
    if not orphans:
        return
    with _first():
        while orphans:
            # All of them before any is waited for: what forks faster than it is ended would go on.
            for pid in orphans | _descendants(orphans):
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            for pid in orphans:
                with suppress(ChildProcessError):
                    os.waitpid(pid, 0)
            orphans = _children(me) - others


@contextmanager
def _first() -> Iterator[None]:
    """Before all others on a processor, if this process may: many that breed leave nothing to who is to end them."""
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


def _descendants(of: set[int], most: int | None = None) -> set[int]:
    """What was started by these processes, and by what they started; not many more than `most`."""
    found: set[int] = set()
    young = of
    while young and (most is None or len(found) <= most):
        young = {child for pid in young for child in _children(pid)} - found
        found |= young
    return found


def _children(pid: int) -> set[int]:
    found: set[int] = set()
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                found.update(map(int, (task / "children").read_bytes().split()))
    return found


def _written() -> int:
    """How much is in the files that standard output and standard error are captured in."""
    sizes = [it.st_size for it in (os.fstat(1), os.fstat(2)) if stat.S_ISREG(it.st_mode) and it.st_nlink == 0]
    return max(sizes, default=0)


def _told(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"its process was ended by signal {number} ({signal.Signals(number).name})"
    return f"it ended its process with code {os.WEXITSTATUS(status)}"

"""One command in an environment: run to its end, with what it wrote.

Not for what an environment makes of that: see `environment`.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import threading
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Callable

from ptest._errors import TimedOutError
from ptest._process import MOST, PIPE, kept

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ptest._environment import Environment

_LEFT = 1 << 20
"""How much may wait in a pipe when a command is over; what comes later is of processes that it left behind."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str
    timed_out: bool


def run(
    environment: Environment,
    command: list[str],
    *,
    variables: Mapping[str, str],
    cwd: Path,
    timeout: float | None,
    started: Callable[[str], None],
    stopping: Callable[[], None],
) -> Ended:
    """Runs a command; tells that it has started, and that its time is up."""
    process = environment.popen(
        command,
        text=False,
        env=variables,
        cwd=cwd,
        timeout=timeout,
        stdout=PIPE,
        stderr=PIPE,
    )
    if process.stdout is None or process.stderr is None:
        message = "a pipe was asked for"
        raise AssertionError(message)
    drain = _Drain(process.stdout, process.stderr)
    drain.start()
    try:
        started(process.id)
        told = False
        try:
            returncode = process.wait(timeout)
        except TimedOutError:
            told = True
            stopping()
            returncode = process.wait()
    except BaseException:
        process.kill()
        raise
    finally:
        drain.finish()
    timed_out = process.exit is not None and process.exit.timed_out
    if timed_out and not told:
        stopping()
    stdout, stderr = drain.text()
    return Ended(returncode, stdout, stderr, timed_out)


class _Kept:
    """The beginning and the end of a stream."""

    def __init__(self) -> None:
        self.head = bytearray()
        self.tail = bytearray()
        self.total = 0

    def take(self, piece: bytes) -> None:
        half = MOST // 2
        self.total += len(piece)
        room = half - len(self.head)
        self.head += piece[:room]
        self.tail += piece[room:] if room > 0 else piece
        if len(self.tail) > MOST:
            del self.tail[:-half]

    def text(self) -> str:
        tail = bytes(self.tail[-(MOST // 2) :])
        return kept((bytes(self.head), tail, self.total, False))[0].decode("utf-8", "replace")


class _Drain(threading.Thread):
    """Takes what a command writes while it runs, so that it never waits for a reader."""

    def __init__(self, *streams: IO[bytes]) -> None:
        super().__init__(daemon=True, name="ptest output")
        self._streams = {stream.fileno(): (stream, _Kept()) for stream in streams}
        self._wake, self._done = os.pipe()

    def run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for number in self._streams:
                os.set_blocking(number, False)
                selector.register(number, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while len(selector.get_map()) > 1:
                ready = [key.fd for key, _ in selector.select()]
                if self._wake in ready:
                    for number in self._streams:
                        self._take(number, _LEFT)
                    return
                for number in ready:
                    if not self._take(number, 1):
                        selector.unregister(number)

    def _take(self, number: int, most: int) -> bool:
        """Takes what is there, at least once; says whether more can come."""
        _, kept_ = self._streams[number]
        taken = 0
        with contextlib.suppress(BlockingIOError):
            while taken < most:
                piece = os.read(number, 1 << 16)
                if not piece:
                    return False
                kept_.take(piece)
                taken += len(piece)
        return True

    def finish(self) -> None:
        """Ends it when all is taken that was written until now."""
        os.close(self._done)
        self.join()
        os.close(self._wake)
        for stream, _ in self._streams.values():
            stream.close()

    def text(self) -> list[str]:
        return [kept_.text() for _, kept_ in self._streams.values()]

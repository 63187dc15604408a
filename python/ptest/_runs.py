"""Runs of commands: what is remembered of them, and what they wrote.

Not for a command that this process runs: see `_process`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Generic, Protocol, TypeVar

from ptest._options import seconds
from ptest._records import Record, RunUsage, StruckLimit, _time

if TYPE_CHECKING:
    from datetime import datetime

    from typing_extensions import Self

    from ptest._options import Duration

T = TypeVar("T")


@dataclass(frozen=True)
class RunLimit(Record):
    """A limit that held while a command ran."""

    limit: str
    """Which limit."""
    value: int
    """Bytes; of ``cpus`` thousandths, of ``cpu-time`` milliseconds."""
    strength: str
    """``enforced``, ``watched`` or ``none``."""


@dataclass(frozen=True)
class LimitAsked(Record):
    """A limit that was asked for."""

    limit: str
    """Which limit."""
    value: int
    """As of `RunLimit`."""


@dataclass(frozen=True)
class RunStream(Record):
    """A stream that a command wrote."""

    destination: str
    """``null``, ``terminal``, ``pipe``, ``socket``, ``file``, ``device``, ``taken`` (by ptest) or ``other``."""
    path: Path | None
    """The file or device."""
    bytes: int | None
    """How many came; None where ptest did not take them."""
    dropped_bytes: int
    """How many of them are kept nowhere."""

    _read = {"path": Path}


@dataclass(frozen=True)
class RunClient(Record):
    """The process that ran a command."""

    pid: int
    """Its id."""
    start_time: int
    """In clock ticks since boot."""
    boot_id: str
    """The boot of the machine that it is of."""


@dataclass(frozen=True)
class Run(Record):
    """A run of a command in an environment."""

    id: str
    """Its identity in the store: ``r17``."""
    environment: str
    """The id of its environment, which may be gone."""
    label: str
    """The name that the environment had then, or its id."""
    number: int
    """Which of that environment's runs it is: the first is 1."""
    command: list[str]
    """The program and its arguments, secrets hidden."""
    directory: Path
    """Where it started."""
    profile: str | None
    """The profile that held."""
    profile_asked: str | None
    """The profile asked for; None for the strongest that there is."""
    network: str | None
    """What network it saw."""
    limits: list[RunLimit]
    """The limits that held."""
    limits_asked: list[LimitAsked]
    """The limits asked for."""
    timeout_seconds: float | None
    """How long it was allowed."""
    client: RunClient
    """The process that ran it."""
    started_at: datetime
    """When it began."""
    ended_at: datetime | None
    """When it ended, or was found to have ended."""
    state: str
    """``active``, ``ended``, ``not_started`` or ``lost``: over, and nobody knows how."""
    exit_code: int | None
    """As a shell has it: 128+N for signal N."""
    signal: int | None
    """The signal that ended it."""
    timed_out: bool
    """Whether its time was up."""
    limit: StruckLimit | None
    """The limit that struck."""
    leaked_processes: int | None
    """How many processes it left behind."""
    reason: str | None
    """Why it did not start, or is lost."""
    usage: RunUsage | None
    """What it used."""
    log: bool
    """Whether its output is kept, in full or up to the setting ``keep_output``."""
    stdout: RunStream
    """Where standard output went."""
    stderr: RunStream
    """Where standard error went."""

    _read = {
        "directory": Path,
        "limits": RunLimit.each,
        "limits_asked": LimitAsked.each,
        "client": RunClient.of,
        "started_at": _time,
        "ended_at": _time,
        "limit": StruckLimit.of,
        "usage": RunUsage.of,
        "stdout": RunStream.of,
        "stderr": RunStream.of,
    }

    def __str__(self) -> str:
        return self.id


@dataclass(frozen=True)
class LogPiece(Record):
    """A piece of what a run wrote."""

    stream: str
    """``stdout`` or ``stderr``."""
    text: str | None
    """What is not UTF-8 is replaced; None where something is not kept."""
    left_out_bytes: int | None
    """How many bytes are not kept here."""


@dataclass(frozen=True)
class Log(Record):
    """A run, and what it wrote as far as that is kept."""

    run: Run
    """The run."""
    output: list[LogPiece]
    """In the order in which it came."""

    _read = {"run": Run.of, "output": LogPiece.each}

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(piece.text or "" for piece in self.output)

    def __str__(self) -> str:
        return self.text


class _Source(Protocol):
    def next(self, timeout: float | None, /) -> Any: ...


class Coming(Generic[T]):
    """What comes one by one, in the order in which it comes; also an iterator that waits for the next."""

    def __init__(self, core: _Source, read: Callable[[Any], T]) -> None:
        self._source = core
        self._read = read
        self._ended = False

    @property
    def ended(self) -> bool:
        """Whether nothing comes any more."""
        return self._ended

    def next(self, timeout: Duration | None = None) -> T | None:
        """The next; None if none came in that time, or none comes any more."""
        if self._ended:
            return None
        found = self._source.next(seconds(timeout))
        self._ended = found is False
        return self._read(found) if found else None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        found = self.next()
        if found is None:
            raise StopIteration
        return found


class LogFollower(Coming[LogPiece]):
    """What a run writes, as it comes, until it has ended."""

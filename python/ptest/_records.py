"""What ptest tells of environments and of what happens to them: values that do not change.

Each is a document of ``--format json`` with types. Sizes are bytes, durations seconds, times aware of UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, ClassVar, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Self

R = TypeVar("R", bound="Record")
Document = Mapping[str, Any]


def _time(text: str) -> datetime:
    """A time of a document."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


@dataclass(frozen=True)
class Record:
    """Made of a document: each field from the key of its name."""

    _read: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}
    """How fields are read that are not as they are in the document, unless they are null."""

    @classmethod
    def of(cls, document: Document) -> Self:
        """Of a document."""
        values = {}
        for field in fields(cls):
            value = document[field.name]
            read = cls._read.get(field.name)
            values[field.name] = value if value is None or read is None else read(value)
        return cls(**values)

    @classmethod
    def each(cls, documents: list[Document]) -> list[Self]:
        """Of several."""
        return [cls.of(document) for document in documents]


@dataclass(frozen=True)
class Port(Record):
    """A leased port."""

    port: int
    """Its number."""
    protocol: str
    """What it was looked at for: ``tcp``, ``udp`` or ``both``."""
    address: str | None
    """At which address; None for any."""
    name: str | None
    """The name that it was asked for by; its variable is ``PTEST_PORT_NAME``."""
    owner: str
    """``environment``, ``process`` or ``detached``."""
    environment: str | None
    """The id of the environment that has it."""
    process: int | None
    """The id of the process that has it."""
    until: datetime | None
    """When the lease ends, if it ends with time."""
    acquired_at: datetime
    """When it was leased."""

    _read = {"until": _time, "acquired_at": _time}

    def __int__(self) -> int:
        return self.port

    def __index__(self) -> int:
        return self.port


@dataclass(frozen=True)
class Usage(Record):
    """What an environment uses now."""

    cpu_seconds: float
    """Processor time since it was activated, in seconds."""
    memory_bytes: int
    """Memory, in bytes."""
    memory_peak_bytes: int | None
    """The most that it was, as far as it was seen; None where nothing runs."""
    memory_source: str
    """``control_group`` counts files in memory too, and shared pages once; ``processes`` is a sum over them."""
    read_bytes: int
    """Read from disks since it was activated, in bytes."""
    written_bytes: int
    """Written to disks, in bytes."""
    network_received_bytes: int | None
    """Received since it was activated, in bytes; None where it has no network of its own."""
    network_sent_bytes: int | None
    """Sent, in bytes; None likewise."""
    disk_bytes: int | None
    """What it alone takes; None where that is not measured: only `Environment.details` does."""
    shared_bytes: int | None
    """What it shares with others, in bytes; None likewise."""
    processes: int
    """How many processes there are in it."""


@dataclass(frozen=True)
class RunUsage(Record):
    """What a command used, with what it waited for."""

    elapsed_seconds: float
    """From its start to its end, in seconds."""
    user_seconds: float
    """Processor time in programs, in seconds."""
    system_seconds: float
    """Processor time in the kernel, in seconds."""
    memory_peak_bytes: int
    """The most memory that one of its processes had, in bytes."""
    read_bytes: int
    """Read from disks, in bytes."""
    written_bytes: int
    """Written to disks, in bytes."""


@dataclass(frozen=True)
class StruckLimit(Record):
    """A limit that struck."""

    limit: str
    """Which, as on the command line: ``memory``, ``cpu-time``."""
    configured: int
    """What was set: bytes, milliseconds of ``cpu-time``, or a number."""
    reached: int
    """What was reached, in the same unit."""
    ended: bool
    """Whether the command was ended for it; else it was refused something."""


@dataclass(frozen=True)
class Status(Record):
    """An environment, and what it is doing."""

    id: str
    """Its identity, never used twice."""
    name: str | None
    """Its name, if it has one."""
    engine: str
    """The engine that it runs on: ``virtualenv``."""
    state: str
    """``creating``, ``created``, ``activating``, ``active``, ``deactivating``, ``inactive``, ``removing``, ``removed``
    or ``failed``."""
    path: Path
    """Where its view on this machine is, once `Environment.path` was asked for."""
    python: str
    """The version of its Python."""
    interpreter: Path
    """The base interpreter on this machine."""
    profile: str | None
    """The profile that holds, or the one asked for; None for the strongest that there is."""
    network: str | None
    """What network commands see: a value of `Network`; None where that is as the profile has it."""
    owner: str
    """``process`` or ``detached``."""
    project: Path
    """The project that its commands see."""
    labels: Mapping[str, str]
    """What is written on it."""
    created_at: datetime
    """When it was made."""
    activated_at: datetime | None
    """When it was last activated."""
    deactivated_at: datetime | None
    """When it was last deactivated."""
    ends_at: datetime | None
    """When its time is over."""
    ports: list[Port]
    """The ports that are leased to it."""
    usage: Usage
    """What it uses now."""
    degraded: list[str]
    """What of the settings had to be given up, each a sentence."""
    error: str | None
    """Why it failed."""

    _read = {
        "path": Path,
        "interpreter": Path,
        "project": Path,
        "created_at": _time,
        "activated_at": _time,
        "deactivated_at": _time,
        "ends_at": _time,
        "ports": Port.each,
        "usage": Usage.of,
    }


@dataclass(frozen=True)
class Package(Record):
    """A distribution that is installed."""

    name: str
    """Normalised: ``zope-interface``."""
    version: str
    """Its version."""
    requested: bool
    """Asked for itself, not only needed by another."""
    editable: str | None
    """The project that it is an editable install of."""
    foreign: bool
    """Installed by a command inside, not by ptest."""


@dataclass(frozen=True)
class Problem(Record):
    """Something of what is installed that is not what was installed."""

    package: str | None
    """The distribution that it belongs to."""
    path: Path | None
    """The file, relative to the environment."""
    detail: str
    """What is not as it was."""

    _read = {"path": Path}

    def __str__(self) -> str:
        place = " ".join(str(it) for it in (self.package, self.path) if it is not None)
        return f"{place}: {self.detail}" if place else self.detail


@dataclass(frozen=True)
class Verification(Record):
    """Whether what is installed is what was installed."""

    whole: bool
    """Whether there is no problem."""
    packages: int
    """How many distributions were looked at."""
    files: int
    """How many files."""
    problems: list[Problem]
    """What is not as it was."""

    _read = {"problems": Problem.each}


@dataclass(frozen=True)
class PackageChange(Record):
    """A distribution that is not what it was."""

    name: str
    """Its normalised name."""
    before: str | None
    """The version before; None if it was not there."""
    after: str | None
    """The version now; None if it is not there any more."""


@dataclass(frozen=True)
class FileChange(Record):
    """A file or link that is not what it was."""

    path: Path
    """Relative to the environment."""
    change: str
    """``added``, ``removed`` or ``changed``."""
    before_bytes: int | None
    """Its size before, in bytes; None if it was not there."""
    after_bytes: int | None
    """Its size now, in bytes; None if it is not there any more."""

    _read = {"path": Path}


@dataclass(frozen=True)
class Difference(Record):
    """What is different in one environment or snapshot from another."""

    before: str
    """The name or id of the one that is compared with."""
    after: str
    """The name or id of the one that is compared."""
    packages: list[PackageChange]
    """Distributions that differ."""
    files: list[FileChange]
    """Files and links that differ, besides those of the distributions."""

    _read = {"packages": PackageChange.each, "files": FileChange.each}


@dataclass(frozen=True)
class Snapshot(Record):
    """What an environment was at some time."""

    name: str
    """Its name."""
    environment: str
    """The name that its environment had, or its id."""
    engine: str
    """The engine that its environment ran on."""
    stack: str
    """The stack of layers."""
    recipe: str
    """The recipe that led to its packages."""
    python: str
    """The version of its Python."""
    interpreter: Path
    """The base interpreter on this machine."""
    requirements: list[str]
    """What was asked for."""
    created_by: str
    """The user who took it."""
    created_at: datetime
    """When it was taken."""

    _read = {
        "environment": lambda origin: origin["label"],
        "interpreter": Path,
        "created_at": _time,
    }

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Event(Record):
    """Something that happened."""

    sequence: int
    """Larger for each later one, and never used twice."""
    time: datetime
    """When."""
    kind: str
    """What happened, such as ``created``; an event of your own is ``emitted``, its name in the payload."""
    environment: str | None
    """The id of the environment that it is about."""
    label: str | None
    """The name that it had then, or its id."""
    operation: str | None
    """The operation that it happened in, as the log has it."""
    caused_by: int | None
    """The event whose hook did it."""
    version: int
    """The version of the payload's fields."""
    payload: Mapping[str, Any]
    """What there is to know of it: the schema ``ptest.event`` has the fields of each kind."""

    _read = {"time": _time}


@dataclass(frozen=True)
class StatsPoint(Record):
    """What was used in one second, minute or hour."""

    time: datetime
    """When it begins."""
    cpus: float
    """How many processors were busy, on average."""
    memory_bytes: int
    """On average."""
    memory_most_bytes: int
    """At most."""
    processes: float
    """On average."""
    processes_most: int
    """At most."""
    read_bytes: int
    """Read from disks."""
    written_bytes: int
    """Written to disks."""
    network_received_bytes: int | None
    """What arrived through the network, where that is the environment's own."""
    network_sent_bytes: int | None
    """What was sent through it."""
    disk_bytes: int | None
    """What was written in the environment took at the end, where that is limited."""

    _read = {"time": _time}


@dataclass(frozen=True)
class Totals(Record):
    """What was used since the environment was made."""

    cpu_seconds: float
    """Processor time."""
    memory_peak_bytes: int
    """The most memory that was in use at once."""
    read_bytes: int
    """Read from disks."""
    written_bytes: int
    """Written to disks."""
    network_received_bytes: int | None
    """What arrived through the network, where that was its own."""
    network_sent_bytes: int | None
    """What was sent through it."""


@dataclass(frozen=True)
class Stats:
    """What an environment used over time."""

    begin: datetime
    """When the first point begins at the earliest."""
    end: datetime
    """When it was asked."""
    resolution_seconds: float
    """How long each point is."""
    points: list[StatsPoint]
    """Oldest first. Where nothing ran there is none."""
    totals: Totals
    """What was used since the environment was made."""

    @classmethod
    def of(cls, document: Document) -> Self:
        """Made of the document."""
        return cls(
            begin=_time(document["from"]),
            end=_time(document["to"]),
            resolution_seconds=document["resolution_seconds"],
            points=StatsPoint.each(document["points"]),
            totals=Totals.of(document["totals"]),
        )

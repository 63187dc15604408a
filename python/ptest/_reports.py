"""What ptest tells of a store as a whole: what was put in order, what is missing, what engines can do.

Not for environments and what happens to them: see `_records`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptest._errors import PtestError, of_document
from ptest._records import Record, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self


@dataclass(frozen=True)
class Capability(Record):
    """What an engine can do on this machine."""

    files: bool
    """Files written in an environment last until it is removed."""
    host_files: bool
    """Those files, and what is installed, are on this machine."""
    restack: bool
    """What is installed in an environment can be changed."""
    snapshot: bool
    """What was written in an environment can be kept in a snapshot."""
    hand_over: bool
    """What was written in an environment at rest is kept without being copied."""
    terminal: bool
    """A command can be run on a terminal of its own."""
    signal: bool
    """A running command can be signalled."""
    timeout: bool
    """A command can be ended after a time."""
    usage: bool
    """What an environment uses can be read."""
    processes: bool
    """Its processes can be listed and signalled."""
    samples: bool
    """What it uses is sampled while something is done."""
    pids_limit: bool
    """The number of processes can be limited."""
    isolation: bool
    """The profiles ``standard`` and ``strict`` hold."""


@dataclass(frozen=True)
class Engine:
    """What environments run on."""

    name: str
    """What the option ``engine`` calls it."""
    capability: Capability
    """What it can do on this machine."""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Failure(Record):
    """One of many that something failed with."""

    environment: str
    """Its name or id."""
    error: PtestError
    """Why."""

    _read = {"error": of_document}


@dataclass(frozen=True)
class Removed(Record):
    """Which environments were taken away, and which could not be."""

    removed: list[str]
    """Names, or ids of those without one."""
    failed: list[Failure]
    """Those that are still there, and why."""

    _read = {"failed": Failure.each}

    def check(self) -> Self:
        """Itself, if none failed.

        Raises
        ------
        PtestError
            The first failure.
        """
        for failure in self.failed:
            raise failure.error
        return self


@dataclass(frozen=True)
class Bulk(Record):
    """What became of many environments."""

    environments: list[Status]
    """Those that it was done with."""
    failed: list[Failure]
    """Those that it failed with, and why."""

    _read = {"environments": Status.each, "failed": Failure.each}

    def check(self) -> Self:
        """Itself, if none failed; raises the first failure."""
        for failure in self.failed:
            raise failure.error
        return self


@dataclass(frozen=True)
class Collected(Record):
    """What was of no use, and is gone, or would go."""

    layers: int
    """How many layers."""
    recipes: int
    """How many recipes."""
    caches: int
    """Caches of recipes."""
    programs: int
    """Programs and tools of other versions of ptest."""
    bytes: int
    """How much room all of these took."""
    thrown_away: int
    """How many trees had been thrown away before, and are deleted too."""
    thrown_away_bytes: int
    """How much room these took."""


@dataclass(frozen=True)
class Recovered(Record):
    """What was put right."""

    removed: list[str]
    """The ids of environments that were taken away."""
    settled: list[str]
    """The ids of those that were brought to rest."""
    released_ports: list[int]
    """Ports whose owner had died."""
    lost_runs: list[str]
    """The ids of runs whose end nobody knows."""
    failed: list[Failure]
    """What could not be put right, and why."""
    thrown_away: int
    """How many trees were thrown away and are not deleted yet."""
    thrown_away_bytes: int
    """How much room these take."""

    _read = {"failed": Failure.each}


@dataclass(frozen=True)
class RebuiltTable(Record):
    """What was read of a table of a damaged database."""

    name: str
    """The name of the table."""
    rows: int
    """How many rows were read."""
    whole: bool
    """Whether that is every row that it had, as far as that can be known."""


@dataclass(frozen=True)
class LostEnvironment(Record):
    """An environment of which nothing is known any more."""

    environment: str
    """Its id."""
    path: Path
    """Where what was written in it is now."""

    _read = {"path": Path}


@dataclass(frozen=True)
class Rebuilt(Record):
    """What became of a damaged database."""

    damage: str
    """What was wrong with it."""
    aside: Path | None
    """Where it is now; None if there was none."""
    tables: list[RebuiltTable]
    """What was read of each table."""
    layers: int
    """How many layers were found again on the disk."""
    lost: list[LostEnvironment]
    """Environments of which nothing is known any more."""

    _read = {"aside": Path, "tables": RebuiltTable.each, "lost": LostEnvironment.each}


@dataclass(frozen=True)
class Improved(Record):
    """What starts faster now."""

    compiled: int
    """Distributions whose bytecode was compiled."""
    flattened: int
    """Stacks that became one layer."""


@dataclass(frozen=True)
class DamagedLayer(Record):
    """A layer that was not what it was made as."""

    layer: str
    """The id of the layer."""
    detail: str
    """What was wrong with it."""
    environments: list[str]
    """The environments that are made of it."""
    snapshots: list[str]
    """The snapshots that are made of it."""
    outcome: str
    """``made_again``, ``unused`` or ``failed``: then it is out of service."""
    error: str | None
    """Why it could not be made again."""


@dataclass(frozen=True)
class StoreVerification(Record):
    """Whether every layer is what it was made as."""

    whole: bool
    """Whether no layer was damaged."""
    layers: int
    """How many were looked at."""
    damaged: list[DamagedLayer]
    """The layers that were damaged."""

    _read = {"damaged": DamagedLayer.each}


@dataclass(frozen=True)
class Finding(Record):
    """Something that ptest needs or can use."""

    name: str
    """What was looked at."""
    state: str
    """``ok``; ``degraded``: ptest works without it, less well; ``missing``: ptest needs it."""
    detail: str
    """What was found, or why not."""
    hint: str | None
    """What to do about it."""


@dataclass(frozen=True)
class Attempt(Record):
    """What came of an attack at one place."""

    succeeded: bool
    """Whether it worked."""
    detail: str
    """What it got, or what stopped it."""


@dataclass(frozen=True)
class Trial(Record):
    """An attack on one kind of environment."""

    attack: str
    """The name of the attack."""
    what: str
    """What it tries."""
    profile: str
    """The profile of the environment."""
    network: str
    """The network of the environment."""
    claimed: bool
    """Whether that kind of environment claims to stop it."""
    verdict: str
    """``stopped``, ``BREACH`` (it works inside, against the claim), ``open`` (nothing else was claimed) or ``vacuous``
    (it does not even work outside)."""
    outside: Attempt
    """What came of it outside, where it must work."""
    inside: Attempt
    """What came of it in the environment."""

    _read = {"outside": Attempt.of, "inside": Attempt.of}


@dataclass(frozen=True)
class Hook(Record):
    """What is called when something happens."""

    events: list[str]
    """The kinds of events that it is called for."""
    environments: list[str]
    """The environments that it is for; none for all."""
    command: list[str] | None
    """The program that is run, with its arguments."""
    url: str | None
    """The URL that is sent to."""
    timeout_seconds: float
    """How long a call may take."""
    source: str | None
    """The file that declares it; None if the configuration does."""
    sequence: int
    """The number of the last event that it is done with."""
    waiting: int
    """How many events it is still to be called for."""


@dataclass(frozen=True)
class Setting(Record):
    """A setting of the configuration."""

    key: str
    """Its name."""
    value: Any
    """None if it is not set."""
    source: str
    """``built-in``, ``system``, ``user``, ``project``, ``variable`` or ``option``."""
    file: Path | None
    """The file that sets it, if one does."""
    line: int | None
    """The line in that file."""
    variable: str
    """The variable that sets it."""

    _read = {"file": Path}


@dataclass(frozen=True)
class ConfigFile(Record):
    """A file that settings are read from."""

    source: str
    """``system``, ``user`` or ``project``."""
    path: Path | None
    """Where it is; None if there is no place for it."""
    exists: bool
    """Whether it is there."""

    _read = {"path": Path}


@dataclass(frozen=True)
class Kernel(Record):
    """A kernel of the user's Jupyter that runs in an environment."""

    name: str
    """What Jupyter calls it."""
    display_name: str
    """What Jupyter shows."""
    path: Path
    """The directory of its specification."""
    environment: str
    """The id of the environment that it runs in."""
    store: Path
    """The store that the environment is in."""

    _read = {"path": Path, "store": Path}


@dataclass(frozen=True)
class SettingDifference(Record):
    """Something of an environment that is not as a file says."""

    what: str
    """The name of what differs."""
    found: str | None
    """What it is; None if it is not set."""
    wanted: str | None
    """What the file says; None if it says nothing."""


@dataclass(frozen=True)
class AppliedEnvironment(Record):
    """An environment that a file says, or that it said."""

    name: str
    """Its name."""
    action: str
    """``keep``, ``create``, ``change``, ``recreate``, ``remove`` or ``refuse``."""
    result: str
    """``done``, ``failed``, ``planned``, or ``waiting`` for ``recreate`` or ``prune``."""
    differences: list[SettingDifference]
    """What is, or was, not as the file says."""
    error: PtestError | None
    """Why it failed."""

    _read = {"differences": SettingDifference.each, "error": of_document}


@dataclass(frozen=True)
class AppliedHook(Record):
    """A hook that a file says, or that it said."""

    action: str
    """``keep``, ``create`` or ``remove``."""
    events: list[str]
    """The kinds of events that it is called for."""
    environments: list[str]
    """The environments that it is for; none for all."""
    command: list[str] | None
    """The program that is run, with its arguments."""
    url: str | None
    """The URL that is sent to."""
    timeout_seconds: float
    """How long a call may take."""


@dataclass(frozen=True)
class Applied(Record):
    """What was done, or is to be done, for what a file says."""

    source: str
    """What the file is known by: the name that it gives itself, or its path."""
    converged: bool
    """Whether everything is as the file says."""
    environments: list[AppliedEnvironment]
    """What was done with each environment."""
    hooks: list[AppliedHook]
    """What was done with each hook."""

    _read = {"environments": AppliedEnvironment.each, "hooks": AppliedHook.each}

    def check(self) -> Self:
        """Itself, if nothing failed; raises the first failure."""
        for step in self.environments:
            if step.error is not None:
                raise step.error
        return self


def engines(document: Mapping[str, Mapping[str, Any]]) -> list[Engine]:
    """The engines of a document."""
    return [Engine(name, Capability.of(capability)) for name, capability in document.items()]

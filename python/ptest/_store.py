"""A store: where environments are made and found, and what they share.

Not for what is done with one environment: see `_environment`.
"""

from __future__ import annotations

import atexit
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from ptest import _core
from ptest._environment import Environment
from ptest._options import ExecOptions, seconds
from ptest._options import environment as environment_options
from ptest._options import settings as plain_settings
from ptest._records import Difference, Event, Port, Snapshot, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Literal

    from typing_extensions import Self, Unpack

    from ptest._options import CommandOptions, Duration, EnvironmentOptions, Settings, StrPath
    from ptest._process import Command, CompletedRun


def _program() -> Path | None:
    """The ``ptest`` that was installed with this package: it goes on with what outlasts this process."""
    import sysconfig

    places = (sysconfig.get_path("scripts"), sysconfig.get_path("scripts", "posix_user"))
    programs = (Path(place) / "ptest" for place in places)
    return next((program for program in programs if program.exists()), None)


class Store:
    """A directory with environments, snapshots, and the layers that they share.

    Any number of threads may use one at the same time, and any number of processes the same directory. After a fork,
    the child works with a connection of its own.
    """

    def __init__(self, **settings: Unpack[Settings]) -> None:
        """Opens the store that the configuration says, or these settings in its place.

        Raises
        ------
        InvalidInputError
            If there is no such setting, or the configuration cannot be used.
        PermissionDeniedError
            If the store belongs to another user.
        CorruptError
            If its database is damaged: ``ptest recover --rebuild``.
        """
        self._settings = plain_settings(settings)
        self._opened: _core.Store | None = None
        self._pid = 0
        self._retired: list[_core.Store] = []
        warned = self._core.warnings
        for sentence in warned:
            warnings.warn(sentence, stacklevel=2)

    @property
    def _core(self) -> _core.Store:
        pid = os.getpid()
        if self._opened is None or self._pid != pid:
            if self._opened is not None:
                # It is the parent's: closing it here would take locks and connections from that.
                self._retired.append(self._opened)
            self._opened = _core.Store(self._settings, _program(), sys.executable)
            self._pid = pid
            atexit.register(self._tidy, pid)
        return self._opened

    def _tidy(self, pid: int) -> None:
        """What is left to be done when the process ends."""
        if self._opened is not None and pid == os.getpid():
            self._opened.tidy(0.05)

    def __repr__(self) -> str:
        return f"<ptest.Store {str(self.home)!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_reopened, (self._settings,))

    @property
    def home(self) -> Path:
        """Its directory."""
        return Path(self._core.home)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Every setting that counts here, by its name."""
        return {row["key"]: row["value"] for row in self._core.settings()["settings"]}

    def create(
        self,
        name: str | None = None,
        *,
        detached: bool = False,
        refresh: bool = False,
        **options: Unpack[EnvironmentOptions],
    ) -> Environment:
        """Makes an environment: it is there, wholly, or nothing of it is left.

        Parameters
        ----------
        name
            Letters, digits, ``-``, ``_`` and ``.``, at most 63; without one it is known by its id alone.
        detached
            Whether it stays until it is removed. Otherwise it goes with the object that is given here, and with this
            process, however that ends.
        refresh
            Whether versions are chosen anew, whatever is known.
        options
            What it is made of and what it is like.

        Raises
        ------
        InvalidInputError
            If there is no such option, or it does not take that value.
        AlreadyExistsError
            If the name is taken.
        ResolutionError, NetworkError, BuildError
            If what it is made of is not to be had; ``output`` has the installer's words.
        NotFoundError
            If there is no such Python.
        UnsupportedError
            If the machine cannot do what was asked for.
        NoRoomError
            If there is as much as there may be at once.
        """
        core, told = self._core.create(environment_options(options), name, detached, refresh)
        for sentence in told:
            warnings.warn(sentence, stacklevel=2)
        return Environment(self, core, name=name, owned=not detached)

    def create_many(
        self,
        names: Iterable[str] | int,
        *,
        detached: bool = False,
        refresh: bool = False,
        **options: Unpack[EnvironmentOptions],
    ) -> list[Environment]:
        """Makes environments that are made of the same, several at a time: under these names, or so many without.

        The other arguments are those of `create`.

        Raises
        ------
        PtestError
            The first failure. What was made besides is removed.
        """
        wanted: list[str | None] = [None] * names if isinstance(names, int) else list(names)
        made = self._core.create_all(environment_options(options), wanted, detached, refresh)
        environments = [
            Environment(self, core, name=name, owned=not detached)
            for name, (core, _) in zip(wanted, made)
            if core is not None
        ]
        failures = [error for _, error in made if error is not None]
        if failures:
            for environment in environments:
                environment.remove()
            raise failures[0]
        return environments

    def fork(
        self,
        source: str | Snapshot | Environment,
        name: str | None = None,
        *,
        detached: bool = False,
        **options: Unpack[EnvironmentOptions],
    ) -> Environment:
        """Makes an environment that is what a snapshot or another environment is now.

        Without options it is like its source; with any it is like a new one with these options. ``name`` and
        ``detached`` are as with `create`.

        Raises
        ------
        NotFoundError
            If there is no such source.
        AlreadyExistsError
            If the name is taken.
        """
        return self._forks(source, [name], detached=detached, options=options)[0]

    def fork_many(
        self,
        source: str | Snapshot | Environment,
        names: Iterable[str] | int,
        *,
        detached: bool = False,
        **options: Unpack[EnvironmentOptions],
    ) -> list[Environment]:
        """Makes several at once, under these names or so many without: all are there, or none. Otherwise as `fork`."""
        wanted: list[str | None] = [None] * names if isinstance(names, int) else list(names)
        return self._forks(source, wanted, detached=detached, options=options)

    def _forks(
        self,
        source: str | Snapshot | Environment,
        names: list[str | None],
        *,
        detached: bool,
        options: EnvironmentOptions,
    ) -> list[Environment]:
        given = environment_options(options) if options else None
        made, left_out = self._core.fork(label(source), names, given, detached)
        for sentence in left_out:
            warnings.warn(sentence, stacklevel=3)
        return [Environment(self, core, name=name, owned=not detached) for name, core in zip(names, made)]

    def find(self, name: str) -> Environment:
        """The environment of a name or id. It stays when the object goes.

        Raises
        ------
        NotFoundError
            If there is none.
        """
        return Environment(self, self._core.find(name), owned=False)

    def environments(self, selector: str = "") -> list[Status]:
        """The environments whose labels meet every condition, oldest first: ``team=a,stage!=old,ci``."""
        return Status.each(self._core.environments(selector)["environments"])

    @overload
    def run(
        self,
        command: Command,
        *,
        text: Literal[True] = True,
        input: str | None = None,
        **options: Unpack[CommandOptions],
    ) -> CompletedRun[str]: ...
    @overload
    def run(
        self,
        command: Command,
        *,
        text: Literal[False],
        input: bytes | None = None,
        **options: Unpack[CommandOptions],
    ) -> CompletedRun[bytes]: ...
    def run(
        self,
        command: Command,
        *,
        text: bool = True,
        input: Any = None,
        **options: Unpack[CommandOptions],
    ) -> CompletedRun[Any]:
        """Runs a command in an environment that is made for it and taken away again.

        The options are those of `create` and of `Environment.exec`.

        Raises
        ------
        CommandFailedError, CommandTimedOutError
            If the command failed and ``check`` is true.
        PtestError
            If the environment cannot be made, or the command not be started.
        """
        names = ExecOptions.__annotations__
        of_command: Any = {name: value for name, value in options.items() if name in names}
        of_environment: Any = {name: value for name, value in options.items() if name not in names}
        with self.create(**of_environment) as environment:
            return environment.exec(command, text=text, input=input, **of_command)

    def snapshots(self) -> list[Snapshot]:
        """Every snapshot, oldest first."""
        return Snapshot.each(self._core.snapshots()["snapshots"])

    def snapshot(self, name: str) -> Snapshot:
        """The snapshot of a name.

        Raises
        ------
        NotFoundError
            If there is none.
        """
        return Snapshot.of(self._core.snapshot(name)["snapshot"])

    def remove_snapshot(self, snapshot: str | Snapshot) -> None:
        """Takes a snapshot away. What was made of it stays.

        Raises
        ------
        NotFoundError
            If there is none.
        """
        self._core.remove_snapshot(str(snapshot))

    def diff(self, before: str | Snapshot | Environment, after: str | Snapshot | Environment) -> Difference:
        """What is different in ``after`` from ``before``: names, ids or objects.

        Raises
        ------
        NotFoundError
            If one of them does not exist.
        """
        return Difference.of(self._core.diff(label(before), label(after)))

    def materialize(
        self,
        directory: StrPath,
        *,
        refresh: bool = False,
        **options: Unpack[EnvironmentOptions],
    ) -> Path:
        """Makes a plain virtual environment, which needs ptest no more and which ptest does not know.

        Nothing must be there, or an empty directory. The options are those of `create`.

        Raises
        ------
        AlreadyExistsError
            If something is there.
        PtestError
            As `create`.
        """
        made = self._core.materialize(os.fspath(directory), environment_options(options), refresh)
        return Path(made["path"])

    def export(self, source: str | Snapshot | Environment, file: StrPath) -> None:
        """Writes an environment or a snapshot as one file, to be imported elsewhere."""
        self._core.export(label(source), os.fspath(file))

    def import_(self, file: StrPath, name: str | None = None) -> str:
        """Makes of a file what it was made of: an environment, which stays, or a snapshot. Gives its name.

        What is slightly different on this machine, such as the patch version of Python, is warned of.

        Raises
        ------
        NotFoundError
            If there is no such file, or no Python that fits.
        CorruptError
            If the file is not what it says.
        AlreadyExistsError
            If the name is taken.
        """
        unpacked = self._core.import_(os.fspath(file), name)
        for sentence in unpacked["differs"]:
            warnings.warn(sentence, stacklevel=2)
        return str(unpacked["name"])

    def acquire_ports(
        self,
        count: int = 1,
        *,
        range: str | None = None,
        protocol: Literal["tcp", "udp", "both"] = "both",
        address: str | None = None,
        ttl: Duration | None = None,
    ) -> list[Port]:
        """Leases ports to this process, or for a time: nobody else who asks ptest gets them until then.

        Each was free on this machine when it was leased.

        Parameters
        ----------
        count
            How many.
        range
            Which numbers may be taken: ``"20000-29999"``; as configured unless said.
        protocol
            What they must be free for.
        address
            At which address they must be free; at every one unless said.
        ttl
            How long they are leased, in seconds; for as long as this process lives unless said.

        Raises
        ------
        BusyError
            If fewer are free.
        """
        found = self._core.acquire_ports(count, None, None, range, protocol, address, seconds(ttl))
        return Port.each(found["ports"])

    def release_ports(self, ports: Iterable[int | Port]) -> list[int]:
        """Ends the leases of these ports, whoever has them; gives those that were leased."""
        return self._core.release_ports([int(port) for port in ports])

    def ports(self) -> list[Port]:
        """Every lease that holds."""
        return Port.each(self._core.ports()["ports"])

    def events(
        self,
        kinds: Sequence[str] = (),
        *,
        environments: Sequence[str] = (),
        since: Duration | None = None,
        after: int | None = None,
        last: int = 100,
    ) -> list[Event]:
        """The latest events that are asked for, oldest first.

        Parameters
        ----------
        kinds
            Only these, and names of events of your own; all unless said.
        environments
            Only of these, by name or id.
        since
            Only of so many seconds.
        after
            Only what comes after that number.
        last
            How many of them, the latest.
        """
        found = self._core.events(list(environments), list(kinds), seconds(since), after, last)
        return Event.each(found["events"])

    def follow(
        self,
        kinds: Sequence[str] = (),
        *,
        environments: Sequence[str] = (),
        after: int | None = None,
    ) -> Follower:
        """Follows the events that come after this call, or after that number."""
        return Follower(self._core.follow(list(environments), list(kinds), after))

    def emit(self, name: str, data: Any = None) -> int:
        """Records an event of your own, with data as JSON has it; gives its number."""
        return self._core.emit(None, name, data)

    def recover(self) -> None:
        """Finishes or undoes what dead processes left, as every opening does."""
        self._core.recover()

    def collect(
        self,
        *,
        older_than: Duration = 7 * 24 * 3600,
        keep_size: int | None = None,
        dry_run: bool = False,
    ) -> int:
        """Takes away layers, recipes and caches of no use; gives how many bytes that were, or would be.

        Parameters
        ----------
        older_than
            For how many seconds nobody used them.
        keep_size
            Also younger ones, until the store is no larger than so many bytes.
        dry_run
            Whether nothing is taken away.
        """
        age = seconds(older_than)
        found = self._core.collect(age or 0.0, keep_size, dry_run)
        return int(found["collected"]["bytes"])

    def close(self) -> None:
        """Does now what is otherwise done when the process ends. The store can be used on."""
        self._tidy(self._pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Follower:
    """Events as they come, each at least once, in order; also an iterator that waits for the next."""

    def __init__(self, core: _core.Follower) -> None:
        self._core = core

    def next(self, timeout: Duration | None = None) -> list[Event]:
        """The next events; none if none came in that time, in seconds. Without a time it waits for one."""
        return Event.each(self._core.next(seconds(timeout))["events"])

    def __iter__(self) -> Iterator[Event]:
        while True:
            yield from self.next()


def label(source: str | Snapshot | Environment) -> str:
    """What an environment or a snapshot is called."""
    return source.id if isinstance(source, Environment) else str(source)


def _reopened(settings: dict[str, Any]) -> Store:
    return Store(**settings)

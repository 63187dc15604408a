"""A store: where environments are made and found, and what they share.

Not for what is done with one environment: see `_environment`.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, overload

from ptest import _matrix
from ptest._environment import Environment
from ptest._errors import UnexpectedError
from ptest._history import Store as StoreHistory
from ptest._matrix import Cell, Matrix
from ptest._opened import label
from ptest._options import ExecOptions, seconds
from ptest._options import environment as environment_options
from ptest._records import Difference, Port, Snapshot, Status
from ptest._reports import Applied
from ptest._upkeep import Store as StoreUpkeep

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Literal

    from typing_extensions import Unpack

    from ptest import _core
    from ptest._options import CellOptions, CommandOptions, Duration, EnvironmentOptions, MatrixOptions, StrPath
    from ptest._process import Command, CompletedRun


class Store(StoreUpkeep, StoreHistory):
    """A directory with environments, snapshots, and the layers that they share.

    Any number of threads may use one at the same time, and any number of processes the same directory. After a fork,
    the child works with a connection of its own.
    """

    def create(
        self,
        name: str | None = None,
        *,
        detached: bool = False,
        refresh: bool = False,
        timeout: Duration | None = None,
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
        timeout
            How long it may take to choose versions, to bring and to build them, in seconds.
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
        TimedOutError
            If it was not there after that time. Nothing of it is left.
        """
        given = environment_options(options)
        core, told = self._core.create(given, name, detached, refresh, seconds(timeout))
        for sentence in told:
            warnings.warn(sentence, stacklevel=2)
        return Environment(self, core, name=name, owned=not detached)

    def create_many(
        self,
        names: Iterable[str] | int,
        *,
        detached: bool = False,
        refresh: bool = False,
        timeout: Duration | None = None,
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
        each = [(name, options) for name in wanted]
        made = self._create_each(each, detached=detached, refresh=refresh, timeout=timeout)
        failures = [it for it in made if isinstance(it, Exception)]
        environments = [it for it in made if isinstance(it, Environment)]
        if failures:
            for environment in environments:
                environment.remove()
            raise failures[0]
        return environments

    def _create_each(
        self,
        wanted: Sequence[tuple[str | None, EnvironmentOptions]],
        *,
        detached: bool,
        refresh: bool = False,
        timeout: Duration | None = None,
    ) -> list[Environment | Exception]:
        """Makes environments, several at a time: gives each, or why it could not be made."""
        given = [(name, environment_options(options)) for name, options in wanted]
        made = self._core.create_all(given, detached, refresh, seconds(timeout))

        def one(name: str | None, core: _core.Environment | None, error: Exception | None) -> Environment | Exception:
            if core is not None:
                return Environment(self, core, name=name, owned=not detached)
            return error or UnexpectedError("it was not made")

        return [one(name, core, error) for (name, _), (core, error) in zip(wanted, made)]

    def fork(
        self,
        source: str | Snapshot | Environment,
        name: str | None = None,
        *,
        detached: bool = False,
        **options: Unpack[EnvironmentOptions],
    ) -> Environment:
        """Makes an environment that is what a snapshot or another environment is now.

        Without options, and with labels alone, it is like its source; with any other it is like a new one with these
        options. ``name`` and ``detached`` are as with `create`.

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
        given = environment_options(options)
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

    def remove_snapshot(self, *snapshots: str | Snapshot) -> None:
        """Takes snapshots away. What was made of them stays.

        Raises
        ------
        NotFoundError
            If there is none of a name.
        """
        for snapshot in snapshots:
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
        timeout: Duration | None = None,
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
        given = environment_options(options)
        made = self._core.materialize(os.fspath(directory), given, refresh, seconds(timeout))
        return Path(made["path"])

    def export(
        self,
        source: str | Snapshot | Environment,
        file: StrPath | IO[bytes],
        *,
        compression: Literal["zstd", "gzip"] = "zstd",
    ) -> None:
        """Writes an environment or a snapshot as one file, or into an open one, to be imported elsewhere."""
        if isinstance(file, (str, os.PathLike)):
            packed = self._core.export(label(source), os.fspath(file), compression)
        else:
            file.flush()
            packed = self._core.export(label(source), file.fileno(), compression)
        for sentence in packed["left_out"]:
            warnings.warn(sentence, stacklevel=2)

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

    def apply(
        self,
        file: StrPath,
        *,
        plan: bool = False,
        prune: bool = False,
        recreate: bool = False,
        refresh: bool = False,
    ) -> Applied:
        """Brings environments to what a file says: makes those that are not there, changes those that differ.

        Each is brought there or reported; one that fails does not keep the others. See also `Applied.check`.

        Parameters
        ----------
        file
            The file.
        plan
            Whether it is only told what would be done.
        prune
            Whether what the file made and does not name any more is taken away.
        recreate
            Whether what cannot be changed where it stands is made anew.
        refresh
            Whether versions are chosen anew, whatever is known.
        """
        return Applied.of(self._core.apply(os.fspath(file), plan, prune, recreate, refresh))

    def cells(self, **options: Unpack[CellOptions]) -> list[Cell]:
        """Which cells a matrix would have; none is run."""
        found = self._core.cells(_matrix.environment(options), _matrix.asked((), options))
        return Cell.each(found["cells"])

    def matrix(self, command: Command = (), **options: Unpack[MatrixOptions]) -> Matrix:
        """Runs a command in each cell of a matrix, several at a time, and gives each cell as soon as it has ended.

        ``{cell}`` in the command is the name of the cell. What is not said is as ``[tool.ptest.matrix]`` of the
        project has it, the command too.
        """
        return Matrix(self._core.matrix(_matrix.environment(options), _matrix.asked(command, options)))

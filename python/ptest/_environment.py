"""One environment: everything that is done with it."""

from __future__ import annotations

import atexit
import contextlib
import os
import warnings
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

from ptest import _process
from ptest._errors import NotFoundError
from ptest._options import ExecOptions, RunOptions, plain, refuse_unknown, seconds
from ptest._process import CompletedRun, Exit, Pipes, Process
from ptest._records import (
    Difference,
    Event,
    Package,
    PackageChange,
    Port,
    Snapshot,
    Status,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Literal

    from typing_extensions import Self, Unpack

    from ptest import _core
    from ptest._options import Duration, EnvironmentOptions, StrPath
    from ptest._process import Command
    from ptest._store import Follower, Store


class Environment:
    """An environment of a store.

    Made by `ptest.create` or found by `ptest.find`. One that was made for this process is removed when the block is
    left that it is the context manager of, when nobody holds the object any more (with a `ResourceWarning`: say
    when), when the process ends, and by the next who opens the store if the process is killed. In a forked child, and
    sent to another process, the object works, and leaves it to its owner to remove it.

    Any number of threads may use one at the same time. Commands run beside each other; operations that change it,
    such as `install`, wait for each other.
    """

    def __init__(self, store: Store, core: _core.Environment, *, name: str | None = None, owned: bool) -> None:
        self._store = store
        self._opened = core
        self._pid = os.getpid()
        self._id = core.id
        self._name = name
        self._finalizer = _own(self, store, core) if owned else None

    @property
    def _core(self) -> _core.Environment:
        if self._pid != os.getpid():
            self._opened = self._store._core.find(self._id)  # noqa: SLF001
            self._pid = os.getpid()
        return self._opened

    def __repr__(self) -> str:
        name = f" {self._name!r}" if self._name else ""
        return f"<ptest.Environment {self._id}{name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_elsewhere, (self._store, self._id))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Environment) and self._id == other._id

    def __hash__(self) -> int:
        return hash(self._id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Removed in the block, or its time was over.
        with contextlib.suppress(NotFoundError):
            self.remove()

    @property
    def id(self) -> str:
        """Its identity, never used twice."""
        return self._id

    @property
    def name(self) -> str | None:
        """Its name, if it has one."""
        if self._name is None:
            self._name = self.status().name
        return self._name

    @property
    def store(self) -> Store:
        """The store that it is in."""
        return self._store

    def status(self) -> Status:
        """What it is doing now."""
        return Status.of(self._core.status()["environment"])

    def details(self) -> Mapping[str, Any]:
        """All that ``ptest status`` tells of it: processes, disk, totals, latest runs, refusals, the last failure."""
        return cast("Mapping[str, Any]", self._core.known()["environment"])

    @property
    def usage(self) -> Usage:
        """What it uses now."""
        return self.status().usage

    @property
    def path(self) -> Path:
        """A directory on this machine that looks like a virtual environment.

        It is there for editors, type checkers and `subprocess`. The programs in its ``bin`` run in the environment.
        """
        return Path(self._core.view()["path"])

    @property
    def python(self) -> Path:
        """A program on this machine that is the environment's Python."""
        return Path(self._core.view()["shims"]) / "python"

    def activate(self) -> bool:
        """Lets commands begin at once; says whether that changed anything. The first command does it by itself.

        Raises
        ------
        UnsupportedError
            If the machine cannot do what was asked for, such as a limit.
        """
        return self._core.activate()

    def deactivate(self, grace: Duration | None = None) -> bool:
        """Ends all that runs in it, after that time by force; says whether that changed anything.

        Parameters
        ----------
        grace
            Between SIGTERM and SIGKILL, in seconds.
        """
        return self._core.deactivate(seconds(grace))

    def remove(self) -> None:
        """Takes it away: when this returns, its processes, mounts and files are gone.

        Raises
        ------
        NotFoundError
            If it is gone already.
        BusyError
            If another operation on it does not end.
        """
        if self._finalizer is not None and _owned.pop(self._id, None) is not None:
            self._finalizer.detach()
        self._core.remove()

    @overload
    def exec(
        self,
        command: Command,
        *,
        text: Literal[True] = True,
        input: str | None = None,
        env: Mapping[str, str] | None = None,
        **options: Unpack[ExecOptions],
    ) -> CompletedRun[str]: ...
    @overload
    def exec(
        self,
        command: Command,
        *,
        text: Literal[False],
        input: bytes | None = None,
        env: Mapping[str, str] | None = None,
        **options: Unpack[ExecOptions],
    ) -> CompletedRun[bytes]: ...
    @overload
    def exec(
        self,
        command: Command,
        *,
        text: bool,
        input: Any = None,
        env: Mapping[str, str] | None = None,
        **options: Unpack[ExecOptions],
    ) -> CompletedRun[Any]: ...
    def exec(
        self,
        command: Command,
        *,
        text: bool = True,
        input: Any = None,
        env: Mapping[str, str] | None = None,
        **options: Unpack[ExecOptions],
    ) -> CompletedRun[Any]:
        r"""Runs a command to its end, and gives what it wrote.

        Parameters
        ----------
        command
            The program and its arguments; the program is looked for in the environment first.
        text
            Whether what is read and written is text, or bytes.
        input
            What it reads; without that, and without ``stdin``, it reads nothing.
        env
            Variables that it sees besides those of the environment.
        options
            Where it runs, for how long, and what becomes of its streams: see `ExecOptions`.

        Raises
        ------
        CommandNotFoundError, CommandNotExecutableError
            If it cannot be started.
        CommandFailedError, CommandTimedOutError
            If it failed and ``check`` is true.

        Examples
        --------
        >>> env = ptest.create()
        >>> env.exec(["python", "-c", "print(input())"], input="hello").stdout
        'hello\n'
        >>> env.exec(["python", "-c", "raise SystemExit(3)"]).returncode
        3
        >>> env.exec(["sleep", "60"], timeout=0.1).timed_out
        True
        >>> env.exec(["nosuch"])
        Traceback (most recent call last):
        ...
        ptest._errors.CommandNotFoundError: failed to find the program nosuch: No such file or directory (os error 2)
        >>> env.remove()
        """
        refuse_unknown(options, ExecOptions)
        encoding, errors = options.get("encoding", "utf-8"), options.get("errors", "replace")
        if isinstance(input, str):
            input = input.encode(encoding, errors)
        asked = _process.asked(
            command,
            env,
            (
                _process.descriptor(options.get("stdin"), _process.DEVNULL),
                _process.descriptor(options.get("stdout", _process.PIPE), 1),
                _process.descriptor(options.get("stderr", _process.PIPE), 2),
            ),
            options,
            input=input,
            most=options.get("max_output", _process.MOST),
        )
        run, exit_, lost, *streams = self._core.run(asked)
        if exit_ is None:
            raise cast("BaseException", lost)
        ended = Exit.of(exit_)
        (out, out_omitted), (err, err_omitted) = (_process.kept(stream) for stream in streams)
        completed: CompletedRun[Any] = CompletedRun(
            args=asked["arguments"],
            returncode=ended.returncode,
            stdout=out.decode(encoding, errors) if text else out,
            stderr=err.decode(encoding, errors) if text else err,
            timed_out=ended.timed_out,
            limit=ended.limit,
            usage=ended.usage,
            leaked_processes=ended.leaked_processes,
            id=run,
            stdout_omitted=out_omitted,
            stderr_omitted=err_omitted,
        )
        return completed.check() if options.get("check") else completed

    @overload
    def popen(
        self,
        command: Command,
        *,
        text: Literal[True] = True,
        env: Mapping[str, str] | None = None,
        log: bool = False,
        **options: Unpack[RunOptions],
    ) -> Process[str]: ...
    @overload
    def popen(
        self,
        command: Command,
        *,
        text: Literal[False],
        env: Mapping[str, str] | None = None,
        log: bool = False,
        **options: Unpack[RunOptions],
    ) -> Process[bytes]: ...
    def popen(
        self,
        command: Command,
        *,
        text: bool = True,
        env: Mapping[str, str] | None = None,
        log: bool = False,
        **options: Unpack[RunOptions],
    ) -> Process[Any]:
        """Starts a command and does not wait for it.

        As `exec`, but that an output stream which is not said is this process's own, as with `subprocess.Popen`. With
        ``log`` what it writes is kept besides, for ``ptest logs``.

        Examples
        --------
        >>> with ptest.create() as env:
        ...     with env.popen(["sh", "-c", "echo one; echo two"], stdout=ptest.PIPE) as process:
        ...         for line in process:
        ...             print(line.rstrip())
        one
        two
        """
        refuse_unknown(options, RunOptions)
        pipes = Pipes(options)
        try:
            asked = _process.asked(command, env, pipes.numbers, options)
            core = self._core.spawn(asked, log)
        except BaseException:
            pipes.failed()
            raise
        return Process(asked["arguments"], core, pipes.started(text=text, options=options))

    def packages(self) -> list[Package]:
        """What is installed, by name: the truth, whoever installed it."""
        return Package.each(self._core.packages()["packages"])

    def package(self, name: str) -> Package | None:
        """The distribution of this name, in whatever spelling; None if it is not installed."""
        from re import sub

        normalized = sub(r"[-_.]+", "-", name).lower()
        return next((it for it in self.packages() if it.name == normalized), None)

    def install(
        self,
        *requirements: StrPath,
        requirements_files: Sequence[StrPath] = (),
        editable: Sequence[StrPath] = (),
        constraints: Sequence[StrPath] = (),
    ) -> list[PackageChange]:
        """Installs more, leaving what is there as it is where that is possible.

        When this returns, it is importable and verified; when it fails, everything is as it was.

        Parameters
        ----------
        requirements
            Specifiers, URLs, and paths of projects and wheels.
        requirements_files
            Requirements files.
        editable
            Projects whose source tree is what is imported.
        constraints
            Constraints files.

        Raises
        ------
        InvalidInputError
            If a requirement is malformed.
        ResolutionError, NetworkError, BuildError
            If what is asked for is not to be had; ``output`` has the installer's words.
        IllegalStateError
            If pip changed packages inside: ptest changes nothing over that.
        BusyError
            If a command runs in it.
        """
        changes = self._core.install(
            plain(requirements), plain(requirements_files), plain(editable), plain(constraints)
        )
        return PackageChange.each(changes["changes"])

    def upgrade(self, *requirements: str) -> list[PackageChange]:
        """Brings distributions to the newest version that what was asked for allows.

        Raises
        ------
        NotFoundError
            If one is not installed.
        ResolutionError, NetworkError, BuildError
            As `install`.
        """
        return PackageChange.each(self._core.upgrade(list(requirements))["changes"])

    def uninstall(self, *names: str) -> list[PackageChange]:
        """Takes distributions away, and only those: what they needed stays.

        Raises
        ------
        NotFoundError
            If one is not installed. None is taken away then.
        """
        return PackageChange.each(self._core.uninstall(list(names))["changes"])

    def verify(self, *, thorough: bool = False) -> list[str]:
        """What of what is installed is not what was published, each a sentence; nothing if all is well.

        Parameters
        ----------
        thorough
            Whether the contents of every file are read; otherwise those of some, other ones each time.
        """
        return [problem["detail"] for problem in self._core.verify(thorough)["problems"]]

    def snapshot(self, name: str | None = None) -> Snapshot:
        r"""Keeps what it is now under a name; without one, a name is made of its own and a number.

        What no snapshot can hold, such as a socket, is warned of.

        Raises
        ------
        AlreadyExistsError
            If an environment or a snapshot has the name.

        Examples
        --------
        >>> with ptest.create() as env:
        ...     env.exec(["sh", "-c", "echo 1 > $VIRTUAL_ENV/state"]).success
        ...     with env.fork() as copy:
        ...         copy.exec(["sh", "-c", "cat $VIRTUAL_ENV/state"]).stdout
        True
        '1\n'
        """
        taken = self._core.snapshot(name)
        for sentence in taken["left_out"]:
            warnings.warn(sentence, stacklevel=2)
        return Snapshot.of(taken["snapshot"])

    def restore(self, snapshot: str | Snapshot) -> None:
        """Makes it what it was when a snapshot was taken; what was written since is gone, settings stay.

        Raises
        ------
        NotFoundError
            If there is no such snapshot.
        BusyError
            If a command runs in it.
        """
        self._core.restore(str(snapshot))

    def fork(
        self,
        name: str | None = None,
        *,
        detached: bool = False,
        **options: Unpack[EnvironmentOptions],
    ) -> Environment:
        """Makes another environment that is what this one is now: see `Store.fork`."""
        return self._store.fork(self, name, detached=detached, **options)

    def diff(self, other: str | Snapshot | Environment) -> Difference:
        """What is different here from another environment or a snapshot."""
        return self._store.diff(other, self)

    def scratch(self) -> dict[Path, str]:
        """What commands changed in the project, where they do not write in it: ``added``, ``changed``, ``removed``."""
        return {Path(it["path"]): it["change"] for it in self._core.scratch()["changes"]}

    @property
    def ports(self) -> list[Port]:
        """The ports that are leased to it."""
        return Port.each(self._core.ports()["ports"])

    def acquire_port(
        self,
        name: str | None = None,
        *,
        range: str | None = None,
        protocol: Literal["tcp", "udp", "both"] = "both",
        address: str | None = None,
    ) -> Port:
        """Leases a port until it is removed. Commands find the number of one with a name in ``PTEST_PORT_NAME``.

        Parameters
        ----------
        name
            What it is for: lower-case letters, digits and ``-``.
        range
            Which numbers may be taken: ``"20000-29999"``; as configured unless said.
        protocol
            What it must be free for.
        address
            At which address it must be free; at every one unless said.

        Raises
        ------
        BusyError
            If none is free.
        AlreadyExistsError
            If it has one of that name.
        """
        store = self._store._core  # noqa: SLF001
        found = store.acquire_ports(1, self._core, name, range, protocol, address, None)
        return Port.of(found["ports"][0])

    def release_ports(self, ports: Iterable[int | Port] | None = None) -> list[int]:
        """Ends the leases of these of its ports, or of all; gives those that were leased."""
        if ports is None:
            return self._core.release_ports()
        return self._store.release_ports(ports)

    def events(
        self,
        kinds: Sequence[str] = (),
        *,
        since: Duration | None = None,
        after: int | None = None,
        last: int = 100,
    ) -> list[Event]:
        """What happened to it, oldest first.

        Parameters
        ----------
        kinds
            Only these, and names of events of your own; all unless said.
        since
            Only of so many seconds.
        after
            Only what comes after that number.
        last
            How many of them, the latest.
        """
        return self._store.events(kinds, environments=[self._id], since=since, after=after, last=last)

    def follow(self, kinds: Sequence[str] = (), *, after: int | None = None) -> Follower:
        """Follows what happens to it from now on, or after the event of that number."""
        return self._store.follow(kinds, environments=[self._id], after=after)

    def emit(self, name: str, data: Any = None) -> int:
        """Records an event of your own about it, with data as JSON has it; gives its number.

        Raises
        ------
        InvalidInputError
            If the name is malformed.
        """
        return self._store._core.emit(self._id, name, data)  # noqa: SLF001

    def log(self, run: str | None = None) -> str:
        """What a run wrote, as far as it is kept: the last one, if none is said.

        Raises
        ------
        NotFoundError
            If there is no such run.
        """
        pieces = self._core.log(run)["output"]
        return "".join(piece.get("text") or "" for piece in pieces)

    def export(self, file: StrPath) -> None:
        """Writes it as one file, to be imported elsewhere."""
        self._store.export(self, file)


_owned: dict[str, tuple[Store, int]] = {}
"""The environments that go with an object of this process."""


def _own(environment: Environment, store: Store, core: _core.Environment) -> weakref.finalize[Any, Any]:
    """Sees to it that an environment goes with its object, or with the process."""
    pid = os.getpid()
    if not _owned:
        atexit.register(_remove_owned, pid)
    _owned[environment.id] = (store, pid)
    finalizer = weakref.finalize(environment, _abandoned, core, pid, repr(environment))
    finalizer.atexit = False
    return finalizer


def _abandoned(core: _core.Environment, pid: int, told: str) -> None:
    """Takes away an environment whose object is gone."""
    if pid != os.getpid() or _owned.pop(core.id, None) is None:
        return
    warnings.warn(
        f"{told} was not removed: use it as a context manager, or call remove()",
        ResourceWarning,
        stacklevel=2,
    )
    with contextlib.suppress(NotFoundError):
        core.remove()


def _remove_owned(pid: int) -> None:
    """Takes away what goes with the process, when that ends."""
    if pid != os.getpid():
        return
    stores: dict[int, tuple[Store, list[str]]] = {}
    while _owned:
        id_, (store, owner) = _owned.popitem()
        if owner == pid:
            stores.setdefault(id(store), (store, []))[1].append(id_)
    for store, ids in stores.values():
        store._core.remove_all(ids)  # noqa: SLF001


def _elsewhere(store: Store, id_: str) -> Environment:
    return store.find(id_)

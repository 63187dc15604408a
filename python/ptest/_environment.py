"""One environment: what is installed in it, what it was, and what it uses."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ptest._commands import Environment as CommandedEnvironment
from ptest._options import plain, seconds
from ptest._records import (
    Difference,
    Event,
    Package,
    PackageChange,
    Port,
    Snapshot,
    Stats,
    Verification,
)
from ptest._reports import Kernel

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Literal

    from typing_extensions import Unpack

    from ptest._history import Follower
    from ptest._options import Duration, EnvironmentOptions, StrPath


class Environment(CommandedEnvironment):
    """An environment of a store.

    Made by `ptest.create` or found by `ptest.find`. One that was made for this process is removed when the block is
    left that it is the context manager of, when nobody holds the object any more (with a `ResourceWarning`: say
    when), when the process ends, and by the next who opens the store if the process is killed. In a forked child, and
    sent to another process, the object works, and leaves it to its owner to remove it.

    Any number of threads may use one at the same time. Commands run beside each other; operations that change it,
    such as `install`, wait for each other.
    """

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
        refresh: bool = False,
        timeout: Duration | None = None,
    ) -> list[PackageChange]:
        """Installs more, leaving what is there as it is where that is possible.

        When this returns, it is importable and verified; when it fails, everything is as it was.

        Parameters
        ----------
        requirements
            Requirement specifiers, URLs, and paths of projects and wheels.
        requirements_files
            Requirements files.
        editable
            Projects whose source tree is what is imported.
        constraints
            Constraints files.
        refresh
            Whether versions are chosen anew, whatever is known.
        timeout
            How long it may take to choose versions, to bring and to build them, in seconds.

        Raises
        ------
        InvalidInputError
            If a requirement is malformed.
        ResolutionError, NetworkError, BuildError
            If what is asked for is not to be had; ``output`` has the installer's words.
        TimedOutError
            If it was not done after that time. What was done by then is told as done.
        IllegalStateError
            If pip changed packages inside: ptest changes nothing over that.
        BusyError
            If a command runs in it.
        """
        changes = self._core.install(
            plain(requirements),
            plain(requirements_files),
            plain(editable),
            plain(constraints),
            refresh,
            seconds(timeout),
        )
        return PackageChange.each(changes["changes"])

    def upgrade(self, *requirements: str, timeout: Duration | None = None) -> list[PackageChange]:
        """Brings distributions to the newest version that what was asked for allows.

        Parameters
        ----------
        requirements
            Their names, or requirements that replace the earlier ones.
        timeout
            As of `install`.

        Raises
        ------
        NotFoundError
            If one is not installed.
        ResolutionError, NetworkError, BuildError, TimedOutError
            As `install`.
        """
        return PackageChange.each(self._core.upgrade(list(requirements), seconds(timeout))["changes"])

    def uninstall(self, *names: str) -> list[PackageChange]:
        """Takes distributions away, and only those: what they needed stays.

        Raises
        ------
        NotFoundError
            If one is not installed. None is taken away then.
        """
        return PackageChange.each(self._core.uninstall(list(names))["changes"])

    def verify(self, *, layers: Literal["full", "sampled"] = "full") -> Verification:
        """Checks that what is installed is what was installed. What commands inside installed is not looked at.

        Parameters
        ----------
        layers
            Whether the contents of every file are read, or those of some, other ones each time.
        """
        return Verification.of(self._core.verify(layers))

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

    def stats(self, since: Duration = 600) -> Stats:
        """What it has used over the last seconds."""
        return Stats.of(self._core.stats(seconds(since) or 0.0))

    def install_kernel(self, name: str | None = None, *, display_name: str | None = None) -> Kernel:
        """Gives your Jupyter a kernel that runs in it, if it has ipykernel.

        Parameters
        ----------
        name
            What Jupyter calls it; the environment's name unless said.
        display_name
            What Jupyter shows.

        Raises
        ------
        PtestError
            If the environment has no ipykernel, or somebody else's kernel has the name.
        """
        return Kernel.of(self._core.install_kernel(name, display_name)["kernel"])

    def export(self, file: StrPath | IO[bytes], *, compression: Literal["zstd", "gzip"] = "zstd") -> None:
        """Writes it as one file, to be imported elsewhere."""
        self._store.export(self, file, compression=compression)

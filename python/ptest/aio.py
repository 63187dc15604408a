r"""The same for `asyncio`: no call keeps the event loop waiting.

>>> from ptest import aio
>>> async def main():
...     async with await aio.create(requirements=["six==1.16.0"]) as env:
...         run = await env.exec(["python", "-c", "import six; print(six.PY3)"])
...         return run.stdout
>>> asyncio.run(main())
'True\n'

Each call works on a thread of its own. A task that is cancelled ends its call: what was begun is undone, a command
is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from ptest import _api, _core
from ptest._environment import Environment as SyncEnvironment
from ptest._errors import NotFoundError, TimedOutError
from ptest._store import Store as SyncStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Literal

    from typing_extensions import Self, Unpack

    from ptest._options import (
        CommandOptions,
        Duration,
        EnvironmentOptions,
        ExecOptions,
        RunOptions,
        Settings,
        StrPath,
    )
    from ptest._process import Command, CompletedRun, Exit
    from ptest._process import Process as SyncProcess
    from ptest._records import (
        Difference,
        Event,
        Package,
        PackageChange,
        Port,
        Snapshot,
        Status,
    )

__all__ = ["Environment", "Process", "Store", "create", "environments", "find", "run"]

T = TypeVar("T")


async def _call(work: Callable[[], T], *, unwanted: Callable[[T], object] = lambda _: None) -> T:
    """What comes of `work`, done on a thread of its own. What comes of it after a cancellation is `unwanted`."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    interrupt = _core.Interrupt()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)  # type: ignore[arg-type]  # without an error there is one
        else:
            future.set_exception(error)

    def done() -> None:
        result, error = None, None
        try:
            with interrupt:
                result = work()
        except BaseException as raised:  # noqa: BLE001  # whoever awaits it gets it
            error = raised
        if error is None and future.cancelled():
            unwanted(result)  # type: ignore[arg-type]  # without an error there is one
            return
        # The loop may be closed: then nobody waits any more.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=done, name="ptest-aio", daemon=True).start()
    try:
        return await future
    except asyncio.CancelledError:
        interrupt.stop()
        raise


class Process:
    """A command that runs. Its streams are those of `asyncio`, and bytes.

    Made by `Environment.popen`.
    """

    def __init__(self, process: SyncProcess[bytes]) -> None:
        self.sync = process
        self.stdin: asyncio.StreamWriter | None = None
        """Where what it reads is written, if that is a pipe."""
        self.stdout: asyncio.StreamReader | None = None
        """What it writes, if that is a pipe."""
        self.stderr: asyncio.StreamReader | None = None
        """What it writes to standard error, if that is a pipe."""

    async def connect(self) -> Self:
        """Makes its streams those of the event loop; done when it is made."""
        loop = asyncio.get_running_loop()

        async def reader(stream: Any) -> asyncio.StreamReader | None:
            if stream is None:
                return None
            made = asyncio.StreamReader(loop=loop)
            await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(made, loop=loop), stream)
            return made

        self.stdout = await reader(self.sync.stdout)
        self.stderr = await reader(self.sync.stderr)
        if self.sync.stdin is not None:
            protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=loop), loop=loop)
            transport, _ = await loop.connect_write_pipe(lambda: protocol, self.sync.stdin)
            self.stdin = asyncio.StreamWriter(transport, protocol, None, loop)
        return self

    @property
    def id(self) -> str:
        """What the run is called in the store."""
        return self.sync.id

    @property
    def returncode(self) -> int | None:
        """Its code, or -N when signal N ended it; None as far as nobody has seen it end."""
        return self.sync.returncode

    @property
    def exit(self) -> Exit | None:
        """How it ended, as far as somebody has seen that."""
        return self.sync.exit

    async def wait(self, timeout: Duration | None = None) -> int:
        """Waits for its end; gives its code.

        Raises
        ------
        TimedOutError
            If it has not ended after that time. It goes on.
        """
        return await _call(lambda: self.sync.wait(timeout))

    def send_signal(self, number: int) -> None:
        """Sends a signal to it and the process group that it leads; of one that has ended nothing."""
        self.sync.send_signal(number)

    def terminate(self) -> None:
        """Asks it to end."""
        self.sync.terminate()

    def kill(self) -> None:
        """Ends it."""
        self.sync.kill()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.sync.poll() is None:
            self.terminate()
            try:
                await self.wait(1.0)
            except TimedOutError:
                self.kill()
                await self.wait()
        if self.stdin is not None:
            self.stdin.close()


class Environment:
    """An environment, as `ptest.Environment`, which is its ``sync``: what takes no time can be asked of that.

    Made by `create`. As a context manager it is removed when the block is left.
    """

    def __init__(self, sync: SyncEnvironment) -> None:
        self.sync = sync

    def __repr__(self) -> str:
        return f"<ptest.aio.Environment {self.sync.id}>"

    @property
    def id(self) -> str:
        """Its identity, never used twice."""
        return self.sync.id

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Removed in the block, or its time was over.
        with contextlib.suppress(NotFoundError):
            await self.remove()

    async def remove(self) -> None:
        """Takes it away: when this returns, its processes, mounts and files are gone."""
        # Not to be interrupted half-way: whoever cancels it has it removed all the same.
        await asyncio.shield(_call(self.sync.remove))

    async def exec(
        self,
        command: Command,
        *,
        text: bool = True,
        input: Any = None,
        env: Mapping[str, str] | None = None,
        **options: Unpack[ExecOptions],
    ) -> CompletedRun[Any]:
        """Runs a command to its end: see `ptest.Environment.exec`. A cancellation ends it."""
        return await _call(lambda: self.sync.exec(command, text=text, input=input, env=env, **options))

    async def popen(
        self,
        command: Command,
        *,
        env: Mapping[str, str] | None = None,
        log: bool = False,
        **options: Unpack[RunOptions],
    ) -> Process:
        """Starts a command and does not wait for it: see `ptest.Environment.popen`."""
        started = await _call(
            lambda: self.sync.popen(command, text=False, env=env, log=log, **options),
            unwanted=lambda process: process.kill(),
        )
        return await Process(started).connect()

    async def activate(self) -> bool:
        """Lets commands begin at once; says whether that changed anything."""
        return await _call(self.sync.activate)

    async def deactivate(self, grace: Duration | None = None) -> bool:
        """Ends all that runs in it; says whether that changed anything."""
        return await _call(lambda: self.sync.deactivate(grace))

    async def status(self) -> Status:
        """What it is doing now."""
        return await _call(self.sync.status)

    async def path(self) -> Path:
        """A directory on this machine that looks like a virtual environment."""
        return await _call(lambda: self.sync.path)

    async def packages(self) -> list[Package]:
        """What is installed, by name."""
        return await _call(self.sync.packages)

    async def install(
        self,
        *requirements: StrPath,
        requirements_files: Sequence[StrPath] = (),
        editable: Sequence[StrPath] = (),
        constraints: Sequence[StrPath] = (),
    ) -> list[PackageChange]:
        """Installs more: see `ptest.Environment.install`."""
        return await _call(
            lambda: self.sync.install(
                *requirements,
                requirements_files=requirements_files,
                editable=editable,
                constraints=constraints,
            )
        )

    async def upgrade(self, *requirements: str) -> list[PackageChange]:
        """Brings distributions to the newest version: see `ptest.Environment.upgrade`."""
        return await _call(lambda: self.sync.upgrade(*requirements))

    async def uninstall(self, *names: str) -> list[PackageChange]:
        """Takes distributions away: see `ptest.Environment.uninstall`."""
        return await _call(lambda: self.sync.uninstall(*names))

    async def snapshot(self, name: str | None = None) -> Snapshot:
        """Keeps what it is now under a name: see `ptest.Environment.snapshot`."""
        return await _call(lambda: self.sync.snapshot(name))

    async def restore(self, snapshot: str | Snapshot) -> None:
        """Makes it what it was when a snapshot was taken: see `ptest.Environment.restore`."""
        await _call(lambda: self.sync.restore(snapshot))

    async def fork(
        self,
        name: str | None = None,
        *,
        detached: bool = False,
        **options: Unpack[EnvironmentOptions],
    ) -> Environment:
        """Makes another environment that is what this one is now: see `ptest.Store.fork`."""
        return await _made(lambda: self.sync.fork(name, detached=detached, **options))

    async def diff(self, other: str | Snapshot | Environment) -> Difference:
        """What is different here from another environment or a snapshot."""
        source = other.sync if isinstance(other, Environment) else other
        return await _call(lambda: self.sync.diff(source))

    async def acquire_port(
        self,
        name: str | None = None,
        *,
        range: str | None = None,
        protocol: Literal["tcp", "udp", "both"] = "both",
        address: str | None = None,
    ) -> Port:
        """Leases a port until it is removed: see `ptest.Environment.acquire_port`."""
        return await _call(lambda: self.sync.acquire_port(name, range=range, protocol=protocol, address=address))


class Store:
    """A store, as `ptest.Store`, which is its ``sync``."""

    def __init__(self, sync: SyncStore) -> None:
        self.sync = sync

    @classmethod
    async def open(cls, **settings: Unpack[Settings]) -> Self:
        """Opens the store that the configuration says, or these settings in its place."""
        return cls(await _call(lambda: SyncStore(**settings)))

    async def create(
        self,
        name: str | None = None,
        *,
        detached: bool = False,
        refresh: bool = False,
        **options: Unpack[EnvironmentOptions],
    ) -> Environment:
        """Makes an environment: see `ptest.Store.create`. A cancellation undoes what was begun."""
        return await _made(lambda: self.sync.create(name, detached=detached, refresh=refresh, **options))

    async def find(self, name: str) -> Environment:
        """The environment of a name or id: see `ptest.Store.find`."""
        return Environment(await _call(lambda: self.sync.find(name)))

    async def environments(self, selector: str = "") -> list[Status]:
        """The environments whose labels meet every condition, oldest first."""
        return await _call(lambda: self.sync.environments(selector))

    async def run(
        self,
        command: Command,
        *,
        text: bool = True,
        input: Any = None,
        **options: Unpack[CommandOptions],
    ) -> CompletedRun[Any]:
        """Runs a command in an environment that is made for it and taken away again: see `ptest.run`."""
        run: Any = self.sync.run
        made: CompletedRun[Any] = await _call(lambda: run(command, text=text, input=input, **options))
        return made

    async def acquire_ports(self, count: int = 1) -> list[Port]:
        """Leases ports to this process: see `ptest.Store.acquire_ports`."""
        return await _call(lambda: self.sync.acquire_ports(count))

    async def release_ports(self, ports: Iterable[int | Port]) -> list[int]:
        """Ends the leases of these ports, whoever has them; gives those that were leased."""
        return await _call(lambda: self.sync.release_ports(ports))

    async def follow(self, kinds: Sequence[str] = ()) -> AsyncIterator[Event]:
        """The events that come from now on."""
        follower = await _call(lambda: self.sync.follow(kinds))
        while True:
            for event in await _call(follower.next):
                yield event


async def _made(make: Callable[[], SyncEnvironment]) -> Environment:
    """An environment that nobody gets if nobody waits for it any more."""
    return Environment(await _call(make, unwanted=SyncEnvironment.remove))


async def _default() -> Store:
    return Store(await _call(_api.default_store))


async def create(
    name: str | None = None,
    *,
    detached: bool = False,
    refresh: bool = False,
    **options: Unpack[EnvironmentOptions],
) -> Environment:
    """Makes an environment in the default store: see `ptest.create`. A cancellation undoes what was begun."""
    store = await _default()
    return await store.create(name, detached=detached, refresh=refresh, **options)


async def find(name: str) -> Environment:
    """The environment of a name or id of the default store: see `ptest.find`."""
    return await (await _default()).find(name)


async def environments(selector: str = "") -> list[Status]:
    """The environments of the default store: see `ptest.environments`."""
    return await (await _default()).environments(selector)


async def run(
    command: Command,
    *,
    text: bool = True,
    input: Any = None,
    **options: Unpack[CommandOptions],
) -> CompletedRun[Any]:
    """Runs a command in an environment of the default store that is made for it: see `ptest.run`."""
    return await (await _default()).run(command, text=text, input=input, **options)

"""An environment, for an event loop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Callable

from ptest._environment import Environment as SyncEnvironment
from ptest._errors import NotFoundError
from ptest.aio._call import call, calls, told
from ptest.aio._process import Process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Literal

    from typing_extensions import Self, Unpack

    from ptest._options import EnvironmentOptions, ExecOptions, RunOptions
    from ptest._process import Command, CompletedRun
    from ptest._records import Difference, Event, Port, Snapshot, Usage
    from ptest._runs import LogPiece, Run


class Environment:
    """An environment, as `ptest.Environment`, which is its ``sync``: what takes no time can be asked of that.

    Made by `create`. As a context manager it is removed when the block is left.
    """

    def __init__(self, sync: SyncEnvironment) -> None:
        self.sync = sync

    __repr__ = told

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
        await asyncio.shield(call(self.sync.remove))

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
        return await call(lambda: self.sync.exec(command, text=text, input=input, env=env, **options))

    async def popen(
        self,
        command: Command,
        *,
        env: Mapping[str, str] | None = None,
        log: bool = False,
        **options: Unpack[RunOptions],
    ) -> Process:
        """Starts a command and does not wait for it: see `ptest.Environment.popen`."""
        started = await call(
            lambda: self.sync.popen(command, text=False, env=env, log=log, **options),
            unwanted=lambda process: process.kill(),
        )
        return await Process(started).connect()

    activate = calls(SyncEnvironment.activate)
    deactivate = calls(SyncEnvironment.deactivate)
    status = calls(SyncEnvironment.status)
    details = calls(SyncEnvironment.details)
    detach = calls(SyncEnvironment.detach)
    packages = calls(SyncEnvironment.packages)
    package = calls(SyncEnvironment.package)
    install = calls(SyncEnvironment.install)
    upgrade = calls(SyncEnvironment.upgrade)
    uninstall = calls(SyncEnvironment.uninstall)
    verify = calls(SyncEnvironment.verify)
    snapshot = calls(SyncEnvironment.snapshot)
    restore = calls(SyncEnvironment.restore)
    scratch = calls(SyncEnvironment.scratch)
    acquire_port = calls(SyncEnvironment.acquire_port)
    release_ports = calls(SyncEnvironment.release_ports)
    events = calls(SyncEnvironment.events)
    emit = calls(SyncEnvironment.emit)
    runs = calls(SyncEnvironment.runs)
    logs = calls(SyncEnvironment.logs)
    kill = calls(SyncEnvironment.kill)
    stats = calls(SyncEnvironment.stats)
    export = calls(SyncEnvironment.export)
    install_kernel = calls(SyncEnvironment.install_kernel)
    shell = calls(SyncEnvironment.shell)

    async def usage(self) -> Usage:
        """What it uses now."""
        return await call(lambda: self.sync.usage)

    async def path(self) -> Path:
        """A directory on this machine that looks like a virtual environment."""
        return await call(lambda: self.sync.path)

    async def shims(self) -> Path:
        """Where the programs are that run in the environment."""
        return await call(lambda: self.sync.shims)

    async def python(self) -> Path:
        """A program on this machine that is the environment's Python."""
        return await call(lambda: self.sync.python)

    async def ports(self) -> list[Port]:
        """The ports that are leased to it."""
        return await call(lambda: self.sync.ports)

    async def follow(self, kinds: Sequence[str] = (), *, after: int | None = None) -> AsyncIterator[Event]:
        """Follows what happens to it."""
        follower = await call(lambda: self.sync.follow(kinds, after=after))
        while True:
            for event in await call(follower.next):
                yield event

    async def follow_logs(
        self,
        run: str | Run | None = None,
        *,
        stream: Literal["stdout", "stderr"] | None = None,
        tail: int | None = None,
    ) -> AsyncIterator[LogPiece]:
        """What a run wrote and writes, piece by piece, until it has ended."""
        follower = await call(lambda: self.sync.follow_logs(run, stream=stream, tail=tail))
        while (piece := await call(follower.next)) is not None:
            yield piece

    async def fork(
        self,
        name: str | None = None,
        *,
        detached: bool = False,
        **options: Unpack[EnvironmentOptions],
    ) -> Environment:
        """Makes another environment that is what this one is now: see `ptest.Store.fork`."""
        return await made(lambda: self.sync.fork(name, detached=detached, **options))

    async def diff(self, other: str | Snapshot | Environment) -> Difference:
        """What is different here from another environment or a snapshot."""
        source = other.sync if isinstance(other, Environment) else other
        return await call(lambda: self.sync.diff(source))


async def made(make: Callable[[], SyncEnvironment]) -> Environment:
    """An environment that nobody gets if nobody waits for it any more."""
    return Environment(await call(make, unwanted=SyncEnvironment.remove))

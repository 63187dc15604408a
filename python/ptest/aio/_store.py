"""A store, for an event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ptest._store import Store as SyncStore
from ptest.aio._call import call, calls, told
from ptest.aio._environment import Environment, made
from ptest.aio._matrix import Matrix

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from pathlib import Path
    from typing import Literal

    from typing_extensions import Self, Unpack

    from ptest._config import Config
    from ptest._environment import Environment as SyncEnvironment
    from ptest._options import CommandOptions, Duration, EnvironmentOptions, MatrixOptions, Settings
    from ptest._process import Command, CompletedRun
    from ptest._records import Event, Snapshot
    from ptest._reports import Rebuilt
    from ptest._runs import LogPiece, Run


class Store:
    """A store, as `ptest.Store`, which is its ``sync``."""

    def __init__(self, sync: SyncStore) -> None:
        self.sync = sync

    __repr__ = told

    @classmethod
    async def open(cls, **settings: Unpack[Settings]) -> Self:
        """Opens the store that the configuration says, or these settings in its place."""
        return cls(await call(lambda: SyncStore(**settings)))

    @staticmethod
    async def rebuild(**settings: Unpack[Settings]) -> Rebuilt:
        """Makes the database of a store anew that is damaged or gone: see `ptest.Store.rebuild`."""
        return await call(lambda: SyncStore.rebuild(**settings))

    @property
    def home(self) -> Path:
        """Its directory."""
        return self.sync.home

    @property
    def config(self) -> Config:
        """Every setting that counts here."""
        return self.sync.config

    engines = calls(SyncStore.engines)
    environments = calls(SyncStore.environments)
    remove = calls(SyncStore.remove)
    activate = calls(SyncStore.activate)
    deactivate = calls(SyncStore.deactivate)
    prune = calls(SyncStore.prune)
    gc = calls(SyncStore.gc)
    recover = calls(SyncStore.recover)
    verify = calls(SyncStore.verify)
    improve = calls(SyncStore.improve)
    prove = calls(SyncStore.prove)
    metrics = calls(SyncStore.metrics)
    snapshots = calls(SyncStore.snapshots)
    snapshot = calls(SyncStore.snapshot)
    remove_snapshot = calls(SyncStore.remove_snapshot)
    diff = calls(SyncStore.diff)
    materialize = calls(SyncStore.materialize)
    export = calls(SyncStore.export)
    import_ = calls(SyncStore.import_)
    acquire_ports = calls(SyncStore.acquire_ports)
    release_ports = calls(SyncStore.release_ports)
    ports = calls(SyncStore.ports)
    events = calls(SyncStore.events)
    emit = calls(SyncStore.emit)
    hooks = calls(SyncStore.hooks)
    runs = calls(SyncStore.runs)
    logs = calls(SyncStore.logs)
    kill = calls(SyncStore.kill)
    apply = calls(SyncStore.apply)
    cells = calls(SyncStore.cells)
    close = calls(SyncStore.close)

    async def create(
        self,
        name: str | None = None,
        *,
        detached: bool = False,
        refresh: bool = False,
        timeout: Duration | None = None,
        **options: Unpack[EnvironmentOptions],
    ) -> Environment:
        """Makes an environment: see `ptest.Store.create`. A cancellation undoes what was begun."""
        return await made(
            lambda: self.sync.create(name, detached=detached, refresh=refresh, timeout=timeout, **options)
        )

    async def create_many(
        self,
        names: Iterable[str] | int,
        *,
        detached: bool = False,
        refresh: bool = False,
        timeout: Duration | None = None,
        **options: Unpack[EnvironmentOptions],
    ) -> list[Environment]:
        """Makes environments that are made of the same: see `ptest.Store.create_many`."""
        several = await call(
            lambda: self.sync.create_many(names, detached=detached, refresh=refresh, timeout=timeout, **options),
            unwanted=_remove_all,
        )
        return [Environment(one) for one in several]

    async def fork(
        self,
        source: str | Snapshot | SyncEnvironment,
        name: str | None = None,
        *,
        detached: bool = False,
        **options: Unpack[EnvironmentOptions],
    ) -> Environment:
        """Makes an environment that is what a snapshot or another environment is now: see `ptest.Store.fork`."""
        return await made(lambda: self.sync.fork(source, name, detached=detached, **options))

    async def fork_many(
        self,
        source: str | Snapshot | SyncEnvironment,
        names: Iterable[str] | int,
        *,
        detached: bool = False,
        **options: Unpack[EnvironmentOptions],
    ) -> list[Environment]:
        """Makes several at once: all are there, or none."""
        several = await call(
            lambda: self.sync.fork_many(source, names, detached=detached, **options), unwanted=_remove_all
        )
        return [Environment(one) for one in several]

    async def find(self, name: str) -> Environment:
        """The environment of a name or id: see `ptest.Store.find`."""
        return Environment(await call(lambda: self.sync.find(name)))

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
        ended: CompletedRun[Any] = await call(lambda: run(command, text=text, input=input, **options))
        return ended

    async def matrix(self, command: Command = (), **options: Unpack[MatrixOptions]) -> Matrix:
        """Runs a command in each cell of a matrix: see `ptest.Store.matrix`."""
        return Matrix(await call(lambda: self.sync.matrix(command, **options)))

    async def follow(
        self,
        kinds: Sequence[str] = (),
        *,
        environments: Sequence[str] = (),
        after: int | None = None,
    ) -> AsyncIterator[Event]:
        """The events that come from now on, or after that number."""
        follower = await call(lambda: self.sync.follow(kinds, environments=environments, after=after))
        while True:
            for event in await call(follower.next):
                yield event

    async def follow_logs(
        self,
        environment: str | SyncEnvironment,
        run: str | Run | None = None,
        *,
        stream: Literal["stdout", "stderr"] | None = None,
        tail: int | None = None,
    ) -> AsyncIterator[LogPiece]:
        """What a run wrote and writes, piece by piece, until it has ended."""
        follower = await call(lambda: self.sync.follow_logs(environment, run, stream=stream, tail=tail))
        while (piece := await call(follower.next)) is not None:
            yield piece


def _remove_all(environments: list[SyncEnvironment]) -> None:
    for environment in environments:
        environment.remove()

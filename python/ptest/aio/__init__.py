r"""The same for `asyncio`: no call keeps the event loop waiting.

>>> import asyncio
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

from typing import TYPE_CHECKING, Any

from ptest import _api, _upkeep
from ptest.aio._call import call
from ptest.aio._environment import Environment
from ptest.aio._matrix import Matrix
from ptest.aio._process import Process
from ptest.aio._store import Store

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ptest._matrix import Cell
    from ptest._options import (
        CellOptions,
        CommandOptions,
        Duration,
        EnvironmentOptions,
        MatrixOptions,
        Settings,
        StrPath,
    )
    from ptest._process import Command, CompletedRun
    from ptest._records import Status
    from ptest._reports import Applied, Finding, Kernel

__all__ = [
    "Environment",
    "Matrix",
    "Process",
    "Store",
    "apply",
    "cells",
    "create",
    "default_store",
    "doctor",
    "environments",
    "find",
    "kernels",
    "matrix",
    "remove_kernel",
    "run",
]


async def default_store() -> Store:
    """The store that the configuration says, opened when it is first asked for."""
    return Store(await call(_api.default_store))


async def create(
    name: str | None = None,
    *,
    detached: bool = False,
    refresh: bool = False,
    timeout: Duration | None = None,
    **options: Unpack[EnvironmentOptions],
) -> Environment:
    """Makes an environment in the default store: see `ptest.create`. A cancellation undoes what was begun."""
    store = await default_store()
    return await store.create(name, detached=detached, refresh=refresh, timeout=timeout, **options)


async def find(name: str) -> Environment:
    """The environment of a name or id of the default store: see `ptest.find`."""
    return await (await default_store()).find(name)


async def environments(selector: str = "") -> list[Status]:
    """The environments of the default store: see `ptest.environments`."""
    return await (await default_store()).environments(selector)


async def run(
    command: Command,
    *,
    text: bool = True,
    input: Any = None,
    **options: Unpack[CommandOptions],
) -> CompletedRun[Any]:
    """Runs a command in an environment of the default store that is made for it: see `ptest.run`."""
    return await (await default_store()).run(command, text=text, input=input, **options)


async def apply(
    file: StrPath,
    *,
    plan: bool = False,
    prune: bool = False,
    recreate: bool = False,
    refresh: bool = False,
) -> Applied:
    """Brings environments of the default store to what a file says: see `ptest.Store.apply`."""
    return await call(lambda: _api.apply(file, plan=plan, prune=prune, recreate=recreate, refresh=refresh))


async def cells(**options: Unpack[CellOptions]) -> list[Cell]:
    """Which cells a matrix would have: see `ptest.Store.cells`."""
    return await call(lambda: _api.cells(**options))


async def matrix(command: Command = (), **options: Unpack[MatrixOptions]) -> Matrix:
    """Runs a command in each cell of a matrix: see `ptest.Store.matrix`."""
    return await (await default_store()).matrix(command, **options)


async def doctor(**settings: Unpack[Settings]) -> list[Finding]:
    """What ptest needs and can use on this machine: see `ptest.doctor`."""
    return await call(lambda: _upkeep.doctor(**settings))


async def kernels() -> list[Kernel]:
    """The kernels of your Jupyter that ptest installed."""
    return await call(_upkeep.kernels)


async def remove_kernel(kernel: str | Kernel) -> Kernel:
    """Takes a kernel away; its environment stays: see `ptest.remove_kernel`."""
    return await call(lambda: _upkeep.remove_kernel(kernel))

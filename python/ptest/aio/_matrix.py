"""A matrix that runs, for an event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptest._matrix import Matrix as SyncMatrix
from ptest.aio._call import call, calls, told

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from ptest._matrix import Cell


class Matrix:
    """The cells of a matrix that runs, as `ptest.Matrix`, which is its ``sync``: each as soon as it has ended."""

    def __init__(self, sync: SyncMatrix) -> None:
        self.sync = sync

    __repr__ = told

    next = calls(SyncMatrix.next)
    wait = calls(SyncMatrix.wait)
    stop = calls(SyncMatrix.stop)

    @property
    def cells(self) -> list[Cell]:
        """All of its cells, without results, in the order of the axes."""
        return self.sync.cells

    @property
    def ended(self) -> bool:
        """Whether all have ended, and were given."""
        return self.sync.ended

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Cell:
        found = await call(self.sync.next)
        if found is None:
            raise StopAsyncIteration
        return found

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.sync.stop()
        await self.wait()

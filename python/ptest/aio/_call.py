"""Calls that are made on a thread of their own, so that no event loop waits for them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from functools import wraps
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from ptest import _core

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from typing_extensions import Concatenate, ParamSpec

    P = ParamSpec("P")

T = TypeVar("T")


async def call(work: Callable[[], T], *, unwanted: Callable[[T], object] = lambda _: None) -> T:
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


def calls(method: Callable[Concatenate[Any, P], T]) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """A method that awaits what this method of the object's ``sync`` gives."""

    @wraps(method)
    async def method_of_sync(self: Any, /, *args: P.args, **options: P.kwargs) -> T:
        return await call(lambda: method(self.sync, *args, **options))

    return method_of_sync


def told(self: Any) -> str:
    """The ``repr`` of what is for an event loop what its ``sync`` is without one."""
    return f"<ptest.aio.{type(self).__name__} of {self.sync!r}>"

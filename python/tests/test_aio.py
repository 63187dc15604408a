"""Environments under an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import pytest

import ptest
from ptest import aio

if TYPE_CHECKING:
    from collections.abc import Coroutine


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 60))


def test_an_environment_is_gone_when_its_block_is_left(store: ptest.Store) -> None:
    async def main() -> str:
        async with await aio.Store(store).create(requirements=["six==1.16.0"]) as env:
            assert [it.name for it in await env.packages()] == ["pip", "six"]
            assert (await env.exec(["python", "-c", "import six"], check=True)).success
            return env.id

    id_ = _run(main())
    with pytest.raises(ptest.NotFoundError):
        store.find(id_)


def test_the_loop_goes_on_while_commands_run(store: ptest.Store) -> None:
    async def main() -> int:
        async with await aio.Store(store).create() as env:
            commands = [env.exec(["sleep", "0.5"]) for _ in range(8)]
            ticks = 0

            async def tick() -> None:
                nonlocal ticks
                while True:
                    ticks += 1
                    await asyncio.sleep(0.001)

            ticking = asyncio.ensure_future(tick())
            for run in await asyncio.gather(*commands):
                assert run.success
            ticking.cancel()
            return ticks

    assert _run(main()) > 10


def test_a_cancelled_command_is_ended(store: ptest.Store) -> None:
    async def main() -> None:
        async with await aio.Store(store).create() as env:
            await env.activate()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(env.exec(["sleep", "600"]), 0.3)
            deadline = time.monotonic() + 20
            while (await env.status()).usage.processes:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)

    _run(main())


def test_a_creation_that_is_cancelled_leaves_nothing(store: ptest.Store) -> None:
    before = store.environments()

    async def main() -> None:
        for delay in (0, 0.001, 0.002, 0.005):
            task = asyncio.ensure_future(aio.Store(store).create(requirements=["six==1.16.0"]))
            await asyncio.sleep(delay)
            task.cancel()
            # It may have been faster.
            with contextlib.suppress(asyncio.CancelledError):
                made = await task
                await made.remove()

    _run(main())
    deadline = time.monotonic() + 20
    while store.environments() != before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_running_command_is_read_and_answered(store: ptest.Store) -> None:
    async def main() -> tuple[bytes, int]:
        async with await aio.Store(store).create() as env:
            process = await env.popen(["cat"], stdin=ptest.PIPE, stdout=ptest.PIPE)
            async with process:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(b"a\n")
                line = await process.stdout.readline()
                process.stdin.close()
                return line, await process.wait(20)

    assert _run(main()) == (b"a\n", 0)


def test_errors_are_those_of_the_package(store: ptest.Store) -> None:
    async def main() -> None:
        async with await aio.Store(store).create() as env:
            with pytest.raises(ptest.CommandNotFoundError):
                await env.exec(["no-such-program"])

    _run(main())


def test_events_come_as_they_happen(store: ptest.Store) -> None:
    async def main() -> ptest.Event:
        events = aio.Store(store).follow(["deployed"])
        coming = asyncio.ensure_future(events.__anext__())
        while not coming.done():
            store.emit("deployed")
            await asyncio.sleep(0.01)
        event = await coming
        await events.aclose()  # type: ignore[attr-defined]
        return event

    assert _run(main()).kind == "emitted"


def test_what_can_be_awaited_is_what_can_be_called(store: ptest.Store) -> None:
    async def main() -> None:
        async_store = aio.Store(store)
        async with await async_store.create("one", requirements=["six==1.16.0"], timeout=60) as env:
            assert (await env.verify()).whole
            assert [it.name for it in await async_store.environments()] == ["one"]
            process = await env.popen(["sh", "-c", "echo 1"], log=True, stdout=ptest.DEVNULL)
            assert [piece.text async for piece in env.follow_logs(process.id)] == ["1\n"]
            assert (await env.logs()).text == "1\n"
            assert (await env.runs())[0].exit_code == 0
            assert (await async_store.gc(dry_run=True)).bytes == store.gc(dry_run=True).bytes
        assert (await async_store.remove(all=True)).removed == []

    _run(main())


def test_cells_of_a_matrix_are_awaited_as_they_end(store: ptest.Store) -> None:
    async def main() -> list[str]:
        command = ["sh", "-c", "test $PTEST_CELL = a || sleep 60"]
        async with await aio.Store(store).matrix(command, sets={"a": (), "b": ()}, jobs=2) as matrix:
            async for cell in matrix:
                return [cell.name]
        return []

    assert _run(main()) == ["a"]
    assert store.environments() == []

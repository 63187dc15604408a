"""A command that runs, for an event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ptest._errors import TimedOutError
from ptest.aio._call import call, told

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from ptest._options import Duration
    from ptest._process import Exit
    from ptest._process import Process as SyncProcess


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

    __repr__ = told

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
        return await call(lambda: self.sync.wait(timeout))

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

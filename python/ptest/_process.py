"""Commands in an environment: what came of one, and one that runs.

As `subprocess` has it, where that has a word for it. Not for environments themselves: see `_environment`.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import threading
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, AnyStr, Generic, cast

from ptest._errors import PtestError, TimedOutError
from ptest._options import plain, seconds
from ptest._records import RunUsage, StruckLimit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self, TypeAlias

    from ptest import _core
    from ptest._options import Duration, RunOptions, Stream

PIPE = subprocess.PIPE
"""A stream that is taken."""
STDOUT = subprocess.STDOUT
"""Of standard error: wherever standard output goes."""
DEVNULL = subprocess.DEVNULL
"""A stream that nobody takes."""

Command: TypeAlias = "str | os.PathLike[str] | Sequence[str | bytes | os.PathLike[str] | os.PathLike[bytes]]"
MOST = 16 << 20
"""How many bytes of a stream are kept, unless said otherwise: half of them of its beginning, half of its end."""


@dataclass(frozen=True)
class Exit:
    """How a command ended."""

    returncode: int
    """Its code, or -N when signal N ended it."""
    timed_out: bool
    """Whether its time was up."""
    limit: StruckLimit | None
    """The limit that struck, if one did."""
    leaked_processes: int
    """How many processes it left behind, which live on until the environment is deactivated."""
    usage: RunUsage
    """What it used."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Exit:
        """Of a document."""
        number = document["signal"]
        limit = document["limit"]
        return cls(
            returncode=document["code"] if number is None else -number,
            timed_out=document["timed_out"],
            limit=None if limit is None else StruckLimit.of(limit),
            leaked_processes=document["leaked_processes"],
            usage=RunUsage.of(document["usage"]),
        )


@dataclass(frozen=True)
class CompletedRun(Generic[AnyStr]):
    """What came of a command that ran to its end."""

    args: list[str]
    """The command."""
    returncode: int
    """Its code, or -N when signal N ended it."""
    stdout: AnyStr
    """What it wrote; where more came than is kept, a line in between says how much is left out."""
    stderr: AnyStr
    """What it wrote to standard error, likewise."""
    timed_out: bool
    """Whether its time was up."""
    limit: StruckLimit | None
    """The limit that struck, if one did."""
    usage: RunUsage
    """What it used."""
    leaked_processes: int
    """How many processes it left behind."""
    id: str = field(repr=False)
    """What the run is called in the store, as for ``ptest logs``."""
    stdout_omitted: int = field(repr=False)
    """How many bytes of standard output are left out."""
    stderr_omitted: int = field(repr=False)
    """How many bytes of standard error are left out."""

    @property
    def success(self) -> bool:
        """Whether it ended by itself, with code 0."""
        return self.returncode == 0 and not self.timed_out

    @property
    def duration(self) -> float:
        """How long it ran, in seconds."""
        return self.usage.elapsed_seconds

    def check(self) -> Self:
        """Itself, if the command succeeded.

        Raises
        ------
        CommandTimedOutError
            If its time was up.
        CommandFailedError
            If it failed in another way.
        """
        if self.success:
            return self
        cls = CommandTimedOutError if self.timed_out else CommandFailedError
        raise cls(cast("CompletedRun[Any]", self))


class CommandFailedError(PtestError, subprocess.CalledProcessError):
    """A command that was to succeed did not."""

    kind = "command_failed"

    def __init__(self, run: CompletedRun[Any]) -> None:
        self.run = run
        self.returncode = run.returncode
        self.cmd = run.args
        self.stderr = run.stderr
        PtestError.__init__(self, self._told())
        self.output = run.stdout
        add_note = getattr(self, "add_note", None)
        words = run.stderr or run.stdout
        if add_note is not None and words:
            text = words if isinstance(words, str) else words.decode(errors="replace")
            add_note(text[-4096:].rstrip())

    def _told(self) -> str:
        name = self.run.args[0]
        if self.run.limit is not None and self.run.limit.ended:
            limit = self.run.limit
            return f"`{name}` was ended: it reached the limit {limit.limit} of {limit.configured}"
        if self.returncode < 0:
            return f"`{name}` was ended by signal {-self.returncode}"
        return f"`{name}` failed with code {self.returncode}"

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.run,))


class CommandTimedOutError(CommandFailedError, TimeoutError):
    """A command that was to succeed had not ended when its time was up. What it had written is there."""

    kind = "command_timed_out"

    def _told(self) -> str:
        return f"`{self.run.args[0]}` had not ended after {self.run.duration:.1f} s"


def words(command: Command) -> list[str]:
    """The program and its arguments."""
    if isinstance(command, (str, os.PathLike)):
        command = [command]
    arguments = [os.fsdecode(word) for word in command]
    if not arguments:
        message = "a command has a program at least"
        raise ValueError(message)
    return arguments


def asked(
    command: Command,
    env: Mapping[str, str] | None,
    streams: tuple[int, int, int],
    options: RunOptions,
    *,
    input: bytes | None = None,
    most: int = MOST,
) -> dict[str, Any]:
    """A command as the library is asked for it."""
    cwd = options.get("cwd")
    stdin, stdout, stderr = streams
    return {
        "arguments": words(command),
        "directory": None if cwd is None else os.fspath(cwd),
        "variables": plain(env or {}),
        "timeout": seconds(options.get("timeout")),
        "grace": seconds(options.get("grace")),
        "input": input,
        "stdin": stdin,
        "stdout": stdout,
        "stderr": stderr,
        "head": most - most // 2,
        "tail": most // 2,
    }


def descriptor(stream: Stream, default: int) -> int:
    """The number of a stream that a caller names."""
    if stream is None:
        return default
    return stream if isinstance(stream, int) else stream.fileno()


def kept(taken: tuple[bytes, bytes, int, bool]) -> tuple[bytes, int]:
    """What is kept of a stream, and how many bytes are left out."""
    head, tail, total, _ = taken
    omitted = total - len(head) - len(tail)
    if not omitted:
        return head + tail, 0
    return head + f"\n[… {omitted} bytes left out …]\n".encode() + tail, omitted


class Process(Generic[AnyStr]):
    """A command that runs. As a context manager it is ended when the block is left, if it has not by itself.

    Made by `Environment.popen`.
    """

    stdin: IO[AnyStr] | None
    """Where what it reads is written, if that is a pipe."""
    stdout: IO[AnyStr] | None
    """What it writes, if that is a pipe: lines can be read as they come."""
    stderr: IO[AnyStr] | None
    """What it writes to standard error, if that is a pipe."""

    def __init__(
        self,
        args: list[str],
        core: _core.Process,
        streams: tuple[IO[Any] | None, IO[Any] | None, IO[Any] | None],
    ) -> None:
        self.args = args
        self._core = core
        self._exit: Exit | None = None
        self.stdin, self.stdout, self.stderr = streams

    def __repr__(self) -> str:
        return f"<ptest.Process {self.id} {self.args!r} returncode={self.returncode}>"

    @property
    def id(self) -> str:
        """What the run is called in the store."""
        return self._core.run

    @property
    def returncode(self) -> int | None:
        """Its code, or -N when signal N ended it; None as far as nobody has seen it end."""
        return None if self._exit is None else self._exit.returncode

    @property
    def exit(self) -> Exit | None:
        """How it ended, as far as somebody has seen that."""
        return self._exit

    def poll(self) -> int | None:
        """Its code if it has ended."""
        return self._wait(0.0)

    def wait(self, timeout: Duration | None = None) -> int:
        """Waits for its end; gives its code.

        Raises
        ------
        TimedOutError
            If it has not ended after that time. It goes on.
        """
        code = self._wait(seconds(timeout))
        if code is None:
            message = f"`{self.args[0]}` has not ended after {timeout} s"
            raise TimedOutError(message)
        return code

    def _wait(self, timeout: float | None) -> int | None:
        if self._exit is None:
            found = self._core.wait(timeout)
            if found is None:
                return None
            self._exit = Exit.of(found)
        return self._exit.returncode

    def send_signal(self, number: int) -> None:
        """Sends a signal to it and the process group that it leads; of one that has ended nothing."""
        if self.poll() is None:
            self._core.signal(int(number))

    def terminate(self) -> None:
        """Asks it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it."""
        self.send_signal(signal.SIGKILL)

    def communicate(
        self,
        input: AnyStr | None = None,
        timeout: Duration | None = None,
    ) -> tuple[AnyStr | None, AnyStr | None]:
        """Writes what it is to read, takes what it writes, and waits for its end.

        All of it is held in memory: for commands that write much, read the streams, or use `Environment.exec`.

        Raises
        ------
        TimedOutError
            If it has not ended after that time. It goes on, and what it wrote is lost.
        """
        taken: dict[str, AnyStr] = {}

        def take(name: str, stream: IO[AnyStr]) -> None:
            taken[name] = stream.read()

        threads = [
            threading.Thread(target=take, args=(name, stream), daemon=True)
            for name, stream in (("stdout", self.stdout), ("stderr", self.stderr))
            if stream is not None
        ]
        for thread in threads:
            thread.start()
        if self.stdin is not None:
            try:
                if input:
                    self.stdin.write(input)
                self.stdin.close()
            except BrokenPipeError:
                # What it does not read is no error, as with `subprocess`.
                pass
        self.wait(timeout)
        for thread in threads:
            thread.join()
        self._close()
        return taken.get("stdout"), taken.get("stderr")

    def __iter__(self) -> Iterator[AnyStr]:
        """The lines of standard output as they come."""
        if self.stdout is None:
            message = "standard output is not taken: ask for it with stdout=ptest.PIPE"
            raise ValueError(message)
        return iter(self.stdout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.poll() is None:
            self.terminate()
            if self._wait(1.0) is None:
                self.kill()
                self._wait(None)
        self._close()

    def _close(self) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                # It may have ended without reading everything.
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


class Pipes:
    """The streams of a command that is about to start: the ends that it gets, and the ends that stay here."""

    def __init__(self, options: RunOptions) -> None:
        self._theirs: list[int] = []
        self._ours: list[int] = []
        try:
            stdin, self._in = self._stream(options.get("stdin", DEVNULL), 0, is_read=True)
            stdout, self._out = self._stream(options.get("stdout"), 1, is_read=False)
            stderr, self._err = self._stream(options.get("stderr"), 2, is_read=False)
            self.numbers = (stdin, stdout, stderr)
        except BaseException:
            self.failed()
            raise

    def _stream(self, stream: Stream, default: int, *, is_read: bool) -> tuple[int, int | None]:
        if stream != PIPE:
            return descriptor(stream, default), None
        reading, writing = os.pipe()
        theirs, ours = (reading, writing) if is_read else (writing, reading)
        self._theirs.append(theirs)
        self._ours.append(ours)
        return theirs, ours

    def started(self, *, text: bool, options: RunOptions) -> tuple[IO[Any] | None, IO[Any] | None, IO[Any] | None]:
        """The ends that stay here, as files."""
        self._close(self._theirs)
        self._ours.clear()

        def opened(number: int | None, mode: str) -> IO[Any] | None:
            if number is None:
                return None
            binary = os.fdopen(number, mode + "b")
            if not text:
                return binary
            return io.TextIOWrapper(
                cast("IO[bytes]", binary),
                encoding=options.get("encoding", "utf-8"),
                errors=options.get("errors", "replace"),
                line_buffering=mode == "w",
                write_through=mode == "w",
            )

        return opened(self._in, "w"), opened(self._out, "r"), opened(self._err, "r")

    def failed(self) -> None:
        """Closes all of them."""
        self._close(self._theirs)
        self._close(self._ours)

    def _close(self, numbers: list[int]) -> None:
        for number in numbers:
            os.close(number)
        numbers.clear()

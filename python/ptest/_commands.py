"""Commands in an environment: run, started, left running, and what they wrote.

Not for what comes of one: see `_process` and `_runs`.
"""

from __future__ import annotations

import os
import signal as signals
from typing import TYPE_CHECKING, Any, cast, overload

from ptest import _detached, _process
from ptest._living import Environment as LivingEnvironment
from ptest._options import ExecOptions, RunOptions, refuse_unknown
from ptest._process import CompletedRun, Exit, Pipes, Process

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from typing_extensions import Unpack

    from ptest._options import Duration, StrPath
    from ptest._process import Command
    from ptest._runs import Log, LogFollower, Run


class Environment(LivingEnvironment):
    """An environment that commands run in."""

    @overload
    def exec(
        self,
        command: Command,
        *,
        text: Literal[True] = True,
        input: str | None = None,
        env: Mapping[str, str] | None = None,
        **options: Unpack[ExecOptions],
    ) -> CompletedRun[str]: ...
    @overload
    def exec(
        self,
        command: Command,
        *,
        text: Literal[False],
        input: bytes | None = None,
        env: Mapping[str, str] | None = None,
        **options: Unpack[ExecOptions],
    ) -> CompletedRun[bytes]: ...
    @overload
    def exec(
        self,
        command: Command,
        *,
        text: bool,
        input: Any = None,
        env: Mapping[str, str] | None = None,
        **options: Unpack[ExecOptions],
    ) -> CompletedRun[Any]: ...
    def exec(
        self,
        command: Command,
        *,
        text: bool = True,
        input: Any = None,
        env: Mapping[str, str] | None = None,
        **options: Unpack[ExecOptions],
    ) -> CompletedRun[Any]:
        r"""Runs a command to its end, and gives what it wrote.

        Parameters
        ----------
        command
            The program and its arguments; the program is looked for in the environment first.
        text
            Whether what is read and written is text, or bytes.
        input
            What it reads; without that, and without ``stdin``, it reads nothing.
        env
            Variables that it sees besides those of the environment.
        options
            Where it runs, for how long, and what becomes of its streams: see `ExecOptions`.

        Raises
        ------
        CommandNotFoundError, CommandNotExecutableError
            If it cannot be started.
        CommandFailedError, CommandTimedOutError
            If it failed and ``check`` is true.

        Examples
        --------
        >>> env = ptest.create()
        >>> env.exec(["python", "-c", "print(input())"], input="hello").stdout
        'hello\n'
        >>> env.exec(["python", "-c", "raise SystemExit(3)"]).returncode
        3
        >>> env.exec(["sleep", "60"], timeout=0.1).timed_out
        True
        >>> env.exec(["nosuch"])
        Traceback (most recent call last):
        ...
        ptest.CommandNotFoundError: failed to find the program nosuch: No such file or directory (os error 2)
        >>> env.remove()
        """
        refuse_unknown(options, ExecOptions)
        encoding, errors = options.get("encoding", "utf-8"), options.get("errors", "replace")
        if isinstance(input, str):
            input = input.encode(encoding, errors)
        asked = _process.asked(
            command,
            env,
            (
                _process.descriptor(options.get("stdin"), _process.DEVNULL),
                _process.descriptor(options.get("stdout", _process.PIPE), 1),
                _process.descriptor(options.get("stderr", _process.PIPE), 2),
            ),
            options,
            input=input,
            most=options.get("max_output", _process.MOST),
        )
        run, exit_, lost, *streams = self._core.run(asked)
        if exit_ is None:
            raise cast("BaseException", lost)
        ended = Exit.of(exit_)
        (out, out_omitted), (err, err_omitted) = (_process.kept(stream) for stream in streams)
        completed: CompletedRun[Any] = CompletedRun(
            args=asked["arguments"],
            returncode=ended.returncode,
            stdout=out.decode(encoding, errors) if text else out,
            stderr=err.decode(encoding, errors) if text else err,
            timed_out=ended.timed_out,
            limit=ended.limit,
            usage=ended.usage,
            leaked_processes=ended.leaked_processes,
            id=run,
            stdout_omitted=out_omitted,
            stderr_omitted=err_omitted,
        )
        return completed.check() if options.get("check") else completed

    @overload
    def popen(
        self,
        command: Command,
        *,
        text: Literal[True] = True,
        env: Mapping[str, str] | None = None,
        log: bool = False,
        **options: Unpack[RunOptions],
    ) -> Process[str]: ...
    @overload
    def popen(
        self,
        command: Command,
        *,
        text: Literal[False],
        env: Mapping[str, str] | None = None,
        log: bool = False,
        **options: Unpack[RunOptions],
    ) -> Process[bytes]: ...
    def popen(
        self,
        command: Command,
        *,
        text: bool = True,
        env: Mapping[str, str] | None = None,
        log: bool = False,
        **options: Unpack[RunOptions],
    ) -> Process[Any]:
        """Starts a command and does not wait for it.

        As `exec`, but that an output stream which is not said is this process's own, as with `subprocess.Popen`. With
        ``log`` what it writes is kept besides, for ``ptest logs``.

        Examples
        --------
        >>> with ptest.create() as env:
        ...     with env.popen(["sh", "-c", "echo one; echo two"], stdout=ptest.PIPE) as process:
        ...         for line in process:
        ...             print(line.rstrip())
        one
        two
        """
        refuse_unknown(options, RunOptions)
        pipes = Pipes(options)
        try:
            asked = _process.asked(command, env, pipes.numbers, options)
            core = self._core.spawn(asked, log)
        except BaseException:
            pipes.failed()
            raise
        return Process(asked["arguments"], core, pipes.started(text=text, options=options))

    def detach(
        self,
        command: Command,
        *,
        env: Mapping[str, str] | None = None,
        cwd: StrPath | None = None,
        timeout: Duration | None = None,
        grace: Duration | None = None,
    ) -> str:
        """Leaves a command running, with no input and what it writes kept for `logs`; gives the id of its run.

        It ends with its environment, not with this process.
        """
        return _detached.start(self, _process.words(command), env=env or {}, cwd=cwd, timeout=timeout, grace=grace)

    def shell(self, *, env: Mapping[str, str] | None = None) -> int:
        """Starts a shell, ``$SHELL`` or else ``/bin/sh``, on this process's terminal; gives its code when it ends."""
        command = [os.environ.get("SHELL") or "/bin/sh"]
        if not (os.isatty(0) and os.isatty(1)):
            with self.popen(command, env=env, stdin=0) as process:
                return process.wait()
        asked = _process.asked(command, env, (_process.DEVNULL, 1, 2), RunOptions())
        return Exit.of(self._core.on_terminal(asked)).returncode

    def runs(self, *, active: bool = False, last: int = 20) -> list[Run]:
        """The latest commands that were run in it, oldest first; with ``active`` those that have not ended."""
        return self._store.runs(self._id, active=active, last=last)

    def logs(
        self,
        run: str | Run | None = None,
        *,
        stream: Literal["stdout", "stderr"] | None = None,
        head: int | None = None,
        tail: int | None = None,
    ) -> Log:
        """What a run wrote, as far as it is kept: the last one, if none is said; see `Store.logs`."""
        return self._store.logs(self._id, run, stream=stream, head=head, tail=tail)

    def follow_logs(
        self,
        run: str | Run | None = None,
        *,
        stream: Literal["stdout", "stderr"] | None = None,
        tail: int | None = None,
    ) -> LogFollower:
        """What a run wrote and writes, piece by piece, until it has ended."""
        return self._store.follow_logs(self._id, run, stream=stream, tail=tail)

    def kill(self, run: str | Run | None = None, *, signal: int = signals.SIGTERM) -> None:
        """Sends a signal to a command that runs in it, whichever process waits for it; see `Store.kill`."""
        self._store.kill(self._id, run, signal=signal)

"""Installations that end when their time is up.

What takes long is to choose versions, to download and to build. That is rehearsed in a fork, by the program ``ptest``,
which can be told to stop and undoes what it began then; the environment itself is changed afterwards, in a moment.
"""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING

from ptest._errors import TimedOutError, UnexpectedError, UnsupportedError, of_core
from ptest._store import _program

if TYPE_CHECKING:
    from ptest._environment import Environment
    from ptest._records import PackageChange


def install(environment: Environment, what: str, *, upgrade: bool, timeout: float | None) -> list[PackageChange]:
    """Installs a requirement, or brings what is there to the newest version that it allows.

    Raises
    ------
    TimedOutError
        If it was not done after that time. The environment is as it was.
    PtestError
        If it cannot be done.
    """
    verb = "upgrade" if upgrade else "install"
    if timeout is not None:
        with environment.fork() as rehearsal:
            _rehearse(rehearsal, verb, what, timeout)
    return environment.upgrade(what) if upgrade else environment.install(what)


def _rehearse(rehearsal: Environment, verb: str, what: str, timeout: float) -> None:
    program = _program()
    if program is None:
        message = "the program `ptest` is not installed with the package"
        raise UnsupportedError(message, hint="install ptest-env from a wheel")
    # Of a session of its own: what a terminal sends to this process, this process passes on.
    with subprocess.Popen(  # noqa: S603
        [str(program), verb, "--format", "json", rehearsal.id, "--", what],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            output, told = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            process.communicate()
            message = f"`{what}` was not done after {timeout} s"
            raise TimedOutError(message, hint="a longer pip_timeout") from None
        except BaseException:
            process.send_signal(signal.SIGINT)
            process.communicate()
            raise
    if process.returncode != 0:
        try:
            error = json.loads(output)["error"]
        except (ValueError, KeyError):
            message = "`ptest` said nothing that can be read"
            raise UnexpectedError(message, output=told.decode(errors="replace")) from None
        raise of_core(error["kind"], error["message"], error["causes"], error["hint"], error["output"])

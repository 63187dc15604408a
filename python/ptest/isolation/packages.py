"""Installations that end when their time is up: by the program ``ptest``, which undoes what it began."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING, Any

from ptest._errors import TimedOutError, UnexpectedError, UnsupportedError, of_core
from ptest._records import PackageChange
from ptest._store import _program

if TYPE_CHECKING:
    from ptest._environment import Environment


def change(environment: Environment, verb: str, what: str, timeout: float | None) -> list[PackageChange]:
    """Installs, upgrades or uninstalls.

    Raises
    ------
    TimedOutError
        If it was not done after that time. The environment is as it was.
    PtestError
        If it cannot be done.
    """
    program = _program()
    if program is None:
        message = "the program `ptest` is not installed with the package"
        raise UnsupportedError(message, hint="install ptest-env from a wheel")
    command = [str(program), verb, "--format", "json", environment.id, "--", what]
    # Of a session of its own: what a terminal sends to this process, this process passes on.
    with subprocess.Popen(  # noqa: S603
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            output, told = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            output, told = process.communicate()
            if process.returncode != 0:
                message = f"`{what}` was not done after {timeout} s"
                raise TimedOutError(message, hint="a longer pip_timeout") from None
        except BaseException:
            process.send_signal(signal.SIGINT)
            process.communicate()
            raise
    return PackageChange.each(_report(output, told)["changes"])


def _report(output: bytes, told: bytes) -> dict[str, Any]:
    try:
        report: dict[str, Any] = json.loads(output)
    except ValueError:
        message = "`ptest` said nothing that can be read"
        raise UnexpectedError(message, output=told.decode(errors="replace")) from None
    error = report.get("error")
    if error is not None:
        raise of_core(error["kind"], error["message"], error["causes"], error["hint"], error["output"])
    return report

"""Commands that are left running: the program ``ptest`` waits for each, so that they do not end with this process."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from ptest._errors import PtestError, UnsupportedError
from ptest._options import plain, seconds
from ptest._program import program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ptest._living import Environment as LivingEnvironment
    from ptest._options import Duration, StrPath


def start(
    environment: LivingEnvironment,
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: StrPath | None,
    timeout: Duration | None,
    grace: Duration | None,
) -> str:
    """Starts a command; gives the id of its run."""
    ptest = program()
    if ptest is None:
        message = "the program `ptest` is not installed with the package"
        raise UnsupportedError(message, hint="install ptest-env from a wheel")

    def options() -> Iterator[str]:
        yield from ("--ptest-home", str(environment.store.home), "exec", "--detach")
        for name, value in env.items():
            yield from ("--env", f"{name}={value}")
        for option, time in (("--timeout", seconds(timeout)), ("--grace", seconds(grace))):
            if time is not None:
                yield from (option, f"{time * 1000:.0f}ms")

    ran = subprocess.run(  # noqa: S603
        [ptest, *options(), "--", environment.id, *command],
        cwd=plain(cwd),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode != 0:
        message = f"`{command[0]}` was not started"
        raise PtestError(message, output=ran.stderr)
    return ran.stdout.strip()

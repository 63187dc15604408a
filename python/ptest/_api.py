"""What can be done without naming a store: with the one that the configuration says."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, overload

from ptest._store import Store

if TYPE_CHECKING:
    from typing import Literal

    from typing_extensions import Unpack

    from ptest._environment import Environment
    from ptest._matrix import Cell, Matrix
    from ptest._options import CellOptions, CommandOptions, Duration, EnvironmentOptions, MatrixOptions, StrPath
    from ptest._process import Command, CompletedRun
    from ptest._records import Status
    from ptest._reports import Applied

_lock = threading.Lock()
_default: Store | None = None


def default_store() -> Store:
    """The store that the configuration says, opened when it is first asked for.

    Raises
    ------
    InvalidInputError
        If the configuration cannot be used.
    PermissionDeniedError
        If the store belongs to another user.
    """
    global _default  # noqa: PLW0603
    if _default is None:
        with _lock:
            if _default is None:
                _default = Store()
    return _default


def create(
    name: str | None = None,
    *,
    detached: bool = False,
    refresh: bool = False,
    timeout: Duration | None = None,
    **options: Unpack[EnvironmentOptions],
) -> Environment:
    r"""Makes an environment in the default store.

    Parameters
    ----------
    name
        What it is found by; without one, its id alone.
    detached
        Whether it stays until it is removed. Otherwise it goes with the object, and with this process.
    refresh
        Whether versions are chosen anew, whatever is known.
    options
        What it is made of and what it is like: see `EnvironmentOptions`.

    Raises
    ------
    PtestError
        If it cannot be made: see `Store.create`.

    Examples
    --------
    >>> with ptest.create(requirements=["six==1.16.0"], memory="512M") as env:
    ...     env.exec(["python", "-c", "import six; print(six.__version__)"]).stdout
    '1.16.0\n'
    """
    return default_store().create(name, detached=detached, refresh=refresh, timeout=timeout, **options)


def find(name: str) -> Environment:
    """The environment of a name or id of the default store. It stays when the object goes.

    Raises
    ------
    NotFoundError
        If there is none.
    """
    return default_store().find(name)


def environments(selector: str = "") -> list[Status]:
    """The environments of the default store whose labels meet every condition, oldest first: ``team=a,stage!=old``."""
    return default_store().environments(selector)


def apply(
    file: StrPath,
    *,
    plan: bool = False,
    prune: bool = False,
    recreate: bool = False,
    refresh: bool = False,
) -> Applied:
    """Brings environments of the default store to what a file says: see `Store.apply`."""
    return default_store().apply(file, plan=plan, prune=prune, recreate=recreate, refresh=refresh)


def cells(**options: Unpack[CellOptions]) -> list[Cell]:
    """Which cells a matrix would have: see `Store.cells`."""
    return default_store().cells(**options)


def matrix(command: Command = (), **options: Unpack[MatrixOptions]) -> Matrix:
    """Runs a command in each cell of a matrix: see `Store.matrix`."""
    return default_store().matrix(command, **options)


@overload
def run(
    command: Command,
    *,
    text: Literal[True] = True,
    input: str | None = None,
    **options: Unpack[CommandOptions],
) -> CompletedRun[str]: ...
@overload
def run(
    command: Command,
    *,
    text: Literal[False],
    input: bytes | None = None,
    **options: Unpack[CommandOptions],
) -> CompletedRun[bytes]: ...
def run(command: Command, **options: Any) -> CompletedRun[Any]:
    r"""Runs a command in an environment of the default store that is made for it and taken away again.

    Parameters
    ----------
    command
        The program and its arguments.
    options
        What the environment is like, and how the command runs: see `CommandOptions`. ``text`` and ``input`` are as
        with `Environment.exec`.

    Raises
    ------
    CommandFailedError, CommandTimedOutError
        If the command failed and ``check`` is true.
    PtestError
        If the environment cannot be made, or the command not be started.

    Examples
    --------
    >>> ptest.run(["python", "-c", "print(6 * 7)"], timeout=60).stdout
    '42\n'
    """
    return default_store().run(command, **options)

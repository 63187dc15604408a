r"""Clean, reproducible, disposable environments in about a millisecond.

>>> import ptest
>>> with ptest.create(requirements=["six==1.16.0"]) as env:
...     env.exec(["python", "-c", "import six; print(six.PY3)"]).stdout
'True\n'

Everything is loaded when it is first used: importing the package alone costs next to nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` takes longer to load than everything else here
if TYPE_CHECKING:
    from ptest._api import create, default_store, environments, find, run
    from ptest._core import __version__
    from ptest._environment import Environment
    from ptest._errors import (
        AlreadyExistsError,
        BuildError,
        BusyError,
        CommandNotExecutableError,
        CommandNotFoundError,
        CorruptError,
        IllegalStateError,
        InvalidInputError,
        NetworkError,
        NoRoomError,
        NotFoundError,
        PermissionDeniedError,
        PtestError,
        ResolutionError,
        StorageError,
        TimedOutError,
        UnexpectedError,
        UnsupportedError,
    )
    from ptest._options import (
        CommandOptions,
        EnvironmentOptions,
        ExecOptions,
        Limits,
        Network,
        Profile,
        RunOptions,
        Settings,
    )
    from ptest._process import (
        DEVNULL,
        PIPE,
        STDOUT,
        CommandFailedError,
        CommandTimedOutError,
        CompletedRun,
        Process,
    )
    from ptest._records import (
        Difference,
        Event,
        FileChange,
        Package,
        PackageChange,
        Port,
        RunUsage,
        Snapshot,
        Status,
        StruckLimit,
        Usage,
    )
    from ptest._store import Follower, Store

_HOMES = {
    "_api": ("create", "default_store", "environments", "find", "run"),
    "_core": ("__version__",),
    "_environment": ("Environment",),
    "_errors": (
        "AlreadyExistsError",
        "BuildError",
        "BusyError",
        "CommandNotExecutableError",
        "CommandNotFoundError",
        "CorruptError",
        "IllegalStateError",
        "InvalidInputError",
        "NetworkError",
        "NoRoomError",
        "NotFoundError",
        "PermissionDeniedError",
        "PtestError",
        "ResolutionError",
        "StorageError",
        "TimedOutError",
        "UnexpectedError",
        "UnsupportedError",
    ),
    "_options": (
        "CommandOptions",
        "EnvironmentOptions",
        "ExecOptions",
        "Limits",
        "Network",
        "Profile",
        "RunOptions",
        "Settings",
    ),
    "_process": (
        "DEVNULL",
        "PIPE",
        "STDOUT",
        "CommandFailedError",
        "CommandTimedOutError",
        "CompletedRun",
        "Process",
    ),
    "_records": (
        "Difference",
        "Event",
        "FileChange",
        "Package",
        "PackageChange",
        "Port",
        "RunUsage",
        "Snapshot",
        "Status",
        "StruckLimit",
        "Usage",
    ),
    "_store": ("Follower", "Store"),
}

_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "AlreadyExistsError",
    "BuildError",
    "BusyError",
    "CommandFailedError",
    "CommandNotExecutableError",
    "CommandNotFoundError",
    "CommandOptions",
    "CommandTimedOutError",
    "CompletedRun",
    "CorruptError",
    "Difference",
    "Environment",
    "EnvironmentOptions",
    "Event",
    "ExecOptions",
    "FileChange",
    "Follower",
    "IllegalStateError",
    "InvalidInputError",
    "Limits",
    "Network",
    "NetworkError",
    "NoRoomError",
    "NotFoundError",
    "Package",
    "PackageChange",
    "PermissionDeniedError",
    "Port",
    "Process",
    "Profile",
    "PtestError",
    "ResolutionError",
    "RunOptions",
    "RunUsage",
    "Settings",
    "Snapshot",
    "Status",
    "StorageError",
    "Store",
    "StruckLimit",
    "TimedOutError",
    "UnexpectedError",
    "UnsupportedError",
    "Usage",
    "__version__",
    "create",
    "default_store",
    "environments",
    "find",
    "run",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        from importlib import import_module

        value: object = getattr(import_module(f"ptest.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    message = f"module 'ptest' has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

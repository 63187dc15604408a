r"""Clean, reproducible, disposable environments in about a millisecond.

>>> import ptest
>>> with ptest.create(requirements=["six==1.16.0"]) as env:
...     env.exec(["python", "-c", "import six; print(six.PY3)"]).stdout
'True\n'

Everything is loaded when it is first used: importing the package alone costs next to nothing.
"""

from __future__ import annotations

from sys import modules

TYPE_CHECKING = False  # `typing` takes longer to load than everything else here
if TYPE_CHECKING:
    from typing import Any

    from ptest._api import apply, cells, create, default_store, environments, find, matrix, run
    from ptest._config import Config
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
    from ptest._history import Follower
    from ptest._matrix import Cell, CellResult, Matrix
    from ptest._options import (
        CellOptions,
        CommandOptions,
        EnvironmentOptions,
        ExecOptions,
        Limits,
        MatrixOptions,
        Network,
        Profile,
        RunOptions,
        Settings,
    )
    from ptest._process import DEVNULL, PIPE, STDOUT, CommandFailedError, CommandTimedOutError, CompletedRun, Process
    from ptest._records import (
        Difference,
        Event,
        FileChange,
        Package,
        PackageChange,
        Port,
        Problem,
        RunUsage,
        Snapshot,
        Stats,
        StatsPoint,
        Status,
        StruckLimit,
        Totals,
        Usage,
        Verification,
    )
    from ptest._reports import (
        Applied,
        AppliedEnvironment,
        AppliedHook,
        Attempt,
        Bulk,
        Capability,
        Collected,
        ConfigFile,
        DamagedLayer,
        Engine,
        Failure,
        Finding,
        Hook,
        Improved,
        Kernel,
        LostEnvironment,
        Rebuilt,
        RebuiltTable,
        Recovered,
        Removed,
        Setting,
        SettingDifference,
        StoreVerification,
        Trial,
    )
    from ptest._runs import LimitAsked, Log, LogFollower, LogPiece, Run, RunClient, RunLimit, RunStream
    from ptest._store import Store
    from ptest._upkeep import doctor, kernels, remove_kernel

_HOMES = {
    "_api": ("apply", "cells", "create", "default_store", "environments", "find", "matrix", "run"),
    "_config": ("Config",),
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
    "_history": ("Follower",),
    "_matrix": ("Cell", "CellResult", "Matrix"),
    "_options": (
        "CellOptions",
        "CommandOptions",
        "EnvironmentOptions",
        "ExecOptions",
        "Limits",
        "MatrixOptions",
        "Network",
        "Profile",
        "RunOptions",
        "Settings",
    ),
    "_process": ("DEVNULL", "PIPE", "STDOUT", "CommandFailedError", "CommandTimedOutError", "CompletedRun", "Process"),
    "_records": (
        "Difference",
        "Event",
        "FileChange",
        "Package",
        "PackageChange",
        "Port",
        "Problem",
        "RunUsage",
        "Snapshot",
        "Stats",
        "StatsPoint",
        "Status",
        "StruckLimit",
        "Totals",
        "Usage",
        "Verification",
    ),
    "_reports": (
        "Applied",
        "AppliedEnvironment",
        "AppliedHook",
        "Attempt",
        "Bulk",
        "Capability",
        "Collected",
        "ConfigFile",
        "DamagedLayer",
        "Engine",
        "Failure",
        "Finding",
        "Hook",
        "Improved",
        "Kernel",
        "LostEnvironment",
        "Rebuilt",
        "RebuiltTable",
        "Recovered",
        "Removed",
        "Setting",
        "SettingDifference",
        "StoreVerification",
        "Trial",
    ),
    "_runs": ("LimitAsked", "Log", "LogFollower", "LogPiece", "Run", "RunClient", "RunLimit", "RunStream"),
    "_store": ("Store",),
    "_upkeep": ("doctor", "kernels", "remove_kernel"),
}

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "AlreadyExistsError",
    "Applied",
    "AppliedEnvironment",
    "AppliedHook",
    "Attempt",
    "BuildError",
    "Bulk",
    "BusyError",
    "Capability",
    "Cell",
    "CellOptions",
    "CellResult",
    "Collected",
    "CommandFailedError",
    "CommandNotExecutableError",
    "CommandNotFoundError",
    "CommandOptions",
    "CommandTimedOutError",
    "CompletedRun",
    "Config",
    "ConfigFile",
    "CorruptError",
    "DamagedLayer",
    "Difference",
    "Engine",
    "Environment",
    "EnvironmentOptions",
    "Event",
    "ExecOptions",
    "Failure",
    "FileChange",
    "Finding",
    "Follower",
    "Hook",
    "IllegalStateError",
    "Improved",
    "InvalidInputError",
    "Kernel",
    "LimitAsked",
    "Limits",
    "Log",
    "LogFollower",
    "LogPiece",
    "LostEnvironment",
    "Matrix",
    "MatrixOptions",
    "Network",
    "NetworkError",
    "NoRoomError",
    "NotFoundError",
    "Package",
    "PackageChange",
    "PermissionDeniedError",
    "Port",
    "Problem",
    "Process",
    "Profile",
    "PtestError",
    "Rebuilt",
    "RebuiltTable",
    "Recovered",
    "Removed",
    "ResolutionError",
    "Run",
    "RunClient",
    "RunLimit",
    "RunOptions",
    "RunStream",
    "RunUsage",
    "Setting",
    "SettingDifference",
    "Settings",
    "Snapshot",
    "Stats",
    "StatsPoint",
    "Status",
    "StorageError",
    "Store",
    "StoreVerification",
    "StruckLimit",
    "TimedOutError",
    "Totals",
    "Trial",
    "UnexpectedError",
    "UnsupportedError",
    "Usage",
    "Verification",
    "__version__",
    "apply",
    "cells",
    "create",
    "default_store",
    "doctor",
    "environments",
    "find",
    "kernels",
    "matrix",
    "remove_kernel",
    "run",
]


def _lazily(package: str, homes: dict[str, tuple[str, ...]]) -> tuple[Any, Any]:
    """``__getattr__`` and ``__dir__`` of a package whose names are loaded when they are first used."""
    home = {name: module for module, names in homes.items() for name in names}

    def get(name: str) -> object:
        if name not in home:
            message = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(message)
        from importlib import import_module

        value: object = getattr(import_module(f"{package}.{home[name]}"), name)
        vars(modules[package])[name] = value
        return value

    def names() -> list[str]:
        return sorted({*vars(modules[package]), *home})

    return get, names


__getattr__, __dir__ = _lazily(__name__, _HOMES)

"""Isolated environments in the words of ptest's predecessor, so that what was written for it runs unchanged.

>>> from ptest.isolation import IsolationEvent, VirtualenvIsolationEngine
>>> engine = VirtualenvIsolationEngine({"command_timeout": 300})
>>> env = engine.create_isolation("work", "test_env", {})
>>> env.install_package("six")
True
>>> env.execute_command([env.python_path, "-c", "import six"]).success
True
>>> engine.cleanup_isolation(env)
True

A thin layer over `ptest`, which new programs use directly. Everything is loaded when it is first used.
"""

from __future__ import annotations

from ptest import _lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ptest.isolation.base import IsolatedEnvironment, IsolationEngine
    from ptest.isolation.engine import VirtualenvIsolationEngine
    from ptest.isolation.enums import (
        CleanupPolicy,
        EnvironmentStatus,
        IsolationEvent,
        IsolationLevel,
        ProcessStatus,
        ResourceType,
        SecurityLevel,
    )
    from ptest.isolation.environment import VirtualenvEnvironment
    from ptest.isolation.errors import (
        DuplicateEnvironmentError,
        EngineNotAvailableError,
        TooManyEnvironmentsError,
        UnknownEnvironmentError,
        UnknownSnapshotError,
    )
    from ptest.isolation.manager import IsolationManager
    from ptest.isolation.results import ProcessInfo, ProcessResult

_HOMES = {
    "base": ("IsolatedEnvironment", "IsolationEngine"),
    "engine": ("VirtualenvIsolationEngine",),
    "enums": (
        "CleanupPolicy",
        "EnvironmentStatus",
        "IsolationEvent",
        "IsolationLevel",
        "ProcessStatus",
        "ResourceType",
        "SecurityLevel",
    ),
    "environment": ("VirtualenvEnvironment",),
    "errors": (
        "DuplicateEnvironmentError",
        "EngineNotAvailableError",
        "TooManyEnvironmentsError",
        "UnknownEnvironmentError",
        "UnknownSnapshotError",
    ),
    "manager": ("IsolationManager",),
    "results": ("ProcessInfo", "ProcessResult"),
}

__all__ = [
    "CleanupPolicy",
    "DuplicateEnvironmentError",
    "EngineNotAvailableError",
    "EnvironmentStatus",
    "IsolatedEnvironment",
    "IsolationEngine",
    "IsolationEvent",
    "IsolationLevel",
    "IsolationManager",
    "ProcessInfo",
    "ProcessResult",
    "ProcessStatus",
    "ResourceType",
    "SecurityLevel",
    "TooManyEnvironmentsError",
    "UnknownEnvironmentError",
    "UnknownSnapshotError",
    "VirtualenvEnvironment",
    "VirtualenvIsolationEngine",
]

__getattr__, __dir__ = _lazily(__name__, _HOMES)

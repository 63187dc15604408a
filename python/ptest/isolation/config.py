"""Configuration: what keys there are, what they default to, and how levels are merged.

A key that is unknown here is an error, so that none is read by nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Callable

from ptest._errors import InvalidInputError
from ptest._options import EnvironmentOptions
from ptest.isolation.enums import CleanupPolicy, IsolationLevel

_OPTIONS = frozenset(EnvironmentOptions.__annotations__) - {"python", "write", "scratch", "ttl"}


def merged(*levels: Mapping[str, Any] | None) -> dict[str, Any]:
    """One dictionary of several; later ones count."""
    result: dict[str, Any] = {}
    for level in levels:
        result.update(level or {})
    return result


@dataclass(frozen=True)
class VirtualenvConfig:
    """Of one environment of the virtualenv engine."""

    python_path: str | os.PathLike[str] | None = None
    """Its Python: a path, or a version; the one that runs this unless said."""
    system_site_packages: bool = False
    """Whether the packages of its base interpreter are importable."""
    clear: bool = False
    """Whether an environment that is at the path is removed first. One that ptest did not make never is."""
    symlinks: bool = True
    """Whether its ``python`` is a link to the interpreter, or a copy."""
    upgrade: bool = False
    """Whether an environment that is at the path is made anew with this Python and the same packages."""
    command_timeout: float | None = 300.0
    """How long a command may run, in seconds; None for as long as it likes."""
    pip_timeout: float | None = 300.0
    """How long an installation may take, in seconds; what it began is undone then."""
    cleanup_policy: CleanupPolicy = CleanupPolicy.ON_REQUEST
    cleanup_after: float = 3600.0
    """When an environment goes whose policy is ``scheduled``, in seconds."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of `ptest.create` that are said besides: ``requirements``, ``profile``, ``memory``, …"""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> VirtualenvConfig:
        """Checked.

        Raises
        ------
        InvalidInputError
            If there is no such key, or it does not take that value.
        """
        values: dict[str, Any] = {}
        options: dict[str, Any] = {}
        for key, value in given.items():
            if key in _READ:
                values[key] = _READ[key](key, value)
            elif key in _OPTIONS:
                options[key] = value
            else:
                known = ", ".join(sorted([*_READ, *_OPTIONS]))
                message = f"there is no configuration key {key!r} for an environment"
                raise InvalidInputError(message, hint=f"there are {known}")
        if values.get("clear") and values.get("upgrade"):
            message = "clear and upgrade cannot both be: one forgets the packages, the other keeps them"
            raise InvalidInputError(message)
        return cls(**values, options=options)


@dataclass(frozen=True)
class ManagerConfig:
    """Of a manager."""

    max_environments: int = 100
    """How many environments it has at once."""
    cleanup_policy: CleanupPolicy = CleanupPolicy.ON_REQUEST
    cleanup_after: float = 3600.0
    default_isolation_level: str = IsolationLevel.VIRTUALENV.value
    """The level of environments for which none is said."""
    levels: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What the engine of each level is configured with."""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> ManagerConfig:
        """Checked: a key that holds a dictionary is a level's.

        Raises
        ------
        InvalidInputError
            If there is no such key, or it does not take that value.
        """
        values: dict[str, Any] = {}
        levels: dict[str, Mapping[str, Any]] = {}
        for key, value in given.items():
            if key in _READ_OF_MANAGER:
                values[key] = _READ_OF_MANAGER[key](key, value)
            elif isinstance(value, Mapping):
                levels[key] = value
            else:
                message = f"there is no configuration key {key!r} for a manager"
                hint = f"there are {', '.join(_READ_OF_MANAGER)}, and a dictionary for each isolation level"
                raise InvalidInputError(message, hint=hint)
        return cls(**values, levels=levels)


def _refused(key: str, value: object, wanted: str) -> InvalidInputError:
    return InvalidInputError(f"{key} is {value!r}, which is not {wanted}")


def _flag(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _refused(key, value, "True or False")
    return value


def seconds(key: str, value: object) -> float | None:
    """A time of the configuration or of a call."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise _refused(key, value, "a time in seconds")
    return float(value)


def _limited(key: str, value: object) -> float:
    time = seconds(key, value)
    if time is None:
        raise _refused(key, value, "a time in seconds")
    return time


def _count(key: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _refused(key, value, "a number of environments")
    return value


def _interpreter(key: str, value: object) -> str | os.PathLike[str] | None:
    if value is not None and not isinstance(value, (str, os.PathLike)):
        raise _refused(key, value, "a path or a version")
    return value


def _policy(key: str, value: object) -> CleanupPolicy:
    try:
        return CleanupPolicy(value)
    except ValueError:
        raise _refused(key, value, f"one of {', '.join(CleanupPolicy)}") from None


def level(value: object) -> str:
    """The word of an isolation level; plug-ins have their own."""
    if not isinstance(value, str) or not value:
        message = f"{value!r} is not the name of an isolation level"
        raise InvalidInputError(message)
    return str(value)


_READ: dict[str, Callable[[str, Any], Any]] = {
    "python_path": _interpreter,
    "system_site_packages": _flag,
    "clear": _flag,
    "symlinks": _flag,
    "upgrade": _flag,
    "command_timeout": seconds,
    "pip_timeout": seconds,
    "cleanup_policy": _policy,
    "cleanup_after": _limited,
}

_READ_OF_MANAGER: dict[str, Callable[[str, Any], Any]] = {
    "max_environments": _count,
    "cleanup_policy": _policy,
    "cleanup_after": _limited,
    "default_isolation_level": lambda _, value: level(value),
}

"""Which engine is for which isolation level."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from ptest.isolation.engine import VirtualenvIsolationEngine
from ptest.isolation.enums import IsolationLevel, SecurityLevel
from ptest.isolation.errors import EngineNotAvailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ptest.isolation.base import IsolationEngine

_MISSING = {
    IsolationLevel.DOCKER.value: "this version of ptest has no engine for Docker",
    IsolationLevel.KUBERNETES.value: "this version of ptest has no engine for Kubernetes",
}


class Engines:
    """The engines of a manager."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engines: dict[str, IsolationEngine[Any]] = {}

    def register(self, level: str, engine: IsolationEngine[Any]) -> None:
        """Uses this engine for a level from now on."""
        with self._lock:
            self._engines[level] = engine

    def report(self) -> dict[str, dict[str, Any]]:
        """Each level: whether it is ``available``, the ``reason`` if it is not, and what its engine can do."""
        with self._lock:
            engines = dict(self._engines)
        found: dict[str, dict[str, Any]] = {
            name: {
                "name": name,
                "available": True,
                "reason": None,
                "class_name": type(engine).__name__,
                "supported_features": engine.get_supported_features(),
                "environment_count": len(engine.created_environments),
            }
            for name, engine in engines.items()
        }
        for name, reason in _MISSING.items():
            found.setdefault(
                name,
                {
                    "name": name,
                    "available": False,
                    "reason": reason,
                    "class_name": None,
                    "supported_features": [],
                    "environment_count": 0,
                },
            )
        return found

    def of(self, wanted: str) -> IsolationEngine[Any]:
        """The engine for a level."""
        with self._lock:
            engine = self._engines.get(wanted)
            known = ", ".join(self._engines)
        if engine is None:
            reason = _MISSING.get(wanted, "nobody registered one")
            message = f"there is no engine for the isolation level {wanted!r}: {reason}"
            raise EngineNotAvailableError(message, hint=f"there are {known}")
        return engine

    def of_ptest(self) -> list[VirtualenvIsolationEngine]:
        """Those that make environments of ptest."""
        with self._lock:
            return [engine for engine in self._engines.values() if isinstance(engine, VirtualenvIsolationEngine)]


def selected(wanted: Mapping[str, Any]) -> str:
    """The weakest level that meets requirements, whether or not its engine is available.

    ``docker_required``, ``container_required`` and ``custom_image`` need Docker. ``security_level`` ``low`` alone
    needs none but ``basic``; everything else, as ``network_isolation``, ``resource_limits`` and
    ``python_isolation``, is what a virtual environment in namespaces of its own has.
    """
    if any(wanted.get(key) for key in ("docker_required", "container_required", "custom_image")):
        return IsolationLevel.DOCKER.value
    security = SecurityLevel(str(wanted.get("security_level", SecurityLevel.MEDIUM)).lower())
    others = any(wanted.get(key) for key in ("network_isolation", "resource_limits", "python_isolation"))
    if security is SecurityLevel.LOW and not others:
        return IsolationLevel.BASIC.value
    return IsolationLevel.VIRTUALENV.value

"""Who is told what happens. Callbacks are called in the thread that did it, with no lock held.

Not for the events of the store: those are `ptest.Environment.events`.
"""

from __future__ import annotations

import logging
import threading
from enum import Enum
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from typing_extensions import TypeAlias

    from ptest.isolation.base import IsolatedEnvironment
    from ptest.isolation.enums import IsolationEvent

    Callback: TypeAlias = Callable[..., Any]

logger = logging.getLogger("ptest.isolation")
# Heard by whoever sets up logging, and not on stderr otherwise.
logger.addHandler(logging.NullHandler())


class Listeners:
    """Callbacks by event. They can be added and removed at any time, also by a callback."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: dict[str, list[Callback]] = {}

    def add(self, event: IsolationEvent | str, callback: Callback) -> None:
        """Calls ``callback(env, event, **payload)`` whenever that happens."""
        with self._lock:
            self._callbacks.setdefault(_word(event), []).append(callback)

    def remove(self, event: IsolationEvent | str, callback: Callback) -> bool:
        """Calls it no more; says whether it was called before. An emission that has begun still comes to it."""
        with self._lock:
            callbacks = self._callbacks.get(_word(event), [])
            if callback not in callbacks:
                return False
            callbacks.remove(callback)
            return True

    def emit(self, env: IsolatedEnvironment, event: IsolationEvent | str, payload: dict[str, Any]) -> None:
        """Calls everybody. What one of them raises is logged, and keeps nothing from the others."""
        with self._lock:
            callbacks = list(self._callbacks.get(_word(event), ()))
        for callback in callbacks:
            _call(callback, env, event, payload)


def _call(callback: Callback, env: IsolatedEnvironment, event: IsolationEvent | str, payload: dict[str, Any]) -> None:
    try:
        callback(env, event, **payload)
    except Exception:
        logger.exception("a listener for %s of %s failed", _word(event), env.env_id)


def _word(event: IsolationEvent | str) -> str:
    return str(event.value if isinstance(event, Enum) else event)

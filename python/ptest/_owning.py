"""Environments that go with an object of this process, or with the process.

Not for those that stay: nobody takes them away but who is asked to.
"""

from __future__ import annotations

import contextlib
import os
import warnings
import weakref
from typing import TYPE_CHECKING, Any

from ptest._ending import at_end
from ptest._errors import NotFoundError

if TYPE_CHECKING:
    from ptest import _core
    from ptest._opened import Store as OpenedStore

_owned: dict[int, dict[str, OpenedStore]] = {}
"""The environments that go with an object of a process, by its number: a fork has those of its parents too."""


def own(environment: Any, store: OpenedStore, core: _core.Environment) -> weakref.finalize[Any, Any]:
    """Sees to it that an environment goes with its object, or with the process."""
    pid = os.getpid()
    if pid not in _owned:
        at_end(_remove_owned, pid)
    _owned.setdefault(pid, {})[environment.id] = store
    finalizer = weakref.finalize(environment, _abandoned, core, pid, repr(environment))
    finalizer.atexit = False
    return finalizer


def _abandoned(core: _core.Environment, pid: int, told: str) -> None:
    """Takes away an environment whose object is gone."""
    if pid != os.getpid() or not disown(core.id):
        return
    warnings.warn(
        f"{told} was not removed: use it as a context manager, or call remove()",
        ResourceWarning,
        stacklevel=2,
    )
    with contextlib.suppress(NotFoundError):
        core.remove()


def _remove_owned(pid: int) -> None:
    """Takes away what goes with the process, when that ends."""
    if pid != os.getpid():
        return
    stores: dict[int, tuple[OpenedStore, list[str]]] = {}
    # Threads that go on take some away too.
    with contextlib.suppress(KeyError):
        while True:
            id_, store = _owned[pid].popitem()
            stores.setdefault(id(store), (store, []))[1].append(id_)
    for store, ids in stores.values():
        store._core.remove_all(ids)  # noqa: SLF001


def disown(id_: str) -> bool:
    """Leaves an environment to whoever takes it away now; says whether it went with its object."""
    return _owned.get(os.getpid(), {}).pop(id_, None) is not None

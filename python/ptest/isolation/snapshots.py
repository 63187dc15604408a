"""The snapshots of an engine's environments: dictionaries here, snapshots of the store there.

They are there until they are deleted, or the process ends; what is to last longer is exported.
"""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ptest._api import default_store
from ptest._errors import AlreadyExistsError, NotFoundError
from ptest._options import plain
from ptest.isolation.errors import UnknownSnapshotError

if TYPE_CHECKING:
    from ptest.isolation.environment import VirtualenvEnvironment


class Snapshots:
    """By id. A copy of each is given, so that what is done to it changes nothing here."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, Any]] = {}
        weakref.finalize(self, _forget, self._known, os.getpid())

    def take(self, env: VirtualenvEnvironment, snapshot_id: str | None) -> dict[str, Any]:
        """Keeps what an environment is now."""
        chosen = snapshot_id or f"{env.env_id}-{uuid.uuid4().hex[:12]}"
        with self._lock:
            if chosen in self._known:
                message = f"there is a snapshot {chosen!r} already"
                raise AlreadyExistsError(message)
            # Taken: nobody else gets the id while the snapshot is made.
            self._known[chosen] = {}
        try:
            packages = {package.name: package.version for package in env.environment.packages()}
            taken = env.environment.snapshot()
        except BaseException:
            with self._lock:
                self._known.pop(chosen, None)
            raise
        return self._keep(
            {
                "snapshot_id": chosen,
                "env_id": env.env_id,
                "created_at": taken.created_at.isoformat(),
                "env_type": type(env).__name__,
                "isolation_type": env.isolation_engine.name,
                "status": env.status.value,
                "config": plain(env.config),
                "packages": packages,
                "path": str(env.path),
                "venv_path": str(env.venv_path),
                "python": taken.python,
                "name": taken.name,
            }
        )

    def _keep(self, snapshot: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            self._known[snapshot["snapshot_id"]] = snapshot
        return dict(snapshot)

    def find(self, snapshot_id: str) -> dict[str, Any] | None:
        """The snapshot of an id."""
        with self._lock:
            found = self._known.get(snapshot_id)
        return dict(found) if found else None

    def name(self, snapshot: Mapping[str, Any] | str) -> str:
        """What the store calls it; of a dictionary that was taken elsewhere as well."""
        if isinstance(snapshot, Mapping) and isinstance(snapshot.get("name"), str):
            return str(snapshot["name"])
        snapshot_id = snapshot if isinstance(snapshot, str) else str(snapshot.get("snapshot_id"))
        found = self.find(snapshot_id)
        if found is None:
            message = f"there is no snapshot {snapshot_id!r} here"
            raise UnknownSnapshotError(message)
        return str(found["name"])

    def delete(self, snapshot_id: str) -> None:
        """Takes it away."""
        default_store().remove_snapshot(self.name(snapshot_id))
        with self._lock:
            self._known.pop(snapshot_id, None)

    def all(self, env_id: str | None = None) -> list[dict[str, Any]]:
        """Those of an environment, or of all, oldest first."""
        with self._lock:
            return [dict(it) for it in self._known.values() if it and env_id in (None, it["env_id"])]

    def export(self, snapshot_id: str, file: str | os.PathLike[str]) -> None:
        """Writes one as a file."""
        default_store().export(self.name(snapshot_id), file)

    def import_(self, file: str | os.PathLike[str]) -> dict[str, Any]:
        """Makes one of a file, under an id of its own."""
        store = default_store()
        name = store.import_(file, f"imported-{uuid.uuid4().hex[:12]}")
        taken = store.snapshot(name)
        document = store._core.snapshot(name)["snapshot"]  # noqa: SLF001
        return self._keep(
            {
                "snapshot_id": name,
                "env_id": taken.environment,
                "created_at": taken.created_at.isoformat(),
                "env_type": "VirtualenvEnvironment",
                "isolation_type": taken.engine,
                "status": None,
                "config": {},
                "packages": {it["name"]: it["version"] for it in document["distributions"]},
                "path": None,
                "venv_path": None,
                "python": taken.python,
                "name": name,
            }
        )

    def clear(self) -> None:
        """Takes all away."""
        _forget(self._known, os.getpid())


def _forget(known: dict[str, dict[str, Any]], pid: int) -> None:
    if pid != os.getpid():
        return
    # Those that others take and delete meanwhile are theirs.
    for snapshot_id in list(known):
        snapshot = known.pop(snapshot_id, None)
        if snapshot:
            with contextlib.suppress(NotFoundError):
                default_store().remove_snapshot(snapshot["name"])

"""A manager: environments of several engines under one roof, with a limit and a policy.

Not for what an environment or its engine does by itself: see `environment` and `engine`.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ptest._errors import PtestError, UnsupportedError
from ptest.isolation.base import IsolatedEnvironment, IsolationEngine
from ptest.isolation.config import ManagerConfig, VirtualenvConfig, level, merged
from ptest.isolation.engine import BasicIsolationEngine, VirtualenvIsolationEngine
from ptest.isolation.engines import Engines, selected
from ptest.isolation.enums import CleanupPolicy, EnvironmentStatus, IsolationEvent, IsolationLevel
from ptest.isolation.environment import VirtualenvEnvironment
from ptest.isolation.errors import (
    DuplicateEnvironmentError,
    TooManyEnvironmentsError,
    UnknownEnvironmentError,
    UnknownSnapshotError,
)
from ptest.isolation.events import logger
from ptest.isolation.making import Several
from ptest.isolation.results import now

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    from typing_extensions import Self

_LEAVING = (CleanupPolicy.ON_REQUEST, CleanupPolicy.IMMEDIATE)
"""Policies by which environments go when the manager's block is left."""


class IsolationManager:
    """Makes environments, knows them by id, and takes them away when its policy says.

    ``config`` has the keys of `ptest.isolation.config.ManagerConfig`, and for each isolation level a dictionary for
    its engine. Any number of threads may use one at the same time.

    Raises
    ------
    InvalidInputError
        If the configuration has a key that is unknown, or a value that is none.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self.config = dict(config or {})
        self._settings = ManagerConfig.of(self.config)
        self._lock = threading.Lock()
        self._environments: dict[str, IsolatedEnvironment | None] = {}
        self._engines = Engines()
        self.register_engine(IsolationLevel.VIRTUALENV, VirtualenvIsolationEngine)
        self.register_engine(IsolationLevel.BASIC, BasicIsolationEngine)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._settings.cleanup_policy in _LEAVING:
            self.cleanup_all_environments(force=True)
            for engine in self._engines.of_ptest():
                engine.snapshots.clear()

    @property
    def max_environments(self) -> int:
        """How many environments it has at once."""
        return self._settings.max_environments

    @property
    def cleanup_policy(self) -> CleanupPolicy:
        """When environments go without being asked to."""
        return self._settings.cleanup_policy

    @property
    def active_environments(self) -> dict[str, IsolatedEnvironment]:
        """Its environments by id."""
        with self._lock:
            return {env_id: env for env_id, env in self._environments.items() if env is not None}

    # Engines.

    def register_engine(
        self,
        level: IsolationLevel | str,
        engine: type[IsolationEngine[Any]] | IsolationEngine[Any],
    ) -> None:
        """Uses this engine for a level from now on; a class is called with the configuration for the level."""
        made = engine if isinstance(engine, IsolationEngine) else engine(self._settings.levels.get(str(level), {}))
        self._engines.register(str(level), made)

    def list_available_engines(self) -> dict[str, dict[str, Any]]:
        """Each level: whether it is ``available``, the ``reason`` if it is not, and what its engine can do."""
        return self._engines.report()

    def auto_select_isolation_level(self, requirements: Mapping[str, Any] | None = None) -> str:
        """The weakest level that meets requirements: see `ptest.isolation.engines.selected`."""
        return selected(requirements or {})

    # Environments.

    def create_environment(
        self,
        path: str | os.PathLike[str],
        isolation_level: IsolationLevel | str | None = None,
        env_config: Mapping[str, Any] | None = None,
    ) -> IsolatedEnvironment:
        """Makes an environment in a directory.

        ``env_config`` counts more than what the manager was configured with for the level; ``env_id`` in it is the
        environment's id, which is made up otherwise.

        Raises
        ------
        EngineNotAvailableError
            If there is no engine for the level.
        TooManyEnvironmentsError
            If there are as many as there may be.
        DuplicateEnvironmentError
            If there is one of this id, or in this directory.
        PtestError
            If it cannot be made.
        """
        given = dict(env_config or {})
        env_id = given.pop("env_id", None) or f"env_{uuid.uuid4().hex[:12]}"
        engine = self._engine(isolation_level)
        return self._admit(env_id, lambda: engine.create_isolation(path, env_id, self._merged(engine, given)))

    def _engine(self, isolation_level: IsolationLevel | str | None) -> IsolationEngine[Any]:
        return self._engines.of(level(isolation_level or self._settings.default_isolation_level))

    def _merged(self, engine: IsolationEngine[Any], given: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(engine, VirtualenvIsolationEngine):
            return dict(given)
        policy = {"cleanup_policy": self._settings.cleanup_policy, "cleanup_after": self._settings.cleanup_after}
        return merged(policy, engine.config, given)

    def _admit(self, env_id: str, make: Any) -> IsolatedEnvironment:
        """Makes one if there is room for it."""
        with self._lock:
            if env_id in self._environments:
                message = f"there is an environment {env_id!r} already"
                raise DuplicateEnvironmentError(message, hint="clean it up first, or choose another id")
            if len(self._environments) >= self._settings.max_environments:
                message = f"there are {len(self._environments)} environments, as many as max_environments allows"
                raise TooManyEnvironmentsError(message, hint="clean up some, or configure more")
            # Taken: it counts while it is made.
            self._environments[env_id] = None
        try:
            env: IsolatedEnvironment = make()
        except BaseException:
            with self._lock:
                del self._environments[env_id]
            raise
        env.add_event_listener(IsolationEvent.ENVIRONMENT_CLEANUP_COMPLETE, self._forget)
        if self._settings.cleanup_policy is CleanupPolicy.IMMEDIATE:
            env.add_event_listener(IsolationEvent.ENVIRONMENT_DEACTIVATED, _clean_up)
        with self._lock:
            self._environments[env_id] = env
        return env

    def _forget(self, env: IsolatedEnvironment, _: IsolationEvent) -> None:
        with self._lock:
            if self._environments.get(env.env_id) is env:
                del self._environments[env.env_id]

    def get_environment(self, env_id: str) -> IsolatedEnvironment | None:
        """The environment of an id, if there is one."""
        return self.active_environments.get(env_id)

    def _environment(self, env_id: str) -> IsolatedEnvironment:
        env = self.get_environment(env_id)
        if env is None:
            message = f"there is no environment {env_id!r}"
            raise UnknownEnvironmentError(message)
        return env

    def cleanup_environment(self, env_id: str, force: bool = False) -> bool:
        """Takes an environment away; False if there is none, or something of it is left."""
        env = self.get_environment(env_id)
        return env is not None and env.cleanup(force)

    def cleanup_all_environments(self, force: bool = False) -> int:
        """Takes all away; gives how many are gone."""
        return sum(env.cleanup(force) for env in self.active_environments.values())

    def get_environment_status(self, env_id: str) -> dict[str, Any]:
        """All that is known of one; ``{"status": "not_found"}`` if there is none."""
        env = self.get_environment(env_id)
        return {"status": "not_found"} if env is None else env.get_status()

    def list_environments(self) -> dict[str, dict[str, Any]]:
        """All that is known of each, by id."""
        return {env_id: env.get_status() for env_id, env in self.active_environments.items()}

    def validate_environment(self, env_id: str) -> bool:
        """Whether there is one, and it is what it is said to be."""
        env = self.get_environment(env_id)
        return env is not None and env.validate_isolation()

    def migrate_environment(
        self,
        env_id: str,
        target_level: IsolationLevel | str,
        copy_packages: bool = True,
        copy_files: bool = True,
    ) -> IsolatedEnvironment:
        """Makes an environment of another level that has what this one has, in the same directory; then that one goes.

        It has an id of its own. With ``copy_files`` it has the same packages and files, without it the same packages
        that ptest installed; with neither it is empty. What is in the directory stays in any case. When this raises,
        the environment is as it was.

        Raises
        ------
        UnknownEnvironmentError, EngineNotAvailableError
            If there is no such environment or engine.
        PtestError
            If the new one cannot be made.
        """
        source = self._environment(env_id)
        target = self._engines.of(level(target_level))
        if not isinstance(source, VirtualenvEnvironment) or not isinstance(target, VirtualenvIsolationEngine):
            message = f"{type(source).__name__} cannot be moved to {type(target).__name__}"
            raise UnsupportedError(message)
        new_id = f"env_{uuid.uuid4().hex[:12]}"
        given: dict[str, Any] = {key: value for key, value in source.config.items() if key != "profile"}
        if copy_packages and not copy_files:
            packages = source.environment.packages()
            given["requirements"] = [f"{package.name}=={package.version}" for package in packages if package.requested]
        settings = merged(given, target.config)
        snapshot = source.environment.snapshot() if copy_files else None
        try:
            new = self._in_place_of(source, target, new_id, settings, None if snapshot is None else snapshot.name)
        finally:
            if snapshot is not None:
                source.environment.store.remove_snapshot(snapshot)
        if not source.cleanup(force=True):
            logger.warning("%s is left after its migration to %s", env_id, new_id)
        return new

    def _in_place_of(
        self,
        source: VirtualenvEnvironment,
        target: VirtualenvIsolationEngine,
        env_id: str,
        settings: Mapping[str, Any],
        snapshot: str | None,
    ) -> IsolatedEnvironment:
        """Makes an environment that takes over the directory of one that goes: it does not count as one more."""
        with self._lock:
            self._environments.pop(source.env_id, None)
        try:
            return self._admit(
                env_id,
                lambda: target.create(source.path, env_id, settings, source=snapshot, place_of=source),
            )
        except BaseException:
            with self._lock:
                self._environments[source.env_id] = source
            raise

    # Snapshots.

    def create_snapshot(self, env_id: str, snapshot_id: str | None = None) -> dict[str, Any]:
        """Keeps what an environment is now; an empty dictionary if that failed."""
        return self._environment(env_id).create_snapshot(snapshot_id)

    def restore_from_snapshot(self, snapshot_id: str) -> IsolatedEnvironment:
        """Makes the environment of a snapshot what it was then, or a new one of the same id if it is gone.

        Raises
        ------
        UnknownSnapshotError
            If there is no such snapshot.
        PtestError
            If it cannot be restored; the environment is as it was.
        """
        engine, snapshot = self._snapshot(snapshot_id)
        env = self.get_environment(snapshot["env_id"])
        if env is not None:
            if not env.restore_from_snapshot(snapshot):
                raise cast("VirtualenvEnvironment", env).last_error or UnknownSnapshotError(snapshot_id)
            return env
        if snapshot["path"] is None:
            message = f"the environment of the snapshot {snapshot_id!r} is not here: it has no directory"
            raise UnknownEnvironmentError(message, hint="restore it into an environment: env.restore_from_snapshot")
        env_id = snapshot["env_id"]
        made = self._admit(
            env_id,
            lambda: engine.create(
                snapshot["path"],
                env_id,
                self._merged(engine, snapshot["config"]),
                source=snapshot["name"],
            ),
        )
        made.emit_event(IsolationEvent.SNAPSHOT_RESTORED, snapshot_id=snapshot_id)
        return made

    def _snapshot(self, snapshot_id: str) -> tuple[VirtualenvIsolationEngine, dict[str, Any]]:
        for engine in self._engines.of_ptest():
            found = engine.snapshots.find(snapshot_id)
            if found is not None:
                return engine, found
        message = f"there is no snapshot {snapshot_id!r} here"
        raise UnknownSnapshotError(message)

    def delete_snapshot(self, snapshot_id: str) -> bool:
        """Takes a snapshot away; False if there is none of this id."""
        with contextlib.suppress(UnknownSnapshotError):
            engine, snapshot = self._snapshot(snapshot_id)
            env = self.get_environment(snapshot["env_id"])
            if env is not None:
                return env.delete_snapshot(snapshot_id)
            engine.snapshots.delete(snapshot_id)
            return True
        return False

    def list_snapshots(self, env_id: str | None = None) -> list[dict[str, Any]]:
        """The snapshots of an environment, or all."""
        return [snapshot for engine in self._engines.of_ptest() for snapshot in engine.snapshots.all(env_id)]

    def export_snapshot(self, snapshot_id: str, export_path: str | os.PathLike[str]) -> bool:
        """Writes a snapshot as one file; False if that failed."""
        try:
            engine, _ = self._snapshot(snapshot_id)
            engine.snapshots.export(snapshot_id, export_path)
        except (PtestError, OSError) as error:
            logger.warning("the snapshot %s was not exported: %s", snapshot_id, error)
            return False
        return True

    def import_snapshot(self, import_path: str | os.PathLike[str]) -> dict[str, Any]:
        """Makes a snapshot of such a file, under an id of its own.

        Raises
        ------
        PtestError
            If the file is not one, or damaged.
        """
        return self._engines.of_ptest()[0].snapshots.import_(import_path)

    # Many at once.

    def create_environments_bulk(
        self,
        env_configs: Sequence[Mapping[str, Any]],
        path_template: str = "{env_id}",
        isolation_level: IsolationLevel | str | None = None,
    ) -> dict[str, IsolatedEnvironment]:
        """Makes an environment of each configuration: all are there, or none.

        Each may have an ``env_id``, a ``path`` and an ``isolation_level``; without a path it is the template's.

        Raises
        ------
        PtestError
            The first failure.
        """
        wanted = []
        for config in env_configs:
            given = dict(config)
            env_id = given.pop("env_id", None) or f"env_{uuid.uuid4().hex[:12]}"
            path = Path(given.pop("path", None) or path_template.format(env_id=env_id))
            engine = self._engine(given.pop("isolation_level", isolation_level))
            wanted.append((env_id, path, engine, self._merged(engine, given)))
        made: dict[str, IsolatedEnvironment] = {}
        try:
            with Several([_at_once(engine, path, config) for _, path, engine, config in wanted]) as several:
                for number, (env_id, path, engine, config) in enumerate(wanted):
                    ready = several.take(number)
                    make = partial(engine.create_isolation, path, env_id, config)
                    if ready is not None and isinstance(engine, VirtualenvIsolationEngine):
                        make = partial(engine.create, path, env_id, config, source=None, ready=ready)
                    made[env_id] = self._admit(env_id, make)
        except BaseException:
            for env in made.values():
                env.cleanup(force=True)
            raise
        return made

    def cleanup_environments_bulk(
        self,
        env_ids: Iterable[str] | None = None,
        force: bool = False,
    ) -> dict[str, bool]:
        """Takes these away, or all; says of each whether it is gone."""
        return {env_id: self.cleanup_environment(env_id, force) for env_id in self._ids(env_ids)}

    def check_environments_health(self, env_ids: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
        """Of each whether it is ``healthy``, ``unhealthy`` or ``unknown``, ``last_check`` and ``details``."""
        return {env_id: self._health(env_id) for env_id in self._ids(env_ids)}

    def _health(self, env_id: str) -> dict[str, Any]:
        checked = now().isoformat()
        env = self.get_environment(env_id)
        if env is None:
            details: dict[str, Any] = {"error": f"there is no environment {env_id!r}"}
            return {"status": "unknown", "last_check": checked, "details": details}
        healthy = env.isolation_engine.check_environment_health(env)
        details = {
            "path_exists": env.path.exists(),
            "engine_healthy": healthy,
            "env_type": type(env).__name__,
            "isolation_level": env.isolation_engine.name,
            "state": EnvironmentStatus(env.status).value,
            "error": None if env.last_error is None else str(env.last_error),
        }
        return {"status": "healthy" if healthy else "unhealthy", "last_check": checked, "details": details}

    def collect_environment_metrics(self, env_ids: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
        """Of each its ``resource_usage``, ``performance`` and ``status``; or the ``error``."""
        return {env_id: self._metrics(env_id) for env_id in self._ids(env_ids)}

    def _metrics(self, env_id: str) -> dict[str, Any]:
        collected = now().isoformat()
        env = self.get_environment(env_id)
        if env is None:
            error = f"there is no environment {env_id!r}"
            return {"error": error, "collection_failed": True, "collected_at": collected}
        usage = env.resource_usage
        return {
            "resource_usage": {**usage, "disk_bytes": usage["disk"], "memory_bytes": usage["memory"]},
            "performance": env.isolation_engine.get_environment_metrics(env)["performance"],
            "status": {
                "state": env.status.value,
                "env_type": type(env).__name__,
                "isolation_level": env.isolation_engine.name,
                "collected_at": collected,
            },
        }

    def _ids(self, env_ids: Iterable[str] | None) -> list[str]:
        return list(self.active_environments if env_ids is None else env_ids)


def _at_once(
    engine: IsolationEngine[Any], path: Path, config: Mapping[str, Any]
) -> tuple[VirtualenvConfig, Path] | None:
    """How an environment can be made together with others; None if its engine does not."""
    if type(engine) not in (VirtualenvIsolationEngine, BasicIsolationEngine):
        return None
    return VirtualenvConfig.of(merged(engine.config, config)), path.absolute()


def _clean_up(env: IsolatedEnvironment, _: IsolationEvent) -> None:
    env.cleanup(force=True)

"""The virtualenv engine: environments of ptest's virtualenv engine, by id."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ptest._errors import InvalidInputError
from ptest.isolation.base import IsolatedEnvironment, IsolationEngine
from ptest.isolation.config import VirtualenvConfig, merged
from ptest.isolation.enums import EnvironmentStatus, IsolationLevel
from ptest.isolation.environment import VirtualenvEnvironment
from ptest.isolation.errors import DuplicateEnvironmentError
from ptest.isolation.snapshots import Snapshots

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from ptest.isolation.making import Ready

_FEATURES = (
    "command_execution",
    "event_listeners",
    "filesystem_isolation",
    "package_management",
    "port_allocation",
    "process_isolation",
    "resource_limits",
    "resource_usage",
    "snapshots",
)


class VirtualenvIsolationEngine(IsolationEngine[VirtualenvEnvironment]):
    """Makes virtual environments in the store that ptest's configuration names.

    ``config`` counts for each of them; what `create_isolation` is given counts more. The keys are those of
    `ptest.isolation.config.VirtualenvConfig`, and the options of `ptest.create`.
    """

    name = IsolationLevel.VIRTUALENV.value

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        self.snapshots = Snapshots()

    def create_isolation(
        self,
        path: str | os.PathLike[str],
        env_id: str,
        isolation_config: Mapping[str, Any] | None = None,
    ) -> VirtualenvEnvironment:
        """Makes an environment: it is there, wholly, or nothing of it is left.

        Parameters
        ----------
        path
            Its directory, made if it is missing: commands start there and can write there. ``venv`` in it is a link
            to the environment.
        env_id
            What it is known by in this engine.
        isolation_config
            What counts for this one.

        Raises
        ------
        InvalidInputError
            If the configuration cannot be used.
        DuplicateEnvironmentError
            If there is an environment of this id, or in this directory.
        PtestError
            If it cannot be made. ERROR_OCCURRED was fired on the engine.
        """
        return self.create(path, env_id, isolation_config, source=None)

    def create(
        self,
        path: str | os.PathLike[str],
        env_id: str,
        isolation_config: Mapping[str, Any] | None,
        *,
        source: str | None,
        place_of: VirtualenvEnvironment | None = None,
        ready: Ready | None = None,
    ) -> VirtualenvEnvironment:
        """As `create_isolation`; of a snapshot, of what is ready, and in the directory of another environment."""
        if not isinstance(env_id, str) or not env_id:
            message = f"{env_id!r} is no id of an environment"
            raise InvalidInputError(message)
        with self._lock:
            if env_id in self._environments:
                message = f"there is an environment {env_id!r} already"
                raise DuplicateEnvironmentError(message, hint="clean it up first, or choose another id")
            # Taken: nobody else gets the id while the environment is made.
            self._environments[env_id] = None
        try:
            env = VirtualenvEnvironment(env_id, path, self, merged(self.config, isolation_config))
            env.create(source, place_of, ready)
        except BaseException:
            with self._lock:
                del self._environments[env_id]
            raise
        with self._lock:
            self._environments[env_id] = env
        return env

    def forget(self, env: IsolatedEnvironment) -> None:
        """Called by an environment that is gone."""
        with self._lock:
            if self._environments.get(env.env_id) is env:
                del self._environments[env.env_id]

    def get_supported_features(self) -> list[str]:
        """What it can do, in words."""
        return list(_FEATURES)

    def check_environment_health(self, env: IsolatedEnvironment) -> bool:
        """Whether an environment is there, in its directory, and has not failed."""
        unusable = (EnvironmentStatus.CLEANING, EnvironmentStatus.CLEANUP_COMPLETE, EnvironmentStatus.ERROR)
        return isinstance(env, VirtualenvEnvironment) and env.status not in unusable and env.is_in_place

    def validate_config(self) -> bool:
        """Whether its configuration can be used; why not is told when an environment is made."""
        try:
            VirtualenvConfig.of(self.config)
        except InvalidInputError:
            return False
        return True

    def get_environment_metrics(self, env: IsolatedEnvironment) -> dict[str, Any]:
        """How many packages an environment has, and what it uses."""
        usage = env.resource_usage
        return {
            "performance": {"packages_count": len(env.get_installed_packages()), "cpu_seconds": usage["cpu"]},
            "disk_usage_mb": usage["disk"] / (1 << 20),
            "memory_usage_mb": usage["memory"] / (1 << 20),
        }

    def get_engine_info(self) -> dict[str, Any]:
        """What it is."""
        return {
            **super().get_engine_info(),
            "python_version": sys.version,
            "python_executable": sys.executable,
            "engine_config": dict(self.config),
            "virtualenv_available": True,
        }


class BasicIsolationEngine(VirtualenvIsolationEngine):
    """Virtual environments that are not kept apart from the machine: profile ``none``."""

    name = IsolationLevel.BASIC.value

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(merged({"profile": "none"}, config))

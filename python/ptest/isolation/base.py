"""What every engine and every environment of one is, so that others can write their own."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ptest.isolation.events import Listeners

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from ptest.isolation.enums import EnvironmentStatus, IsolationEvent
    from ptest.isolation.events import Callback
    from ptest.isolation.results import ProcessInfo, ProcessResult


class IsolatedEnvironment(ABC):
    """An environment of an engine.

    What fails returns False, or what is said there, sets `status` to ERROR until something succeeds, keeps the
    exception as `last_error`, and fires ERROR_OCCURRED.
    """

    env_id: str
    """What it is known by in its engine."""
    path: Path
    """Its directory."""
    isolation_engine: IsolationEngine[Any]
    """The engine that made it."""
    config: dict[str, Any]
    """The configuration that counts for it."""
    last_activity: datetime
    """When something was last asked of it."""
    last_error: Exception | None
    """Why the last thing that was asked of it failed; None if it did not."""

    def __init__(
        self,
        env_id: str,
        path: str | os.PathLike[str],
        isolation_engine: IsolationEngine[Any],
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.env_id = env_id
        self.path = Path(path).absolute()
        self.isolation_engine = isolation_engine
        self.config = dict(config or {})
        self.last_error = None
        self._listeners = Listeners()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.env_id!r} {str(self.path)!r}>"

    @property
    @abstractmethod
    def status(self) -> EnvironmentStatus:
        """What it is doing now."""

    @property
    @abstractmethod
    def created_at(self) -> datetime | None:
        """When it was made."""

    @property
    @abstractmethod
    def activated_at(self) -> datetime | None:
        """When it was last activated."""

    @property
    @abstractmethod
    def deactivated_at(self) -> datetime | None:
        """When it was last deactivated."""

    @property
    @abstractmethod
    def processes(self) -> dict[str, ProcessInfo]:
        """The commands that run in it, by id."""

    @property
    @abstractmethod
    def allocated_ports(self) -> list[int]:
        """The ports that it has."""

    @property
    @abstractmethod
    def resource_usage(self) -> dict[str, float]:
        """What it uses now, by `ResourceType`."""

    @abstractmethod
    def activate(self) -> bool:
        """Lets commands begin at once. Nothing of this process changes."""

    @abstractmethod
    def deactivate(self) -> bool:
        """Ends all that runs in it."""

    @abstractmethod
    def validate_isolation(self) -> bool:
        """Whether it is what it is said to be, found out by running its Python."""

    @abstractmethod
    def execute_command(
        self,
        cmd: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        timeout: float | None = None,
        env_vars: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
    ) -> ProcessResult:
        """Runs a command to its end."""

    @abstractmethod
    def install_package(
        self,
        package: str | os.PathLike[str],
        version: str | None = None,
        upgrade: bool = False,
    ) -> bool:
        """Installs a requirement."""

    @abstractmethod
    def uninstall_package(self, package: str) -> bool:
        """Takes a distribution away."""

    @abstractmethod
    def get_installed_packages(self) -> dict[str, str]:
        """The versions of what is installed, by normalised name."""

    @abstractmethod
    def get_package_version(self, package: str) -> str | None:
        """The version of a distribution, in whatever spelling."""

    @abstractmethod
    def allocate_port(self) -> int:
        """Gives it a port that nobody else gets until it is released."""

    @abstractmethod
    def release_port(self, port: int) -> bool:
        """Takes a port of its own back."""

    @abstractmethod
    def cleanup(self, force: bool = False) -> bool:
        """Takes it away with all that it has."""

    @abstractmethod
    def create_snapshot(self, snapshot_id: str | None = None) -> dict[str, Any]:
        """Keeps what it is now."""

    @abstractmethod
    def restore_from_snapshot(self, snapshot: Mapping[str, Any] | str) -> bool:
        """Makes it what it was when that was taken."""

    @abstractmethod
    def delete_snapshot(self, snapshot_id: str) -> bool:
        """Takes a snapshot away."""

    @abstractmethod
    def list_snapshots(self) -> list[dict[str, Any]]:
        """Its snapshots, oldest first."""

    @abstractmethod
    def get_status(self) -> dict[str, Any]:
        """All that is known of it."""

    def add_event_listener(self, event: IsolationEvent | str, callback: Callback) -> None:
        """Calls ``callback(env, event, **payload)`` whenever that happens, in the thread that does it."""
        self._listeners.add(event, callback)

    def remove_event_listener(self, event: IsolationEvent | str, callback: Callback) -> bool:
        """Calls it no more; says whether it was called before."""
        return self._listeners.remove(event, callback)

    def emit_event(self, event: IsolationEvent | str, **payload: Any) -> None:
        """Tells the listeners of the environment and of its engine; of an event of your own as well."""
        for listeners in (self._listeners, self.isolation_engine.listeners):
            listeners.emit(self, event, payload)


E = TypeVar("E", bound=IsolatedEnvironment)


class IsolationEngine(ABC, Generic[E]):
    """Makes environments and takes them away. Any number of threads may use one at the same time."""

    name: str = ""
    """What it is called in reports."""

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self.config = dict(config or {})
        self.listeners = Listeners()
        self._lock = threading.Lock()
        self._environments: dict[str, E | None] = {}

    def add_event_listener(self, event: IsolationEvent | str, callback: Callback) -> None:
        """As an environment's, for all of them: also for what happens before one is there."""
        self.listeners.add(event, callback)

    def remove_event_listener(self, event: IsolationEvent | str, callback: Callback) -> bool:
        """Calls it no more; says whether it was called before."""
        return self.listeners.remove(event, callback)

    @property
    def created_environments(self) -> dict[str, E]:
        """Its environments by id."""
        with self._lock:
            return {env_id: env for env_id, env in self._environments.items() if env is not None}

    @abstractmethod
    def create_isolation(
        self,
        path: str | os.PathLike[str],
        env_id: str,
        isolation_config: Mapping[str, Any] | None = None,
    ) -> E:
        """Makes an environment."""

    def cleanup_isolation(self, env: IsolatedEnvironment) -> bool:
        """Takes an environment of this engine away, at once."""
        return env.isolation_engine is self and env.cleanup(force=True)

    def get_isolation_status(self, env_id: str) -> dict[str, Any]:
        """What is known of one; ``{"status": "not_found"}`` if there is none."""
        env = self.created_environments.get(env_id)
        if env is None:
            return {"status": "not_found", "isolation_type": self.name}
        return {
            **env.get_status(),
            "supported_features": self.get_supported_features(),
            "engine_config": dict(self.config),
        }

    def validate_isolation(self, env: IsolatedEnvironment) -> bool:
        """Whether an environment of this engine is what it is said to be."""
        return env.isolation_engine is self and env.validate_isolation()

    @abstractmethod
    def get_supported_features(self) -> list[str]:
        """What it can do, in words."""

    @abstractmethod
    def check_environment_health(self, env: IsolatedEnvironment) -> bool:
        """Whether an environment is there and can be used."""

    def list_environments(self) -> dict[str, dict[str, Any]]:
        """What is known of each, by id."""
        return {env_id: env.get_status() for env_id, env in self.created_environments.items()}

    @abstractmethod
    def validate_config(self) -> bool:
        """Whether its configuration can be used; why not is told when an environment is made."""

    def cleanup_all_environments(self) -> int:
        """Takes all away; gives how many are gone."""
        return sum(self.cleanup_isolation(env) for env in self.created_environments.values())

    @abstractmethod
    def get_environment_metrics(self, env: IsolatedEnvironment) -> dict[str, Any]:
        """What an environment holds and uses."""

    def get_engine_info(self) -> dict[str, Any]:
        """What it is."""
        environments = self.created_environments
        return {
            "name": self.name,
            "engine_type": self.name,
            "config": dict(self.config),
            "supported_features": self.get_supported_features(),
            "environment_count": len(environments),
            "created_environments": list(environments),
        }

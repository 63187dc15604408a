"""What every environment of a `ptest.Environment` has: its life, what is known of it, and how failures are told.

Not for what is done in it: see `environment`.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any

from ptest._errors import (
    IllegalStateError,
    NotFoundError,
    PtestError,
)
from ptest.isolation import making
from ptest.isolation.base import IsolatedEnvironment
from ptest.isolation.config import VirtualenvConfig
from ptest.isolation.directory import Directory
from ptest.isolation.enums import CleanupPolicy, EnvironmentStatus, IsolationEvent, ProcessStatus
from ptest.isolation.events import logger
from ptest.isolation.results import ProcessInfo, now

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from ptest._environment import Environment
    from ptest._records import Status
    from ptest.isolation.engine import VirtualenvIsolationEngine

_FAILURES = (PtestError, OSError, ValueError)
_GOING = (
    EnvironmentStatus.CLEANUP_START,
    EnvironmentStatus.CLEANING,
    EnvironmentStatus.CLEANUP_COMPLETE,
)
_GRACE = 5.0
"""How long commands have to end when an environment is cleaned up without force, in seconds."""


class LivingEnvironment(IsolatedEnvironment):
    """An environment from its making to its end."""

    isolation_engine: VirtualenvIsolationEngine

    def __init__(
        self,
        env_id: str,
        path: str | os.PathLike[str],
        isolation_engine: VirtualenvIsolationEngine,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(env_id, path, isolation_engine, config)
        self._settings = VirtualenvConfig.of(self.config)
        self._directory = Directory(self.path)
        self._lock = threading.Lock()
        self._phase: EnvironmentStatus | None = EnvironmentStatus.INITIALIZING
        self._steps = 0
        self._running: dict[str, ProcessInfo] = {}
        self._environment: Environment | None = None
        self._seen: Status | None = None
        self.last_activity = now()

    # What it is.

    @property
    def environment(self) -> Environment:
        """The environment that this is.

        Raises
        ------
        IllegalStateError
            If it is not made yet, or gone.
        """
        environment = self._environment
        if environment is None:
            message = f"the environment {self.env_id!r} is not there"
            raise IllegalStateError(message)
        return environment

    @property
    def venv_path(self) -> Path:
        """The virtual environment, for commands inside and for programs outside."""
        return self._directory.link

    @property
    def python_path(self) -> Path:
        """Its Python, for commands inside and for programs outside, where it runs in the environment too."""
        return self.venv_path / "bin" / "python"

    @property
    def pip_path(self) -> Path:
        """Its pip."""
        return self.venv_path / "bin" / "pip"

    @property
    def activate_script(self) -> Path:
        """What a shell in the environment can source."""
        return self.venv_path / "bin" / "activate"

    @property
    def status(self) -> EnvironmentStatus:
        """What it is doing now."""
        with self._lock:
            if self._phase is not None:
                return self._phase
        seen = self._look()
        if seen is None:
            return EnvironmentStatus.CLEANUP_COMPLETE
        return EnvironmentStatus.ERROR if self.last_error is not None else making.state_of(seen.state)

    def _look(self) -> Status | None:
        """What the store says of it now; None if it is gone."""
        environment = self._environment
        if environment is None:
            return None
        try:
            self._seen = environment.status()
        except NotFoundError:
            return None
        return self._seen

    @property
    def created_at(self) -> datetime | None:
        """When it was made."""
        return None if self._seen is None else self._seen.created_at

    @property
    def activated_at(self) -> datetime | None:
        """When it was last activated."""
        self._look()
        return None if self._seen is None else self._seen.activated_at

    @property
    def deactivated_at(self) -> datetime | None:
        """When it was last deactivated."""
        self._look()
        return None if self._seen is None else self._seen.deactivated_at

    @property
    def processes(self) -> dict[str, ProcessInfo]:
        """The commands that `execute_command` runs now, by id."""
        with self._lock:
            return dict(self._running)

    @property
    def allocated_ports(self) -> list[int]:
        """The ports that it has."""
        environment = self._environment
        with contextlib.suppress(NotFoundError):
            return [] if environment is None else [port.port for port in environment.ports]
        return []

    @property
    def resource_usage(self) -> dict[str, float]:
        """What it uses: seconds of processors, bytes of memory, of disk and of network, ports."""
        usage: Mapping[str, Any] = {}
        totals: Mapping[str, Any] = {}
        ports = 0
        environment = self._environment
        with contextlib.suppress(NotFoundError):
            if environment is not None:
                details = environment.details()
                usage, totals, ports = details["usage"], details["totals"], len(details["ports"])
        network = (usage.get(key) or 0 for key in ("network_received_bytes", "network_sent_bytes"))
        return {
            "cpu": max(usage.get("cpu_seconds") or 0.0, totals.get("cpu_seconds") or 0.0),
            "memory": usage.get("memory_bytes") or 0,
            "disk": usage.get("disk_bytes") or 0,
            "network": sum(network),
            "port": ports,
        }

    def get_status(self) -> dict[str, Any]:
        """All that is known of it; times as ISO 8601 has them, the rest as JSON has it."""
        status = self.status
        seen = self._seen

        def time(when: datetime | None) -> str | None:
            return None if when is None else when.isoformat()

        return {
            "env_id": self.env_id,
            "path": str(self.path),
            "status": status.value,
            "created_at": time(None if seen is None else seen.created_at),
            "activated_at": time(None if seen is None else seen.activated_at),
            "deactivated_at": time(None if seen is None else seen.deactivated_at),
            "last_activity": time(self.last_activity),
            "isolation_type": self.isolation_engine.name,
            "process_count": seen.usage.processes if seen and self._environment else 0,
            "allocated_ports": self.allocated_ports,
            "resource_usage": self.resource_usage,
            "config": dict(self.config),
        }

    # What succeeds, and what fails.

    @contextlib.contextmanager
    def _doing(self, operation: str, failure: list[Exception] | None = None) -> Iterator[None]:
        """Takes note of how something ends: a failure goes no further."""
        self.last_activity = now()
        try:
            yield
        except _FAILURES as error:
            self._fail(operation, error)
            if failure is not None:
                failure.append(error)
        else:
            self.last_error = None

    def _fail(self, operation: str, error: Exception) -> None:
        self.last_error = error
        logger.warning("%s of %s failed: %s", operation, self.env_id, error)
        self.emit_event(IsolationEvent.ERROR_OCCURRED, operation=operation, error=error, message=str(error))

    def _claim(self, phase: EnvironmentStatus, after: int | None = None) -> bool:
        """Whether this thread is the one that tells of a step.

        It is not while another one does, nor if there were more steps than ``after`` since it looked.
        """
        cleaning = phase is EnvironmentStatus.CLEANUP_START
        with self._lock:
            if after is not None and after != self._steps:
                return False
            if self._phase in _GOING or (self._phase is not None and not cleaning):
                return False
            self._phase = phase
            return True

    def _unclaim(self, *phases: EnvironmentStatus) -> None:
        with self._lock:
            if self._phase in phases:
                self._phase = None
                self._steps += 1

    # Its life.

    def create(
        self,
        source: str | None,
        place_of: LivingEnvironment | None,
        ready: making.Ready | None,
    ) -> None:
        """Makes it; called once, by the engine: see `VirtualenvIsolationEngine.create`."""
        self.emit_event(IsolationEvent.ENVIRONMENT_CREATING)
        try:
            environment = self._make(source, place_of, ready)
        except BaseException as error:
            with self._lock:
                self._phase = EnvironmentStatus.ERROR
            if isinstance(error, _FAILURES):
                self._fail("create_isolation", error)
            raise
        self._environment = environment
        self._seen = environment.status()
        if self._settings.cleanup_policy is not CleanupPolicy.NEVER:
            weakref.finalize(self, making.left, self._directory, os.getpid())
        self._unclaim(EnvironmentStatus.INITIALIZING)
        self.emit_event(IsolationEvent.ENVIRONMENT_CREATED)

    def _make(
        self,
        source: str | None,
        place_of: LivingEnvironment | None,
        ready: making.Ready | None,
    ) -> Environment:
        directory = self._directory
        directory.make()
        try:
            occupant = directory.occupant()
            replaced = None if place_of is not None else making.previous(occupant, self.path, self._settings)
            environment = making.environment(self._settings, self.path, source=source, replaced=replaced, ready=ready)
            try:
                if replaced is not None:
                    replaced.remove()
                directory.lead(environment.path.resolve(), instead_of=occupant)
            except BaseException:
                environment.remove()
                raise
        except BaseException:
            directory.clear()
            raise
        if place_of is not None:
            place_of._directory.hand_over(directory)  # noqa: SLF001
        return environment

    def activate(self) -> bool:
        """Lets commands begin at once; the first one does it by itself. Nothing of this process changes."""
        with self._doing("activate"):
            self._activate()
            return True
        return False

    def _activate(self) -> None:
        environment = self.environment
        steps = self._steps
        if environment.status().state == "active":
            return
        claimed = self._claim(EnvironmentStatus.ACTIVATING, steps)
        try:
            if claimed:
                self.emit_event(IsolationEvent.ENVIRONMENT_ACTIVATING)
            environment.activate()
        finally:
            if claimed:
                self._unclaim(EnvironmentStatus.ACTIVATING)
        if claimed:
            self.emit_event(IsolationEvent.ENVIRONMENT_ACTIVATED)

    def deactivate(self) -> bool:
        """Ends all that runs in it."""
        with self._doing("deactivate"):
            environment = self.environment
            steps = self._steps
            if environment.status().state != "active":
                return True
            claimed = self._claim(EnvironmentStatus.DEACTIVATING, steps)
            try:
                if claimed:
                    self.emit_event(IsolationEvent.ENVIRONMENT_DEACTIVATING)
                    self._stop_processes()
                environment.deactivate(_GRACE)
            finally:
                if claimed:
                    self._unclaim(EnvironmentStatus.DEACTIVATING)
            if claimed:
                self.emit_event(IsolationEvent.ENVIRONMENT_DEACTIVATED)
            return True
        return False

    def _stop_processes(self) -> None:
        for process in self.processes.values():
            process.status = ProcessStatus.STOPPING
            self._tell(IsolationEvent.PROCESS_STOPPING, process)

    def cleanup(self, force: bool = False) -> bool:
        """Takes it away; when this is True, its processes, mounts, ports and files are gone.

        Without force, commands that run have five seconds to end. Its directory goes with all that is in it if it was
        made for this environment; it stays, without the link ``venv``, if it was there before.
        """
        environment = self._environment
        if environment is None:
            return self.status is EnvironmentStatus.CLEANUP_COMPLETE
        if self._claim(EnvironmentStatus.CLEANUP_START):
            self.emit_event(IsolationEvent.ENVIRONMENT_CLEANUP_START)
            self._stop_processes()
        try:
            with self._lock:
                self._phase = EnvironmentStatus.CLEANING
            with contextlib.suppress(NotFoundError):
                if not force:
                    environment.deactivate(_GRACE)
                environment.remove()
            self._directory.clear()
        except _FAILURES as error:
            self._unclaim(*_GOING)
            self._fail("cleanup", error)
            return False
        with self._lock:
            first, self._environment = self._environment is not None, None
            self._phase = EnvironmentStatus.CLEANUP_COMPLETE
        if first:
            self.isolation_engine.forget(self)
            self.emit_event(IsolationEvent.ENVIRONMENT_CLEANUP_COMPLETE)
        return True

    @property
    def is_in_place(self) -> bool:
        """Whether its directory leads to it."""
        return self._directory.leads()

    def _tell(self, event: IsolationEvent, process: ProcessInfo, **more: Any) -> None:
        self.emit_event(event, process_id=process.process_id, command=process.command, **more)

"""An environment of the virtualenv engine: `ptest.Environment` in the predecessor's words."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from ptest._errors import CommandNotExecutableError, CommandNotFoundError, NotFoundError
from ptest._process import words
from ptest.isolation import commands
from ptest.isolation.config import seconds
from ptest.isolation.enums import IsolationEvent, ProcessStatus
from ptest.isolation.lifecycle import LivingEnvironment
from ptest.isolation.results import ProcessInfo, ProcessResult, now

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class VirtualenvEnvironment(LivingEnvironment):
    """A virtual environment; made by `VirtualenvIsolationEngine.create_isolation`."""

    def validate_isolation(self) -> bool:
        """Whether its Python runs, is its own, and is where `python_path` says."""
        result = self.execute_command(
            [self.python_path, "-c", "import os, sys; print(os.path.samefile(sys.prefix, os.environ['VIRTUAL_ENV']))"],
        )
        return result.success and result.stdout == "True\n" and self.is_in_place

    # Commands.

    def execute_command(
        self,
        cmd: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        timeout: float | None = None,
        env_vars: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
    ) -> ProcessResult:
        """Runs a command to its end.

        It starts in `path`, which it can write, or in ``cwd``, seen from there; it reads nothing. When its time is up
        (``command_timeout`` of the configuration unless said; at once if that is 0), it is ended with all that it
        started, and what it had written is there. 16 MiB of each stream are kept, half of the beginning and half of
        the end; bytes that are not UTF-8 are replaced.
        """
        limit = self._settings.command_timeout if timeout is None else timeout
        result = ProcessResult(125, "", "", timeout=limit)
        failure: list[Exception] = []
        with self._doing("execute_command", failure):
            result.command = words(cmd)
            result.timeout = seconds("timeout", limit)
            self._run(result, env_vars or {}, self.path if cwd is None else self.path / cwd)
        for error in failure:
            result.stderr = str(error)
            if isinstance(error, CommandNotFoundError):
                result.returncode = 127
            elif isinstance(error, CommandNotExecutableError):
                result.returncode = 126
        result.end_time = result.end_time or now()
        return result

    def _run(self, result: ProcessResult, variables: Mapping[str, str], cwd: Path) -> None:
        self._activate()
        process = ProcessInfo("", result.command, timeout=result.timeout)
        self.emit_event(IsolationEvent.PROCESS_STARTING, command=result.command)

        def started(process_id: str) -> None:
            process.process_id = process_id
            process.status = ProcessStatus.RUNNING
            with self._lock:
                self._running[process_id] = process
            self._tell(IsolationEvent.PROCESS_STARTED, process)

        def stopping() -> None:
            process.status = ProcessStatus.STOPPING
            self._tell(IsolationEvent.PROCESS_STOPPING, process)

        try:
            ended = commands.run(
                self.environment,
                result.command,
                variables=variables,
                cwd=cwd,
                timeout=result.timeout,
                started=started,
                stopping=stopping,
            )
        except BaseException:
            process.status = ProcessStatus.ERROR
            raise
        finally:
            with self._lock:
                self._running.pop(process.process_id, None)
            process.end_time = now()
        result.returncode, result.stdout, result.stderr = ended.returncode, ended.stdout, ended.stderr
        result.timed_out, result.end_time = ended.timed_out, process.end_time
        process.exit_code = ended.returncode
        process.status = ProcessStatus.TIMEOUT if ended.timed_out else ProcessStatus.STOPPED
        self._tell(
            IsolationEvent.PROCESS_STOPPED,
            process,
            returncode=ended.returncode,
            timed_out=ended.timed_out,
        )

    # Packages.

    def install_package(
        self,
        package: str | os.PathLike[str],
        version: str | None = None,
        upgrade: bool = False,
    ) -> bool:
        """Installs a requirement, a wheel or a project; when this is True, it is importable and verified.

        Why not, in the installer's words too, is in ``last_error.output``. With ``upgrade``, what is there already is
        brought to the newest version that is allowed.
        """
        wanted = os.fspath(package) + (f"=={version}" if version else "")
        self.emit_event(IsolationEvent.PACKAGE_INSTALLING, package=wanted)
        with self._doing("install_package"):
            name = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", wanted)
            is_there = upgrade and name is not None and self.environment.package(name[0]) is not None
            change = self.environment.upgrade if is_there else self.environment.install
            changes = change(wanted, timeout=self._settings.pip_timeout)
            for changed in changes:
                if changed.before is not None and changed.after is not None:
                    self.emit_event(
                        IsolationEvent.PACKAGE_UPDATED,
                        package=changed.name,
                        before=changed.before,
                        after=changed.after,
                    )
            self.emit_event(IsolationEvent.PACKAGE_INSTALLED, package=wanted)
            return True
        return False

    def uninstall_package(self, package: str) -> bool:
        """Takes a distribution away; False if it is not there."""
        with self._doing("uninstall_package"):
            self.environment.uninstall(package)
            self.emit_event(IsolationEvent.PACKAGE_UNINSTALLED, package=package)
            return True
        return False

    def get_installed_packages(self) -> dict[str, str]:
        """The versions of what is installed, by normalised name: the truth, whoever installed it."""
        with self._doing("get_installed_packages"):
            return {package.name: package.version for package in self.environment.packages()}
        return {}

    def get_package_version(self, package: str) -> str | None:
        """The version of a distribution, in whatever spelling; None if it is not there."""
        with self._doing("get_package_version"):
            found = self.environment.package(package)
            return None if found is None else found.version
        return None

    # Ports.

    def allocate_port(self) -> int:
        """Gives it a port that nobody else gets until it is released, or the environment is gone.

        Raises
        ------
        PtestError
            If there is none to be had.
        """
        failure: list[Exception] = []
        self.emit_event(IsolationEvent.NETWORK_ALLOCATING)
        with self._doing("allocate_port", failure):
            port = self.environment.acquire_port().port
            self.emit_event(IsolationEvent.NETWORK_ALLOCATED, port=port)
            return port
        raise failure[0]

    def release_port(self, port: int) -> bool:
        """Takes a port of its own back; False if it has no such port."""
        self.emit_event(IsolationEvent.NETWORK_RELEASING, port=port)
        with self._doing("release_port"):
            if port not in self.allocated_ports or not self.environment.release_ports([port]):
                message = f"{port} is no port of {self.env_id}"
                raise NotFoundError(message)
            self.emit_event(IsolationEvent.NETWORK_RELEASED, port=port)
            return True
        return False

    # Snapshots.

    def create_snapshot(self, snapshot_id: str | None = None) -> dict[str, Any]:
        """Keeps what it is now, until the snapshot is deleted; an empty dictionary if that failed."""
        self.emit_event(IsolationEvent.SNAPSHOT_CREATING, snapshot_id=snapshot_id)
        with self._doing("create_snapshot"):
            snapshot = self.isolation_engine.snapshots.take(self, snapshot_id)
            self.emit_event(IsolationEvent.SNAPSHOT_CREATED, snapshot_id=snapshot["snapshot_id"])
            return snapshot
        return {}

    def restore_from_snapshot(self, snapshot: Mapping[str, Any] | str) -> bool:
        """Makes it what it was when that was taken; when this is False, it is as it was."""
        snapshot_id = snapshot if isinstance(snapshot, str) else snapshot.get("snapshot_id")
        self.emit_event(IsolationEvent.SNAPSHOT_RESTORING, snapshot_id=snapshot_id)
        with self._doing("restore_from_snapshot"):
            self.environment.restore(self.isolation_engine.snapshots.name(snapshot))
            self.emit_event(IsolationEvent.SNAPSHOT_RESTORED, snapshot_id=snapshot_id)
            return True
        return False

    def delete_snapshot(self, snapshot_id: str) -> bool:
        """Takes a snapshot away; False if there is none of this id."""
        self.emit_event(IsolationEvent.SNAPSHOT_DELETING, snapshot_id=snapshot_id)
        with self._doing("delete_snapshot"):
            self.isolation_engine.snapshots.delete(snapshot_id)
            self.emit_event(IsolationEvent.SNAPSHOT_DELETED, snapshot_id=snapshot_id)
            return True
        return False

    def list_snapshots(self) -> list[dict[str, Any]]:
        """The snapshots of it, oldest first."""
        return self.isolation_engine.snapshots.all(self.env_id)

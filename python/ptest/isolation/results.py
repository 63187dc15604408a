"""What came of a command, and what runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from ptest.isolation.enums import ProcessStatus


def now() -> datetime:
    """The time, aware of UTC."""
    return datetime.now(timezone.utc)


@dataclass
class ProcessResult:
    """What came of a command."""

    returncode: int
    """Its code, or -N when signal N ended it; 127 and 126 if it was not found or could not be executed, 125 if the
    environment could not run it. Why is in ``stderr`` then."""
    stdout: str
    """What it wrote."""
    stderr: str
    """What it wrote to standard error."""
    command: list[str] = field(default_factory=list)
    """The program and its arguments."""
    timeout: float | None = None
    """How long it was allowed to run, in seconds."""
    start_time: datetime = field(default_factory=now)
    """When it was started."""
    end_time: datetime | None = None
    """When it had ended."""
    timed_out: bool = False
    """Whether it was ended because its time was up. What it had written is there."""

    @property
    def success(self) -> bool:
        """Whether it ended by itself, with code 0."""
        return self.returncode == 0 and not self.timed_out

    @property
    def duration(self) -> float:
        """How long it ran, in seconds."""
        return 0.0 if self.end_time is None else (self.end_time - self.start_time).total_seconds()


@dataclass
class ProcessInfo:
    """A command that runs, or ran, in an environment."""

    process_id: str
    """What the run is called in the store, as for ``ptest logs``."""
    command: list[str]
    """The program and its arguments."""
    status: ProcessStatus = ProcessStatus.STARTING
    """What it is doing."""
    start_time: datetime = field(default_factory=now)
    """When it was started."""
    end_time: datetime | None = None
    """When it had ended; None while it runs."""
    exit_code: int | None = None
    """Its code, or -N when signal N ended it; None while it runs."""
    timeout: float | None = None
    """How long it may run, in seconds."""

    def to_dict(self) -> dict[str, Any]:
        """Itself, as JSON has it."""
        return {
            "process_id": self.process_id,
            "command": self.command,
            "status": self.status.value,
            "start_time": self.start_time.isoformat(),
            "end_time": None if self.end_time is None else self.end_time.isoformat(),
            "exit_code": self.exit_code,
            "timeout": self.timeout,
        }

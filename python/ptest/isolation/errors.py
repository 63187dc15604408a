"""What cannot be told by a return value, because what was asked for is an object."""

from __future__ import annotations

from ptest._errors import AlreadyExistsError, NoRoomError, NotFoundError, UnsupportedError


class DuplicateEnvironmentError(AlreadyExistsError, ValueError):
    """The engine or manager has an environment of this id, or the directory is another's."""


class TooManyEnvironmentsError(NoRoomError, RuntimeError):
    """The manager has as many environments as its ``max_environments``."""


class UnknownEnvironmentError(NotFoundError, ValueError):
    """The manager has no environment of this id."""


class UnknownSnapshotError(NotFoundError, ValueError):
    """Nobody here has a snapshot of this id."""


class EngineNotAvailableError(UnsupportedError, ValueError):
    """There is no engine for this isolation level, or it cannot work here."""

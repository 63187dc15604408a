"""The exceptions: one base, one class for each kind of error.

Not for commands that ran and failed: those are in `_process`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping


class PtestError(Exception):
    """Something that ptest was asked for and did not do. What was begun has been undone."""

    kind: str = "unexpected"
    """What kind of thing went wrong, in the words of ``--format json``."""
    hint: str | None
    """What to do about it, if that is known."""
    output: Any
    """The words of the tool that failed, such as an installer's."""
    causes: tuple[str, ...]
    """Why, outermost first."""

    __module__ = "ptest"

    def __init_subclass__(cls) -> None:
        # What tracebacks and pickles name is where one finds it.
        if cls.__module__.startswith("ptest."):
            cls.__module__ = cls.__module__.partition("._")[0]

    def __init__(
        self,
        message: str,
        *,
        causes: tuple[str, ...] = (),
        hint: str | None = None,
        output: str | None = None,
    ) -> None:
        # Not the next base: some of them want more than a message.
        Exception.__init__(self, message)
        self.message = message
        self.causes = causes
        self.hint = hint
        self.output = output
        # Shown below the traceback, from Python 3.11 on.
        add_note = getattr(self, "add_note", None)
        if add_note is not None:
            for note in self._notes():
                add_note(note)

    def _notes(self) -> list[str]:
        notes = []
        if self.output:
            notes.append(self.output.rstrip())
        if self.hint:
            notes.append(f"hint: {self.hint}")
        return notes

    def __str__(self) -> str:
        told = ": ".join([self.message, *self.causes])
        if not hasattr(self, "add_note"):
            told = "\n".join([told, *self._notes()])
        return told

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuilt, (type(self), self.message, self.causes, self.hint, self.output))


def _rebuilt(
    cls: type[PtestError],
    message: str,
    causes: tuple[str, ...],
    hint: str | None,
    output: str | None,
) -> PtestError:
    return cls(message, causes=causes, hint=hint, output=output)


class InvalidInputError(PtestError, ValueError):
    """What was asked for is malformed: a name, a requirement, a limit, an option."""

    kind = "invalid_input"


class NotFoundError(PtestError, FileNotFoundError):
    """The environment, interpreter, snapshot or file does not exist."""

    kind = "not_found"


class AlreadyExistsError(PtestError, FileExistsError):
    """The name is taken."""

    kind = "already_exists"


class IllegalStateError(PtestError, RuntimeError):
    """The environment is in a state that does not allow the operation."""

    kind = "illegal_state"


class BusyError(PtestError):
    """Another operation holds the environment."""

    kind = "busy"


class NoRoomError(PtestError):
    """There is as much as there may be at once."""

    kind = "no_room"


class UnsupportedError(PtestError):
    """The engine, the kernel or the machine cannot do this."""

    kind = "unsupported"


class PermissionDeniedError(PtestError, PermissionError):
    """The operating system refused."""

    kind = "permission_denied"


class StorageError(PtestError, OSError):
    """The disk is full, or read-only."""

    kind = "storage"


class ResolutionError(PtestError):
    """No distribution satisfies the requirements."""

    kind = "resolution"


class NetworkError(PtestError, ConnectionError):
    """An index or another host could not be reached, or refused."""

    kind = "network"


class BuildError(PtestError):
    """A distribution could not be built from source."""

    kind = "build"


class CorruptError(PtestError):
    """A file is not what its hash or record says."""

    kind = "corrupt"


class CommandNotFoundError(PtestError, FileNotFoundError):
    """The command does not exist inside the environment."""

    kind = "command_not_found"


class CommandNotExecutableError(PtestError, PermissionError):
    """The command exists and cannot be executed."""

    kind = "command_not_executable"


class TimedOutError(PtestError, TimeoutError):
    """A time limit passed."""

    kind = "timeout"


class UnexpectedError(PtestError):
    """A defect of ptest, or a failure of the machine that nothing above names."""

    kind = "unexpected"


class _Kinds:
    """Also for `_core`, which fills exceptions in as `PtestError.__init__` does."""

    by_name: ClassVar[dict[str, type[PtestError]]] = {
        cls.kind: cls
        for cls in (
            InvalidInputError,
            NotFoundError,
            AlreadyExistsError,
            IllegalStateError,
            BusyError,
            NoRoomError,
            UnsupportedError,
            PermissionDeniedError,
            StorageError,
            ResolutionError,
            NetworkError,
            BuildError,
            CorruptError,
            CommandNotFoundError,
            CommandNotExecutableError,
            TimedOutError,
            UnexpectedError,
        )
    }


def of_document(document: Mapping[str, Any]) -> PtestError:
    """The exception for an error of a report."""
    cls = _Kinds.by_name.get(document["kind"], UnexpectedError)
    return cls(
        document["message"],
        causes=tuple(document["causes"]),
        hint=document["hint"],
        output=document["output"],
    )

"""What every environment has: its identity, its life, and its place on this machine.

Not for what is done in it: see `_commands` and `_environment`.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ptest._errors import NotFoundError
from ptest._options import seconds
from ptest._owning import disown, own
from ptest._records import Status, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from typing_extensions import Self

    from ptest import _core
    from ptest._options import Duration
    from ptest._store import Store


class Environment:
    """An environment of a store, from its making to its end.

    It and what is built on it have one name, which is what Python calls their methods by.
    """

    def __init__(self, store: Store, core: _core.Environment, *, name: str | None = None, owned: bool) -> None:
        self._store = store
        self._opened = core
        self._pid = os.getpid()
        self._id = core.id
        self._name = name
        self._finalizer = own(self, store, core) if owned else None

    @property
    def _core(self) -> _core.Environment:
        if self._pid != os.getpid():
            self._opened = self._store._core.find(self._id)  # noqa: SLF001
            self._pid = os.getpid()
        return self._opened

    def __repr__(self) -> str:
        name = f" {self._name!r}" if self._name else ""
        return f"<ptest.Environment {self._id}{name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_elsewhere, (self._store, self._id))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Environment) and self._id == other._id

    def __hash__(self) -> int:
        return hash(self._id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Removed in the block, or its time was over.
        with contextlib.suppress(NotFoundError):
            self.remove()

    @property
    def id(self) -> str:
        """Its identity, never used twice."""
        return self._id

    @property
    def name(self) -> str | None:
        """Its name, if it has one."""
        if self._name is None:
            self._name = self.status().name
        return self._name

    @property
    def store(self) -> Store:
        """The store that it is in."""
        return self._store

    def status(self) -> Status:
        """What it is doing now."""
        return Status.of(self._core.status()["environment"])

    def details(self) -> Mapping[str, Any]:
        """All that ``ptest status`` tells of it: processes, disk, totals, latest runs, refusals, the last failure."""
        return cast("Mapping[str, Any]", self._core.known()["environment"])

    @property
    def usage(self) -> Usage:
        """What it uses now."""
        return self.status().usage

    @property
    def path(self) -> Path:
        """A directory on this machine that looks like a virtual environment.

        It is there for editors, type checkers and `subprocess`. The programs in its ``bin`` run in the environment.
        """
        return Path(self._core.view()["path"])

    @property
    def shims(self) -> Path:
        """Where the programs are that run in the environment: what to put on ``PATH``."""
        return Path(self._core.view()["shims"])

    @property
    def python(self) -> Path:
        """A program on this machine that is the environment's Python."""
        return self.shims / "python"

    def activate(self) -> bool:
        """Lets commands begin at once; says whether that changed anything. The first command does it by itself.

        Raises
        ------
        UnsupportedError
            If the machine cannot do what was asked for, such as a limit.
        """
        return self._core.activate()

    def deactivate(self, grace: Duration | None = None) -> bool:
        """Ends all that runs in it, after that time by force; says whether that changed anything.

        Parameters
        ----------
        grace
            Between SIGTERM and SIGKILL, in seconds.
        """
        return self._core.deactivate(seconds(grace))

    def remove(self) -> None:
        """Takes it away: when this returns, its processes, mounts and files are gone.

        Raises
        ------
        NotFoundError
            If it is gone already.
        BusyError
            If another operation on it does not end.
        """
        if self._finalizer is not None and disown(self._id):
            self._finalizer.detach()
        self._core.remove()


def _elsewhere(store: Store, id_: str) -> Environment:
    return store.find(id_)

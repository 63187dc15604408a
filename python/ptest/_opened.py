"""What every store has: how it is opened, and opened again after a fork.

Not for what is done with it: see `_store`.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptest import _core
from ptest._config import Config
from ptest._ending import at_end
from ptest._living import Environment as LivingEnvironment
from ptest._options import settings_of_store
from ptest._program import program
from ptest._reports import engines

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ptest._options import Settings
    from ptest._records import Snapshot
    from ptest._reports import Engine


class Store:
    """A store that is open. It and what is built on it have one name, which is what Python calls their methods by."""

    def __init__(self, **settings: Unpack[Settings]) -> None:
        """Opens the store that the configuration says, or these settings in its place.

        Raises
        ------
        InvalidInputError
            If there is no such setting, or the configuration cannot be used.
        PermissionDeniedError
            If the store belongs to another user.
        CorruptError
            If its database is damaged: ``ptest recover --rebuild``.
        """
        self._settings, self._project = settings_of_store(settings)
        self._opened: _core.Store | None = None
        self._pid = 0
        self._retired: list[_core.Store] = []
        warned = self._core.warnings
        for sentence in warned:
            warnings.warn(sentence, stacklevel=2)

    @property
    def _core(self) -> _core.Store:
        pid = os.getpid()
        if self._opened is None or self._pid != pid:
            if self._opened is not None:
                # It is the parent's: closing it here would take locks and connections from that.
                self._retired.append(self._opened)
            self._opened = _core.Store(self._settings, program(), sys.executable, self._project)
            self._pid = pid
            at_end(self._tidy, pid)
        return self._opened

    def _tidy(self, pid: int) -> None:
        """What is left to be done when the process ends."""
        if self._opened is not None and pid == os.getpid():
            self._opened.tidy(0.05)

    def __repr__(self) -> str:
        return f"<ptest.Store {str(self.home)!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_reopened, (type(self), self._settings, self._project))

    @property
    def home(self) -> Path:
        """Its directory."""
        return Path(self._core.home)

    @property
    def config(self) -> Config:
        """Every setting that counts here."""
        return Config.of(self._core.settings())

    def engines(self) -> list[Engine]:
        """What environments can run on, and what each of these can do on this machine."""
        return engines(self._core.engines())

    def close(self) -> None:
        """Does now what is otherwise done when the process ends. The store can be used on."""
        self._tidy(self._pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def label(source: str | Snapshot | LivingEnvironment) -> str:
    """What an environment or a snapshot is called."""
    return source.id if isinstance(source, LivingEnvironment) else str(source)


def _reopened(cls: type[Store], settings: dict[str, Any], project: str | None) -> Store:
    given: Any = settings if project is None else {**settings, "project": project}
    return cls(**given)

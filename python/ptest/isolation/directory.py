"""An environment's directory, which is its caller's, and the link ``venv`` in it, which is ptest's.

Nothing is deleted that ptest did not make: a link is ptest's if it leads into a store as only ptest's do, and the
directory is if it was not there before.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import threading
from typing import TYPE_CHECKING

from ptest.isolation.errors import DuplicateEnvironmentError

if TYPE_CHECKING:
    from pathlib import Path

_OURS = re.compile(r".*/envs/(e[0-9a-f]{32})/[^/]+")


class Directory:
    """The directory of one environment."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.link = path / "venv"
        self._lock = threading.Lock()
        self._target: str | None = None
        self._made: list[tuple[Path, tuple[int, int] | None]] = []

    def make(self) -> None:
        """Sees to it that it is there."""
        missing = []
        place = self.path
        while not place.exists():
            missing.append(place)
            place = place.parent
        for each in reversed(missing):
            # Another thread that makes it at the same time owns it.
            with contextlib.suppress(FileExistsError):
                each.mkdir()
                self._made.append((each, _identity(each)))

    def occupant(self) -> str | None:
        """The id of the environment that the link leads to.

        Raises
        ------
        DuplicateEnvironmentError
            If what is there is not ptest's.
        """
        try:
            found = _OURS.fullmatch(str(self.link.readlink()))
        except FileNotFoundError:
            return None
        except OSError:
            found = None
        if found is None:
            message = f"{self.link} is not of ptest's making"
            raise DuplicateEnvironmentError(message, hint="choose another directory, or move it away")
        return found[1]

    def lead(self, target: Path, *, instead_of: str | None) -> None:
        """Makes the link lead to an environment; in the place of what led to that one."""
        if instead_of is not None and self.occupant() == instead_of:
            self.link.unlink()
        try:
            self.link.symlink_to(target)
        except FileExistsError:
            message = f"{self.path} is the directory of another environment"
            raise DuplicateEnvironmentError(message, hint="each environment has a directory of its own") from None
        self._target = str(target)

    def leads(self) -> bool:
        """Whether the link is what it was made."""
        try:
            return self._target is not None and str(self.link.readlink()) == self._target
        except OSError:
            return False

    def clear(self) -> None:
        """Takes away the link, and the directory with all that is in it if it was made here."""
        with self._lock:
            if self.leads():
                self.link.unlink()
            self._target = None
            for place, identity in reversed(self._made):
                if _identity(place) != identity:
                    continue
                if place == self.path:
                    shutil.rmtree(place)
                else:
                    # Somebody else's files keep it.
                    with contextlib.suppress(OSError):
                        place.rmdir()
            self._made.clear()

    def hand_over(self, other: Directory) -> None:
        """Lets another answer for what was made here."""
        other._made, self._made = self._made, []


def _identity(place: Path) -> tuple[int, int] | None:
    try:
        found = place.lstat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino

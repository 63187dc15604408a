"""What coverage measured in a fork, for the parent: the fork's files may be gone with it."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any


def data_files() -> set[Path]:
    """The files in which coverage of other processes is."""
    measuring = _measuring()
    if measuring is None:
        return set()
    file = Path(measuring.config.data_file).absolute()
    return {it for it in file.parent.iterdir() if it.name.startswith(f"{file.name}.")}


def measured(others: set[Path]) -> list[bytes]:
    """What was measured in this process, and in those that it started, whose files are not among `others`."""
    measuring = _measuring()
    if measuring is None:
        return []
    files = data_files() - others
    measuring.stop()
    dumps = [measuring.get_data().dumps()]
    for file in files:
        data = sys.modules["coverage"].CoverageData(basename=file)
        # A process that was ended may not have written all of it.
        with suppress(Exception):
            data.read()
            dumps.append(data.dumps())
    return dumps


def add(dumps: list[bytes]) -> None:
    """Adds what was measured in a fork to what is measured here."""
    data = _measuring().get_data()
    for dump in dumps:
        other = sys.modules["coverage"].CoverageData(no_disk=True)
        other.loads(dump)
        data.update(other)


def _measuring() -> Any:
    """What measures coverage in this process, if something does."""
    coverage = sys.modules.get("coverage")
    return coverage.Coverage.current() if coverage is not None else None

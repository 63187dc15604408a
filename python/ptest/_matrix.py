"""A matrix: one command in each of its cells, several at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ptest._errors import PtestError, of_document
from ptest._options import EnvironmentOptions, MatrixOptions, as_list, plain, seconds
from ptest._options import environment as environment_options
from ptest._records import Record
from ptest._runs import Coming

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Any

    from typing_extensions import Self

    from ptest import _core
    from ptest._options import Duration
    from ptest._process import Command


@dataclass(frozen=True)
class CellResult(Record):
    """What became of a cell."""

    outcome: str
    """``passed``, ``failed``, ``timed_out``, ``error`` or ``stopped``."""
    exit_code: int | None
    """What a shell would say of the command's end."""
    prepared_seconds: float
    """How long it took to make the environment."""
    elapsed_seconds: float
    """How long the command ran."""
    cpu_seconds: float | None
    """Processor time of the command."""
    memory_peak_bytes: int | None
    """The most memory that one of its processes held."""
    output: Path
    """The file that has what the command wrote."""
    error: PtestError | None
    """Why the environment could not be made or taken away, or the command not be started."""

    _read = {"output": Path, "error": of_document}

    @property
    def passed(self) -> bool:
        """Whether the command ended with 0."""
        return self.outcome == "passed"


@dataclass(frozen=True)
class Cell(Record):
    """A cell of a matrix."""

    name: str
    """Its name, made of those of its axes."""
    python: str | None
    """The interpreter, as it is asked for."""
    set: str | None
    """The set of requirements."""
    env: Mapping[str, str]
    """Its variables."""
    command: list[str]
    """The command and its arguments."""
    result: CellResult | None
    """None where it was not run, or has not ended."""

    _read = {"result": CellResult.of}

    def __str__(self) -> str:
        return self.name


class Matrix(Coming[Cell]):
    """The cells of a matrix that runs, each as soon as it has ended.

    It runs by itself, whether somebody looks or not, and is ended when nobody holds it any more, or when the block is
    left that it is the context manager of.
    """

    def __init__(self, core: _core.Matrix) -> None:
        super().__init__(core, lambda found: Cell.each(found["cells"])[0])
        self._core = core
        self._results: list[Cell] = []

    def __repr__(self) -> str:
        return f"<ptest.Matrix of {len(self.cells)} cells, {len(self._results)} of them ended>"

    @property
    def cells(self) -> list[Cell]:
        """All of its cells, without results, in the order of the axes."""
        return Cell.each(self._core.cells()["cells"])

    def next(self, timeout: Duration | None = None) -> Cell | None:
        """The next that has ended; None if none has in that time, or all have."""
        found = super().next(timeout)
        if found is not None:
            self._results.append(found)
        return found

    def wait(self) -> list[Cell]:
        """Waits for the end of all; gives them with their results, in the order of the axes."""
        for _ in self:
            pass
        results = {cell.name: cell for cell in self._results}
        return [results[cell.name] for cell in self.cells]

    def stop(self) -> None:
        """Ends the cells that run, and begins no others."""
        self._core.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        for _ in self:
            pass


def asked(command: Command, options: Mapping[str, Any]) -> dict[str, Any]:
    """A matrix as the library reads it."""
    sets = options.get("sets") or {}
    return {
        "pythons": as_list(options.get("pythons")),
        "sets": {name: as_list(requirements) for name, requirements in sets.items()},
        "cells": as_list(options.get("cells")),
        "install": options.get("install"),
        "command": as_list(command),
        "jobs": options.get("jobs"),
        "fail_fast": bool(options.get("fail_fast")),
        "junit_xml": plain(options.get("junit_xml")),
        "output": plain(options.get("output")),
        "timeout": seconds(options.get("timeout")),
        "grace": seconds(options.get("grace")),
        "refresh": bool(options.get("refresh")),
    }


def environment(options: Mapping[str, Any]) -> dict[str, Any]:
    """What the environments of the cells have in common, as the library reads it."""
    of_matrix = MatrixOptions.__annotations__.keys() - EnvironmentOptions.__annotations__.keys()
    return environment_options({name: value for name, value in options.items() if name not in of_matrix})

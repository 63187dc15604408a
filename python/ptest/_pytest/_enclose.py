"""Which sandbox the fork of a test goes into: where its writes go, and how much it may use.

Not for how it gets there: see `_child`.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ptest import _core
from ptest._errors import PtestError
from ptest._pytest import _child, _marker

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMITS = ("memory", "cpus", "pids", "cpu_time", "open_files", "file_size", "disk", "network")
"""What a marker says of the fork too, besides of the environments."""


class Enclosing:
    """Makes the sandboxes of a run: all alike, but for what the tests' markers say."""

    def __init__(self, config: pytest.Config) -> None:
        self._places = None if config.getoption("--ptest-writes") == "keep" else [config.rootpath, Path.cwd()]
        self._others = _others(config)
        given = {name: config.getoption(f"--ptest-{name}") for name in ("memory", "pids", "disk")}
        self._given = {name: value for name, value in given.items() if value is not None}
        self._made: dict[tuple[tuple[str, Any], ...], _core.Enclosures] = {}

    def check(self) -> None:
        """Tries one.

        Raises
        ------
        pytest.UsageError
            If none can be had here, with what to do about it.
        """
        _core.Enclosures.sweep()
        try:
            forked = _child.start(self._prepare({}))
        except PtestError as error:
            hint = f"\nhint: {error.hint}" if error.hint else ""
            message = (
                f"tests cannot run in sandboxes here: {': '.join([error.message, *error.causes])}{hint}\n"
                "--ptest-writes=keep does without discarding what they write, --ptest-profile=none without sandboxes"
            )
            raise pytest.UsageError(message) from None
        if isinstance(forked, _child.Channel):
            os._exit(0)
        forked.end()

    def prepare(self, node: pytest.Item | pytest.Collector) -> _core.Enclosure:
        """The sandbox of a test, or of the tests of a module."""
        said: Mapping[str, Any] = _marker.options(node)
        return self._prepare({name: said[name] for name in LIMITS if name in said})

    def _prepare(self, said: Mapping[str, Any]) -> _core.Enclosure:
        given = {**self._given, **said}
        key = tuple(sorted(given.items()))
        made = self._made.get(key)
        if made is None:
            places = None if self._places is None else list(map(str, self._places))
            made = self._made[key] = _core.Enclosures(given, places, list(map(str, self._others)))
        return made.prepare()


def _others(config: pytest.Config) -> list[Path]:
    """Where tests write besides their project."""
    found = [Path.home(), Path(tempfile.gettempdir()), Path("/tmp")]  # noqa: S108 - not written to here
    said = (config.getoption("basetemp", None), os.environ.get("XDG_RUNTIME_DIR"))
    return [*found, *(Path(place).absolute() for place in said if place)]

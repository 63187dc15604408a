"""The configuration: what counts where nothing else is said."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptest import _core
from ptest._options import plain, settings_of_store
from ptest._reports import ConfigFile, Setting

if TYPE_CHECKING:
    from datetime import timedelta

    from typing_extensions import Self, Unpack

    from ptest._options import Settings, StrPath


class Config(Mapping[str, Any]):
    """Every setting that counts, by its name: those of the files and variables, and these in their place.

    It is what it was when it was read.

    Raises
    ------
    InvalidInputError
        If there is no such setting, or the configuration cannot be used.
    """

    def __init__(self, **settings: Unpack[Settings]) -> None:
        given, project = settings_of_store(settings)
        document, warned = _core.configuration(given, project)
        for sentence in warned:
            warnings.warn(sentence, stacklevel=2)
        self._read(document)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """The configuration of a document; called by `ptest.Store`."""
        made = cls.__new__(cls)
        made._read(document)  # noqa: SLF001
        return made

    def _read(self, document: Mapping[str, Any]) -> None:
        self._rows = {row["key"]: row for row in document["settings"]}

    def __getitem__(self, key: str) -> Any:
        return self._rows[key]["value"]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        said = {key: row["value"] for key, row in self._rows.items() if row["source"] != "built-in"}
        return f"<ptest.Config {said}>"

    def setting(self, key: str) -> Setting:
        """A setting, with where it comes from."""
        return Setting.of(self._rows[key])

    def settings(self) -> list[Setting]:
        """Every setting, with where it comes from."""
        return Setting.each(list(self._rows.values()))

    @staticmethod
    def files(project: StrPath | None = None) -> list[ConfigFile]:
        """The files that settings are read from, strongest last: of this project, or of where this process stands."""
        found = _core.configuration_files(None if project is None else os.fspath(project))
        return ConfigFile.each(found["files"])

    @staticmethod
    def set(key: str, value: str | float | timedelta | os.PathLike[str]) -> Path:
        """Sets a value in the user's file, in which everything else stays as it is; gives that file.

        Lists are written with commas, lists of paths with colons, tables as ``NAME=VALUE``, one a line.

        Raises
        ------
        InvalidInputError
            If there is no such setting, or it does not take that value.
        """
        if isinstance(value, bool):
            value = "true" if value else "false"
        return Path(_core.set_configuration(key, str(plain(value))))

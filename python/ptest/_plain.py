"""A plain virtual environment in a directory, which ptest brings to what is asked for in the words of ``pip install``.

Whoever takes care of directories of virtual environments himself, as tox and nox do, has them made here. What is
installed is not written into the directory: it is made anew, of the store's layers, with what was there before and
what is asked for now, and takes the place of the old one. What ptest does not do is left to the pip that is in it.
``python -m ptest._plain DIRECTORY ARGUMENTS…`` does one installation.
"""

from __future__ import annotations

import json
import os
import shutil
import site
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptest._errors import AlreadyExistsError, PtestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typing_extensions import Self

    from ptest._options import StrPath
    from ptest._pip import Installed

MARKER = ".ptest.json"
"""What says, in a directory, that it was made here, and what in it."""


class Plain:
    """A directory with a virtual environment that is made here."""

    def __init__(self, path: StrPath) -> None:
        self.path = Path(path)

    @property
    def python(self) -> Path:
        """Its Python."""
        return self.path / "bin" / "python"

    @property
    def is_made(self) -> bool:
        """Whether it was made here, wholly."""
        return self._record is not None

    @property
    def site_packages(self) -> Path:
        """Where its packages are."""
        (found,) = self.path.glob("lib/*/site-packages")
        return found

    @property
    def _version(self) -> str:
        """The version of its Python."""
        lines = (self.path / "pyvenv.cfg").read_text().splitlines()
        return next(line.partition("=")[2].strip() for line in lines if line.startswith("version "))

    @property
    def _record(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads((self.path / MARKER).read_text())
        except FileNotFoundError:
            return None
        return found

    def make(self, python: str, *, requirements: Sequence[str] = (), system_site_packages: bool = False) -> None:
        """Makes it, with pip and these in it. Other files that are in the directory stay.

        Raises
        ------
        AlreadyExistsError
            If there is a virtual environment of somebody else's.
        """
        self._recover()
        if not self.is_made and (self.path / "pyvenv.cfg").exists():
            message = f"{self.path} is a virtual environment that ptest did not make"
            raise AlreadyExistsError(message, hint="delete it")
        with _Replacement(self, {"system_site_packages": system_site_packages, "archives": {}}) as replacement:
            replacement.fill(python, requirements=requirements)

    def install(self, arguments: Sequence[str]) -> list[Installed]:
        """Does what ``pip install`` would do with these arguments; gives what was not there before.

        As with pip, what is there stays as it is unless it is asked for otherwise. Either all is there afterwards, or
        the directory is what it was.

        Raises
        ------
        LeftToPip
            If pip is to do it.
        PtestError
            If it cannot be done.
        """
        from ptest._pip import Asked, Installed, LeftToPip

        asked = Asked.read(arguments)
        self._recover()
        record = self._record
        if record is None:
            message = f"{self.path} was not made by ptest"
            raise LeftToPip(message)
        before = set(Installed.each(self.site_packages))
        archives = asked.archives()
        if asked.is_met_by(before, record["archives"], self._version):
            return []
        # The pip that every environment has is nothing that an index is asked for.
        own = ("pip", record["pip"])
        kept = [it for it in before if asked.keeps(it) and (it.name, it.version) != own]
        base = os.path.realpath(self.python)
        record["archives"].update(archives)
        with _Replacement(self, record) as replacement:
            replacement.fill(
                base,
                requirements=[*asked.requirements, *(it.pin for it in kept if not it.editable)],
                editable=[*asked.editable, *(it.pin for it in kept if it.editable)],
                requirements_files=[replacement.moved(file) for file in asked.files],
                constraints=[replacement.moved(file) for file in asked.constraints],
            )
            after = set(Installed.each(self.site_packages))
            if asked.no_deps:
                more = {it.name for it in after} - {it.name for it in before} - asked.names()
                if more:
                    message = f"--no-deps, and {', '.join(sorted(more))} would be needed"
                    raise LeftToPip(message)
        return sorted(after - before, key=lambda it: it.name)

    def _recover(self) -> None:
        """Puts right what somebody left who was killed."""
        aside = _aside(self.path)
        if not aside.exists():
            return
        if self.is_made:
            shutil.rmtree(aside)
        else:
            shutil.rmtree(self.path, ignore_errors=True)
            aside.rename(self.path)

    def hand_to_pip(self, arguments: Sequence[str]) -> None:
        """Goes on as the pip that is in it."""
        os.execv(self.python, [str(self.python), "-I", "-m", "pip", "install", *arguments])  # noqa: S606


class _Replacement:
    """Another directory in the place of one: whole when the block is left, or else the old one is there again."""

    def __init__(self, plain: Plain, record: Mapping[str, Any]) -> None:
        self._plain = plain
        self._path = plain.path
        self._aside = _aside(plain.path)
        self._record = record

    def __enter__(self) -> Self:
        self._path.mkdir(parents=True, exist_ok=True)
        self._path.rename(self._aside)
        return self

    def moved(self, file: str) -> str:
        """Where a file is meanwhile."""
        path = Path(os.path.abspath(file))  # noqa: PTH100 (no link is to be followed)
        return str(self._aside / path.relative_to(self._path)) if self._path in path.parents else file

    def fill(self, python: str, **options: Any) -> None:
        """Makes the new one."""
        from ptest._api import default_store

        default_store().materialize(self._path, python=python, pip=True, **options)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            shutil.rmtree(self._path, ignore_errors=True)
            self._aside.rename(self._path)
            return
        if self._record["system_site_packages"]:
            configuration = self._path / "pyvenv.cfg"
            text = configuration.read_text()
            configuration.write_text(text.replace("site-packages = false", "site-packages = true"))
        made = os.listdir(self._path)  # noqa: PTH208 (names)
        self._keep_bytecode()
        for kept in self._aside.iterdir():
            if kept.name not in self._record.get("entries", ()) and kept.name not in made:
                kept.rename(self._path / kept.name)
        self._write_record([*made, MARKER])
        shutil.rmtree(self._aside)

    def _write_record(self, entries: list[str]) -> None:
        from importlib import metadata

        (pip,) = metadata.distributions(name="pip", path=[str(self._plain.site_packages)])
        record = {"pip": pip.version, **self._record, "entries": entries}
        unfinished = self._path / f"{MARKER}.new"
        unfinished.write_text(json.dumps(record))
        unfinished.rename(self._path / MARKER)

    def _keep_bytecode(self) -> None:
        """Takes over what was compiled: where the source is another, Python sees that by its time and size."""
        for old in self._aside.glob("lib/*/site-packages/**/__pycache__"):
            new = self._path / old.relative_to(self._aside)
            if not new.parent.is_dir():
                continue
            if not new.exists():
                old.rename(new)
                continue
            # The store had some of it.
            there = set(os.listdir(new))  # noqa: PTH208 (names)
            for file in old.iterdir():
                if file.name not in there:
                    file.rename(new / file.name)


def command(directory: StrPath) -> list[str]:
    """What does an installation into a directory: the arguments of ``pip install`` come after it."""
    # Not what the project has in its directory, nor PYTHONPATH; -I alone would leave out the user's own packages too.
    of_user = site.ENABLE_USER_SITE and Path(__file__).is_relative_to(site.getusersitepackages())
    return [sys.executable, "-E" if of_user else "-I", "-m", "ptest._plain", os.fspath(directory)]


def _aside(path: Path) -> Path:
    """Where the old directory is while the new one is made: beside it, a name that nobody else gives."""
    return path.with_name(f".{path.name}.ptest-aside")


def main(directory: str, *arguments: str) -> None:
    """Installs, or goes on as pip."""
    from ptest._pip import LeftToPip

    plain = Plain(directory)
    try:
        installed = plain.install(arguments)
    except (LeftToPip, PtestError) as reason:
        sys.stderr.write(f"ptest leaves this to pip: {reason}\n")
        sys.stderr.flush()
        plain.hand_to_pip(arguments)
    else:
        sys.stdout.write(" ".join(["ptest installed", *(f"{it.name}-{it.version}" for it in installed)]) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""What is asked for in the words of ``pip install``, as far as ptest does that itself, and what is installed already.

Not for doing it: see `_plain`. Needs ``packaging``, which tox and nox bring.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
import zipfile
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


class LeftToPip(Exception):  # noqa: N818 (it is not an error)
    """pip is to do this."""


# They change what pip says, or how it goes about it, and not what is there afterwards.
_WITHOUT_EFFECT = frozenset({
    "--disable-pip-version-check",
    "--force-reinstall",
    "--no-cache-dir",
    "--no-color",
    "--no-input",
    "--no-python-version-warning",
    "--no-warn-conflicts",
    "--no-warn-script-location",
    "--prefer-binary",
    "--quiet",
    "--verbose",
})  # fmt: skip
_QUIET_OR_LOUD = re.compile(r"-(q+|v+)")
_WITH_VALUE = {
    "-r": "files",
    "--requirement": "files",
    "-c": "constraints",
    "--constraint": "constraints",
    "-e": "editable",
    "--editable": "editable",
}
_EXTRAS = re.compile(r"\[[^\]]*\]$")


@dataclass
class Asked:
    """What the arguments of ``pip install`` ask for."""

    requirements: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    editable: list[str] = field(default_factory=list)
    upgrade: bool = False
    no_deps: bool = False

    @classmethod
    def read(cls, arguments: Sequence[str]) -> Asked:
        """Understands them.

        Raises
        ------
        LeftToPip
            If there is one among them that is not understood.
        """
        asked = cls()
        words = iter(arguments)
        for word in words:
            name, value = _split(word)
            if not word.startswith("-"):
                asked.requirements.append(word)
            elif name in _WITH_VALUE:
                value = next(words, None) if value is None else value
                if value is None:
                    message = f"{name} says nothing"
                    raise LeftToPip(message)
                getattr(asked, _WITH_VALUE[name]).append(value)
            elif word in {"-U", "--upgrade"}:
                asked.upgrade = True
            elif word == "--no-deps":
                asked.no_deps = True
            elif word not in _WITHOUT_EFFECT and not _QUIET_OR_LOUD.fullmatch(word):
                message = f"{name} is an option of pip's"
                raise LeftToPip(message)
        return asked

    def names(self) -> set[str]:
        """The distributions that are asked for themselves, as far as their names are known."""
        return {name for text in [*self.requirements, *self.editable] if (name := name_of(text)) is not None}

    def keeps(self, distribution: Installed) -> bool:
        """Whether this distribution is to stay what it is."""
        asked = [text for text in self.requirements if name_of(text) == distribution.name]
        if not asked:
            return distribution.name not in self.names() and not self._is_source(distribution)
        return not self.upgrade and all(distribution.satisfies(text, with_extras=True) for text in asked)

    def _is_source(self, distribution: Installed) -> bool:
        """Whether it was made of something local that is asked for again."""
        local = distribution.local
        return local is not None and any(
            os.path.realpath(_EXTRAS.sub("", text)) == os.path.realpath(local)
            for text in [*self.requirements, *self.editable]
        )

    def archives(self) -> dict[str, str]:
        """The distributions that are asked for as a wheel or source in a file, each with what tells its contents."""
        told = {name_of(text): contents(text) for text in self.requirements}
        return {name: content for name, content in told.items() if name is not None and content is not None}

    def is_met_by(self, installed: Iterable[Installed], archives: Mapping[str, str], version: str) -> bool:
        """Whether all that is asked for is certainly there, where these archives were installed for that Python."""
        if self.files or self.editable or self.upgrade:
            return False
        there = {distribution.name: distribution for distribution in installed}
        same = {name for name, content in self.archives().items() if archives.get(name) == content}
        return all(
            _is_not_for(text, version)
            or (
                (found := there.get(name_of(text) or "")) is not None
                and (found.satisfies(text) or (found.local is not None and found.name in same))
            )
            for text in self.requirements
        )


@dataclass(frozen=True)
class Installed:
    """A distribution that is installed in a directory."""

    name: str
    version: str
    url: str | None = None
    """Where it comes from, if it is not from an index."""
    editable: bool = False

    @classmethod
    def each(cls, site_packages: Path) -> Iterator[Installed]:
        """Those of a directory.

        Raises
        ------
        LeftToPip
            If something there cannot be asked for again.
        """
        for distribution in metadata.distributions(path=[str(site_packages)]):
            name = canonicalize_name(distribution.metadata["Name"] or "")
            if distribution.read_text("METADATA") is None or not name:
                message = f"{name or 'something'} was installed in a way of old"
                raise LeftToPip(message)
            url, editable = _origin(distribution)
            yield cls(name, distribution.version, url, editable)

    @property
    def local(self) -> str | None:
        """The path that it was made of."""
        if self.url is None or not self.url.startswith("file:"):
            return None
        return unquote(urlsplit(self.url).path)

    @property
    def pin(self) -> str:
        """What asks for it as it is."""
        if self.editable:
            return self.local or ""
        return f"{self.name} @ {self.url}" if self.url else f"{self.name}=={self.version}"

    def satisfies(self, text: str, *, with_extras: bool = False) -> bool:
        """Whether it is what this requirement asks for; nobody knows of its extras."""
        parsed = _parsed(text)
        if parsed is None or parsed.url is not None or self.url is not None:
            return False
        if parsed.extras and not with_extras:
            return False
        return parsed.specifier.contains(self.version, prereleases=True)


def name_of(text: str) -> str | None:
    """The name of the distribution that a requirement or a path stands for; None if that is not known."""
    parsed = _parsed(text)
    if parsed is not None:
        return canonicalize_name(parsed.name)
    path = Path(_EXTRAS.sub("", text.partition("#")[0]))
    try:
        if path.suffix == ".whl":
            return parse_wheel_filename(path.name)[0]
        if path.name.endswith((".tar.gz", ".zip")):
            return parse_sdist_filename(path.name)[0]
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None
    return _name_of_project(path)


def contents(archive: str) -> str | None:
    """What tells the contents of an archive, whenever it was made; None if it is none."""
    told = hashlib.sha256()
    if archive.endswith(".whl") and Path(archive).is_file():
        with zipfile.ZipFile(archive) as wheel:
            for file in sorted(wheel.infolist(), key=lambda it: it.filename):
                told.update(f"{file.filename}\0{file.external_attr >> 16}\0{file.CRC}\0{file.file_size}\n".encode())
    elif archive.endswith(".tar.gz") and Path(archive).is_file():
        with tarfile.open(archive) as source:
            for member in sorted(source.getmembers(), key=lambda it: it.name):
                told.update(f"{member.name}\0{member.mode}\0{member.type!r}\0{member.linkname}\n".encode())
                content = source.extractfile(member)
                told.update(hashlib.sha256(content.read() if content else b"").digest())
    else:
        return None
    return told.hexdigest()


def _split(word: str) -> tuple[str, str | None]:
    """An option and the value that is in the same word: ``--requirement=FILE``, ``-rFILE``."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        return name, value if equals else None
    return (word[:2], word[2:] or None) if word[:2] in _WITH_VALUE else (word, None)


def _parsed(text: str) -> Requirement | None:
    # `a/b` and `.` are paths, which the grammar of requirements has no word for, and so is `name` nowhere.
    try:
        return Requirement(text)
    except InvalidRequirement:
        return None


def _is_not_for(text: str, version: str) -> bool:
    """Whether a requirement says itself that it is none for this version of Python, on this machine."""
    parsed = _parsed(text)
    if parsed is None or parsed.marker is None:
        return False
    short = ".".join(version.split(".")[:2])
    return not parsed.marker.evaluate({"python_version": short, "python_full_version": version})


def _origin(distribution: metadata.Distribution) -> tuple[str | None, bool]:
    """Where a distribution comes from, as PEP 610 has it recorded."""
    text = distribution.read_text("direct_url.json")
    if text is None:
        return None, False
    origin = json.loads(text)
    url = origin["url"]
    version_control = origin.get("vcs_info")
    if version_control is not None:
        url = f"{version_control['vcs']}+{url}@{version_control['commit_id']}"
    if "subdirectory" in origin:
        url = f"{url}#subdirectory={origin['subdirectory']}"
    return url, bool(origin.get("dir_info", {}).get("editable"))


def _name_of_project(directory: Path) -> str | None:
    """What a project calls itself."""
    try:
        text = (directory / "pyproject.toml").read_text(encoding="utf-8")
    except OSError:
        return None
    # There is no reader of TOML in Python 3.9 and 3.10. What is read here only spares a second try.
    table = re.search(r"^\[project\]\s*$(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
    name = table and re.search(r"""^name\s*=\s*["']([^"']+)["']""", table[1], re.MULTILINE)
    return canonicalize_name(name[1]) if name else None

"""What an environment that tests run in is made of: the project as `ptest matrix` has it, pytest, what was asked for.

Not for how the environment is made, and not for what else it is like.
"""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

_MARKERS = ("pyproject.toml", "setup.cfg", "tox.ini", ".git")
"""What marks the root of a project, as the library has it."""
_LISTS = ("requirements", "requirements_files", "editable", "constraints")
_PYTEST = re.compile(r"pytest\s*(\[[^]]*])?\s*(?P<version>[<>=!~;@].*)?", re.IGNORECASE)


def options(config: pytest.Config, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The options of an environment that tests of this run are to run in, of which so much is asked for."""
    made: dict[str, Any] = {**asked}
    project = _project(config)
    for name in _LISTS:
        made[name] = [*project.get(name, ()), *listed(asked.get(name))]
    requirements = [it for it in made["requirements"] if _version_of_pytest(it) != ""]
    if all(_version_of_pytest(it) is None for it in requirements):
        # The one that runs here, or the newest below it that the other Python can have: reports are then understood.
        requirements.append(f"pytest<={pytest.__version__.partition('+')[0]}")
    coverage = sys.modules.get("coverage")
    if coverage is not None and measuring(config) is not None:
        requirements.append(f"coverage<={coverage.__version__.partition('+')[0]}")
    made["requirements"] = requirements
    return made


def measuring(config: pytest.Config) -> Any:
    """What measures here which lines run: pytest-cov's, if it does."""
    return getattr(getattr(config.pluginmanager.getplugin("_cov"), "cov_controller", None), "cov", None)


def listed(value: Any) -> list[str]:
    """Options that are one or several."""
    if value is None:
        return []
    if isinstance(value, (str, os.PathLike)):
        value = [value]
    return [os.fspath(it) for it in value]


def _version_of_pytest(requirement: str) -> str | None:
    """Which version of pytest it asks for, empty if any; None if it is about something else."""
    found = _PYTEST.fullmatch(requirement.strip())
    return None if found is None else found["version"] or ""


def _project(config: pytest.Config) -> dict[str, list[str]]:
    """What the project and its table ``[tool.ptest.matrix]`` bring into each environment."""
    invoked = config.invocation_params.dir
    declared, beside = _declared(invoked)
    found = {
        "requirements": [_seen_from(beside, it) for it in listed(declared.get("with"))],
        "requirements_files": [str(beside / it) for it in listed(declared.get("requirements"))],
        "constraints": [str(beside / it) for it in listed(declared.get("constraints"))],
    }
    root = next((it for it in (invoked, *invoked.parents) if any((it / name).exists() for name in _MARKERS)), invoked)
    how = declared.get("install") or ("editable" if _is_editable(root) else "wheel")
    if how != "none" and _is_installable(root):
        found.setdefault("editable" if how == "editable" else "requirements", []).append(str(root))
    return found


def _declared(invoked: Path) -> tuple[Mapping[str, Any], Path]:
    """The table of the nearest file that is of ptest, and the directory of that."""
    for directory in (invoked, *invoked.parents):
        own = _read(directory / "ptest.toml")
        if own is not None:
            return own.get("matrix", {}), directory
        tool = (_read(directory / "pyproject.toml") or {}).get("tool", {})
        if "ptest" in tool:
            return tool["ptest"].get("matrix", {}), directory
    return {}, invoked


def _read(file: Path) -> dict[str, Any] | None:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError:
        return None
    try:
        import tomllib as toml
    except ImportError:
        # Before Python 3.11 pytest itself needs it.
        import tomli as toml  # type: ignore[import-not-found,no-redef,unused-ignore]
    try:
        return toml.loads(text)
    except toml.TOMLDecodeError as error:
        message = f"{file}: {error}"
        raise pytest.UsageError(message) from error


def _seen_from(directory: Path, requirement: str) -> str:
    """A requirement that is a path means the same from everywhere."""
    is_path = requirement.startswith(".") or (
        "/" in requirement and "://" not in requirement and "@" not in requirement
    )
    return os.path.normpath(directory / requirement) if is_path else requirement


def _is_installable(root: Path) -> bool:
    if (root / "setup.py").is_file():
        return True
    file = _read(root / "pyproject.toml") or {}
    return "project" in file or "build-system" in file


def _is_editable(root: Path) -> bool:
    """Whether the project is installed here so that its source tree is what is imported."""
    import json

    for distribution in distributions():
        text = distribution.read_text("direct_url.json")
        if text is None:
            continue
        origin = json.loads(text)
        place = urlsplit(origin.get("url", ""))
        if place.scheme == "file" and Path(unquote(place.path)) == root:
            return bool(origin.get("dir_info", {}).get("editable"))
    return False

"""What an environment that tests run in is made of: the project as `ptest matrix` has it, pytest, what was asked for.

Not for how the environment is made, and not for what else it is like.
"""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import distributions
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest

from ptest._errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
    from ptest._api import default_store

    try:
        return default_store()._core.requirements_of_cells(str(config.invocation_params.dir), list(_editables()))
    except InvalidInputError as error:
        message = f"{error}\nhint: {error.hint}" if error.hint else str(error)
        raise pytest.UsageError(message) from error


def _editables() -> Iterator[str]:
    """The projects that are installed here so that their source trees are what is imported."""
    import json

    for distribution in distributions():
        text = distribution.read_text("direct_url.json")
        if text is None:
            continue
        origin = json.loads(text)
        place = urlsplit(origin.get("url", ""))
        if place.scheme == "file" and origin.get("dir_info", {}).get("editable"):
            yield os.path.normpath(unquote(place.path))

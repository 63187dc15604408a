"""How an environment of the virtualenv engine is made of its configuration, and how ptest's states are called here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ptest._api import default_store
from ptest._errors import NotFoundError
from ptest.isolation.enums import CleanupPolicy, EnvironmentStatus
from ptest.isolation.errors import DuplicateEnvironmentError

if TYPE_CHECKING:
    from pathlib import Path

    from ptest._environment import Environment
    from ptest.isolation.config import VirtualenvConfig
    from ptest.isolation.directory import Directory

_STATES = {
    "creating": EnvironmentStatus.INITIALIZING,
    "created": EnvironmentStatus.CREATED,
    "activating": EnvironmentStatus.ACTIVATING,
    "active": EnvironmentStatus.ACTIVE,
    "deactivating": EnvironmentStatus.DEACTIVATING,
    "inactive": EnvironmentStatus.INACTIVE,
    "removing": EnvironmentStatus.CLEANING,
    "removed": EnvironmentStatus.CLEANUP_COMPLETE,
    "failed": EnvironmentStatus.ERROR,
}

_SHAPE = """
import os, shutil, sys
prefix = os.environ["VIRTUAL_ENV"]
if "system" in sys.argv:
    path = os.path.join(prefix, "pyvenv.cfg")
    with open(path) as file:
        text = file.read()
    with open(path, "w") as file:
        file.write(text.replace("include-system-site-packages = false", "include-system-site-packages = true"))
if "copies" in sys.argv:
    path = os.path.join(prefix, "bin", "python")
    shutil.copy2(os.path.realpath(path), path + ".new")
    os.replace(path + ".new", path)
"""


def state_of(state: str) -> EnvironmentStatus:
    """What a state of ptest's is called here."""
    return _STATES[state]


def previous(occupant: str | None, path: Path, settings: VirtualenvConfig) -> Environment | None:
    """The environment that a new one takes the place of.

    Raises
    ------
    DuplicateEnvironmentError
        If there is one, and the configuration does not say that it is to go.
    """
    if occupant is None:
        return None
    store = default_store()
    try:
        store.find(occupant)
        # Its process may have been killed.
        store.recover()
        found = store.find(occupant)
    except NotFoundError:
        return None
    if settings.clear or settings.upgrade:
        return found
    message = f"{path} is the directory of the environment {occupant}"
    raise DuplicateEnvironmentError(message, hint="clean that up, or configure `clear` or `upgrade`")


def environment(
    settings: VirtualenvConfig,
    path: Path,
    *,
    source: str | None,
    replaced: Environment | None,
) -> Environment:
    """Makes one: of the content of the snapshot ``source``, or anew.

    With the packages of the one that it replaces, if it upgrades that.
    """
    options: dict[str, Any] = {**settings.options, "write": [path]}
    if settings.cleanup_policy is CleanupPolicy.SCHEDULED:
        options["ttl"] = settings.cleanup_after
    detached = settings.cleanup_policy is CleanupPolicy.NEVER
    store = default_store()
    if source is not None:
        options.pop("requirements", None)
        return store.fork(source, detached=detached, **options)
    options["python"] = settings.python_path
    if replaced is not None and settings.upgrade:
        given = options.get("requirements", ())
        options["requirements"] = [
            *([given] if isinstance(given, str) else given),
            *(f"{package.name}=={package.version}" for package in replaced.packages() if package.requested),
        ]
    made = store.create(detached=detached, **options)
    shape = [
        word for word, asked in (("system", settings.system_site_packages), ("copies", not settings.symlinks)) if asked
    ]
    if shape:
        try:
            made.exec(["python", "-c", _SHAPE, *shape], cwd=path, check=True)
            made.deactivate()
        except BaseException:
            made.remove()
            raise
    return made


def left(directory: Directory, pid: int) -> None:
    """Takes away what is left in the caller's directory of an environment that goes with its process."""
    if pid == os.getpid():
        directory.clear()

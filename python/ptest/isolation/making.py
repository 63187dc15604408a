"""How an environment of the virtualenv engine is made of its configuration, and how ptest's states are called here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ptest._api import default_store
from ptest._errors import NotFoundError
from ptest.isolation.enums import CleanupPolicy, EnvironmentStatus
from ptest.isolation.errors import DuplicateEnvironmentError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Callable

    from typing_extensions import Self, TypeAlias

    from ptest._environment import Environment
    from ptest.isolation.config import VirtualenvConfig
    from ptest.isolation.directory import Directory

    Ready: TypeAlias = Callable[[], Environment]

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
    ready: Ready | None,
) -> Environment:
    """Makes one: of the content of the snapshot ``source``, or anew, or of what is ready.

    With the packages of the one that it replaces, if it upgrades that.
    """
    options = _options(settings, path)
    detached = settings.cleanup_policy is CleanupPolicy.NEVER
    store = default_store()
    if source is not None:
        del options["python"]
        options.pop("requirements", None)
        return store.fork(source, detached=detached, **options)
    if replaced is not None and settings.upgrade:
        given = options.get("requirements", ())
        options["requirements"] = [
            *([given] if isinstance(given, str) else given),
            *(f"{package.name}=={package.version}" for package in replaced.packages() if package.requested),
        ]
    made = store.create(detached=detached, **options) if ready is None else ready()
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


def _options(settings: VirtualenvConfig, path: Path) -> dict[str, Any]:
    """What `ptest.create` is asked for."""
    options: dict[str, Any] = {**settings.options, "write": [path], "python": settings.python_path}
    if settings.cleanup_policy is CleanupPolicy.SCHEDULED:
        options["ttl"] = settings.cleanup_after
    return options


class Several:
    """Environments that are made at once, before each is wanted. Those that nobody wanted go when the block is left."""

    def __init__(self, wanted: Sequence[tuple[VirtualenvConfig, Path] | None]) -> None:
        self._made: list[Environment | Exception | None] = [None] * len(wanted)
        for detached in (False, True):
            # What an upgrade is made of is only known when it is wanted.
            alike = {
                number: _options(settings, path)
                for number, (settings, path) in ((it, pair) for it, pair in enumerate(wanted) if pair is not None)
                if not settings.upgrade and (settings.cleanup_policy is CleanupPolicy.NEVER) is detached
            }
            each: Any = [(None, options) for options in alike.values()]
            made = default_store()._create_each(each, detached=detached) if each else []  # noqa: SLF001
            for number, one in zip(alike, made):
                self._made[number] = one

    def take(self, number: int) -> Ready | None:
        """How the one of this number is had, if it was made before."""
        if self._made[number] is None:
            return None

        def ready() -> Environment:
            one, self._made[number] = self._made[number], None
            if isinstance(one, Exception):
                raise one
            assert one is not None  # noqa: S101  # it is taken once
            return one

        return ready

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._made:
            if one is not None and not isinstance(one, Exception):
                one.remove()


def left(directory: Directory, pid: int) -> None:
    """Takes away what is left in the caller's directory of an environment that goes with its process."""
    if pid == os.getpid():
        directory.clear()

"""What can be asked for by name, and how it is passed on: the same words as on the command line and in ``ptest.toml``.

What a word of Python's is on the command line has another name here: ``--with`` is ``requirements``, ``--pass`` is
``pass_env``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import Enum
from typing import IO, TYPE_CHECKING, Any, TypedDict

from ptest._errors import InvalidInputError
from ptest._reports import Engine

if TYPE_CHECKING:
    from typing_extensions import TypeAlias

StrPath: TypeAlias = "str | os.PathLike[str]"
Size: TypeAlias = "str | int"
Duration: TypeAlias = "str | float | timedelta"
Stream: TypeAlias = "int | IO[Any] | None"


class Profile(str, Enum):
    """How far an environment is kept apart from the machine."""

    NONE = "none"
    """Not at all: files of its own at a path of its own, and clean variables."""
    STANDARD = "standard"
    """The machine's files read-only but for the project; home, ``/tmp``, processes and devices of its own."""
    STRICT = "strict"
    """For code that nobody trusts: also no network, no privileges, few system calls, and limits."""

    def __str__(self) -> str:
        return str(self.value)


class Network(str, Enum):
    """What network commands see."""

    HOST = "host"
    """The machine's."""
    NONE = "none"
    """None at all."""
    PRIVATE = "private"
    """A loopback of its own, where every port is free."""

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True)
class Limits:
    """What all that runs in an environment may use. What is None is not limited."""

    memory: Size | None = None
    """Memory, without swap, of all processes together: ``"512M"``, or bytes."""
    cpus: float | str | None = None
    """Processors: ``1.5``."""
    pids: int | None = None
    """Processes and threads."""
    cpu_time: Duration | None = None
    """Processor time of one command with all that it starts, in seconds or as ``"1m"``."""
    open_files: int | None = None
    """Files that a process has open."""
    file_size: Size | None = None
    """The size of a file."""
    disk: Size | None = None
    """What the environment holds on the disk."""


class EnvironmentOptions(TypedDict, total=False):
    """What an environment is made of and what it is like. What is not said is as the configuration says."""

    python: StrPath | None
    """A version (``3.12``), a range (``>=3.10``), a name or a path."""
    requirements: str | Sequence[StrPath]
    """Requirement specifiers, URLs, and paths of projects and wheels."""
    requirements_files: StrPath | Sequence[StrPath]
    """Requirements files."""
    editable: StrPath | Sequence[StrPath]
    """Projects whose source tree is what is imported."""
    constraints: StrPath | Sequence[StrPath]
    """Constraints files."""
    pip: bool
    """Whether pip is in it."""
    engine: Engine | str
    """The engine that it runs on."""
    profile: Profile | str
    """How far it is kept apart from the machine."""
    network: Network | str
    """What network commands see."""
    allow: Sequence[str]
    """Hosts that they may reach, and no others."""
    home: StrPath
    """What commands see as home: ``private``, ``host`` or a path."""
    write: Sequence[StrPath]
    """Paths besides the project that commands may write."""
    read: Sequence[StrPath]
    """Paths that commands may read where that is not allowed anyway."""
    bind_socket: Sequence[StrPath]
    """Sockets of the machine that commands may connect to."""
    scratch: bool
    """Whether writes to the project are thrown away."""
    env: Mapping[str, str]
    """Variables of every command."""
    pass_env: Sequence[str]
    """Names of the caller's variables that commands see too."""
    limits: Limits
    """What all that runs in it may use; or each limit by itself:"""
    memory: Size
    """See `Limits`."""
    cpus: float | str
    """See `Limits`."""
    pids: int
    """See `Limits`."""
    cpu_time: Duration
    """See `Limits`."""
    open_files: int
    """See `Limits`."""
    file_size: Size
    """See `Limits`."""
    disk: Size
    """See `Limits`."""
    degrade: bool
    """Whether less is accepted where the machine cannot do all that is asked for."""
    ttl: Duration
    """How long it lives, in seconds or as ``"1h"``."""
    idle: Duration
    """How long it may be without a command before it goes."""
    ports: Sequence[str]
    """Names of ports that it gets; commands find the number of ``http`` in ``PTEST_PORT_HTTP``."""
    port_range: str
    """Which ports may be taken: ``20000-29999``."""
    labels: Mapping[str, str]
    """What is written on it, to select it by."""
    alerts: Sequence[str]
    """What is told by an event when it is exceeded: ``memory>1G for 10s``."""
    hard_links: bool
    """Whether files may be hard links, where nothing is mounted."""
    project: StrPath
    """A directory of the project that commands may write; where this process stands, or what the store says."""


class RunOptions(TypedDict, total=False):
    """How a command runs. What is not said is as with `subprocess`, but for what is said here."""

    cwd: StrPath | None
    """Where it starts; where this process is, unless said otherwise."""
    timeout: Duration | None
    """After how long it is ended, in seconds; at once if that is 0. What it had written is there."""
    grace: Duration | None
    """How long it has then between SIGTERM and SIGKILL."""
    stdin: Stream
    """A descriptor or file that it reads, or `PIPE`. Otherwise it reads nothing."""
    stdout: Stream
    """A descriptor or file that it writes, `PIPE` or `DEVNULL`."""
    stderr: Stream
    """The same of standard error, or `STDOUT`."""
    encoding: str
    """How bytes are text: UTF-8 unless said otherwise."""
    errors: str
    """What becomes of bytes that are no text: they are replaced unless said otherwise, never lost without a trace."""


class ExecOptions(RunOptions, total=False):
    """How a command runs whose end is waited for."""

    check: bool
    """Whether a failure is an error."""
    max_output: int
    """How many bytes of each stream are kept, half of the beginning and half of the end: usually 16 MiB."""


class CommandOptions(EnvironmentOptions, ExecOptions, total=False):
    """What an environment is like that is made for one command, and how the command runs."""

    refresh: bool
    """Whether versions are chosen anew, whatever is known."""


class CellOptions(EnvironmentOptions, total=False):
    """Which cells there are, and what their environments are like. What is not said is as the project's file has it."""

    pythons: str | Sequence[StrPath]
    """The interpreters: ``--python`` of the command line."""
    sets: Mapping[str, str | Sequence[str]]
    """Sets of requirements by name: ``--with-set``."""
    cells: str | Sequence[str]
    """The names of cells, of which no others are meant."""
    install: str
    """How the project itself is installed: ``wheel``, ``editable`` or ``none``."""


class MatrixOptions(CellOptions, total=False):
    """Which cells there are, and how their commands are run."""

    jobs: int | None
    """How many at a time; as many as there are processors, unless said."""
    fail_fast: bool
    """Whether the others are ended when one fails."""
    junit_xml: StrPath | None
    """The file that the test results of all cells are written to."""
    output: StrPath | None
    """The directory for what the commands write, one file for each cell."""
    timeout: Duration | None
    """After how long a command is ended, in seconds."""
    grace: Duration | None
    """How long it has then between SIGTERM and SIGKILL."""
    refresh: bool
    """Whether versions are chosen anew, whatever is known."""


class Settings(TypedDict, total=False):
    """Settings of a store that are no options of an environment; the rest of ``ptest config list`` is accepted too."""

    home: StrPath
    """The directory of the store."""
    project: StrPath
    """A directory of the project whose file is read, and which environments are for; where this process stands."""
    installer: str
    """``uv``, ``pip`` or ``auto``."""
    resolve_ttl: Duration
    """How long chosen versions are used without asking an index."""
    busy_timeout: Duration
    """How long an operation waits for another on the same environment."""
    wait: Duration
    """How long it waits for room; not at all unless said."""
    max_environments: int
    """How many environments there may be at once."""
    max_memory: Size
    """How much memory the limits of all may add up to."""
    max_disk: Size
    """How much the store may hold."""


_DURATIONS = frozenset({"busy_timeout", "cpu_time", "idle", "resolve_ttl", "ttl", "wait"})
"""Options whose numbers are seconds."""

_WORDS = {
    "requirements": "with",
    "requirements_files": "requirements",
    "home": "user_home",
    "pass_env": "pass",
}


def environment(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of an environment as the library reads them."""
    given: dict[str, Any] = {}
    for name, value in options.items():
        if value is None:
            continue
        if isinstance(value, Limits):
            given.update(settings(asdict(value)))
        else:
            given[_WORDS.get(name, name)] = _plain_option(name, value)
    return given


def settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as the library reads them."""
    return {name: _plain_option(name, value) for name, value in given.items() if value is not None}


def settings_of_store(given: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Settings as the library reads them, and the project."""
    others = {name: value for name, value in given.items() if name != "project"}
    project = given.get("project")
    return settings(others), None if project is None else os.fspath(project)


def _plain_option(name: str, value: Any) -> Any:
    if name in _DURATIONS and isinstance(value, (int, float)) and not isinstance(value, bool):
        value = timedelta(seconds=value)
    return plain(value)


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, (Enum, Engine)):
        return value.value if isinstance(value, Enum) else value.name
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, timedelta):
        return f"{value / timedelta(milliseconds=1):.0f}ms"
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return value


def as_list(value: Any) -> list[str]:
    """One or several, as several."""
    if value is None:
        return []
    return [plain(value)] if isinstance(value, (str, os.PathLike)) else [plain(item) for item in value]


def refuse_unknown(options: Mapping[str, Any], known: type[Any]) -> None:
    """As Python does it for a function whose options are written out."""
    for name in options:
        if name not in known.__annotations__:
            message = f"there is no option {name!r} here; there are {', '.join(known.__annotations__)}"
            raise TypeError(message)


def seconds(value: Duration | None) -> float | None:
    """A time of a call, which is no setting: in seconds."""
    if value is None:
        return None
    time = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if not 0 <= time < float("inf"):
        message = f"{value!r} is not a time in seconds"
        raise InvalidInputError(message)
    return time

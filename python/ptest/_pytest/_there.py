"""An environment with a pytest in it: how that is started, asked and listened to, and what is left when it is lost.

Not for which tests run there, and not for what pytest makes of their reports: see `_elsewhere`.
"""

from __future__ import annotations

import json
import os
import select
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptest._errors import PtestError
from ptest._pytest._made_of import measuring

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pytest

    from ptest._environment import Environment
    from ptest._process import Process
    from ptest._pytest._keep import Keeper

_BOOTSTRAP = """\
import os, sys
size, program = int(sys.argv.pop()), b""
while len(program) < size:
    program += os.read(0, size - len(program)) or sys.exit(1)
exec(compile(program, "ptest", "exec"))
"""
_TICK = 100
"""After how many milliseconds it is looked whether it is still there."""
_MOST = 256 << 20
"""How much it may say of one test, or write past pytest."""
_LAST_WORDS = 16 << 10

_NOT_THERE = frozenset(
    {
        "basetemp", "cacheclear", "cacheshow", "collectonly", "debug", "deselect", "dist", "distload", "durations",
        "durations_min", "failedfirst", "file_or_dir", "help", "inifilename", "junitprefix", "keyword", "last_failed",
        "last_failed_no_failures", "lf", "log_file", "loadgroup", "loopgroup", "looponfail", "markexpr", "maxfail",
        "maxprocesses", "maxworkerrestart", "newfirst", "numprocesses", "pastebin", "px", "report_log", "rootdir",
        "rsyncdir", "rsyncignore", "setuponly", "setupplan", "setupshow", "showfixtures", "show_fixtures_per_test",
        "stepwise", "stepwise_reset", "stepwise_skip", "testrunuid", "trace", "tx", "usepdb", "usepdb_cls", "version",
        "xmlpath",
    }
)  # fmt: skip
"""Options that are for the whole run, which is not there: which tests, in which order, by how many, told how."""
_PREFIXES_NOT_THERE = ("cov_", "no_cov", "ptest_", "xdist_")


class GoneError(Exception):
    """The pytest in the environment ended, or was ended, before it had said all."""


class There:
    """One environment, and the pytest in it: made when it is first needed, and anew when it is lost."""

    def __init__(self, config: pytest.Config, keep: Keeper, options: dict[str, Any]) -> None:
        self.options = options
        self.environment: Environment | None = None
        self.config = config
        self._keep = keep
        self._failure: PtestError | None = None
        self._process: Process[bytes] | None = None
        self._output: Any = None
        self._taken = bytearray()

    def __repr__(self) -> str:
        return "the environment" if self.environment is None else f"the environment {self.environment.id}"

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def start(self, args: list[str], *, describe: bool) -> None:
        """Starts pytest with these arguments; what it collects is what it says first.

        Raises
        ------
        PtestError
            If the environment cannot be made; it is tried once.
        """
        if self._failure is not None:
            raise self._failure
        invoked = self.config.invocation_params.dir
        if self.environment is None:
            try:
                with _standing_in(invoked):
                    self.environment = self._make()
            except PtestError as error:
                self._failure = error
                raise
        from ptest._process import PIPE

        is_captured = self.config.getoption("capture") != "no"
        self._output = tempfile.TemporaryFile() if is_captured else None  # noqa: SIM115 - it is read when all is over
        program = Path(__file__).with_name("_inside.py").read_bytes()
        self._process = self.environment.popen(
            ["python", "-c", _BOOTSTRAP, str(len(program))],
            text=False,
            env={
                name: value
                for name, value in os.environ.items()
                if name.startswith("PYTEST_") and name != "PYTEST_CURRENT_TEST"
            },
            cwd=invoked,
            stdin=PIPE,
            stdout=PIPE,
            stderr=self._output if is_captured else 1,
        )
        self._taken.clear()
        started = {
            "args": [*self._places(), *args],
            "argv": sys.argv,
            "coverage": _coverage(self.config),
            "describe": describe,
            "options": _options(self.config),
            "worker": _worker(self.config),
            "path": _path(invoked, self.config.rootpath),
        }
        self._write(program + json.dumps(started).encode() + b"\n")

    def _make(self) -> Environment:
        from ptest._api import default_store

        return default_store().create(detached=self._keep.may_keep, **self.options)

    def _places(self) -> list[str]:
        """Where the project is, and how it says that it is tested."""
        places = ["--rootdir", str(self.config.rootpath)]
        if self.config.inipath is not None:
            places += ["-c", str(self.config.inipath)]
        return places

    def ask(self, **asked: Any) -> None:
        self._write(json.dumps(asked).encode() + b"\n")

    def _write(self, data: bytes) -> None:
        assert self._process is not None  # noqa: S101
        assert self._process.stdin is not None  # noqa: S101
        # If it is gone, that is noticed when it is listened to.
        with suppress(BrokenPipeError):
            self._process.stdin.write(data)
            self._process.stdin.flush()

    def listen(self, *, until: Iterable[str], timeout: float | None = None) -> Iterator[tuple[str, Any]]:
        """What it says, with the last word of these.

        Raises
        ------
        GoneError
            If that does not come any more.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            kind, value = self._message(deadline)
            if kind == "broken":
                self._end_with(f"it failed:\n{value}")
            yield kind, value
            if kind in until:
                return

    def _message(self, deadline: float | None) -> tuple[str, Any]:
        assert self._process is not None  # noqa: S101
        assert self._process.stdout is not None  # noqa: S101
        reading = self._process.stdout.fileno()
        poll = select.poll()
        poll.register(reading, select.POLLIN)
        seen = 0
        while True:
            end = self._taken.find(b"\n", seen)
            if end >= 0:
                line = bytes(self._taken[:end])
                del self._taken[: end + 1]
                return self._understood(line)
            seen = len(self._taken)
            if poll.poll(_TICK):
                data = os.read(reading, 1 << 20)
                if not data:
                    raise GoneError(self._told())
                self._taken += data
            elif self._process.poll() is not None:
                raise GoneError(self._told())
            if deadline is not None and time.monotonic() >= deadline:
                self._end_with("it had not ended when its time was up")
            if seen > _MOST or self._written() > _MOST:
                self._end_with(f"it wrote more than {_MOST >> 20} MiB")

    def _understood(self, line: bytes) -> tuple[str, Any]:
        # Whatever runs there can write to the stream, if it looks for it: nothing of it is believed to be well formed.
        try:
            kind, value = json.loads(line)
        except (ValueError, TypeError):
            self._end_with("what it said is nothing that pytest says")
        return str(kind), value

    def _end_with(self, why: str) -> Any:
        self.end()
        raise GoneError(why)

    def _told(self) -> str:
        """How it ended by itself."""
        assert self._process is not None  # noqa: S101
        try:
            code = self._process.wait()
        except PtestError as error:
            self.end()
            return str(error)
        ended = self._process.exit
        self.end()
        if ended is not None and ended.limit is not None and ended.limit.ended:
            return f"it reached the limit {ended.limit.limit} of {ended.limit.configured}"
        if code < 0:
            import signal

            return f"it was ended by signal {-code} ({signal.Signals(-code).name})"
        return f"it ended its process with code {code}"

    def _written(self) -> int:
        return 0 if self._output is None else os.fstat(self._output.fileno()).st_size

    def last_words(self) -> str:
        """The end of what it wrote past pytest."""
        if self._output is None:
            return ""
        self._output.seek(max(self._written() - _LAST_WORDS, 0))
        return str(self._output.read().decode(errors="replace"))

    def end(self) -> None:
        """Ends it, and all that it started."""
        process, self._process = self._process, None
        if process is None:
            return
        assert self.environment is not None  # noqa: S101
        with suppress(PtestError):
            process.kill()
            self.environment.deactivate(0)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def remove(self) -> None:
        """Takes the environment away, unless it is to be looked at."""
        self.end()
        if self.environment is not None:
            self._keep.release(self.environment)


@contextmanager
def _standing_in(directory: Path) -> Iterator[None]:
    """What an environment is made of is seen from where pytest was started, wherever a test went."""
    try:
        before = os.getcwd()  # noqa: PTH109 - its directory may be gone
    except OSError:
        before = None
    if before == str(directory):
        yield
        return
    os.chdir(directory)
    try:
        yield
    finally:
        if before is not None:
            os.chdir(before)


def _options(config: pytest.Config) -> dict[str, Any]:
    """The options of this run that count there, as far as they can be said: also those of the project's conftest.py."""
    found = {}
    for name, value in vars(config.option).items():
        if name in _NOT_THERE or name.startswith(_PREFIXES_NOT_THERE):
            continue
        try:
            found[name] = json.loads(json.dumps(value))
        except (TypeError, ValueError):
            continue
    reporter = config.pluginmanager.getplugin("terminalreporter")
    found["color"] = "yes" if getattr(reporter, "hasmarkup", False) else "no"
    return found


def _worker(config: pytest.Config) -> dict[str, Any]:
    """Who this is, as pytest-xdist has it."""
    alone = {"workerid": "master", "workercount": 1, "testrunuid": "", "mainargv": sys.argv}
    return {name: getattr(config, "workerinput", alone).get(name) for name in alone}


def _path(invoked: Path, root: Path) -> list[str]:
    """What of this interpreter's path is the project's own: by ``python -m pytest``, or by the variable."""
    given = [Path(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    own = [invoked] if "" in sys.path or str(invoked) in sys.path else []
    prefix = Path(sys.prefix)
    found = [invoked / entry for entry in (*own, *given)]
    return [str(it) for it in found if root in (it, *it.parents) and prefix not in (it, *it.parents)]


def _coverage(config: pytest.Config) -> dict[str, Any] | None:
    """What pytest-cov measures here, in the words of coverage: what is measured there is found and added by it."""
    here = measuring(config)
    if here is None:
        return None
    rc = config.getoption("cov_config", None)
    return {
        "branch": here.get_option("run:branch"),
        "config_file": rc if rc and Path(rc).exists() else False,
        "data_file": str(Path(here.config.data_file).absolute()),
        "source": list(here.config.source or ()) or None,
    }

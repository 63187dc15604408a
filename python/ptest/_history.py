"""What happened in a store: events, and runs of commands with what they wrote."""

from __future__ import annotations

import signal as signals
from typing import TYPE_CHECKING, Any

from ptest._opened import Store as OpenedStore
from ptest._opened import label
from ptest._options import seconds
from ptest._records import Event
from ptest._reports import Hook
from ptest._runs import Log, LogFollower, LogPiece, Run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Literal

    from ptest import _core
    from ptest._environment import Environment
    from ptest._options import Duration


class Store(OpenedStore):
    """A store that is asked for what happened in it."""

    def events(
        self,
        kinds: Sequence[str] = (),
        *,
        environments: Sequence[str] = (),
        since: Duration | None = None,
        after: int | None = None,
        last: int = 100,
    ) -> list[Event]:
        """The latest events that are asked for, oldest first.

        Parameters
        ----------
        kinds
            Only these, and names of events of your own; all unless said.
        environments
            Only of these, by name or id.
        since
            Only of so many seconds.
        after
            Only what comes after that number.
        last
            How many of them, the latest.
        """
        found = self._core.events(list(environments), list(kinds), seconds(since), after, last)
        return Event.each(found["events"])

    def follow(
        self,
        kinds: Sequence[str] = (),
        *,
        environments: Sequence[str] = (),
        after: int | None = None,
    ) -> Follower:
        """Follows the events that come after this call, or after that number."""
        return Follower(self._core.follow(list(environments), list(kinds), after))

    def emit(self, name: str, data: Any = None) -> int:
        """Records an event of your own, with data as JSON has it; gives its number."""
        return self._core.emit(None, name, data)

    def hooks(self) -> list[Hook]:
        """What is called when something happens: the hooks of the configuration, and of files that were applied."""
        return Hook.each(self._core.hooks()["hooks"])

    def runs(
        self,
        environment: str | Environment | None = None,
        *,
        active: bool = False,
        last: int = 20,
    ) -> list[Run]:
        """The latest runs, in an environment or in all, oldest first; with ``active`` those that have not ended.

        Those of an environment that is gone too, as long as they are remembered.
        """
        found = self._core.runs(None if environment is None else label(environment), active, last)
        return Run.each(found["runs"])

    def logs(
        self,
        environment: str | Environment,
        run: str | Run | None = None,
        *,
        stream: Literal["stdout", "stderr"] | None = None,
        head: int | None = None,
        tail: int | None = None,
    ) -> Log:
        """What a run wrote, as far as it is kept: the last one, if none is said.

        Parameters
        ----------
        environment
            The environment, which may be gone.
        run
            Its number, or its id.
        stream
            Only what was written there.
        head
            Only so many lines, the first.
        tail
            Only so many lines, the last.

        Raises
        ------
        NotFoundError
            If there is no such run, or nothing is kept of it.
        """
        which = {"stream": stream, "head": head, "tail": tail}
        return Log.of(self._core.log(label(environment), _word(run), which))

    def follow_logs(
        self,
        environment: str | Environment,
        run: str | Run | None = None,
        *,
        stream: Literal["stdout", "stderr"] | None = None,
        tail: int | None = None,
    ) -> LogFollower:
        """What a run wrote and writes, piece by piece, until it has ended."""
        which = {"stream": stream, "head": None, "tail": tail}
        return LogFollower(self._core.follow_log(label(environment), _word(run), which), LogPiece.of)

    def kill(
        self,
        environment: str | Environment,
        run: str | Run | None = None,
        *,
        signal: int = signals.SIGTERM,
    ) -> None:
        """Sends a signal to a command that runs, whichever process waits for it: of the last run, if none is said.

        Raises
        ------
        IllegalStateError
            If it has ended.
        """
        self._core.signal_run(label(environment), _word(run), int(signal))


class Follower:
    """Events as they come, each at least once, in order; also an iterator that waits for the next."""

    def __init__(self, core: _core.Follower) -> None:
        self._core = core

    def next(self, timeout: Duration | None = None) -> list[Event]:
        """The next events; none if none came in that time, in seconds. Without a time it waits for one."""
        return Event.each(self._core.next(seconds(timeout))["events"])

    def __iter__(self) -> Iterator[Event]:
        while True:
            yield from self.next()


def _word(run: str | Run | None) -> str | None:
    return None if run is None else str(run)

"""What keeps a store in order, and what is done with many environments of it at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptest import _core
from ptest._opened import Store as OpenedStore
from ptest._opened import label
from ptest._options import seconds, settings_of_store
from ptest._program import program
from ptest._reports import (
    Bulk,
    Collected,
    Finding,
    Improved,
    Kernel,
    Rebuilt,
    Recovered,
    Removed,
    StoreVerification,
    Trial,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal

    from typing_extensions import Unpack

    from ptest._environment import Environment
    from ptest._options import Duration, Profile, Settings

_WEEK = 7 * 24 * 3600


class Store(OpenedStore):
    """A store that is kept in order."""

    def remove(self, *environments: str | Environment, selector: str | None = None, all: bool = False) -> Removed:
        """Takes environments away, several at a time: these; or those whose labels meet every condition; or all.

        Each is taken away or reported; one that fails does not keep the others. By a selector and by ``all`` none is
        meant that lives for a process that runs.
        """
        if bool(environments) + (selector is not None) + all != 1:
            message = "either environments are named, or a selector is given, or all are meant"
            raise TypeError(message)
        if environments:
            return Removed.of(self._core.remove([label(it) for it in environments]))
        return Removed.of(self._core.remove_selected(selector or ""))

    def activate(self, selector: str = "") -> Bulk:
        """Lets commands begin at once in those whose labels meet every condition, and that live for no process."""
        return Bulk.of(self._core.activate(selector))

    def deactivate(self, selector: str = "", *, grace: Duration | None = None) -> Bulk:
        """Ends all that runs in those whose labels meet every condition, and that live for no process."""
        return Bulk.of(self._core.deactivate(selector, seconds(grace)))

    def prune(self, *, older_than: Duration, dry_run: bool = False) -> Removed:
        """Takes away environments that are at rest and have not been active for so long."""
        return Removed.of(self._core.prune(seconds(older_than) or 0.0, dry_run))

    def gc(self, *, older_than: Duration = _WEEK, keep_size: int | None = None, dry_run: bool = False) -> Collected:
        """Takes away layers, recipes and caches of no use; tells what went, or would go.

        Parameters
        ----------
        older_than
            What was used within this time is left.
        keep_size
            More goes, what was used least recently first, until the store is no larger than so many bytes.
        dry_run
            Whether it is only looked at.
        """
        found = self._core.collect(seconds(older_than) or 0.0, keep_size, dry_run)
        return Collected.of(found["collected"])

    def recover(self) -> Recovered:
        """Finishes or undoes what dead processes left, as every opening does."""
        return Recovered.of(self._core.recover())

    @staticmethod
    def rebuild(**settings: Unpack[Settings]) -> Rebuilt:
        """Makes the database of a store anew that is damaged or gone, of what can be read of it and of the disk.

        Raises
        ------
        IllegalStateError
            If it is sound.
        """
        given, project = settings_of_store(settings)
        return Rebuilt.of(_core.rebuild(given, program(), project))

    def verify(self, *, layers: Literal["full", "sampled"] = "full") -> StoreVerification:
        """Checks every layer: the contents of every file, or of some. What is damaged is made again, if it is used."""
        return StoreVerification.of(self._core.verify(layers))

    def improve(self) -> Improved:
        """Makes what was used start faster, now; otherwise that is done in the background."""
        return Improved.of(self._core.improve())

    def prove(self, profiles: Iterable[Profile | str] = ("standard", "strict")) -> list[Trial]:
        """Attacks environments of these profiles, to see what they keep out."""
        return Trial.each(self._core.prove([str(profile) for profile in profiles])["trials"])

    def metrics(self) -> str:
        """Metrics of the store and of every environment, as Prometheus reads them."""
        return self._core.metrics()


def doctor(**settings: Unpack[Settings]) -> list[Finding]:
    """What ptest needs and can use on this machine: there or not, why, what to do. The store need not be sound."""
    given, project = settings_of_store(settings)
    return Finding.each(_core.doctor(given, program(), project)["findings"])


def kernels() -> list[Kernel]:
    """The kernels of your Jupyter that ptest installed: see `Environment.install_kernel`."""
    return Kernel.each(_core.kernels()["kernels"])


def remove_kernel(kernel: str | Kernel) -> Kernel:
    """Takes a kernel away; its environment stays.

    Raises
    ------
    NotFoundError
        If ptest installed none of that name.
    """
    name = kernel.name if isinstance(kernel, Kernel) else kernel
    return Kernel.of(_core.remove_kernel(name)["kernel"])

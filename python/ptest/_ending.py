"""What is done when the process ends, however it came to be.

Not for a process that is killed, or calls `os._exit`: what it had is found when the store is next opened.
"""

from __future__ import annotations

import atexit
import sys
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from typing_extensions import ParamSpec

    P = ParamSpec("P")

_AFTER_CHILDREN = -100
"""A worker waits for its own children before it does what has a priority below zero; its queues are below that too."""


def at_end(work: Callable[P, Any], *args: P.args, **options: P.kwargs) -> None:
    """Has this done when the process ends: what was asked for last comes first.

    A worker of `multiprocessing` that is a fork leaves by `os._exit`, without what is registered with `atexit`, and has
    a list of its own. One that is not, or is of a later Python, does both: to do it twice must be as good as once.
    """
    atexit.register(work, *args, **options)
    # Whoever is a worker has it imported.
    process, util = (sys.modules.get(f"multiprocessing.{name}") for name in ("process", "util"))
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, work, args, options, exitpriority=_AFTER_CHILDREN)

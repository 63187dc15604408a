"""The marker ``ptest``: which options it may have, and what a test's markers say together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ptest._options import EnvironmentOptions


def check(item: pytest.Item, mark: pytest.Mark) -> None:
    """Refuses a marker that says what no environment can be asked for.

    Raises
    ------
    pytest.UsageError
        With the option that was probably meant.
    """
    from ptest._options import EnvironmentOptions

    if mark.args:
        message = f"{item.nodeid}: the marker ptest takes options by name, as python='3.12', not {mark.args[0]!r}"
        raise pytest.UsageError(message)
    known = EnvironmentOptions.__annotations__
    for name in mark.kwargs:
        if name not in known:
            from difflib import get_close_matches

            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            message = f"{item.nodeid}: the marker ptest has no option {name}; {hint}"
            raise pytest.UsageError(message)


def options(node: pytest.Item | pytest.Collector) -> EnvironmentOptions:
    """What the markers of a test, or of a module, say together: what is nearer to the test wins, option by option."""
    said: Any = {}
    for mark in node.iter_markers("ptest"):
        said = {**mark.kwargs, **said}
    return said  # type: ignore[no-any-return]  # checked by name when it was collected

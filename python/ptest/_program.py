"""The program ``ptest`` that was installed with this package."""

from __future__ import annotations

from pathlib import Path


def program() -> str | None:
    """The ``ptest`` that was installed with this package: it goes on with what outlasts this process."""
    import sysconfig

    places = (sysconfig.get_path("scripts"), sysconfig.get_path("scripts", "posix_user"))
    programs = (Path(place) / "ptest" for place in places)
    return next((str(program) for program in programs if program.exists()), None)

"""The nox backend: ``import ptest.nox`` in a noxfile, and sessions' environments are made by ptest.

nox has no place for plug-ins, so the import is what registers: the backend ``ptest``, and what `Session.install` does
in its environments. It is also the default from then on, unless the noxfile, the command line or a variable says
another.
"""

from __future__ import annotations

from functools import wraps
from typing import Any, Callable

import nox
from nox.logger import logger
from nox.sessions import Session
from nox.virtualenv import ALL_VENVS, InterpreterNotFound, VirtualEnv

from ptest._errors import NotFoundError
from ptest._plain import Plain, command

BACKEND = "ptest"
_SYSTEM_SITE_PACKAGES = "--system-site-packages"


class PtestEnv(VirtualEnv):
    """A session's environment, in a directory of its own that ptest makes."""

    def __init__(self, location: str, interpreter: str | None = None, **options: Any) -> None:
        super().__init__(location, interpreter, **{**options, "venv_backend": "venv"})
        self._venv_backend = BACKEND
        others = set(self.venv_params) - {_SYSTEM_SITE_PACKAGES}
        if others:
            logger.warning(f"ptest makes nothing of venv_params {sorted(others)}")

    def create(self) -> bool:
        """Makes it, unless it is there and to be used again; says whether it did."""
        if not self._clean_location():
            logger.debug(f"Reusing existing virtual environment at {self.location_name}.")
            self._reused = True
            return False
        python = self._resolved_interpreter
        logger.info(f"Creating virtual environment ({BACKEND}) using {python} in {self.location_name}")
        Plain(self.location).make(python, system_site_packages=_SYSTEM_SITE_PACKAGES in self.venv_params)
        return True

    def _check_reused_environment_type(self) -> bool:
        return Plain(self.location).is_made

    @property
    def _resolved_interpreter(self) -> str:
        if self._resolved is None and self.interpreter and self.download_python != "always":
            self._resolved = _find(self.interpreter)
        try:
            return super()._resolved_interpreter
        except InterpreterNotFound as error:
            self._resolved = error
            raise


def _find(interpreter: str) -> str | None:
    """The interpreter that ptest finds for what nox asks for."""
    from ptest._api import default_store

    try:
        with default_store().create(python=interpreter, pip=False) as environment:
            return str(environment.status().interpreter)
    except NotFoundError:
        return None


def _install_by_ptest(of_nox: Callable[..., None]) -> Callable[..., None]:
    @wraps(of_nox)
    def install(session: Session, *args: str, **options: Any) -> None:
        venv = session._runner.venv
        if not isinstance(venv, PtestEnv) or not args or (session._runner.global_config.no_install and venv._reused):
            of_nox(session, *args, **options)
            return
        if options.get("silent") is None:
            options["silent"] = not session._runner.global_config.verbose
        # It is no program of the environment.
        session.run_install(*command(venv.location), *args, **{**options, "external": True})

    return install


def _register() -> None:
    if BACKEND in ALL_VENVS:
        return
    ALL_VENVS[BACKEND] = PtestEnv
    Session.install = _install_by_ptest(Session.install)  # type: ignore[method-assign]
    if not _is_chosen("default_venv_backend"):
        nox.options.default_venv_backend = BACKEND


def _is_chosen(option: str) -> bool:
    """Whether the noxfile has said something of an option already."""
    provenance = getattr(nox.options, "provenance", None)
    # Older ones have None until then.
    return getattr(nox.options, option) is not None if provenance is None else provenance(option).name != "DEFAULT"


_register()

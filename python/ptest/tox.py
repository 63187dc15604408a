"""The tox plugin: tox's environments, made by ptest.

It is loaded by tox alone. What an environment is, what it is told and what is run in it stay tox's own business: here
its directory is made and what is installed into it, nothing more. So tox's configuration stays what it is, but for
``runner``, of which ``ptest`` is the default.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tox.config.types import Command
from tox.plugin import impl
from tox.tox_env.errors import Fail, Skip
from tox.tox_env.python.api import PythonInfo, VersionInfo
from tox.tox_env.python.pip.pip_install import Pip
from tox.tox_env.python.virtual_env.api import VirtualEnv
from tox.tox_env.python.virtual_env.package.cmd_builder import VirtualEnvCmdBuilder
from tox.tox_env.python.virtual_env.package.pyproject import Pep517VirtualEnvPackager
from tox.tox_env.python.virtual_env.runner import VirtualEnvRunner
from virtualenv.discovery.py_spec import PythonSpec

from ptest._errors import NotFoundError, PtestError
from ptest._plain import Plain, command

if TYPE_CHECKING:
    from collections.abc import Generator

    from tox.config.main import Config
    from tox.tox_env.package import PackageToxEnv
    from tox.tox_env.register import ToxEnvRegister
    from tox.tox_env.runner import RunToxEnv

_DESCRIBE = """
import json, platform, sys, sysconfig
print(json.dumps({
    "implementation": platform.python_implementation(),
    "version_info": list(sys.version_info),
    "version": sys.version,
    "is_64": sys.maxsize > 2 ** 32,
    "platform": sys.platform,
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
}))
"""

_SEEDED_WITH_SETUPTOOLS = (3, 12)
"""From this version on virtualenv leaves setuptools out, and so do we."""


class PtestInstaller(Pip):
    """Installs by ptest what pip would install; an ``install_command`` of the project's own is left as it is."""

    def default_install_command(self, conf: Config, env_name: str | None) -> Command:  # noqa: ARG002
        """What installs, unless the configuration says something else."""
        return Command([*command(self._env.env_dir), "{opts}", "{packages}"])


class PtestEnvironment(VirtualEnv):
    """An environment in a directory of its own that ptest makes."""

    @property
    def installer(self) -> Pip:
        """What installs into it."""
        if self._installer is None:
            self._installer = PtestInstaller(self)
        return self._installer

    def register_config(self) -> None:
        """Knows what else a configuration may say, that it is not without effect."""
        super().register_config()
        self.conf.add_config("uv_resolution", str, "", "tox-uv's strategy of resolution, which ptest has not")

    def _default_pass_env(self) -> list[str]:
        return [*super()._default_pass_env(), "PTEST_*"]

    @property
    def _allow_externals(self) -> list[str]:
        return [*super()._allow_externals, command(self.env_dir)[0]]

    def _get_python(self, base_python: list[str]) -> PythonInfo | None:
        named = [_described(Path(path)) for path in getattr(self.options, "discover", [])]
        for text in base_python:
            spec = PythonSpec.from_string_spec(text)
            found = next((it for it in named if _has_version(it, spec) and _is_what_was_asked(it, spec)), None)
            found = _find(spec) if found is None else found
            if found is not None:
                return found
        return None

    def python_cache(self) -> dict[str, Any]:
        """What makes it another environment when it changes."""
        # Not virtualenv's, which says which virtualenv it was.
        of_python = super(VirtualEnv, self).python_cache()
        return {
            **of_python,
            "executable": str(self.base_python.extra["executable"]),
            "system_site_packages": bool(self.conf["system_site_packages"]),
        }

    def create_python_env(self) -> None:
        """Makes it, as empty as virtualenv would."""
        if self.conf["uv_resolution"]:
            message = "uv_resolution is for tox-uv: let it make this environment by `runner = uv-venv-runner`"
            raise Fail(message)
        seeds = ["setuptools"] if self.base_python.version_info < _SEEDED_WITH_SETUPTOOLS else []
        try:
            Plain(self.env_dir).make(
                str(self.base_python.extra["executable"]),
                requirements=seeds,
                system_site_packages=bool(self.conf["system_site_packages"]),
            )
        except PtestError as error:
            raise Fail(str(error)) from error

    def prepend_env_var_path(self) -> list[Path]:
        """Where its programs are looked for."""
        return [self.env_bin_dir()]

    def env_bin_dir(self) -> Path:
        """Where its programs are."""
        return Path(self.env_dir) / "bin"

    def env_python(self) -> Path:
        """Its Python."""
        return self.env_bin_dir() / "python"

    def env_site_package_dir(self) -> Path:
        """Where its packages are."""
        python = self.base_python
        threaded = "t" if python.free_threaded else ""
        return Path(self.env_dir) / "lib" / f"python{python.version_dot}{threaded}" / "site-packages"

    def env_site_package_dir_plat(self) -> Path:
        """Where its packages with machine code are."""
        return self.env_site_package_dir()


class PtestRunner(PtestEnvironment, VirtualEnvRunner):
    """An environment that commands run in."""

    @staticmethod
    def id() -> str:
        """What it is called in ``runner``."""
        return "ptest"

    @property
    def _package_tox_env_type(self) -> str:
        return PtestPackager.id()

    @property
    def _external_pkg_tox_env_type(self) -> str:
        return PtestCmdBuilder.id()


class PtestPackager(PtestEnvironment, Pep517VirtualEnvPackager):
    """An environment that the project is built in."""

    @staticmethod
    def id() -> str:
        """What it is called in ``package_tox_env_type``."""
        return "ptest-pep-517"


class PtestCmdBuilder(PtestEnvironment, VirtualEnvCmdBuilder):
    """An environment that the project is built in by commands of its own."""

    @staticmethod
    def id() -> str:
        """What it is called in ``package_tox_env_type``."""
        return "ptest-cmd-builder"

    def register_run_env(self, run_env: RunToxEnv) -> Generator[tuple[str, str], PackageToxEnv, None]:
        """Names the environments that building takes besides."""
        wanted = super().register_run_env(run_env)
        asked = next(wanted, None)
        while asked is not None:
            name, kind = asked
            made = yield name, PtestPackager.id() if kind == Pep517VirtualEnvPackager.id() else kind
            try:
                asked = wanted.send(made)
            except StopIteration:
                return


def _find(spec: PythonSpec) -> PythonInfo | None:
    """The interpreter that ptest finds for what tox asks for."""
    from ptest._api import default_store

    try:
        with default_store().create(python=_asked(spec), pip=False) as environment:
            executable = environment.status().interpreter
    except NotFoundError:
        return None
    except PtestError as error:
        message = f"{spec.str_spec}: {error}"
        raise Skip(message) from error
    found = _described(executable)
    return found if _is_what_was_asked(found, spec) else None


@lru_cache
def _described(executable: Path) -> PythonInfo:
    """What an interpreter says of itself."""
    said = subprocess.run([executable, "-I", "-S", "-c", _DESCRIBE], capture_output=True, check=True)  # noqa: S603
    told = json.loads(said.stdout)
    return PythonInfo(
        **{**told, "version_info": VersionInfo(*told["version_info"]), "extra": {"executable": executable}},
    )


def _has_version(found: PythonInfo, spec: PythonSpec) -> bool:
    """Whether it has the version that is asked for, of which parts may be open."""
    asked = (spec.major, spec.minor, spec.micro)
    return spec.path is None and all(part is None or part == own for part, own in zip(asked, found.version_info))


def _is_what_was_asked(found: PythonInfo, spec: PythonSpec) -> bool:
    """Whether it is also what ptest is not told: what kind of Python it is."""
    implementation, architecture = spec.implementation, spec.architecture
    return spec.path is not None or (
        (implementation is None or implementation.lower() == found.impl_lower)
        and (architecture is None or (architecture == 64) == found.is_64)  # noqa: PLR2004
        and (getattr(spec, "free_threaded", None) or False) == found.free_threaded
    )


def _asked(spec: PythonSpec) -> str:
    """What tox asks for, in the words of ptest."""
    if spec.path is not None:
        return str(spec.path)
    version = ".".join(str(part) for part in (spec.major, spec.minor, spec.micro) if part is not None)
    if spec.implementation is not None and spec.implementation.lower() != "cpython":
        return f"{spec.implementation.lower()}{version}"
    if not version:
        return sys.executable
    return f"{version}t" if getattr(spec, "free_threaded", False) else version


# After tox-uv, which makes itself the default too: whoever installed this beside it asked for it later.
@impl(trylast=True)
def tox_register_tox_env(register: ToxEnvRegister) -> None:
    """Makes ptest the one who makes environments where the configuration names no other."""
    register.add_run_env(PtestRunner)
    register.add_package_env(PtestPackager)
    register.add_package_env(PtestCmdBuilder)
    register.default_env_runner = PtestRunner.id()

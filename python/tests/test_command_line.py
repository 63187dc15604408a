"""Everything that the command line can do, Python can do: each command and option has its counterpart, or a reason."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import subprocess
from typing import Any, Callable

import pytest

import ptest
from ptest import aio
from ptest._program import program
from ptest._records import Record

pytestmark = pytest.mark.one_python

ELSEWHERE = {
    "completions": "of the program itself",
    "man": "of the program itself",
    "top": "a view; `Store.environments` has what it shows, `Environment.stats` what it draws",
    "hooks serve": "what is started by itself in the background, from Python too",
    "snapshot": "a group",
    "kernel": "a group",
    "port": "a group",
    "config": "a group",
}
"""Commands that are of the program alone."""

COMMANDS: dict[str, list[Callable[..., Any]]] = {
    "activate": [ptest.Environment.activate, ptest.Store.activate],
    "apply": [ptest.Store.apply],
    "config get": [ptest.Config.setting],
    "config list": [ptest.Config.settings],
    "config path": [ptest.Config.files],
    "config set": [ptest.Config.set],
    "create": [ptest.Store.create, ptest.Store.create_many, ptest.Store.fork, ptest.Store.materialize],
    "deactivate": [ptest.Environment.deactivate, ptest.Store.deactivate],
    "diff": [ptest.Environment.scratch],
    "doctor": [ptest.doctor, ptest.Store.prove],
    "events": [ptest.Store.events, ptest.Store.follow, ptest.Environment.events],
    "events emit": [ptest.Store.emit, ptest.Environment.emit],
    "exec": [ptest.Environment.exec, ptest.Environment.popen, ptest.Environment.detach],
    "export": [ptest.Store.export],
    "fork": [ptest.Store.fork, ptest.Store.fork_many],
    "gc": [ptest.Store.gc],
    "hooks": [ptest.Store.hooks],
    "import": [ptest.Store.import_],
    "improve": [ptest.Store.improve],
    "install": [ptest.Environment.install],
    "kernel install": [ptest.Environment.install_kernel],
    "kernel list": [ptest.kernels],
    "kernel remove": [ptest.remove_kernel],
    "kill": [ptest.Store.kill],
    "list": [ptest.Store.environments],
    "logs": [ptest.Store.logs, ptest.Store.follow_logs],
    "matrix": [ptest.Store.matrix, ptest.Store.cells],
    "metrics": [ptest.Store.metrics],
    "packages": [ptest.Environment.packages],
    "path": [ptest.Environment.path.fget, ptest.Environment.shims.fget],  # type: ignore[attr-defined]
    "port acquire": [ptest.Store.acquire_ports, ptest.Environment.acquire_port],
    "port list": [ptest.Store.ports],
    "port release": [ptest.Store.release_ports, ptest.Environment.release_ports],
    "prune": [ptest.Store.prune],
    "recover": [ptest.Store.recover, ptest.Store.rebuild],
    "remove": [ptest.Environment.remove, ptest.Store.remove],
    "run": [ptest.Store.run],
    "runs": [ptest.Store.runs],
    "shell": [ptest.Environment.shell],
    "snapshot create": [ptest.Environment.snapshot],
    "snapshot diff": [ptest.Store.diff],
    "snapshot list": [ptest.Store.snapshots],
    "snapshot remove": [ptest.Store.remove_snapshot],
    "snapshot restore": [ptest.Environment.restore],
    "stats": [ptest.Environment.stats],
    "status": [ptest.Environment.status, ptest.Environment.details, ptest.Store.environments],
    "uninstall": [ptest.Environment.uninstall],
    "upgrade": [ptest.Environment.upgrade],
    "verify": [ptest.Environment.verify, ptest.Store.verify],
}

OPTIONS = {
    "--with": "requirements",
    "--requirements": "requirements_files",
    "--constraint": "constraints",
    "--no-pip": "pip",
    "--pass": "pass_env",
    "--port": "ports",
    "--label": "labels",
    "--alert": "alerts",
    "--kind": "kinds",
    "--with-set": "sets",
    "--cell": "cells",
    "--profile": "profiles",
    "--tcp": "protocol",
    "--udp": "protocol",
    "--stdout": "stream",
    "--stderr": "stream",
}
"""What the command line calls otherwise than Python, where the same name is not there too."""

METHODS = {
    ("create", "--materialize"): "materialize",
    ("create", "--from"): "fork",
    ("create", "--count"): "create_many",
    ("fork", "--count"): "fork_many",
    ("matrix", "--list"): "cells",
    ("matrix", "--python"): "pythons",
    ("run", "--keep"): "create",
    ("run", "--log"): "popen",
    ("run", "--detach"): "detach",
    ("exec", "--detach"): "detach",
    ("logs", "--follow"): "follow_logs",
    ("events", "--follow"): "follow",
    ("events emit", "--for"): "emit",
    ("path", "--shims"): "shims",
    ("port acquire", "--for"): "acquire_port",
    ("port release", "--for"): "release_ports",
    ("recover", "--rebuild"): "rebuild",
    ("doctor", "--prove"): "prove",
    ("verify", "--store"): "verify",
    ("metrics", "--output"): "metrics",
}
"""Options that are a method or another parameter in Python."""

GLOBAL = {
    "--ptest-home": "home",
    "--no-wait": "busy_timeout",
    "--wait": "wait",
}
"""Options of every command, and the settings of a store that they are."""

OF_A_TERMINAL = {"--quiet", "--verbose", "--no-progress", "--color", "--help", "--version", "--format", "--once"}
"""How things are told to people."""


def _program(*arguments: str) -> str:
    """What the program says."""
    ptest_ = program()
    if ptest_ is None:
        pytest.skip("the program is not installed")
    return subprocess.run([ptest_, *arguments], capture_output=True, text=True, check=True).stdout


def _reference() -> dict[str, set[str]]:
    """The options of each command."""
    [path] = [file for file in _program("reference").split() if file.endswith("cli.md")]
    text = _program("reference", path)
    found = {}
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title = re.match(r"`ptest ?([a-z ]*)`\n", section)
        if title is not None:
            rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("|")]
            found[title[1]] = {option for row in rows for option in re.findall(r"`(--[a-z-]+)`", row)}
    return found


def _parameters(function: Callable[..., Any]) -> set[str]:
    names = set()
    for parameter in inspect.signature(function).parameters.values():
        names.add(parameter.name)
        if parameter.kind is parameter.VAR_KEYWORD:
            options = re.search(r"Unpack\[(\w+)\]", str(parameter.annotation))
            assert options is not None, function
            names.update(getattr(ptest, options[1]).__annotations__)
    return names


def test_every_command_has_its_counterpart() -> None:
    commands = set(_reference()) - {""}
    assert commands == COMMANDS.keys() | ELSEWHERE.keys()
    assert "matrix" in commands


def test_every_option_has_its_counterpart() -> None:
    missing = []
    reference = _reference()
    settings = ptest.Settings.__annotations__
    for option in reference.pop("") - OF_A_TERMINAL:
        assert GLOBAL[option] in settings
    for command, functions in COMMANDS.items():
        parameters = {name for function in functions for name in _parameters(function)}
        names = {function.__name__ for function in functions}
        for option in reference[command] - OF_A_TERMINAL - GLOBAL.keys():
            counterparts = {option[2:].replace("-", "_"), OPTIONS.get(option)} & parameters
            method = METHODS.get((command, option))
            if not counterparts and not (
                method in names | parameters
                or hasattr(ptest.Store, str(method))
                or hasattr(ptest.Environment, str(method))
            ):
                missing.append((command, option))
    assert missing == []


def test_nothing_is_missing_for_event_loops() -> None:
    for name in ("Store", "Environment", "Matrix"):
        wanted = {method for method in dir(getattr(ptest, name)) if not method.startswith("_")}
        there = {method for method in dir(getattr(aio, name)) if not method.startswith("_")}
        # What takes no time is asked of `sync`.
        assert wanted - there <= {"name", "store"}
    functions = {name for name in ptest.__all__ if inspect.isfunction(getattr(ptest, name))}
    assert functions <= set(aio.__all__)


DOCUMENTS = {
    "Applied": "applied",
    "AppliedEnvironment": "applied.environments",
    "AppliedHook": "applied.hooks",
    "Attempt": "proof.trials.inside",
    "Bulk": "bulk",
    "Cell": "matrix.cells",
    "CellResult": "matrix.cells.result",
    "Collected": "collected.collected",
    "ConfigFile": "config_paths.files",
    "DamagedLayer": "store_verification.damaged",
    "Difference": "difference",
    "Event": "event.event",
    "Failure": "removed.failed",
    "FileChange": "difference.files",
    "Finding": "doctor.findings",
    "Hook": "hooks.hooks",
    "Improved": "improved",
    "Kernel": "kernels.kernels",
    "LimitAsked": "runs.runs.limits_asked",
    "Log": "log",
    "LogPiece": "log.output",
    "LostEnvironment": "rebuilt.lost",
    "Package": "packages.packages",
    "PackageChange": "changes.changes",
    "Port": "ports.ports",
    "Problem": "verification.problems",
    "Rebuilt": "rebuilt",
    "RebuiltTable": "rebuilt.tables",
    "Recovered": "recovered",
    "Removed": "removed",
    "Run": "runs.runs",
    "RunClient": "runs.runs.client",
    "RunLimit": "runs.runs.limits",
    "RunStream": "runs.runs.stdout",
    "RunUsage": "runs.runs.usage",
    "Setting": "config.settings",
    "SettingDifference": "applied.environments.differences",
    "Snapshot": "snapshot.snapshot",
    "StatsPoint": "stats.points",
    "Status": "environment.environment",
    "StoreVerification": "store_verification",
    "StruckLimit": "runs.runs.limit",
    "Totals": "stats.totals",
    "Trial": "proof.trials",
    "Usage": "environment.environment.usage",
    "Verification": "verification",
}
"""The document that each record is made of, and where in it."""

PART = {"Snapshot", "Status", "Usage", "Event"}
"""Records that leave something of their document out."""


def _fields(document: str) -> set[str]:
    """The fields of a document by its schema."""
    name, *path = document.split(".")
    files = _program("reference").split()
    [file] = [file for file in files if file.endswith(f"/ptest.{name}.json")]
    schema = json.loads(_program("reference", file))
    for key in path:
        schema = schema["properties"][key]
        schema = schema.get("items", schema)
    return set(schema["required"]) - {"schema"}


def test_every_record_has_the_fields_of_its_document() -> None:
    records = {name: value for name in ptest.__all__ if isinstance(value := getattr(ptest, name), type)}
    made = {name: cls for name, cls in records.items() if issubclass(cls, Record) and name != "Capability"}
    assert made.keys() == DOCUMENTS.keys()
    for name, cls in made.items():
        fields, told = {field.name for field in dataclasses.fields(cls)}, _fields(DOCUMENTS[name])
        # Whose it is, the caller knows.
        assert fields <= told, name
        assert name in PART or told - fields <= {"environment", "dry_run", "store"}, name

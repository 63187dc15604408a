"""The transcripts of pages that have a directory of their own, such as the tutorial and the complete examples.

Each command of a page is run, in order, in a copy of the page's directory, and what it writes is what the page shows.

`PTEST_DOCS_WRITE=1` writes into the pages what came instead. Figures that differ from run to run are not compared.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from documents.pages import ROOT, Block, blocks, need_pythons, pages

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = [page for page in pages() if page.name == "README.md" and page.parent != ROOT]
TOOLS = ("tox",)
"""Programs of others that pages use."""
WRITE = os.environ.get("PTEST_DOCS_WRITE") == "1"

VARYING = [
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r"\b\d+(\.\d+)? ?(ms|s|seconds|MiB|KiB|GiB|%)(?![a-z])", r"N \2"),
    (r"\b(3\.\d+)\.\d+\b", r"\1.N"),
    (r"\b[23]\d{4}\b", "PORT"),
    (r"\be[0-9a-f]{32}\b", "ID"),
    (r"\(\d+/(\d+)\)", r"(N/\1)"),
    (r" +", " "),
]
"""What is not the same each time, and what is compared in its place."""


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_the_commands_of_a_page_write_what_it_shows(page: Path, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    shell = Shell(page, tmp_path, is_plugin_installed=pytestconfig.pluginmanager.has_plugin("ptest"))
    came: dict[str, str] = {}
    transcripts = blocks(page, "console")
    need_pythons("".join(block.text for block in transcripts))
    for program in TOOLS:
        if any(f"$ {program} " in block.text for block in transcripts) and not shell.has(program):
            pytest.skip(f"{program} is not installed")
    try:
        for block in transcripts:
            came[block.text] = "".join(shell.transcript(command, shown) for command, shown in commands(block))
    finally:
        shell.close()
    if WRITE:
        text = page.read_text()
        for old, new in came.items():
            if varying(old) != varying(new):
                text = text.replace(f"```console\n{old}```", f"```console\n{new}```")
        page.write_text(text)
    for text, block in zip(came.values(), blocks(page, "console")):
        assert varying(text) == varying(block.text), block
    assert transcripts != []


class Shell:
    """Runs commands as a reader would: in a copy of the page's directory, with a store of its own."""

    def __init__(self, page: Path, scratch: Path, *, is_plugin_installed: bool) -> None:
        self.directory = scratch / page.parent.name
        shutil.copytree(page.parent, self.directory, ignore=shutil.ignore_patterns("README.md", "__pycache__", ".*"))
        self.home = scratch / "store"
        programs = str(Path(sys.executable).parent)
        kept = ("HOME", "LANG", "PYTHONPATH", "TMPDIR", "PTEST_UV")
        self.environment = {
            **{name: value for name, value in os.environ.items() if name in kept or name.startswith(("UV_", "PIP_"))},
            "PATH": os.pathsep.join([programs, os.environ["PATH"]]),
            "PTEST_HOME": str(self.home),
            "PTEST_IMPROVE": "false",
            "PYTHONDONTWRITEBYTECODE": "1",
            # What plugins say that readers need not have.
            "PYTHONWARNINGS": "ignore:The configuration option",
            "XDG_CONFIG_HOME": str(scratch / "configuration"),
            "COLUMNS": "100",
            "NO_COLOR": "1",
        }
        if not is_plugin_installed:
            self.environment["PYTEST_PLUGINS"] = "ptest._pytest"

    def transcript(self, command: str, shown: str) -> str:
        """A command and what it writes; as it is shown, if that differs only in what varies."""
        run = subprocess.run(
            ["bash", "-c", command.replace("\n> ", "\n")],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        written = run.stdout.replace(str(self.directory), f"/home/me/{self.directory.name}")
        written = written.replace(str(self.home), "/home/me/.local/share/ptest")
        if written and not written.endswith("\n"):
            written += "\n"
        return f"$ {command}\n" + (shown if varying(shown) == varying(written) else written)

    def has(self, program: str) -> bool:
        """Whether a program is there."""
        return shutil.which(program, path=self.environment["PATH"]) is not None

    def close(self) -> None:
        """Takes away what a page left in its store."""
        subprocess.run(["ptest", "remove", "--all"], env=self.environment, check=False, capture_output=True)


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """The commands of a transcript, each with what it is shown to write."""
    for piece in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        found = re.match(r"(.*(?:\n> .*)*)\n?((?s:.*))", piece)
        assert found is not None
        yield found[1], found[2]


def varying(text: str) -> str:
    """A text without what varies; what is done side by side ends in any order."""
    for pattern, word in VARYING:
        text = re.sub(pattern, word, text)
    lines = [line.rstrip() for line in text.split("\n")]
    side_by_side = sorted(line for line in lines if "(N/" in line)
    return "\n".join(side_by_side.pop(0) if "(N/" in line else line for line in lines)

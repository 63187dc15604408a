"""The documents that these tests read: pages of Markdown, and the blocks in them. Not for what is done with a block."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
"""The repository."""
DOCS = ROOT / "docs"

_BLOCK = re.compile(r"^```(?P<language>\S+)[^\n]*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A piece of a page between fences."""

    page: Path
    line: int
    """Where its text begins."""
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Every page that is written by hand."""
    generated = DOCS / "reference"
    written = [page for page in sorted(DOCS.rglob("*.md")) if generated not in page.parents]
    return [ROOT / "README.md", *written]


def blocks(page: Path, language: str) -> list[Block]:
    """The blocks of a page in this language."""
    text = page.read_text("utf-8")
    return [
        Block(page, text.count("\n", 0, found.start("text")) + 1, language, found["text"])
        for found in _BLOCK.finditer(text)
        if found["language"] == language
    ]


def need_pythons(text: str) -> None:
    """Skips what asks for a Python that is not here: ``python = ["3.9"]``, ``python="3.9"``."""
    for line in re.findall(r"python ?= ?\[?(?:\"[\d.]+\"(?:, )?)+", text):
        for version in re.findall(r"[\d.]+", line):
            if not is_here(version):
                pytest.skip(f"no Python {version}")


@cache
def is_here(version: str) -> bool:
    """Whether there is a Python of a version."""
    run = subprocess.run(["ptest", "run", "--python", version, "--", "true"], check=False, capture_output=True)
    return run.returncode == 0

"""The examples in docstrings and the Python that pages show: each runs, and gives what is said that it gives."""

from __future__ import annotations

import doctest
import os
import pkgutil
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from documents.pages import Block, blocks, need_pythons, pages

import ptest


def source(module: str) -> str:
    """The text of a module, which is not imported for that."""
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_text("utf-8")


# Only what has examples is imported: some modules need what is not installed everywhere.
MODULES = [
    found.name
    for found in pkgutil.walk_packages(ptest.__path__, "ptest.", onerror=lambda _: None)
    if found.name != "ptest._core" and ">>> " in source(found.name)
]
EXAMPLES = [
    test
    for name in ("ptest", *sorted(MODULES))
    for test in doctest.DocTestFinder(exclude_empty=True).find(import_module(name))
    if test.examples
]
BLOCKS = [block for page in pages() for block in blocks(page, "python")]


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda test: test.name)
def test_an_example_of_a_docstring_gives_what_it_says(example: doctest.DocTest) -> None:
    example.globs["ptest"] = ptest
    doctest.DebugRunner(verbose=False).run(example)


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_python_of_a_page_runs(block: Block, project: Path, pytestconfig: pytest.Config) -> None:
    need_pythons(block.text)
    # What has tests is for pytest, which needs no import of itself to be shown each time.
    is_tests = "def test_" in block.text
    file = project / "test_page.py"
    file.write_text(f"import pytest\n{block.text}" if is_tests else block.text)
    plugin = [] if pytestconfig.pluginmanager.has_plugin("ptest") else ["-p", "ptest._pytest"]
    command = ["-m", "pytest", "-q", *plugin, file.name] if is_tests else [file.name]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    run = subprocess.run(
        [sys.executable, *command],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout + run.stderr

"""Every public name is described where it is defined, and is in the reference."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from documents.pages import DOCS, ROOT

import ptest
import ptest.aio
import ptest.isolation
from ptest import _pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

MODULES = (ptest, ptest.aio, ptest.isolation)
NAMES = [(module, name) for module in MODULES for name in module.__all__ if not name.startswith("__")]
REFERENCE = DOCS / "reference" / "python"


def named(parameter: object) -> str:
    return parameter if isinstance(parameter, str) else getattr(parameter, "__name__", "")


@pytest.mark.parametrize(("module", "name"), NAMES, ids=named)
def test_a_public_name_is_described_with_all_that_is_public_in_it(module: ModuleType, name: str) -> None:
    value = getattr(module, name)
    assert inspect.getdoc(value), f"{module.__name__}.{name} has no docstring"
    if inspect.isclass(value):
        assert list(undescribed(value)) == []


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_a_public_name_is_in_the_reference(module: ModuleType) -> None:
    shown = {
        found for page in REFERENCE.glob("*.md") for found in re.findall(r"^::: (\S+)", page.read_text(), re.MULTILINE)
    }
    missing = [f"::: {module.__name__}.{name}" for of, name in NAMES if of is module]
    missing = [line for line in missing if line[4:] not in shown]
    assert missing == [], f"a page of {REFERENCE.relative_to(ROOT)} needs these lines"


def test_fixtures_and_options_of_the_plugin_are_in_the_reference() -> None:
    page = (REFERENCE / "pytest.md").read_text()
    source = "".join(path.read_text() for path in (ROOT / "python/ptest/_pytest").glob("*.py"))
    options = re.findall(r'addoption\(\s*"(--[a-z-]+)"', source)
    assert options != []
    names = [f"::: ptest._pytest._fixtures.{name}" for name in _pytest.__all__]
    assert [name for name in (*names, *(f"`{option}" for option in options)) if name not in page] == []


def undescribed(cls: type[Any]) -> Iterator[str]:
    """What is public in a class of the package, and has no word about it."""
    bases = [base for base in cls.__mro__ if base.__module__.startswith("ptest")]
    described = frozenset().union(*map(attributes, bases))
    for base in bases:
        for name, value in vars(base).items():
            if name.startswith("_"):
                continue
            of_protocol = inspect.isroutine(value) or isinstance(value, (property, classmethod, staticmethod))
            if of_protocol and not inspect.getdoc(getattr(cls, name)):
                yield f"{base.__qualname__}.{name}"
            if isinstance(value, Enum) and name not in described:
                yield f"{base.__qualname__}.{name}"
        for name in vars(base).get("__annotations__", {}):
            if not name.startswith("_") and name not in described:
                yield f"{base.__qualname__}.{name}"


def source(cls: type[Any]) -> str:
    """The text of the module that defines a class: exceptions say that they are of the package."""
    having = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("ptest") and vars(module).get(cls.__name__) is cls
    ]
    return next(text for text in map(inspect.getsource, having) if f"\nclass {cls.__name__}" in text)


@cache
def attributes(cls: type[Any]) -> frozenset[str]:
    """The attributes of a class that a text follows, there or in a base of its module: a TypedDict has no other."""
    module = ast.parse(source(cls))
    classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
    described = set()
    wanted = [cls.__name__]
    while wanted:
        definition = classes[wanted.pop()]
        wanted += [base.id for base in definition.bases if isinstance(base, ast.Name) and base.id in classes]
        for statement, after in zip(definition.body, definition.body[1:]):
            if not (isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)):
                continue
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                described.add(statement.target.id)
            if isinstance(statement, ast.Assign):
                described.update(target.id for target in statement.targets if isinstance(target, ast.Name))
    return frozenset(described)


def test_troubleshooting_has_every_exception_with_its_kind_and_its_bases() -> None:
    page = (DOCS / "troubleshooting.md").read_text()
    sections = dict(re.findall(r"^### `([a-z_]+)`\n(.*?)(?=^##)", page, re.MULTILINE | re.DOTALL))
    classes = [getattr(ptest, name) for name in ptest.__all__ if name.endswith("Error") and name != "PtestError"]
    of_commands = (ptest.CommandFailedError, ptest.CommandTimedOutError)
    for cls in classes:
        assert f"[`ptest.{cls.__name__}`]" in (page if cls in of_commands else sections[cls.kind])
        assert f"`{cls.kind}`" in page
        for base in cls.__bases__:
            assert base in (ptest.PtestError, ptest.CommandFailedError) or base.__name__ in page
    assert set(sections) == {cls.kind for cls in classes if cls not in of_commands}

"""As many tests as are asked for. They do nothing: what is left is what a plugin or a fixture costs."""

from __future__ import annotations

import os

import pytest

FIXTURE = os.environ.get("BENCH_FIXTURE")

pytestmark = [pytest.mark.usefixtures(FIXTURE)] if FIXTURE else []


@pytest.mark.parametrize("number", range(int(os.environ["BENCH_TESTS"])))
def test_nothing(number: int) -> None:
    """Does nothing."""

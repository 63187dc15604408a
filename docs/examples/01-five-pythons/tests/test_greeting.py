import importlib.metadata

import greeting


def test_greets_by_name():
    assert greeting.greet("Ada") == "Hello, Ada."


def test_greets_loudly():
    assert greeting.greet("Ada", loudly=True) == "HELLO, ADA!"


def test_the_installed_package_is_tested_and_not_the_sources():
    assert importlib.metadata.version("greeting") == "1.0"
    assert "site-packages" in greeting.__file__

"""A pytest plugin: each test forks once, and the child ends at once. It is the least that a test in a fork can cost."""

from __future__ import annotations

import os


def pytest_runtest_call() -> None:
    """Forks, and waits for the child."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if status:
        message = f"the child ended with {status}"
        raise RuntimeError(message)

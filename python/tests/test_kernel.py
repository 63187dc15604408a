"""Environments as kernels of a real Jupyter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

jupyter_client = pytest.importorskip("jupyter_client")

if TYPE_CHECKING:
    from collections.abc import Iterator

    import ptest

pytestmark = pytest.mark.one_python


@pytest.fixture(scope="module")
def notebook(store: ptest.Store) -> Iterator[ptest.Environment]:
    with store.create("notebook", requirements=["ipykernel"]) as made:
        yield made


@pytest.fixture
def program() -> Path:
    return Path(sysconfig.get_path("scripts"), "ptest")


@pytest.fixture
def kernel(notebook: ptest.Environment, program: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A kernel of a Jupyter of the test's own."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(project / "jupyter"))
    assert notebook.name is not None
    subprocess.run([program, "kernel", "install", notebook.name], check=True, capture_output=True)
    return notebook.name


def wait_until_nothing_runs_in(environment: ptest.Environment) -> None:
    deadline = time.monotonic() + 30
    while environment.usage.processes:
        assert time.monotonic() < deadline, environment.details()["processes"]
        time.sleep(0.05)


def said(client: Any, code: str) -> str:
    out: list[str] = []

    def hook(message: dict[str, Any]) -> None:
        if message["msg_type"] == "stream":
            out.append(message["content"]["text"])

    client.execute_interactive(code, timeout=60, output_hook=hook)
    return "".join(out)


def test_a_notebook_runs_is_interrupted_restarted_and_ended(kernel: str, notebook: ptest.Environment) -> None:
    manager = jupyter_client.KernelManager(kernel_name=kernel)
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        assert said(client, "import os, sys; known = 1; print(os.getpid() < 100, sys.prefix)") == "True /ptest/env\n"

        client.execute("print('begun')\nwhile True:\n    pass")
        messages = iter(lambda: client.get_iopub_msg(timeout=60), None)
        next(it for it in messages if it["msg_type"] == "stream" and it["content"]["text"] == "begun\n")
        manager.interrupt_kernel()
        error = next(it for it in messages if it["msg_type"] == "error")
        assert error["content"]["ename"] == "KeyboardInterrupt"
        next(it for it in messages if it["content"].get("execution_state") == "idle")

        for now in (False, True):
            manager.restart_kernel(now=now)
            client.wait_for_ready(timeout=60)
            assert said(client, "print('known' in dir()); known = 1") == "False\n"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    wait_until_nothing_runs_in(notebook)


def test_a_kernel_ends_with_its_jupyter(kernel: str, notebook: ptest.Environment) -> None:
    program = f"""
import time, jupyter_client
manager = jupyter_client.KernelManager(kernel_name={kernel!r})
manager.start_kernel()
client = manager.client()
client.start_channels()
client.wait_for_ready(timeout=60)
print("ready", flush=True)
time.sleep(600)
"""
    jupyter = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert jupyter.stdout is not None
    assert "ready\n" in iter(jupyter.stdout.readline, "")
    assert notebook.usage.processes > 0
    os.kill(jupyter.pid, signal.SIGKILL)
    jupyter.wait()
    jupyter.stdout.close()
    wait_until_nothing_runs_in(notebook)


def test_kernels_are_listed_and_removed(kernel: str, program: Path, project: Path) -> None:
    listed = subprocess.run([program, "kernel", "list", "--format", "json"], check=True, capture_output=True)
    assert [it["name"] for it in json.loads(listed.stdout)["kernels"]] == [kernel]
    subprocess.run([program, "kernel", "remove", kernel], check=True, capture_output=True)
    assert list((project / "jupyter" / "kernels").iterdir()) == []

import contextlib
import socket
import subprocess
import time

import pytest


@contextlib.contextmanager
def serving(env, file, port, **variables):
    """Runs a service in an environment until the block is left; inside it answers."""
    with env.popen(["python", file], env=variables, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 30
        while True:
            assert process.poll() is None, f"{file} ended with {process.returncode}"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < deadline, f"{file} does not listen"
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def stock(ptest_env_factory):
    """The address of a stock that has nothing."""
    env = ptest_env_factory(ports=["stock"])
    with serving(env, "stock.py", env.ports[0].port) as url:
        yield url


@pytest.fixture
def shop(ptest_env_factory, stock):
    """The address of a shop with that stock."""
    env = ptest_env_factory(ports=["shop"], requirements=["flask==3.0.3"])
    with serving(env, "shop.py", env.ports[0].port, STOCK_URL=stock) as url:
        yield url

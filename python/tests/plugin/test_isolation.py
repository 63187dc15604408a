"""Tests in forks: their results are as if they had run in the process itself, and nobody else suffers from them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import ptest

    from .conftest import Everything, Pytest, Results

isolated = pytest.mark.parametrize("mode", ["test", "module"])


@isolated
def test_results_are_as_without(results: Results, pytester: pytest.Pytester, everything: Everything, mode: str) -> None:
    pytester.makepyfile(test_everything=everything())
    plain, outcomes = results()
    assert {"passed", "failed", "skipped", "xfailed", "xpassed", "errors", "warnings"} <= set(outcomes)
    assert results(f"--ptest-isolate={mode}") == (plain, outcomes)


def test_what_a_test_does_to_the_process_is_gone_after_it(run: Pytest, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os, sys
        import pytest

        @pytest.mark.parametrize("number", [1, 2])
        def test_it(number):
            assert "LEFT" not in os.environ and not hasattr(sys, "left")
            os.environ["LEFT"] = sys.left = "1"
            os.chdir("/")
        """
    )
    run().assert_outcomes(passed=1, failed=1)
    run("--ptest-isolate=test").assert_outcomes(passed=2)


@pytest.mark.parametrize(("mode", "forks"), [("test", 4), ("module", 2)])
def test_wider_fixtures_are_set_up_and_torn_down_once_in_the_parent(
    run: Pytest, pytester: pytest.Pytester, mode: str, forks: int
) -> None:
    pytester.makeconftest(
        """
        import os
        import pytest

        def write(*words):
            with open("log", "a") as file:
                print(*words, os.getpid(), file=file)

        @pytest.fixture(scope="session")
        def session():
            write("up")
            yield
            write("down")

        @pytest.fixture(autouse=True)
        def each(session):
            write("test")
        """
    )
    for name in "ab":
        pytester.makepyfile(**{f"test_{name}": "def test_one(): pass\ndef test_two(): pass\n"})
    run(f"--ptest-isolate={mode}", "--ptest-writes=keep").assert_outcomes(passed=4)
    log = [line.split() for line in (pytester.path / "log").read_text().splitlines()]
    assert [word for word, _ in log] == ["up", "test", "test", "test", "test", "down"]
    assert log[0][1] == log[-1][1]
    tests = {pid for word, pid in log if word == "test"}
    assert len(tests) == forks
    assert log[0][1] not in tests


@isolated
def test_a_wider_fixture_below_a_narrow_one_of_its_name_is_set_up_once(
    run: Pytest, pytester: pytest.Pytester, mode: str
) -> None:
    pytester.makeconftest(
        """
        import os
        import pytest

        @pytest.fixture(scope="session")
        def server():
            with open("log", "a") as file:
                print(os.getpid(), file=file)
            return "server"
        """
    )
    pytester.makepyfile(
        """
        import os
        import pytest

        @pytest.fixture
        def server(server):
            return f"{server}/"

        class TestClass:
            @pytest.fixture
            def server(self, server):
                return f"{server}path"

            def test_one(self, server): assert server == "server/path" and str(os.getppid()) in open("log").read()

        def test_two(server): assert server == "server/"
        """
    )
    run(f"--ptest-isolate={mode}").assert_outcomes(passed=2)
    assert len((pytester.path / "log").read_text().split()) == 1


def test_a_wider_fixture_that_a_test_asks_for_by_itself_is_torn_down_in_its_fork(
    run: Pytest, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(
        """
        import os
        import pytest

        @pytest.fixture(scope="session")
        def late():
            yield
            open("down", "a").write("x")

        def test_late(request):
            request.getfixturevalue("late")

        def test_after():
            assert open("down").read() == "x"
        """
    )
    run("--ptest-isolate=test", "--ptest-writes=keep").assert_outcomes(passed=2)
    assert (pytester.path / "down").read_text() == "x"


@isolated
@pytest.mark.parametrize(
    ("deed", "told"),
    [
        ("os.kill(os.getpid(), 11)", "ended by signal 11 (SIGSEGV)"),
        ("os._exit(0)", "ended its process with code 0"),
        ("while True: pass", "its time was up"),
        ("while True: os.write(1, bytes(1 << 20))", "wrote more than 256 MiB"),
    ],
)
def test_a_test_that_does_not_come_back_is_its_own_failure(
    run: Pytest, pytester: pytest.Pytester, mode: str, deed: str, told: str
) -> None:
    pytester.makepyfile(
        f"""
        import os

        def test_before(): pass

        def test_lost():
            os.write(1, b"last words")
            {deed}

        def test_after(): pass
        """
    )
    result = run(f"--ptest-isolate={mode}", "--ptest-timeout=10", "-p", "no:faulthandler", "--tb=line", "-rf")
    result.assert_outcomes(passed=2, failed=1)
    assert told in result.stdout.str().replace("\n", " ")


def test_last_words_of_a_lost_test_are_in_its_report(run: Pytest, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import os\n\ndef test_lost():\n    os.write(1, b'last words')\n    os._exit(3)\n")
    run("--ptest-isolate=test").stdout.fnmatch_lines(["*Captured stdout call*", "last words"])


def test_no_process_of_a_test_outlives_it_wherever_it_went(run: Pytest, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os, subprocess, time

        def test_leaves():
            program = "echo $$ >>pids; sleep 1000 & echo $! >>pids; wait"
            subprocess.Popen(["setsid", "sh", "-c", program])
            while not os.path.exists("pids") or len(open("pids").read().split()) < 2:
                time.sleep(0.01)

        def test_after():
            for pid in open("pids").read().split():
                assert not os.path.exists(f"/proc/{pid}")
        """
    )
    run("--ptest-isolate=test", "--ptest-writes=keep").assert_outcomes(passed=2)
    assert all(not Path("/proc", pid).exists() for pid in (pytester.path / "pids").read_text().split())


@isolated
def test_what_a_test_writes_is_gone_with_its_fork(
    run: Pytest, pytester: pytest.Pytester, tmp_path_factory: pytest.TempPathFactory, mode: str
) -> None:
    temporary = tmp_path_factory.mktemp("temporary")
    pytester.makepyfile(
        f"""
        import os
        from pathlib import Path

        def test_writes(tmp_path):
            for place in (Path(), tmp_path, Path({str(temporary)!r}), Path.home(), Path("/dev/shm")):
                (place / "ptest-written").write_text("x")
                assert (place / "ptest-written").read_text() == "x"
            Path("old").unlink()
            Path("new").mkdir()
            os.chdir("new")
        """
    )
    pytester.makefile("", old="old")
    run(f"--ptest-isolate={mode}", f"--basetemp={temporary}").assert_outcomes(passed=1)
    places = (pytester.path, temporary, Path.home(), Path("/dev/shm"))  # noqa: S108 - nothing is written there
    written = [place / "ptest-written" for place in places]
    assert not any(path.exists() for path in [*written, pytester.path / "new"])
    assert (pytester.path / "old").exists()


def test_what_a_test_writes_can_be_kept(run: Pytest, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_writes(): open('written', 'w').close()")
    run("--ptest-isolate=test", "--ptest-writes=keep").assert_outcomes(passed=1)
    assert (pytester.path / "written").exists()


def test_fixtures_of_wider_scope_write_for_all(run: Pytest, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="module", autouse=True)
        def file():
            with open("file", "w") as file:
                file.write("0")

        @pytest.mark.parametrize("number", [1, 2])
        def test_changes_it(number):
            assert open("file").read() == "0"
            with open("file", "w") as file:
                file.write("1")
        """
    )
    run("--ptest-isolate=test").assert_outcomes(passed=2)
    assert (pytester.path / "file").read_text() == "0"


def test_elsewhere_a_test_cannot_write(run: Pytest, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_writes(): open('/usr/written', 'w')")
    result = run("--ptest-isolate=test")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*/usr/written*"])
    run("--ptest-isolate=test", "--ptest-profile=none", "--collect-only").assert_outcomes()


@isolated
def test_a_disk_that_is_full_is_full_for_one_test_alone(run: Pytest, pytester: pytest.Pytester, mode: str) -> None:
    pytester.makepyfile(
        """
        import errno
        import pytest

        @pytest.mark.parametrize("number", [1, 2])
        def test_writes(number):
            with open("file", "ab") as file:
                file.write(bytes(900_000))
                if number == 2:
                    file.write(bytes(900_000))
        """
    )
    result = run(f"--ptest-isolate={mode}", "--ptest-disk=1M")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*No space left on device*"])


@pytest.mark.parametrize(
    ("profile", "told"),
    [("standard", "*Resource temporarily unavailable*"), ("none", "*started more than 40 processes*")],
)
def test_a_test_that_breeds_processes_ends_at_its_limit(
    run: Pytest, pytester: pytest.Pytester, profile: str, told: str
) -> None:
    pytester.makepyfile(
        """
        import os, time

        def test_breeds():
            while True:
                if os.fork() == 0:
                    while True:
                        try:
                            os.fork()
                        except OSError:
                            time.sleep(1)

        def test_after(): pass
        """
    )
    result = run("--ptest-isolate=test", "--ptest-pids=40", "--tb=line", f"--ptest-profile={profile}")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([told])
    assert not subprocess.run(["pgrep", "-f", str(pytester.path)], capture_output=True, check=False).stdout


def test_a_marker_limits_the_memory_of_a_test(run: Pytest, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.ptest(memory="64M")
        def test_takes(): assert len(bytearray(256 << 20))

        def test_takes_as_much(): assert len(bytearray(256 << 20))
        """
    )
    result = run("--ptest-isolate=test", "--tb=line")
    if "failed to limit memory" in result.stdout.str():
        pytest.skip("nothing can limit memory here")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*no more memory for it than 6? MiB*"])


def test_a_marker_takes_the_network_away(run: Pytest, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os
        import pytest

        def namespace(): return os.readlink("/proc/self/ns/net")

        host = namespace()

        @pytest.mark.ptest(network="none")
        def test_alone(): assert namespace() != host

        def test_with_all(): assert namespace() == host
        """
    )
    run("--ptest-isolate=test").assert_outcomes(passed=2)


def test_processes_that_a_test_starts_are_covered(run: Pytest, pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_cov")
    pytester.makepyfile(product="def one():\n    return 1\n\nif __name__ == '__main__':\n    one()\n")
    (pytester.path / ".coveragerc").write_text("[run]\npatch = subprocess\nsource = .\n")
    pytester.makepyfile(
        "import subprocess, sys\n\ndef test_it(): subprocess.run([sys.executable, 'product.py'], check=True)\n"
    )
    result = run("--ptest-isolate=test", "--cov", "--cov-report=term-missing")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["product.py *4 *0 *100%*"])


def test_a_wider_tear_down_that_fails_is_an_error_of_the_last_test(run: Pytest, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="module")
        def shared():
            yield
            raise RuntimeError("broken below")

        def test_one(shared): pass

        def test_two(shared): pass
        """
    )
    result = run("--ptest-isolate=test")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_two*", "*RuntimeError: broken below"])


def test_threads_that_do_not_run_in_the_fork_are_told_of(run: Pytest, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import threading
        import pytest

        @pytest.fixture(scope="session")
        def background():
            over = threading.Event()
            threading.Thread(target=over.wait, name="ticker").start()
            yield
            over.set()

        def test_one(background): pass
        """
    )
    result = run("--ptest-isolate=test")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*these threads do not run: ticker"])


@isolated
def test_lines_run_in_forks_are_covered(run: Pytest, pytester: pytest.Pytester, mode: str) -> None:
    pytest.importorskip("pytest_cov")
    pytester.makepyfile(product="def one():\n    return 1\n\ndef two():\n    return 2\n\ndef three():\n    return 3\n")
    pytester.makepyfile("import product\n\ndef test_one(): product.one()\ndef test_two(): product.two()\n")
    result = run(f"--ptest-isolate={mode}", "--cov=product", "--cov-report=term-missing")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["product.py *6 *1 *83% *8"])


@isolated
def test_workers_run_forks(run: Pytest, pytester: pytest.Pytester, everything: Everything, mode: str) -> None:
    pytest.importorskip("xdist")
    pytester.makepyfile(test_everything=everything())
    plain = run().parseoutcomes()
    workers = run("-n2", f"--ptest-isolate={mode}").parseoutcomes()
    assert workers == plain


def test_asynchronous_tests_run_in_forks(run: Pytest, pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_asyncio")
    pytester.makepyfile(
        """
        import asyncio
        import pytest
        import pytest_asyncio

        @pytest_asyncio.fixture
        async def value():
            await asyncio.sleep(0)
            yield 1

        @pytest.mark.asyncio
        async def test_it(value):
            await asyncio.sleep(0)
            assert value == 1

        @pytest.mark.asyncio
        async def test_fails(value):
            assert value == 2
        """
    )
    run("--ptest-isolate=test").assert_outcomes(passed=1, failed=1)


@isolated
def test_the_first_failure_can_be_the_last_test_and_failures_are_run_again(
    run: Pytest, pytester: pytest.Pytester, mode: str
) -> None:
    pytester.makepyfile("def test_a(): pass\ndef test_b(): assert False\ndef test_c(): pass\n")
    run("-x", f"--ptest-isolate={mode}").assert_outcomes(passed=1, failed=1)
    run("--lf", f"--ptest-isolate={mode}").assert_outcomes(failed=1)
    run("-p", "no:cacheprovider", f"--ptest-isolate={mode}").assert_outcomes(passed=2, failed=1)


@isolated
def test_a_test_can_end_the_whole_run(run: Pytest, pytester: pytest.Pytester, mode: str) -> None:
    pytester.makepyfile("import pytest\n\ndef test_a(): pytest.exit('enough', 7)\ndef test_b(): pass\n")
    result = run(f"--ptest-isolate={mode}")
    assert result.ret == 7
    result.stdout.fnmatch_lines(["*Exit: enough*"])


@pytest.mark.parametrize("writes", ["discard", "keep"])
def test_environments_work_in_forks(run: Pytest, pytester: pytest.Pytester, writes: str) -> None:
    pytester.makepyfile(
        """
        import pytest

        def test_own(ptest_env):
            assert ptest_env.exec(["sh", "-c", "echo here > file; cat file"]).stdout == "here\\n"
            assert open("file").read() == "here\\n"

        def test_shared(ptest_env_session):
            assert ptest_env_session.exec(["true"]).success

        @pytest.mark.ptest(memory="256M", cpus=1, network="private")
        def test_limited(ptest_env):
            assert ptest_env.exec(["true"]).success
        """
    )
    run("--ptest-isolate=test", f"--ptest-writes={writes}").assert_outcomes(passed=3)
    assert (pytester.path / "file").exists() == (writes == "keep")


def test_environments_of_tests_in_forks_are_removed_or_kept(
    run: Pytest, pytester: pytest.Pytester, store: ptest.Store
) -> None:
    pytester.makepyfile("def test_a(ptest_env): pass\ndef test_b(ptest_env, ptest_env_session): assert False\n")
    before = {it.id for it in store.environments()}
    run("--ptest-isolate=test").assert_outcomes(passed=1, failed=1)
    assert {it.id for it in store.environments()} == before
    result = run("--ptest-isolate=test", "--ptest-keep=failed")
    kept = {it.id for it in store.environments()} - before
    for id_ in kept:
        store.find(id_).remove()
    assert len(kept) == 2
    for id_ in kept:
        result.stdout.fnmatch_lines([f"ptest shell {id_}  # *test_b"])


@isolated
def test_the_environment_of_a_test_whose_fork_is_lost_is_kept_and_named_or_removed(
    run: Pytest, pytester: pytest.Pytester, store: ptest.Store, mode: str
) -> None:
    pytester.makepyfile(
        """
        import os
        import pytest

        def test_before(ptest_env): pass

        def test_lost(ptest_env): os._exit(3)

        @pytest.mark.xfail
        def test_expected(ptest_env): os._exit(3)
        """
    )
    before = {it.id for it in store.environments()}
    result = run(f"--ptest-isolate={mode}", "--ptest-keep=failed", "--junitxml=report.xml")
    result.assert_outcomes(passed=1, failed=1, xfailed=1)
    [kept] = {it.id for it in store.environments()} - before
    store.find(kept).remove()
    result.stdout.fnmatch_lines([f"kept environment: ptest shell {kept}", f"ptest shell {kept}  # *test_lost"])
    assert f'name="ptest_kept" value="{kept}"' in (pytester.path / "report.xml").read_text()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--ptest-timeout=1"],
        ["--ptest-timeout=0", "--ptest-isolate=test"],
        ["--ptest-memory=64M"],
        ["--ptest-memory=64M", "--ptest-isolate=test", "--ptest-profile=none"],
        ["--ptest-disk=1M", "--ptest-isolate=test", "--ptest-writes=keep"],
    ],
)
def test_a_limit_that_cannot_be_kept_is_refused(run: Pytest, arguments: list[str]) -> None:
    assert run(*arguments).ret == pytest.ExitCode.USAGE_ERROR


@isolated
def test_plugins_find_what_they_know_of_a_test_when_it_is_over(
    run: Pytest, pytester: pytest.Pytester, mode: str
) -> None:
    pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(hookwrapper=True)
        def pytest_runtest_makereport(item):
            yield
            assert item.funcargs.get("value") in (None, 1)
        """
    )
    pytester.makepyfile(
        """
        import os
        import pytest

        @pytest.fixture
        def value(): return 1

        def test_it(value): pass

        def test_lost(value): os._exit(3)
        """
    )
    run(f"--ptest-isolate={mode}").assert_outcomes(passed=1, failed=1)


def test_the_interpreter_is_the_same_in_the_fork(run: Pytest, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import os\n\nhere = os.getpid()\n\ndef test_it():\n    assert os.getppid() == here\n")
    run("--ptest-isolate=test").assert_outcomes(passed=1)

"""Tests that run in environments of their own: their results are as if they had run here."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import ptest

    from .conftest import Everything, Pytest, Results

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
SIX = 'pytestmark = pytest.mark.ptest(requirements=["six==1.16.0"])'

# That a property does not fit the newer family is said by the fixture, and only where the file is written.
FAMILY = ("-o", "junit_family=xunit1")


def test_results_are_as_here(results: Results, pytester: pytest.Pytester, everything: Everything) -> None:
    pytester.makepyfile(test_everything=everything())
    plain, outcomes = results(*FAMILY)
    assert {"passed", "failed", "skipped", "xfailed", "xpassed", "errors", "warnings"} <= set(outcomes)
    pytester.makepyfile(test_everything=everything(SIX))
    assert results(*FAMILY) == (plain, outcomes)


def test_a_test_runs_in_the_python_and_with_the_packages_of_its_marker(run: Pytest, pytester: pytest.Pytester) -> None:
    other = "3.9" if sys.version_info[:2] != (3, 9) else "3.12"
    pytester.makepyfile(
        f"""
        import sys
        import pytest

        def test_here():
            assert sys.version_info[:2] == {sys.version_info[:2]}

        @pytest.mark.ptest(requirements=["six==1.16.0"])
        class TestThere:
            def test_packages(self):
                import six
                assert six.__version__ == "1.16.0" and sys.version_info[:2] == {sys.version_info[:2]}

            @pytest.mark.ptest(python="{other}")
            def test_python(self):
                import six
                assert "%s.%s" % sys.version_info[:2] == "{other}" and sys.prefix == "/ptest/env"
        """
    )
    run().assert_outcomes(passed=3)


def test_tests_of_one_environment_share_a_process_and_what_is_set_up_in_it(
    run: Pytest, pytester: pytest.Pytester, store: ptest.Store
) -> None:
    pytester.makeconftest(
        """
        import os
        import pytest

        def write(*words):
            with open("log", "a") as file:
                print(*words, os.getpid(), os.path.exists("/ptest/env"), file=file)

        @pytest.fixture(scope="session")
        def session():
            write("up")
            yield
            write("down")

        @pytest.fixture(scope="module", autouse=True)
        def module(session):
            write("module")
            yield
            write("end")

        @pytest.fixture(autouse=True)
        def each(module):
            write("test")
        """
    )
    marker = '@pytest.mark.ptest(requirements=["six==1.16.0"])\n'
    for name in "ab":
        pytester.makepyfile(
            **{
                f"test_{name}": f"import pytest\n\ndef test_one(): pass\n{marker}def test_two(): pass\n"
                f"def test_three(): pass\n{marker}def test_four(): pass\n"
            }
        )
    before = store.environments()
    run().assert_outcomes(passed=8)
    assert store.environments() == before
    log = [line.split() for line in (pytester.path / "log").read_text().splitlines()]
    module = ["module", "test", "test", "end"]
    for where in ("True", "False"):
        words = [(word, pid) for word, pid, there in log if there == where]
        assert [word for word, _ in words] == ["up", *module, *module, "down"]
        assert len({pid for _, pid in words}) == 1


def test_each_marker_that_asks_for_something_else_has_an_environment_of_its_own(
    run: Pytest, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(
        """
        import os
        import pytest

        made = pytest.mark.ptest(requirements=["six==1.16.0"])

        @made
        def test_leaves():
            open("/var/tmp/here", "w").close()

        @made
        def test_sees():
            assert os.path.exists("/var/tmp/here")

        @made
        @pytest.mark.ptest(env={"WHERE": "elsewhere"}, network="none")
        def test_elsewhere():
            assert not os.path.exists("/var/tmp/here") and os.environ["WHERE"] == "elsewhere"
            assert [line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]] in ([], ["lo"])
        """
    )
    run().assert_outcomes(passed=3)


@pytest.mark.parametrize(
    ("deed", "told"),
    [
        ("os.kill(os.getpid(), 11)", "ended by signal 11 (SIGSEGV)"),
        ("os._exit(0)", "ended its process with code 0"),
        ("for number in range(3, 20): say(number)", "nothing that pytest says"),
    ],
)
def test_a_test_that_does_not_come_back_is_its_own_failure(
    run: Pytest, pytester: pytest.Pytester, deed: str, told: str
) -> None:
    pytester.makepyfile(
        f"""
        import os
        import pytest

        {SIX}
        def say(number):
            try:
                os.write(number, b"nonsense\\n")
            except OSError:
                pass

        def test_before(): pass

        def test_lost():
            os.write(2, b"last words")
            {deed}

        def test_after(): pass
        """
    )
    result = run("-rf")
    result.assert_outcomes(passed=2, failed=1)
    assert told in result.stdout.str().replace("\n", " ")


def test_a_crash_that_is_expected_is_none(run: Pytest, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(f"import os, pytest\n{SIX}\n@pytest.mark.xfail(reason='known')\ndef test_lost(): os._exit(3)\n")
    run().assert_outcomes(xfailed=1)


def test_an_environment_that_cannot_be_made_is_an_error_of_each_of_its_tests(
    run: Pytest, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.ptest(requirements=["six==99"])
        @pytest.mark.xfail
        @pytest.mark.parametrize("number", [1, 2])
        def test_it(number): pass

        @pytest.mark.ptest(python="2.0")
        def test_python(): pass

        def test_after(): pass
        """
    )
    result = run()
    result.assert_outcomes(passed=1, errors=3)
    result.stdout.fnmatch_lines(["*no version of six==99*", "hint: check the spelling*", "*Python 2.0*", "hint: *"])


def test_what_cannot_be_imported_there_is_told(run: Pytest, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(helper="import sys\n\nif sys.prefix == '/ptest/env':\n    raise ImportError('not for you')\n")
    pytester.makepyfile(f"import pytest, helper\n{SIX}\ndef test_it(): pass\n")
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ImportError: not for you"])


def test_options_of_the_project_and_of_the_run_count_there(run: Pytest, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        "def pytest_addoption(parser):\n    parser.addoption('--stage', default='none')\n"
        "    parser.addini('colour', 'which')\n"
    )
    pytester.makepyfile(
        f"""
        import pytest
        import helper

        {SIX}
        def test_it(request):
            assert request.config.getoption("--stage") == "late" and request.config.getini("colour") == "red"
            assert helper.number == 1
        """
    )
    pytester.mkdir("lib").joinpath("helper.py").write_text("number = 1\n")
    run("--stage=late", "-o", "colour=red", "-o", "pythonpath=lib").assert_outcomes(passed=1)


def test_the_project_is_there_with_what_its_matrix_says(
    run: Pytest, pytester: pytest.Pytester, named: list[str]
) -> None:
    pytester.makepyfile(f"import pytest\n\n{SIX}\ndef test_it():\n    import product, iniconfig\n    product.check()\n")
    run("--version")
    pytester.makepyprojecttoml(
        """
        [project]
        name = "product"
        version = "1.0"

        [build-system]
        requires = ["setuptools"]
        build-backend = "setuptools.build_meta"

        [tool.setuptools]
        package-dir = {"" = "src"}

        [tool.ptest.matrix]
        with = ["toml==0.10.2"]
        """
    )
    package = pytester.mkdir("src") / "product"
    package.mkdir()
    package.joinpath("__init__.py").write_text("def check():\n    import toml, six\n")
    pytester.runpytest_subprocess(*named, timeout=120).assert_outcomes(passed=1)


def test_selections_limits_and_failed_tests_count_as_ever(run: Pytest, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        f"import pytest\n{SIX}\ndef test_a(): pass\ndef test_b(): assert False\ndef test_c(): assert False\n"
    )
    run("-x").assert_outcomes(passed=1, failed=1)
    run("--lf").assert_outcomes(failed=1)
    run("-k", "test_c or test_a").assert_outcomes(passed=1, failed=1)
    run("-p", "no:cacheprovider", "--maxfail=2").assert_outcomes(passed=1, failed=2)
    run("--collect-only").stdout.fnmatch_lines(["*<Function test_c>*"])


def test_workers_run_tests_elsewhere(
    run: Pytest, pytester: pytest.Pytester, everything: Everything, store: ptest.Store
) -> None:
    pytest.importorskip("xdist")
    pytester.makepyfile(test_a=everything(), test_b=everything(SIX))
    before = store.environments()
    plain = run().parseoutcomes()
    assert run("-n2").parseoutcomes() == plain
    assert store.environments() == before


def test_tests_in_forks_and_elsewhere_are_in_nobody_s_way(
    results: Results, pytester: pytest.Pytester, everything: Everything
) -> None:
    mixed = everything().replace("class TestClass", f"{SIX.replace('pytestmark = ', '@')}\nclass TestClass")
    pytester.makepyfile(test_a=mixed, test_b=everything(SIX), test_c=mixed)
    plain, outcomes = results(*FAMILY, "-o", "junit_logging=no")
    assert results(*FAMILY, "-o", "junit_logging=no", "--ptest-isolate=module") == (plain, outcomes)


def test_a_tear_down_that_fails_there_is_an_error_of_the_last_test(run: Pytest, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="session")
        def shared():
            yield
            raise RuntimeError("broken below")

        made = pytest.mark.ptest(requirements=["six==1.16.0"])

        @made
        def test_one(shared): pass

        def test_here(): pass

        @made
        def test_two(shared): pass

        def test_fails(): assert False
        """
    )
    result = run()
    result.assert_outcomes(passed=3, failed=1, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_two*", "*RuntimeError: broken below"])
    run("-x", "-k", "test_one or test_fails or test_two", "--deselect", "nothing").assert_outcomes(
        passed=2, errors=1, failed=0
    )


def test_a_test_there_can_end_the_whole_run(run: Pytest, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(f"import pytest\n{SIX}\ndef test_a(): pytest.exit('enough', 7)\ndef test_b(): pass\n")
    result = run()
    assert result.ret == 7
    result.stdout.fnmatch_lines(["*Exit: enough*"])


def test_the_environment_of_a_failed_test_is_kept(run: Pytest, pytester: pytest.Pytester, store: ptest.Store) -> None:
    pytester.makepyfile(
        f"import pytest\n{SIX}\ndef test_a(): pass\ndef test_b(): open('/ptest/home/left', 'w').write(1)\n"
    )
    before = {it.id for it in store.environments()}
    result = run("--ptest-keep=failed", "--junitxml=report.xml")
    [kept] = {it.id for it in store.environments()} - before
    try:
        assert store.find(kept).exec(["sh", "-c", "test -e $HOME/left"]).success
        result.stdout.fnmatch_lines([f"kept environment: ptest shell {kept}", f"ptest shell {kept}  # *test_b"])
        assert f'name="ptest_kept" value="{kept}"' in (pytester.path / "report.xml").read_text()
    finally:
        store.find(kept).remove()


def test_lines_that_run_there_are_covered(run: Pytest, pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_cov")
    pytester.makepyfile(product="def one():\n    return 1\n\ndef two():\n    return 2\n\ndef three():\n    return 3\n")
    pytester.makepyfile(
        """
        import pytest
        import product

        def test_one(): product.one()

        @pytest.mark.ptest(requirements=["six==1.16.0"])
        def test_two(): product.two()
        """
    )
    result = run("--cov=product", "--cov-report=term-missing")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["product.py *6 *1 *83% *8"])


def test_what_a_test_prints_is_shown_where_nothing_is_captured(run: Pytest, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(f"import pytest\n{SIX}\ndef test_it():\n    print('said aloud')\n    input_ = open(0).read()\n")
    result = run("-s")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*said aloud"])

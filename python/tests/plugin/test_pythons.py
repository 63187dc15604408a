"""The whole suite in several Pythons."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from ptest._pytest._pythons import label, with_label, without

if TYPE_CHECKING:
    import ptest

    from .conftest import Pytest, Results

PYTHONS = "3.10,3.12"

SUITE = """
import sys
import pytest

HERE = "%s.%s" % sys.version_info[:2]

def test_all(): pass

@pytest.mark.slow
def test_new(): assert HERE != "3.10"

@pytest.mark.skipif(HERE == "3.10", reason="too old")
@pytest.mark.parametrize("number", [1, 2])
def test_skips(number): pass

if HERE == "3.12":
    class TestOnly:
        def test_in_one(self): pass
"""


@pytest.fixture
def suite(run: Pytest, pytester: pytest.Pytester) -> Pytest:
    pytester.makepyfile(test_suite=SUITE)

    def suite(*arguments: str) -> pytest.RunResult:
        return run(f"--ptest-python={PYTHONS}", "-o", "markers=slow", *arguments)

    return suite


def test_each_test_runs_in_each_python_under_a_name_of_its_own(suite: Pytest, store: ptest.Store) -> None:
    before = store.environments()
    result = suite("-v", "-rA")
    result.assert_outcomes(passed=6, failed=1, skipped=2)
    result.stdout.fnmatch_lines(
        [
            "test_suite.py::test_all[[]py3.10[]] PASSED*",
            "test_suite.py::test_new[[]py3.10[]] FAILED*",
            "test_suite.py::test_skips[[]1-py3.10[]] SKIPPED (too old)*",
            "test_suite.py::test_new[[]py3.12[]] PASSED*",
            "test_suite.py::test_skips[[]2-py3.12[]] PASSED*",
            "test_suite.py::TestOnly::test_in_one[[]py3.12[]] PASSED*",
            "*___ test_new[[]py3.10[]] ___*",
        ]
    )
    assert store.environments() == before


def test_what_is_selected_is_selected_in_each(suite: Pytest) -> None:
    suite("-k", "skips and 1-py3.12").assert_outcomes(passed=1, deselected=8)
    suite("-m", "slow").assert_outcomes(passed=1, failed=1, deselected=7)
    suite("--lf").assert_outcomes(failed=1, deselected=8)
    suite("test_suite.py::test_new").assert_outcomes(passed=1, failed=1)
    suite("test_suite.py::test_skips[2-py3.12]").assert_outcomes(passed=1)
    suite("-x").assert_outcomes(passed=1, failed=1)
    suite("--deselect", "test_suite.py::test_new").assert_outcomes(passed=5, skipped=2, deselected=2)


def test_results_are_the_same_in_workers_and_in_the_xml(
    suite: Pytest, results: Results, pytester: pytest.Pytester
) -> None:
    pytest.importorskip("xdist")
    del suite, pytester
    cases, outcomes = results(f"--ptest-python={PYTHONS}", "-o", "markers=slow")
    names = [(where, name) for where, name, _ in cases]
    assert ("test_suite", "test_new[py3.10]") in names
    assert ("test_suite.TestOnly", "test_in_one[py3.12]") in names
    assert results(f"--ptest-python={PYTHONS}", "-o", "markers=slow", "-n2")[1] == outcomes


def test_a_python_that_is_not_there_is_an_error_and_the_others_run(run: Pytest, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass\n")
    result = run("--ptest-python=2.0,3.12")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at setup of py2.0*", "*no interpreter found for Python 2.0*", "hint: *"])


def test_what_cannot_be_collected_in_one_is_told_with_its_name(run: Pytest, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_a="import sys\n\nif sys.version_info < (3, 12):\n    raise ImportError('too old')\n\ndef test_it(): pass\n"
    )
    pytester.makepyfile(test_b="import pytest\n\npytest.skip('not now', allow_module_level=True)\n")
    result = run(f"--ptest-python={PYTHONS}", "--continue-on-collection-errors", "-rs")
    result.assert_outcomes(passed=1, errors=1, skipped=2)
    result.stdout.fnmatch_lines(["*ERROR collecting test_a.py[[]py3.10[]]*", "*ImportError: too old", "*: not now"])
    assert run(f"--ptest-python={PYTHONS}").ret == pytest.ExitCode.INTERRUPTED


def test_a_test_whose_marker_says_its_python_runs_once_in_that(run: Pytest, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys
        import pytest

        @pytest.mark.ptest(python="3.11")
        def test_own(): assert sys.version_info[:2] == (3, 11)

        @pytest.mark.ptest(requirements=["six==1.16.0"])
        def test_each(): import six
        """
    )
    result = run(f"--ptest-python={PYTHONS}", "-v")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*::test_own[[]py3.11[]] PASSED*"])


def test_a_project_s_hooks_see_the_tests_where_they_are_collected(run: Pytest, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import sys

        def pytest_collection_modifyitems(items):
            assert all(item.function for item in items)
            items.reverse()
        """
    )
    pytester.makepyfile("def test_a(): pass\ndef test_b(): pass\n")
    result = run("--ptest-python=3.12", "--collect-only", "-q")
    result.stdout.fnmatch_lines(["*::test_b[[]py3.12[]]", "*::test_a[[]py3.12[]]"])


def test_pythons_that_cannot_be_told_apart_are_refused(run: Pytest) -> None:
    assert run("--ptest-python=3.12,3.12").ret == pytest.ExitCode.USAGE_ERROR
    assert run("--ptest-python=").ret == pytest.ExitCode.USAGE_ERROR


@pytest.mark.parametrize("nodeid", ["a.py::test", "a.py::test[1]", "a.py::C::test[x-y]", "README.rst::README.rst"])
@pytest.mark.parametrize("python", ["3.12", ">=3.9", "pypy3.10", sys.executable])
def test_names_lead_back_to_the_tests(nodeid: str, python: str) -> None:
    assert without(with_label(nodeid, label(python)), label(python)) == nodeid
    assert without(nodeid, label(python)) == nodeid

"""The plugin's fixtures and its marker."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import ptest

    from .conftest import Pytest


def test_each_test_has_an_environment_of_its_own_and_nothing_is_left(
    run: Pytest, pytester: pytest.Pytester, store: ptest.Store
) -> None:
    pytester.makepyfile(
        """
        import pytest

        def write(env):
            assert not env.exec(["test", "-e", "/var/tmp/here"]).success
            assert env.exec(["touch", "/var/tmp/here"]).success

        def test_one(ptest_env):
            write(ptest_env)

        def test_two(ptest_env):
            write(ptest_env)
        """
    )
    before = store.environments()
    run().assert_outcomes(passed=2)
    assert store.environments() == before


def test_a_marker_says_what_is_in_the_environment_and_the_nearer_one_wins(
    run: Pytest, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.ptest(requirements=["six==1.16.0"], env={"WHERE": "module"})

        def test_module(ptest_env):
            assert ptest_env.package("six").version == "1.16.0"
            assert ptest_env.exec(["printenv", "WHERE"]).stdout == "module\\n"

        @pytest.mark.ptest(env={"WHERE": "test"})
        def test_nearer(ptest_env):
            assert ptest_env.package("six").version == "1.16.0"
            assert ptest_env.exec(["printenv", "WHERE"]).stdout == "test\\n"
        """
    )
    run().assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("marker", "told"),
    [("requirement=['six']", "no option requirement; did you mean requirements?"), ("'3.12'", "takes options by name")],
)
def test_a_marker_that_is_wrong_is_a_usage_error(
    run: Pytest, pytester: pytest.Pytester, marker: str, told: str
) -> None:
    pytester.makepyfile(f"import pytest\n\n@pytest.mark.ptest({marker})\ndef test_it(): pass\n")
    result = run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*test_it*{told}*"])


def test_options_of_a_whole_project_are_said_by_a_fixture(run: Pytest, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture(scope="session")
        def ptest_options():
            return {"env": {"STAGE": "test"}}
        """
    )
    pytester.makepyfile(
        """
        def test_own(ptest_env):
            assert ptest_env.exec(["printenv", "STAGE"]).stdout == "test\\n"

        def test_shared(ptest_env_session):
            assert ptest_env_session.exec(["printenv", "STAGE"]).stdout == "test\\n"
        """
    )
    run().assert_outcomes(passed=2)


def test_forks_of_a_prepared_environment_have_what_was_prepared(
    run: Pytest, pytester: pytest.Pytester, store: ptest.Store
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="session")
        def prepared(ptest_env_session, ptest_snapshot):
            ptest_env_session.install("six==1.16.0")
            return ptest_snapshot(ptest_env_session)

        @pytest.mark.parametrize("number", [1, 2])
        def test_fork(prepared, ptest_env_factory, number):
            env = ptest_env_factory(prepared)
            assert env.package("six").version == "1.16.0"
            env.uninstall("six")
        """
    )
    before = store.environments(), store.snapshots()
    run().assert_outcomes(passed=2)
    assert (store.environments(), store.snapshots()) == before


def test_ports_are_leased_for_the_time_of_a_test(run: Pytest, pytester: pytest.Pytester, store: ptest.Store) -> None:
    pytester.makepyfile(
        """
        import ptest

        leased = []

        def test_lease(ptest_ports):
            first, second = ptest_ports(2)
            assert int(first) != int(second)
            leased.extend([int(first), int(second)])
            assert {it.port for it in ptest.default_store().ports()} >= set(leased)

        def test_over():
            assert not {it.port for it in ptest.default_store().ports()} & set(leased)
        """
    )
    run().assert_outcomes(passed=2)
    assert store.ports() == []


def test_an_environment_of_a_failed_test_is_kept_and_named(
    run: Pytest, pytester: pytest.Pytester, store: ptest.Store
) -> None:
    pytester.makepyfile(
        """
        def test_fails(ptest_env):
            ptest_env.exec(["sh", "-c", "touch $HOME/evidence"])
            assert False

        def test_passes(ptest_env):
            pass
        """
    )
    before = {it.id for it in store.environments()}
    result = run("--ptest-keep=failed", "--junitxml=report.xml")
    result.assert_outcomes(passed=1, failed=1)
    [kept] = {it.id for it in store.environments()} - before
    try:
        result.stdout.fnmatch_lines([f"kept environment: ptest shell {kept}", f"ptest shell {kept}  # *test_fails"])
        assert store.find(kept).exec(["sh", "-c", "test -e $HOME/evidence"]).success
        assert f'name="ptest_kept" value="{kept}"' in (pytester.path / "report.xml").read_text()
    finally:
        store.find(kept).remove()


def test_all_environments_can_be_kept(run: Pytest, pytester: pytest.Pytester, store: ptest.Store) -> None:
    pytester.makepyfile(
        """
        def test_own(ptest_env):
            pass

        def test_shared(ptest_env_session):
            pass
        """
    )
    before = {it.id for it in store.environments()}
    result = run("--ptest-keep=all")
    result.assert_outcomes(passed=2)
    kept = {it.id for it in store.environments()} - before
    for id_ in kept:
        store.find(id_).remove()
    assert set(re.findall(r"^ptest shell (\S+)", result.stdout.str(), re.MULTILINE)) == kept
    assert len(kept) == 2


@pytest.mark.parametrize("how", ["--ptest-keep=none", "--ptest-keep=failed"])
def test_workers_share_what_is_made_and_leave_nothing(
    run: Pytest, pytester: pytest.Pytester, store: ptest.Store, how: str
) -> None:
    pytest.importorskip("xdist")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.ptest(requirements=["six==1.16.0"])
        @pytest.mark.parametrize("number", range(8))
        def test_it(ptest_env, ptest_env_session, number):
            assert ptest_env.package("six")
        """
    )
    before = store.environments()
    run("-n2", how).assert_outcomes(passed=8)
    assert store.environments() == before


def test_a_kept_environment_is_named_by_the_controller_of_workers(
    run: Pytest, pytester: pytest.Pytester, store: ptest.Store
) -> None:
    pytest.importorskip("xdist")
    pytester.makepyfile("def test_fails(ptest_env_session):\n    assert False\n")
    before = {it.id for it in store.environments()}
    result = run("-n1", "--ptest-keep=failed")
    [kept] = {it.id for it in store.environments()} - before
    store.find(kept).remove()
    result.stdout.fnmatch_lines([f"ptest shell {kept}  # *test_fails"])


def test_a_run_that_uses_nothing_of_it_loads_nothing_of_it(run: Pytest, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_it():
            loaded = {name for name in sys.modules if name.split(".")[0] == "ptest"}
            assert loaded == {"ptest", "ptest._pytest", "ptest._pytest._fixtures"}
        """
    )
    run().assert_outcomes(passed=1)


def test_help_and_markers_say_what_there_is(run: Pytest) -> None:
    run("--help").stdout.fnmatch_lines(["disposable environments (ptest):", "*--ptest-keep=*"])
    run("--markers").stdout.fnmatch_lines(["@pytest.mark.ptest(**options):*"])

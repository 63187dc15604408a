import pytest


@pytest.fixture(scope="session")
def ptest_options():
    return {"requirements": ["."], "network": "none"}


def test_the_installed_command_counts(ptest_env):
    run = ptest_env.exec(["wordcount", "pyproject.toml"], check=True)
    assert run.stdout == "51 words\n"


def test_one_may_spoil_its_environment(ptest_env):
    assert ptest_env.uninstall("click") != []
    assert ptest_env.exec(["wordcount", "pyproject.toml"]).returncode == 1


def test_so_the_next_one_has_all_of_it_again(ptest_env):
    assert ptest_env.package("click") is not None

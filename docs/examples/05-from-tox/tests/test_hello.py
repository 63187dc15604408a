from click.testing import CliRunner

from hello import main


def test_says_what_the_environment_says():
    assert CliRunner().invoke(main, ["Ada"]).output == "Hello, Ada.\n"

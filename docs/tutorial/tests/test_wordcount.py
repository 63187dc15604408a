from click.testing import CliRunner

import wordcount


def test_counts_words():
    assert wordcount.count("one two  three\n") == 3


def test_the_command_says_how_many(tmp_path):
    (tmp_path / "text").write_text("one two")
    result = CliRunner().invoke(wordcount.main, [str(tmp_path / "text")])
    assert result.output == "2 words\n"

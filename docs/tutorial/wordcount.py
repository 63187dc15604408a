"""Counts words."""

from pathlib import Path

import click


def count(text):
    return len(text.split())


@click.command()
@click.argument("file", type=click.Path(exists=True, path_type=Path))
def main(file):
    click.echo(f"{count(file.read_text())} words")

"""Says hello on the command line."""

import os

import click


@click.command()
@click.argument("name")
def main(name):
    click.echo(f"{os.environ.get('GREETING', 'Hi')}, {name}.")

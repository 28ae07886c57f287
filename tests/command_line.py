"""The command line as click runs it, built once: Typer's own runner builds all of it anew for every command."""

from __future__ import annotations

from typing import Final

import click
import typer.main

from twinward.cli.main import app

PROGRAM: Final[click.Command] = typer.main.get_command(app)

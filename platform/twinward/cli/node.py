"""``twinward node``: Make and run a hospital's node."""

from __future__ import annotations

import typer

app = typer.Typer(help="Make and run a hospital's node.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Make and run a hospital's node."""

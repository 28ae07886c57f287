"""``twinward keys``: The key ring: state, rotation, shredding."""

from __future__ import annotations

import typer

app = typer.Typer(help="The key ring: state, rotation, shredding.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The key ring: state, rotation, shredding."""

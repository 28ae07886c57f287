"""``twinward vendor``: Ask hospitals encrypted questions; needs only twinward[vendor]."""

from __future__ import annotations

import typer

app = typer.Typer(help="Ask hospitals encrypted questions; needs only twinward[vendor].", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Ask hospitals encrypted questions; needs only twinward[vendor]."""

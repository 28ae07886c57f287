"""``twinward audit``: The access log: read, verify, export, check proofs."""

from __future__ import annotations

import typer

app = typer.Typer(help="The access log: read, verify, export, check proofs.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The access log: read, verify, export, check proofs."""

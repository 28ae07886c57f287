"""``twinward study``: Private studies across hospitals: models, protocols, cards."""

from __future__ import annotations

import typer

app = typer.Typer(help="Private studies across hospitals: models, protocols, cards.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Private studies across hospitals: models, protocols, cards."""

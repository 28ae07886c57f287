"""``twinward twin``: Patients' twins: import, list, read through the gate, consent."""

from __future__ import annotations

import typer

app = typer.Typer(help="Patients' twins: import, list, read through the gate, consent.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Patients' twins: import, list, read through the gate, consent."""

"""What every command shares: printing for people or as JSON, progress, and errors that teach."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from twinward.errors import TwinwardError
from twinward_crypto.errors import CryptoError

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="The node's folder. Default: TWINWARD_HOME, else ./twinward-home.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def show_json(value: Any) -> None:
    """Print one JSON document to standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


@contextmanager
def progress() -> Iterator[Progress]:
    """A live progress display on standard error, so that standard output stays clean."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=False) as display:
        yield display


@contextmanager
def errors_taught(*, as_json: bool = False) -> Iterator[None]:
    """Turn expected errors into a message, a hint and an exit code; keep tracebacks from the user."""
    try:
        yield
    except TwinwardError as error:
        _complain(str(error), error.hint, kind=type(error).__name__, as_json=as_json)
        raise typer.Exit(error.exit_code) from None
    except (CryptoError, ValidationError, OSError) as error:
        _complain(_first_line(error), "", kind=type(error).__name__, as_json=as_json)
        raise typer.Exit(1) from None


def _first_line(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def complain_about_defect(error: BaseException) -> None:
    """The last resort: something nobody expected. Shows no traceback unless TWINWARD_DEBUG asks for it."""
    if os.environ.get("TWINWARD_DEBUG"):
        err.print_exception()
    hint = "nothing is half-written; please report it with the output of the same command under TWINWARD_DEBUG=1"
    _complain(f"internal error ({type(error).__name__})", hint, kind="InternalError", as_json=False)


def _complain(message: str, hint: str, *, kind: str, as_json: bool) -> None:
    if as_json:
        show_json({"error": {"kind": kind, "message": message, "hint": hint}})
        return
    err.print(f"[bold red]error[/]: {_plain(message)}")
    if hint:
        err.print(f"[dim]what to do[/]: {_plain(hint)}")


def _plain(text: str) -> str:
    return text.replace("[", "\\[")

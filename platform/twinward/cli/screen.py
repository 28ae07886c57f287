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
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from twinward.errors import BadInput, TwinwardError
from twinward_crypto.errors import CryptoError
from twinward_ledger.errors import LedgerError

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="The node's folder. Default: TWINWARD_HOME, else ./twinward-home.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
HostOption = Annotated[str | None, typer.Option(help="Address to listen on.", show_default="of the settings")]
PortOption = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.", show_default="of the settings")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]

MAX_INPUT_BYTES = 1 << 20
"""Of a small file a command is given: a consent, a protocol, a query, a proof. Imports have bounds of their own."""
_EXTRAS = {
    "vendor": ("numpy", "tenseal"),
    "research": ("dp_accounting", "opacus", "sklearn", "torch"),
}

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
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package.startswith("twinward"):
            raise
        extra = next((name for name, packages in _EXTRAS.items() if package in packages), "node")
        hint = f"pip install 'twinward[{extra}]'"
        _complain(f"this command needs the package {package}", hint, kind="NotInstalled", as_json=as_json)
        raise typer.Exit(7) from None
    except (CryptoError, LedgerError, ValidationError, OSError) as error:
        _complain(_first_line(error), "", kind=type(error).__name__, as_json=as_json)
        raise typer.Exit(1) from None


def table(*columns: str) -> Table:
    """An empty table in the style of every command."""
    made = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for number, column in enumerate(columns):
        made.add_column(column, no_wrap=number == 0, overflow="fold")
    return made


def say(text: str) -> None:
    """Print text in which nothing is markup: ids, names and sentences that came from elsewhere."""
    out.print(escape(text), soft_wrap=True)


def counted(number: int, one: str, many: str) -> str:
    """A number with what it counts: ``counted(1, "twin was", "twins were")`` is ``1 twin was``."""
    return f"{number} {one if number == 1 else many}"


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something that cannot be undone. Raises ``BadInput`` where nobody can answer, exits 1 on a no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadInput(f"{question} Nobody is there to answer.", hint="give --yes if you mean it")
    if not typer.confirm(question, err=True):
        err.print("nothing was done")
        raise typer.Exit(1)


def ask_secret(what: str, *, option: str, twice: bool = False) -> str:
    """Ask for a password without showing it. Raises ``BadInput`` where nobody can type one unseen."""
    if not sys.stdin.isatty():
        raise BadInput(
            f"a {what[0].lower()}{what[1:]} is needed, and nobody is there to type it", hint=f"give {option}"
        )
    return str(typer.prompt(what, hide_input=True, confirmation_prompt=twice, err=True))


def read_input(path: Path, *, most: int = MAX_INPUT_BYTES) -> bytes:
    """A small file, ``-`` for standard input. Raises ``BadInput`` if it cannot be read or is too long."""
    try:
        if str(path) == "-":
            content = sys.stdin.buffer.read(most + 1)
        else:
            with path.open("rb") as file:
                content = file.read(most + 1)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > most:
        raise BadInput(f"{path} is longer than {most} bytes")
    return content


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
    err.print(f"[bold red]error[/]: {escape(message)}", soft_wrap=True)
    if hint:
        err.print(f"[dim]what to do[/]: {escape(hint)}", soft_wrap=True)

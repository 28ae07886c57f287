"""What every command shares: printing for people or as JSON, progress, and errors that teach."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import click
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from twinward.core import visible_text
from twinward.core.errors import BadInput, NotFound, TwinwardError
from twinward.core.visible_text import visible, visible_line
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
_EXTRA_OF_PACKAGE = {
    "Crypto": "shamir",
    "boto3": "aws",
    "botocore": "aws",
    "dp_accounting": "research",
    "hvac": "transit",
    "opacus": "research",
    "pkcs11": "pkcs11",
    "psycopg": "postgres",
    "ray": "cluster",
    "sklearn": "research",
    "torch": "research",
}
"""The extra that brings a package, where there is only one; what others bring depends on the command."""

_EXTRA_OF_GROUP = {"vendor": "vendor", "disclosure": "vendor", "study": "research"}
_VENDORS_PACKAGES = frozenset({"numpy", "pint", "tenseal", "ucumvert", "zstandard"})
"""They come with ``vendor``, and with whatever extra their command needs."""


class _Screen(Console):
    """A console on which no text, whoever wrote it, steers the terminal or turns a line around."""

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich prints, each string made visible."""
        super().print(*(visible(one) if isinstance(one, str) else one for one in objects), **options)

    def on_broken_pipe(self) -> NoReturn:
        """Let the entry point end the process: by itself rich would exit 1, as for an error."""
        raise BrokenPipeError


class _Rows(Table):
    """A table in which a cell is one line of text, never markup."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        """A row; strings are shown as they are, what cannot be seen spelled out."""
        super().add_row(*(Text(visible_line(one)) if isinstance(one, str) else one for one in cells), **options)


out = _Screen(highlight=False, emoji=False)
err = _Screen(stderr=True, highlight=False, emoji=False)


def visible_json(value: Any, *, indent: int | None = 2) -> str:
    """JSON in which no character steers a terminal: what ``visible`` spells out is escaped as JSON does it."""
    return visible_text.visible_json(json.dumps(value, indent=indent, ensure_ascii=False, default=str))


def show_json(value: Any) -> None:
    """Print one JSON document to standard output."""
    sys.stdout.write(visible_json(value) + "\n")


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
        hint = f"pip install 'twinward[{_extra_with(package)}]'"
        _complain(f"this command needs the package {package}", hint, kind="NotInstalled", as_json=as_json)
        raise typer.Exit(7) from None
    except BrokenPipeError:
        raise  # whoever read the output has seen enough
    except KeyboardInterrupt:
        tell("interrupted: what was done stands, nothing is half-written")
        raise typer.Exit(130) from None
    except (CryptoError, LedgerError, ValidationError, OSError) as error:
        _complain(_first_line(error), "", kind=type(error).__name__, as_json=as_json)
        raise typer.Exit(1) from None


def _extra_with(package: str) -> str:
    """The extra that the command which is running needs: one that brings this package and what it will need next."""
    context = click.get_current_context(silent=True)
    names = [] if context is None else context.command_path.split()
    group = names[1] if len(names) > 1 else ""
    if package in _VENDORS_PACKAGES:
        return _EXTRA_OF_GROUP.get(group, "node")
    return _EXTRA_OF_PACKAGE.get(package, "node")


def table(*columns: str) -> Table:
    """An empty table in the style of every command."""
    made = _Rows(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for number, column in enumerate(columns):
        made.add_column(column, no_wrap=number == 0, overflow="fold")
    return made


def show_table(made: Table) -> None:
    """Print a table; where the terminal is too narrow even for its headings' words, a row as a few lines of its own."""
    longest = [max(map(len, str(column.header).split()), default=0) for column in made.columns]
    if sum(longest) + 2 * len(longest) <= out.width:
        for column, least in zip(made.columns, longest, strict=True):
            column.min_width = least
        out.print(made)
        return
    for row in zip(*(column.cells for column in made.columns), strict=True):
        shown = [f"{column.header}: {cell}" for column, cell in zip(made.columns, row, strict=True) if cell]
        out.print("\n  ".join(shown), soft_wrap=True, markup=False)


def say(text: str) -> None:
    """Print text in which nothing is markup or steers a terminal: ids, names and sentences that came from elsewhere."""
    out.print(text, markup=False, soft_wrap=True)


def tell(text: str) -> None:
    """As ``say``, on standard error."""
    err.print(text, markup=False, soft_wrap=True)


def counted(number: int, one: str, many: str) -> str:
    """A number with what it counts: ``counted(1, "twin was", "twins were")`` is ``1 twin was``."""
    return f"{number} {one if number == 1 else many}"


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something that cannot be undone. Raises ``BadInput`` where nobody can answer, exits 1 on a no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadInput(f"{question} Nobody is there to answer.", hint="give --yes if you mean it")
    if not typer.confirm(visible(question), err=True):
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


def require_file(path: Path, what: str) -> None:
    """Raise ``NotFound`` unless it is there, ``BadInput`` unless it can be read from any place: a pipe cannot."""
    if str(path) == "-" or (path.exists() and not path.is_file()):
        raise BadInput(f"{what} is a file: a pipe, standard input or a folder is none", hint="save it to a file first")
    if not path.is_file():
        raise NotFound(f"there is no file {path}", hint=f"give {what}")


def read_secret_input(path: Path, what: str, *, most: int) -> bytes:
    """As ``read_input``, of a file with a secret. Raises ``BadInput`` where others than its owner may read it, too."""
    from twinward_crypto.providers import is_exposed

    if str(path) == "-":
        return read_input(path, most=most)
    try:
        with path.open("rb") as file:
            exposed, content = is_exposed(file.fileno()), file.read(most + 1)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    if exposed:
        raise BadInput(f"{what} in {path} can be read by others", hint=f"chmod 600 {path}")
    if len(content) > most:
        raise BadInput(f"{path} is longer than {most} bytes")
    return content


_WORD_CHARS = 200
_ENDLESS = re.compile(rf"\S{{{_WORD_CHARS + 1},}}")
"""A word that nobody reads to its end: what was typed, and is repeated in a message."""


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
    message, hint = (_ENDLESS.sub(lambda found: f"{found[0][:_WORD_CHARS]}…", text) for text in (message, hint))
    if as_json:
        show_json({"error": {"kind": kind, "message": message, "hint": hint}})
        return
    message, hint = (text.replace("\n", " ") for text in (message, hint))
    err.print(f"[bold red]error[/]: {escape(message)}", soft_wrap=True)
    if hint:
        err.print(f"[dim]what to do[/]: {escape(hint)}", soft_wrap=True)

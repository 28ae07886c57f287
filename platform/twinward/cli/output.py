"""What every command shares: printing for people or as JSON, progress, and errors that teach."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from twinward.core import visible_text
from twinward.core.errors import BadInput, Conflict
from twinward.core.private_files import replacing
from twinward.core.visible_text import visible, visible_line

if TYPE_CHECKING:
    from rich.progress import Progress

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
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=False) as display:
        yield display


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


STANDARD_OUTPUT = Path("-")


class OutputFile:
    """One document to be written, named before the work begins.

    What is said about it goes to standard error where the document itself goes to standard output (``is_printed``).
    """

    def __init__(self, target: Path, *, as_json: bool, option: str = "--out") -> None:
        """Check that it can be.

        Raises:
            Conflict: there is a file of this name.
            BadInput: ``-`` together with --json: both want standard output.
        """
        self.target = target
        self.is_printed = target == STANDARD_OUTPUT
        self.as_json = as_json
        if self.is_printed and as_json:
            raise BadInput(f"--json and {option} - both want standard output", hint=f"give {option} a file")
        if not self.is_printed and target.exists() and (target.is_file() or target.is_dir()):
            raise Conflict(f"{target} exists", hint=f"give another {option}")

    def __str__(self) -> str:
        return "standard output" if self.is_printed else str(self.target)

    def write(self, content: bytes) -> None:
        """Write it whole: a file is there whole or not at all. Raises ``BadInput``."""
        with self.writing() as file:
            file.write(content)

    @contextmanager
    def writing(self) -> Iterator[IO[bytes]]:
        """Somewhere to write it piece by piece; a file is there at the end of the block, or not at all.

        The block raises no ``OSError`` of its own. Raises ``BadInput``.
        """
        try:
            with self._opened() as file:
                yield file
        except BrokenPipeError:
            raise
        except OSError as error:
            raise BadInput(f"{self} cannot be written: {error.strerror}") from None

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        if self.is_printed:
            sys.stdout.flush()
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        elif self.target.exists() and not self.target.is_file():  # a pipe, a device
            with self.target.open("wb") as pipe:
                yield pipe
        else:
            with replacing(self.target) as file:
                yield file

    def report(self, shown: Mapping[str, object], *sentences: str) -> None:
        """Say what was written: as JSON, or in sentences."""
        if self.as_json:
            show_json(shown)
            return
        for one in sentences:
            (tell if self.is_printed else say)(one)

"""``twinward``: the command line. What is typed is a noun and a verb, whose module is imported when it is asked for: so
``--help`` is quick, and a vendor's installation needs no server packages.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any, Final

import click
import typer
from click.utils import PacifyFlushWrapper
from typer.core import TyperGroup

from twinward import __version__
from twinward.cli import standard_streams
from twinward.cli.demo import demo
from twinward.cli.errors import complain_about_defect
from twinward.cli.groups import MARKUP
from twinward.cli.nouns import NOUNS
from twinward.cli.output import out, tell
from twinward.cli.what_if import what_if


class _Root(TyperGroup):
    """The nouns, behind the verbs that stand alone."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for noun in NOUNS:
            self.add_command(noun)


app = typer.Typer(
    name="twinward",
    cls=_Root,
    help="Patients' digital twins: sealed at rest, every access logged, queried and trained on without being shown.",
    epilog="First time? `twinward demo` runs everything on this machine, then `twinward node serve` opens the console.",
    no_args_is_help=True,
    rich_markup_mode=MARKUP,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo)
app.command("what-if")(what_if)


def _show_version(wanted: bool) -> None:
    if wanted:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Options before the subcommand."""
    del version  # it has been shown
    if context.obj is _ENTRY_POINT and context.invoked_subcommand != "vendor":  # which has nothing that logs
        from twinward.cli.logs import configure_logs  # not for --help: structlog is slow to load

        configure_logs()


_ENTRY_POINT: Final = object()
"""Marks a run of this process's own command line, not of a test in a process of its own."""


def run() -> None:
    """Entry point: the exit code says what went wrong (see twinward/core/errors.py), and nobody sees a traceback."""
    os.umask(0o077)  # whatever a command writes is for this user alone
    # No package that happens to be installed looks on while pydantic reads what it is given; nor is one looked for.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    standard_streams.prepare()
    try:
        try:
            app(standalone_mode=True, obj=_ENTRY_POINT)
        finally:
            if isinstance(sys.stdout, PacifyFlushWrapper):  # click met a broken pipe
                raise BrokenPipeError
            standard_streams.flush()
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    except (BrokenPipeError, standard_streams.ReaderGone):
        standard_streams.give_up()
        sys.exit(141)
    except standard_streams.OutputLost as lost:
        standard_streams.give_up()
        tell(f"error: {lost}; what the command did stands")
        sys.exit(74)  # EX_IOERR
    except Exception as error:  # noqa: BLE001 - the last resort; TWINWARD_DEBUG=1 shows the traceback
        complain_about_defect(error)
        sys.exit(70)  # EX_SOFTWARE of sysexits.h

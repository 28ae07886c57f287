"""``twinward``: the command line. Subcommands import what they need when they run, so that ``--help`` is quick and a
vendor's installation needs no server packages.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import click
import typer
from click.utils import PacifyFlushWrapper

from twinward import __version__
from twinward.cli import (
    access,
    account,
    audit,
    consortium,
    demo,
    disclosure,
    keys,
    log_files,
    node,
    similarity,
    standard_streams,
    study,
    twin,
    vendor,
    witness,
)
from twinward.cli.logs import configure_logs
from twinward.cli.screen import complain_about_defect, out, tell

app = typer.Typer(
    name="twinward",
    help="Patients' digital twins: sealed at rest, every access logged, queried and trained on without being shown.",
    epilog="First time? `twinward demo` runs everything on this machine, then `twinward node serve` opens the console.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.add_typer(node.app, name="node")
app.add_typer(twin.app, name="twin")
app.add_typer(account.app, name="account")
app.add_typer(access.app, name="access")
audit.app.command("tiles")(log_files.tiles)
audit.app.command("gaps")(log_files.gaps)
audit.app.command("policy")(log_files.policy)
app.add_typer(audit.app, name="audit")
app.add_typer(witness.app, name="witness")
app.add_typer(consortium.app, name="consortium")
app.add_typer(vendor.app, name="vendor")
app.add_typer(similarity.app, name="similarity")
app.add_typer(study.app, name="study")
app.add_typer(keys.app, name="keys")
app.add_typer(disclosure.app, name="disclosure")


def _show_version(wanted: bool) -> None:
    if wanted:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Options before the subcommand."""


def run() -> None:
    """Entry point: the exit code says what went wrong (see twinward/core/errors.py), and nobody sees a traceback."""
    os.umask(0o077)  # whatever a command writes is for this user alone
    standard_streams.prepare()
    configure_logs()
    try:
        try:
            app(standalone_mode=True)
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

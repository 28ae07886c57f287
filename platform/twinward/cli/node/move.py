"""``twinward node move``: out of the home's files into PostgreSQL."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from twinward.cli.errors import errors_taught
from twinward.cli.input import confirm
from twinward.cli.keys.shred import DryRunOption
from twinward.cli.output import HomeOption, JsonOption, YesOption, progress, say, show_json
from twinward.core.config import FILE_NAME, Settings
from twinward.core.errors import NotFound

_PLACE = "An empty PostgreSQL database for {}: postgresql://user@host/database."


def move(
    records: Annotated[str | None, typer.Option(help=_PLACE.format("the sealed records"))] = None,
    keyring: Annotated[str | None, typer.Option(help=_PLACE.format("the wrapped keys; best on another server"))] = None,
    log: Annotated[str | None, typer.Option(help=_PLACE.format("the access log and its completeness map"))] = None,
    state: Annotated[
        str | None, typer.Option(help=_PLACE.format("accounts, consents and the other small stores"))
    ] = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move databases of a node from files of its home to PostgreSQL. The node must not be served meanwhile.

    Everything is copied and compared before the home names the server; interrupted or killed before that, the node
    works as before, and the same command goes on. The files stay in the home as NAME.moved: delete them once a backup
    of the new place was made. Make a backup before.

    Exit codes: 0 moved, 1 you said no, 2 nothing to move or no such database, 3 no node in the home, 4 the node is
    served, or a database holds something else, 7 a server does not answer, 8 what was read back differs.

    Example: twinward node move --log postgresql://twinward_node@db.example/access_log --dry-run
    """
    with errors_taught(as_json=as_json):
        from twinward.backup.relocation import plan_relocation, relocate
        from twinward.node.errors import translated

        settings = Settings.load(home)
        if not (settings.home / FILE_NAME).is_file():
            raise NotFound(f"there is no node in {settings.home}", hint="give --home, or set TWINWARD_HOME")
        named = {"records": records, "keyring": keyring, "log": log, "state": state}
        to = {role: uri for role, uri in named.items() if uri is not None}
        with translated():
            done = plan_relocation(settings, to)
            if not dry_run:
                confirm(f"Move {', '.join(done.roles)} of {settings.home} to PostgreSQL?", yes=yes)
                with progress() as bars:
                    task = bars.add_task("moving", total=None)
                    done = relocate(
                        settings,
                        to,
                        lambda what, so_far, total: bars.update(
                            task, description=f"moving {what}", completed=so_far, total=max(total, 1)
                        ),
                    )
        if as_json:
            show_json({**asdict(done), "done": not dry_run})
        elif dry_run:
            say(f"{', '.join(done.files)} would be moved; nothing was changed, and no server was asked")
        else:
            say(f"moved: {', '.join(done.roles)} ({done.rows} rows), each compared with its file")
            kept = ", ".join(f"{file}.moved" for file in done.files)
            say(f"kept in {settings.home}: {kept}; they hold keys and names")
            say("next: twinward audit verify --deep, twinward node backup, then delete them")

"""``twinward similarity rebuild-history``: for a release history that is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from twinward.cli.opening import AsOption, audit_permit, node_at, request_of
from twinward.cli.screen import HomeOption, JsonOption, YesOption, confirm, counted, say, show_json
from twinward.core.vocabulary import Action, Purpose


def rebuild_history(
    account: AsOption,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be closed; change nothing.")] = False,
    yes: YesOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Begin the release history anew where releases.sealed is lost, altered or older than the log.

    First look for the newest file: on the crashed machine's disk, or in the backup the log came from. Without it, each
    vendor is told nothing more about patients the log says it may have been told of; about others, as ever. The log
    is verified first, as by `twinward audit verify --deep`, and names what was lost. Stop the server before.

    Exit codes: 0, 1 you said no, 2 nobody to ask and no --yes, 3 no such account, 4 the history is sound or the node
    is being served, 6 the account is no officer's (also logged), 8 the log does not verify.

    Examples:

    `twinward similarity rebuild-history --as olga --dry-run`

    `twinward similarity rebuild-history --as olga --yes`
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.node.history_rebuilding import plan_of, rebuild

        plan = plan_of(node, audit_permit(node, account, "release history"))
        closed = {vendor: len(twins) for vendor, twins in plan.closed.items()}
        lost = None if plan.lost is None else {"changes": plan.lost.changes, "head": plan.lost.mac.hex()}
        if not as_json:
            say(f"refused: {plan.fault}")
            for vendor, patients in closed.items():
                say(f"{vendor}: nothing more is told about {counted(patients, 'patient', 'patients')}")
            say("about anybody else, and to vendors that were told of nobody, as ever")
        if not dry_run:
            confirm("Begin the release history anew? Should the lost file be found later, it is refused.", yes=yes)
            request = request_of(node.accounts.named(account), Action.AUDIT, Purpose.COMPLIANCE)
            rebuild(node, plan, replace(request, detail=(*request.detail, *plan.detail)))
        if as_json:
            show_json({"fault": plan.fault, "lost": lost, "closed": closed, "done": not dry_run})
        elif not dry_run:
            say("the release history is begun anew; start the server again")

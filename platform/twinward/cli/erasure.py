"""``twinward erasure``: one officer proposes an erasure, another approves it, a receipt proves it; as on the page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.context import AsOption, TwinArgument, audit_permit, await_server, context_of, node_at, twin_of
from twinward.cli.input import confirm
from twinward.cli.output import HomeOption, JsonOption, OutputFile, YesOption, say, show_json
from twinward.core.clock import iso
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Category, Purpose

if TYPE_CHECKING:
    from twinward.erasure.proposals import ProposedErasure

NameArgument = Annotated[str, typer.Argument(help="What `twinward erasure list` calls it.")]


def list_(account: AsOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Erasures that were proposed, the newest first: what waits for a second officer, what is done.

    Exit codes: 0, 3 no such account, 6 no officer's account.

    Example: twinward erasure list --as olga
    """
    with node_at(home, as_json=as_json) as node:
        audit_permit(node, account, "erasures")
        found = node.erasure_desk.all()
        if as_json:
            show_json({"erasures": [_shown(one) for one in found]})
            return
        for one in found:
            say(f"{one.state.upper() if one.state == 'waiting' else one.state}  {one.name}: {_what(one)}")
            say(f"  proposed by {one.proposed_by} at {iso(one.at_ms)[:16]}: {one.why}")
            if one.approved_by or one.withdrawn_by:
                by = f"approved by {one.approved_by}" if one.approved_by else f"withdrawn by {one.withdrawn_by}"
                say(f"  {by}" + ("" if one.done_at_index is None else f", done in event {one.done_at_index}"))
        if not found:
            say("no erasure was proposed")


def propose(
    twin: TwinArgument,
    account: AsOption,
    purpose: Annotated[Purpose, typer.Option(help="PATRQT (the patient's request) or HCOMPL (compliance).")],
    reason: Annotated[str, typer.Option(help="Why: the other officer reads it, and the log keeps it for ever.")],
    category: Annotated[
        list[Category] | None, typer.Option("--category", help="Only this category; may be given more than once.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Propose to erase a patient, or categories of theirs. Nothing is erased until another officer approves it.

    Exit codes: 0, 2 the reason says nothing, 3 no such twin or account, 4 it is proposed already, 6 policy says no.

    Example: twinward erasure propose 0198… --as olga --purpose PATRQT --reason "she asked for it in writing"
    """
    with node_at(home, as_json=as_json) as node:
        if purpose not in (Purpose.PATIENT_REQUEST, Purpose.COMPLIANCE):
            raise BadInput("an erasure is for the patient's request or for compliance", hint="PATRQT or HCOMPL")
        context = context_of(node, account, purpose)
        made = node.erasure_desk.propose(context, twin_of(node, twin), frozenset(category or ()), reason)
        if as_json:
            show_json(_shown(made))
        else:
            say(f"proposed as {made.name}; another officer: `twinward erasure approve {made.name} --as …`")


def approve(
    name: NameArgument,
    account: AsOption,
    yes: YesOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve another officer's proposal: the keys are destroyed, nothing brings them back. Rows and backups follow.

    Interrupted after the keys are gone, a served node goes on by itself, or `keys finish` does. Exit codes: 0, 1 you
    said no, 2 nobody to ask and no --yes, 3 no such proposal, 4 your own, or it waits no more, 6 policy says no, 7 the
    key service does not answer.

    Example: twinward erasure approve 5dde4d311462ec01 --as otto --yes
    """
    with node_at(home, as_json=as_json) as node:
        context = context_of(node, account, Purpose.COMPLIANCE)
        audit_permit(node, account, "erasures")
        waiting = node.erasure_desk.proposal(name)
        confirm(f"Erase {_what(waiting)} for ever? {waiting.proposed_by} says: {waiting.why}", yes=yes)
        node.erasure_desk.approve(context, name)
        await_server(node)
        node.erasure_desk.carry_on()
        done = node.erasure_desk.proposal(name)
        if as_json:
            show_json(_shown(done))
        else:
            say(f"{_what(done)}: {done.state}; `twinward erasure receipt {name} --out …` writes the proof")


def withdraw(name: NameArgument, account: AsOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Take a proposal back, or turn another officer's down.

    Exit codes: 0, 3 no such proposal, 4 it waits no more, 6 policy says no.

    Example: twinward erasure withdraw 5dde4d311462ec01 --as olga
    """
    with node_at(home, as_json=as_json) as node:
        node.erasure_desk.withdraw(context_of(node, account, Purpose.COMPLIANCE), name)
        show_json({"withdrawn": name}) if as_json else say(f"{name} is withdrawn")


def receipt(
    name: NameArgument,
    account: AsOption,
    target: Annotated[Path, typer.Option("--out", help="Where to write it; must not exist. '-' prints it.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the log's proof that an erasure is done, signed and anchored; `keys check-receipt` checks it.

    Exit codes: 0, 2 the file exists, 3 no such proposal, 4 it is not done yet, 6 no officer's account, 7 the log cannot
    be signed now.

    Example: twinward erasure receipt 5dde4d311462ec01 --as otto --out erased.proof
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.overview.erasures import receipt as made

        to = OutputFile(target, as_json=as_json)
        done = node.erasure_desk.proposal(name)
        to.write(made(node, audit_permit(node, account, "erasure receipt"), done).encode())
        to.report({"erasure": name, "file": str(to), "index": done.done_at_index}, f"{_what(done)}: proven in {to}")


def _what(one: ProposedErasure) -> str:
    return f"{', '.join(sorted(one.categories)) or 'everything'} of twin {one.twin or '(erased by other means)'}"


def _shown(one: ProposedErasure) -> dict[str, Any]:
    return {
        "erasure": one.name,
        "state": one.state,
        "twin": one.twin,
        "categories": sorted(one.categories),
        "purpose": one.purpose.value,
        "reason": one.why,
        "proposed_by": one.proposed_by,
        "at": iso(one.at_ms),
        "approved_by": one.approved_by or None,
        "withdrawn_by": one.withdrawn_by or None,
        "done_at_index": one.done_at_index,
    }

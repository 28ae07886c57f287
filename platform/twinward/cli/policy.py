"""``twinward policy``: the hospital's policy in sentences and versions, and changing it, two officers together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.context import AsOption, audit_permit, context_of, node_at
from twinward.cli.input import read_input
from twinward.cli.output import HomeOption, JsonOption, progress, say, show_json
from twinward.core.clock import iso
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Purpose

if TYPE_CHECKING:
    from twinward.access.policy_preview import Preview
    from twinward.access.policy_store import PolicyVersion, Proposal

FileArgument = Annotated[Path, typer.Argument(help="A Cedar policy; '-' reads it.")]
ProposalArgument = Annotated[str, typer.Argument(help="A proposal, as `twinward policy history` names it.")]
ReasonOption = Annotated[str, typer.Option(help="Why, in a sentence; the other officer reads it.")]


def show(
    account: AsOption,
    version: Annotated[int | None, typer.Option(min=0, help="Which version.", show_default="the one in force")] = None,
    cedar: Annotated[bool, typer.Option("--cedar", help="The Cedar text itself, to change it.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the policy in force, in its own sentences.

    Exit codes: 0, 3 no such version or account, 6 no officer's account.

    Example: twinward policy show --as olga
    Example: twinward policy show --as olga --cedar > st-anna.cedar
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.access.policy_rules import rules

        audit_permit(node, account, "policy")
        found = node.policy.newest() if version is None else node.policy.version(version)
        if as_json:
            said = [
                {"rule": one.name, "permits": one.permits, "say": one.sentence, "holds": one.scene}
                for one in rules(found.text)
            ]
            show_json(_version(found) | {"rules": said, "cedar": found.text})
        elif cedar:
            say(found.text.rstrip("\n"))
        else:
            say(f"version {found.version}, sha256 {found.sha256}")
            for one in rules(found.text):
                scene = f" ({one.scene})" if one.scene else ""
                say(f"  {'may     ' if one.permits else 'MAY NOT '} {one.sentence}{scene}  [{one.name}]")
            say("what no rule permits is refused")


def history(account: AsOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the versions, newest first, and the changes that wait for a second officer.

    Exit codes: 0, 3 no such account, 6 no officer's account.

    Example: twinward policy history --as olga
    """
    with node_at(home, as_json=as_json) as node:
        audit_permit(node, account, "policy")
        versions, waiting = node.policy.versions(), node.policy.proposals()
        if as_json:
            show_json(
                {"versions": [_version(one) for one in versions], "proposals": [_proposal(one) for one in waiting]}
            )
            return
        for one in waiting:
            say(f"WAITS {one.name}: proposed by {one.proposed_by} at {iso(one.at_ms)[:16]}: {one.reason}")
        for done in versions:
            by = (
                f"proposed by {done.proposed_by}, approved by {done.approved_by}" if done.version else "of the settings"
            )
            say(f"version {done.version}  {iso(done.at_ms)[:16] if done.version else ''}  {by}: {done.reason}")


def preview(file: FileArgument, account: AsOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Check a changed policy, and say which of the last 10,000 decisions would come out otherwise. Changes nothing.

    Exit codes: 0, 2 it could not be in force, 3 no such account, 6 no officer's account.

    Example: twinward policy preview st-anna.cedar --as olga
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.access.policy_rules import checked, warnings

        policy = checked(_text(file), node.networks.names)
        permit = audit_permit(node, account, "policy preview")
        with progress() as bars:
            from twinward.overview.policy import preview_of

            task = bars.add_task("taking decisions again", total=None)
            found = preview_of(node, permit, policy, lambda done: bars.update(task, completed=done))
        doubts = warnings(policy)
        if as_json:
            show_json(_preview(found) | {"warnings": doubts, "sha256": policy.hash})
            return
        for doubt in doubts:
            say(f"think about it: {doubt}")
        say(f"{found.changed} of the last {found.looked_at} decisions would come out otherwise")
        if found.unknown:
            say(f"{found.unknown} more cannot be told: their consents are kept no longer")
        if found.placeless:
            say(f"{found.placeless} more cannot be told: it is not known from which network they came")
        for one in found.differences:
            verdict = "would be permitted" if one.then else "would be REFUSED"
            say(f"  {one.count} x {one.role} {one.action} for {one.purpose}: {verdict} ({one.then_reason})")
            say(f"      e.g. entries {', '.join(map(str, one.examples))}")


def propose(
    account: AsOption,
    reason: ReasonOption,
    file: Annotated[Path | None, typer.Argument(help="A Cedar policy; '-' reads it.", show_default=False)] = None,
    version: Annotated[int | None, typer.Option(min=0, help="Bring this version back instead.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Propose a change, or to go back to an earlier version. Nothing changes until another officer approves it.

    Exit codes: 0, 2 it could not be in force, 3 no such version, 4 it is in force already, 6 no officer's account.

    Example: twinward policy propose st-anna.cedar --as olga --reason "researchers may search, as the board decided"
    Example: twinward policy propose --version 0 --as olga --reason "back to what we had before the pilot"
    """
    with node_at(home, as_json=as_json) as node:
        if (file is None) == (version is None):
            raise BadInput("give a file, or --version")
        context = context_of(node, account, Purpose.COMPLIANCE)
        if version is not None:
            made = node.policy_desk.restore(context, version, reason)
        else:
            made = node.policy_desk.propose(context, _text(file), reason)  # type: ignore[arg-type]
        if as_json:
            show_json(_proposal(made))
        else:
            say(f"proposed as {made.name}; another officer: `twinward policy approve {made.name} --as …`")


def approve(name: ProposalArgument, account: AsOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Put another officer's proposal into force: at the next decision, in every process.

    Exit codes: 0, 3 no such proposal, 4 your own, or another version came into force since, 6 no officer's account.

    Example: twinward policy approve 5dde4d311462ec01 --as otto
    """
    with node_at(home, as_json=as_json) as node:
        made = node.policy_desk.approve(context_of(node, account, Purpose.COMPLIANCE), name)
        if as_json:
            show_json(_version(made))
        else:
            say(f"version {made.version} is in force: sha256 {made.sha256}")


def withdraw(name: ProposalArgument, account: AsOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Take a proposed change back.

    Exit codes: 0, 3 no such proposal, 6 no officer's account.

    Example: twinward policy withdraw 5dde4d311462ec01 --as olga
    """
    with node_at(home, as_json=as_json) as node:
        node.policy_desk.withdraw(context_of(node, account, Purpose.COMPLIANCE), name)
        show_json({"withdrawn": name}) if as_json else say(f"{name} is withdrawn")


def _text(file: Path) -> str:
    from twinward.access.errors import PolicyInvalid

    try:
        return read_input(file).decode()
    except UnicodeDecodeError:
        raise PolicyInvalid(f"{file} is not text in UTF-8") from None


def _version(one: PolicyVersion) -> dict[str, Any]:
    return {
        "version": one.version,
        "sha256": one.sha256,
        "at": iso(one.at_ms) if one.version else None,
        "proposed_by": one.proposed_by or None,
        "approved_by": one.approved_by or None,
        "reason": one.reason,
        "restores": one.restores,
    }


def _proposal(one: Proposal) -> dict[str, Any]:
    shown = {"proposal": one.name, "at": iso(one.at_ms), "proposed_by": one.proposed_by, "reason": one.reason}
    return shown | {"restores": one.restores, "cedar": one.text}


def _preview(found: Preview) -> dict[str, Any]:
    from dataclasses import asdict

    untold = {"unknown": found.unknown, "placeless": found.placeless}
    differences = [asdict(one) for one in found.differences]
    return {"decisions": found.looked_at, **untold, "changed": found.changed, "differences": differences}

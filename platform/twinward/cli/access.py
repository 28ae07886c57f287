"""``twinward access``: what policy and consent would say, without touching anything."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.markup import escape

from twinward.cli.context import AsOption, audit_permit, node_at
from twinward.cli.output import HomeOption, JsonOption, out, say, show_json
from twinward.core.clock import instant_ms, iso
from twinward.core.errors import BadInput
from twinward.core.network_settings import OUTSIDE
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId

if TYPE_CHECKING:
    from twinward.access.emergencies import EmergencyCounts
    from twinward.access.emergency import Emergency
    from twinward.node import Node


def check(
    role: Annotated[Role, typer.Option(help="The role that would ask.")],
    action: Annotated[Action, typer.Option(help="What it would do.")],
    purpose: Annotated[Purpose, typer.Option(help="Why, as an HL7 v3 ActReason code.")] = Purpose.TREATMENT,
    twin: Annotated[str | None, typer.Option(help="Whose twin; without one, nobody's consent is looked at.")] = None,
    category: Annotated[list[Category] | None, typer.Option(help="What it would touch; may be repeated.")] = None,
    principal: Annotated[str, typer.Option(help="The account that would ask.")] = "somebody",
    justification: Annotated[str, typer.Option(help="Why an emergency is one.")] = "",
    at: Annotated[str, typer.Option(help="When; by the hospital's clock unless it has an offset. Else now.")] = "",
    network: Annotated[str, typer.Option("--from", help="From which of the hospital's networks.")] = OUTSIDE,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Dry-run one decision and explain it. Nothing is logged and nothing can be opened with the answer.

    Exit codes: 0 it would be permitted, 6 it would be refused, 3 no node in the home, 2 no such time or network.

    Example: twinward access check --role vendor --action query --purpose CLINTRCH
    Example: twinward access check --role researcher --action study --purpose HRESCH --at 2026-12-05T10:00 --from node
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.access.interfaces import AccessRequest, Principal
        from twinward.access.policy_words import DAYS

        asked = frozenset(category or ())
        subject = TwinId(twin) if twin else None
        if network not in node.networks.names:
            raise BadInput(f"there is no network {network!r}", hint=f"there are {', '.join(node.networks.names)}")
        who = Principal(principal, role, network=network)
        request = AccessRequest(who, action, purpose, subject, asked, justification)
        at_ms = _moment(at, node.settings.time_zone) if at else node.clock.now_ms()
        decision = node.access.check_at(request, at_ms)
        hour = node.hours.at(at_ms)
        scene = f"{DAYS[hour.weekday - 1]}, {hour.hour}:00 to {hour.hour + 1}:00 ({node.hours.name})"
        if as_json:
            show_json(
                {
                    "permitted": decision.permitted,
                    "reason": decision.reason,
                    "consent_version": decision.consent_version,
                    "policy_sha256": decision.policy_hash,
                    "at": iso(at_ms),
                    "hour": hour.hour,
                    "weekday": hour.weekday,
                    "network": network,
                }
            )
        else:
            verdict = "[green]permitted[/]" if decision.permitted else "[red]refused[/]"
            out.print(f"{verdict}: {escape(decision.reason)}", soft_wrap=True)
            out.print(f"[dim]asked on {escape(scene)}, from network {network}[/]")
            out.print(
                f"[dim]policy {decision.policy_hash[:16]}…, consent version {decision.consent_version or 'none'}[/]"
            )
        raise typer.Exit(0 if decision.permitted else 6)


def _moment(text: str, zone: str) -> int:
    """A moment in milliseconds; one without an offset is by the zone's clock. Raises ``BadInput``."""
    try:
        found = datetime.fromisoformat(text)
        return instant_ms((found if found.tzinfo else found.replace(tzinfo=ZoneInfo(zone))).isoformat())
    except ValueError:
        raise BadInput(f"{text!r} is no time", hint="e.g. --at 2026-12-05T19:30") from None


_DURATION = re.compile(r"([1-9][0-9]{0,4})(m|h)")
_UNIT_S = {"m": 60, "h": 3600}


def emergencies(
    account: AsOption,
    all_of_them: Annotated[bool, typer.Option("--all", help="Those that are reviewed, too.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List emergency accesses: who broke the glass, why, until when, and by when the review is due.

    Exit codes: 0, 3 no such account, 6 the account is no officer's (also logged).

    Example: twinward access emergencies --as olga
    """
    with node_at(home, as_json=as_json) as node:
        permit = audit_permit(node, account, "emergencies")
        node.follow_up.do()
        found = [one for one in node.emergencies.all(permit) if all_of_them or not one.finding]
        if as_json:
            show_json({"emergencies": [shown(node, one) for one in found]})
            return
        for one in found:
            said = shown(node, one)
            say(f"{one.name}  {said['state']}  {one.agent or 'unknown'} opened {one.twin or 'a shredded twin'}")
            say(f"    since {said['started'][:16]}, review due {said['due'][:16]}")
            say(f"    {one.justification or '(erased with its patient)'}")
        say(f"{len(found)} emergency accesses" + ("" if all_of_them else " wait for their review"))
        if node.follow_up.problem:
            say(f"the contract waits: {node.follow_up.problem}")


def review(
    emergency: Annotated[str, typer.Argument(help="Its name, as `twinward access emergencies` prints it.")],
    account: AsOption,
    justified: Annotated[bool, typer.Option("--justified/--unjustified", help="What was found.")],
    note: Annotated[str, typer.Option(help="In a sentence: what was looked at, and why it was found so.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Review an emergency access. A review is final; the contract learns when it came, not what it says.

    Exit codes: 0 reviewed, 2 a note that says nothing, 3 no such emergency, 4 reviewed already, 6 no officer's account.

    Example: twinward access review 5dde4d311462ec01 --as olga --justified --note "overdose, confirmed by the ward"
    """
    with node_at(home, as_json=as_json) as node:
        node.emergencies.review(
            audit_permit(node, account, "emergency review"), emergency, justified=justified, note=note
        )
        node.follow_up.do()
        one = node.emergencies.register().emergencies[emergency]
        if as_json:
            show_json(shown(node, one))
        else:
            where = "the contract has it" if one.closed else f"the contract waits: {node.follow_up.problem}"
            say(f"{emergency} is reviewed as {one.finding}{' (late)' if one.late else ''}; {where}")


def allow(
    clinician: Annotated[str, typer.Argument(help="The clinician's account, or '*' for all: many casualties at once.")],
    account: AsOption,
    patients: Annotated[int, typer.Option(min=1, max=1000, help="Different patients within the window.")],
    duration: Annotated[str, typer.Option("--for", help="How long, e.g. 30m or 2h; a day at most.")] = "2h",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a clinician, or all of them, open more patients in emergencies than usual, for a time. In force at once.

    Exit codes: 0 allowed, 2 more or longer than may be, or no clinician, 3 no such account, 6 no officer's account.

    Example: twinward access allow dr-lee --as olga --patients 40 --for 2h
    """
    with node_at(home, as_json=as_json) as node:
        match = _DURATION.fullmatch(duration)
        if match is None:
            raise BadInput(f"{duration!r} is no duration", hint="e.g. --for 30m or --for 2h")
        if clinician != "*":
            _require_clinician(node, clinician)
        until_ms = node.emergencies.allow(
            audit_permit(node, account, "emergency allowance"),
            clinician,
            patients=patients,
            for_s=int(match[1]) * _UNIT_S[match[2]],
        )
        if as_json:
            show_json({"clinician": clinician, "patients": patients, "until": iso(until_ms)})
        else:
            who = "every clinician" if clinician == "*" else clinician
            say(f"{who} may open {patients} patients in emergencies until {iso(until_ms)[:16]} UTC")


def shown(node: Node, one: Emergency) -> dict[str, Any]:
    """One emergency as JSON."""
    return one.as_json(node.clock.now_ms(), node.emergencies.limits.review_s)


def emergency_lines(standing: EmergencyCounts) -> list[str]:
    """What `node status` says of emergencies; nothing where there is nothing to do."""
    found = []
    if standing.overdue:
        found.append(f"{standing.overdue} reviews are OVERDUE: `twinward access emergencies`")
    if standing.unreviewed:
        due = iso(standing.next_due_ms)[:16]
        found.append(f"{standing.unreviewed} wait for their review, {standing.open} open now, the next due {due}")
    if standing.undeclared:
        found.append(f"{standing.undeclared} wait for the contract")
    if standing.undelivered:
        found.append(f"{standing.undelivered} alerts reached nobody: look at alert_url")
    return found


def _require_clinician(node: Node, account: str) -> None:
    if node.accounts.named(account).role is not Role.CLINICIAN:
        raise BadInput(f"{account} is no clinician", hint="only clinicians open patients in emergencies")

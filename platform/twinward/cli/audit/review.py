"""``twinward audit review``: a day's accesses explained from care data, the rest by risk, and officers' findings."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from twinward.cli.audit.proofs import MAX_INDEX
from twinward.cli.context import AsOption, audit_permit, context_of, node_at
from twinward.cli.output import HomeOption, JsonOption, progress, say, show_json, show_table, table
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Purpose

if TYPE_CHECKING:
    from twinward.node import Node
    from twinward.review.models import DayReview, Visit


def review(
    account: AsOption,
    day: Annotated[str, typer.Option(help="Which day (UTC), as 2026-01-31.", show_default="yesterday")] = "",
    most: Annotated[int, typer.Option(min=1, max=500, help="Of what is not explained, so many.")] = 50,
    sign_off: Annotated[
        int | None, typer.Option(min=0, max=MAX_INDEX, help="Sign off the visit of this event.")
    ] = None,
    ask: Annotated[int | None, typer.Option(min=0, max=MAX_INDEX, help="Ask whoever made this event.")] = None,
    escalate: Annotated[int | None, typer.Option(min=0, max=MAX_INDEX, help="Escalate this event's visit.")] = None,
    answer: Annotated[
        int | None, typer.Option(min=0, max=MAX_INDEX, help="Answer what you were asked about this event.")
    ] = None,
    note: Annotated[str, typer.Option(help="What was found, asked or answered.")] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Examine a day: which accesses care explains, which it does not, the riskiest first, and a random sample.

    A finding is an event in the log, and never on one's own accesses. Exit codes: 0, 2 a bad day, two findings at once
    or no note, 3 no such account or event, 5 closed already, 6 the account may not.

    Example: twinward audit review --as olga --day 2026-01-31
    Example: twinward audit review --as olga --ask 812 --note "Why did you open this record?"
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.review.models import Verdict

        chosen = [
            (verdict, index)
            for verdict, index in (
                (Verdict.SIGNED_OFF, sign_off),
                (Verdict.ASKED, ask),
                (Verdict.ESCALATED, escalate),
                (Verdict.ANSWERED, answer),
            )
            if index is not None
        ]
        if len(chosen) > 1:
            raise BadInput("one finding at a time", hint="give one of --sign-off, --ask, --escalate and --answer")
        if chosen:
            _find(node, account, *chosen[0], note, as_json=as_json)
        else:
            _show(node, account, day, most, as_json=as_json)


def _find(node: Node, account: str, verdict: Any, index: int, note: str, *, as_json: bool) -> None:
    from twinward.review.models import Verdict

    who = context_of(node, account, Purpose.COMPLIANCE).principal
    if verdict is Verdict.ANSWERED:
        case = node.reviews.answer(who, index, note)
    else:
        permit = audit_permit(node, account, f"review of {index}")
        case = node.reviews.find(permit, who, index, verdict, note)
    if as_json:
        steps = [{"index": one.index, "by": one.by, "step": one.verdict.value, "note": one.note} for one in case.steps]
        show_json({"of": case.index, "whose": case.agent, "closed": case.is_closed, "steps": steps})
    else:
        say(f"the visit of event {index}: {verdict.value}, as event {case.steps[-1].index}")


def _show(node: Node, account: str, day: str, most: int, *, as_json: bool) -> None:
    from twinward.audit.queries import AccessQuery, day_of

    asked = AccessQuery.of({"since": day}).since if day else None
    chosen = asked or day_of(node.clock.now_ms()) - timedelta(days=1)
    permit = audit_permit(node, account, f"review of {chosen.isoformat()}")
    with progress() as display:
        task = display.add_task("opening care data", total=None)
        found = node.reviews.day(permit, chosen, lambda done, all_: display.update(task, completed=done, total=all_))
    cases = node.reviews.cases()
    closed = {index for index, case in cases.items() if case.is_closed}
    if as_json:
        show_json(_as_json(found, closed, most))
        return
    say(
        f"{found.visits} times a record was opened on {chosen.isoformat()}; care explains "
        f"{100 * found.explained_share:.1f} % of them"
    )
    for name, count in found.explained.items():
        say(f"  {name}: {count}")
    rows = table("event", "risk", "who", "unit", "twin", "why", "done")
    for one in found.suspects[:most]:
        visit = one.visit
        why = "; ".join(reason.sentence for reason in one.reasons)
        done = "yes" if visit.index in closed else ""
        cells = (str(visit.index), f"{one.risk:.2f}", visit.agent, visit.unit, visit.twin, why, done)
        rows.add_row(*map(escape, cells))
    show_table(rows)
    drawn = ", ".join(str(visit.index) for visit, _ in found.sample)
    say(f"sample, drawn by the signed tree head: {drawn}" if found.seed else "no checkpoint covers this day yet")


def _as_json(found: DayReview, closed: set[int], most: int) -> dict[str, Any]:
    return {
        "day": found.day.isoformat(),
        "size": found.size,
        "visits": found.visits,
        "explained": dict(found.explained),
        "explained_share": found.explained_share,
        "unexplained": len(found.suspects),
        "queue": [
            {
                **_visit(one.visit, closed),
                "risk": round(one.risk, 4),
                "reasons": [{"name": each.name, "weight": round(each.weight, 4)} for each in one.reasons],
            }
            for one in found.suspects[:most]
        ],
        "seed": found.seed,
        "sample": [{**_visit(visit, closed), "explained": why} for visit, why in found.sample],
    }


def _visit(visit: Visit, closed: set[int]) -> dict[str, Any]:
    return {
        "event": visit.index,
        "agent": visit.agent,
        "role": visit.role.value,
        "unit": visit.unit,
        "twin": visit.twin,
        "accesses": len(visit.accesses),
        "closed": visit.index in closed,
    }

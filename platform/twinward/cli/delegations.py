"""``twinward account delegate``, ``end-delegation`` and ``units``: roles that are lent for a time, and units."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from twinward.cli.account import AccountArgument, OfficerOption, days_of, doer_at, tell
from twinward.cli.context import node_at
from twinward.cli.output import HomeOption, JsonOption
from twinward.core.errors import BadInput

DAY_MS = 86_400_000


def delegate(
    account: Annotated[str, typer.Argument(help="The colleague's account.")],
    until: Annotated[str, typer.Option(help="When it ends: in days (14d), or a moment (2027-01-31T08:00Z).")],
    reason: Annotated[str, typer.Option(help="Why, in one sentence.")],
    by: OfficerOption = None,
    begins: Annotated[
        str | None, typer.Option("--from", help="When it begins, as --until.", show_default="now")
    ] = None,
    unit: Annotated[
        list[str] | None, typer.Option(help="For this unit of one's own alone; may be given again.", show_default="all")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lend one's own role (officer, clinician) to a colleague for a time; wants --as.

    The colleague acts with it where their own role may not do something, and each event says for whom. It ends with the
    giver's account or role, is not lent on, and does not change accounts or policy, erase, or approve studies.

    Exit codes: 0, 2 the times, the reason or the colleague do not fit, 3 no such account, 4 too many, 6 no role to
    lend, 7 the log cannot be written.

    Example: twinward account delegate kim --as dr-lee --until 14d --reason "on leave, Dr. Kim stands in"
    """
    with node_at(home, as_json=as_json) as node:
        now_ms = node.clock.now_ms()
        record = node.delegations.give(
            account,
            doer_at(node, by),
            until_ms=_moment(until, now_ms),
            from_ms=None if begins is None else _moment(begins, now_ms),
            units=None if unit is None else tuple(unit),
            reason=reason,
        )
        tell(node, record, as_json=as_json)


def end_delegation(
    account: Annotated[str, typer.Argument(help="Whose account it was lent to.")],
    number: Annotated[int, typer.Argument(min=1, help="Which, as `twinward account show` numbers them.")],
    by: OfficerOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a delegation early: its giver, whoever has it, or an officer; wants --as. It ends at the next decision.

    Exit codes: 0, 3 no such account or delegation, 4 it is over, 7 the log cannot be written.

    Example: twinward account end-delegation kim 1 --as dr-lee
    """
    with node_at(home, as_json=as_json) as node:
        tell(node, node.delegations.end(account, number, doer_at(node, by)), as_json=as_json)


def units(
    account: AccountArgument,
    unit: Annotated[list[str] | None, typer.Argument(help="The wards or departments; none for no unit.")] = None,
    by: OfficerOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say to which units somebody belongs, in place of those before. Policy sees them, accesses and reviews show them.

    Whoever is signed in is so no longer. Exit codes: 0, 2 a name that is none, 3 no such account, 6 policy says no, 7
    the log cannot be written.

    Example: twinward account units dr-lee cardiology "ward 3" --as olga
    """
    with node_at(home, as_json=as_json) as node:
        record = node.account_desk.set_units(account, tuple(unit or ()), doer_at(node, by))
        tell(node, record, as_json=as_json)


def _moment(text: str, now_ms: int) -> int:
    """``14d`` from now, or a moment with its zone. Raises ``BadInput``."""
    if text.endswith("d"):
        return now_ms + (days_of(text) or 0) * DAY_MS
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise BadInput(f"{text!r} is no moment", hint="say it as 14d, or as 2027-01-31T08:00Z")
    return int(found.timestamp() * 1000)

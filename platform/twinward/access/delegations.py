"""Delegations: somebody lends their role to a colleague, for a reason, from a moment to a moment.

A delegate acts with it where their own role may not do something, and every event says for whom. It is never more than
its giver has: it holds while the giver's account may be used and has that role, and for units that the giver has. A
lent role is not lent on, and what takes an officer's own name (``interfaces.NOT_LENT``) is not done by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from twinward.access import justification
from twinward.access.account_store import DAY_MS, AccountRecord, DelegationRecord
from twinward.access.accounts import Accounts
from twinward.access.interfaces import AccessContext, Principal
from twinward.access.lent_roles import APART
from twinward.access.shown_accounts import delegation_json
from twinward.core.clock import iso
from twinward.core.errors import BadInput, Conflict, NotFound, Refused
from twinward.core.sentences import sentence
from twinward.core.vocabulary import Purpose, Role

LENT: Final = frozenset({Role.OFFICER, Role.CLINICIAN})
"""Roles that may be lent."""
TAKEN_BY: Final = frozenset({Role.OFFICER, Role.CLINICIAN, Role.RESEARCHER, Role.OPERATOR})
"""Roles whose people they may be lent to."""
MOST_DAYS: Final = 90
MOST_DAYS_AHEAD: Final = 365
MOST: Final = 20
"""Of one delegate, those that are over not counted."""


class Delegations:
    """Giving them and ending them. Each change is an event of the log before it takes effect."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def give(
        self,
        to: str,
        by: AccessContext,
        *,
        until_ms: int,
        reason: str,
        from_ms: int | None = None,
        units: tuple[str, ...] | None = None,
    ) -> AccountRecord:
        """Lend one's own role to a colleague, ``units`` None for all of one's own; it begins now or at ``from_ms``.

        Raises:
            Refused: who asks has no role that may be lent, or it is lent itself.
            BadInput: the times, the reason, the units or the colleague do not fit.
            Conflict: the colleague has too many, or a role that nobody has together with this one.
            NotFound: there is no such account.
        """
        giver = self.require_giver(by)
        now_ms = self._accounts.now_ms()
        begins_ms = now_ms if from_ms is None else max(from_ms, now_ms)
        if begins_ms > now_ms + MOST_DAYS_AHEAD * DAY_MS:
            raise BadInput(
                sentence("a delegation begins within {most} days", most=MOST_DAYS_AHEAD), hint="say --from 14d"
            )
        if not begins_ms < until_ms <= begins_ms + MOST_DAYS * DAY_MS:
            raise BadInput(
                sentence("a delegation ends after it begins, and within {most} days", most=MOST_DAYS),
                hint="say --until 14d",
            )
        said = justification.bounded(reason)
        if not justification.is_sufficient(said):
            raise BadInput("a delegation needs a reason: one sentence", hint="such as: on leave, Dr. Kim stands in")
        lent = giver.every_unit if units is None else tuple(sorted(set(units)))
        if not set(lent) <= set(giver.every_unit):
            raise BadInput(
                "a unit that is not your own cannot be lent",
                hint=sentence("yours: {units}", units=", ".join(giver.every_unit)),
            )

        def given(record: AccountRecord) -> AccountRecord:
            kept = tuple(one for one in record.delegations if one.fault(now_ms) != "over")
            _require_taker(record, giver, kept)
            number = 1 + max((one.number for one in record.delegations), default=0)
            made = DelegationRecord(
                number=number,
                by=giver.id,
                role=giver.role,
                units=lent,
                from_ms=begins_ms,
                until_ms=until_ms,
                reason=said,
            )
            return record.model_copy(update={"delegations": (*kept, made)})

        why = f"lent the role {giver.role.value} by {giver.id}, {iso(begins_ms)[:16]} to {iso(until_ms)[:16]}"
        return self._accounts.change(to, given, why, replace(by, justification=said))

    def end(self, account: str, number: int, by: AccessContext) -> AccountRecord:
        """End one early: its giver, whoever has it, or an officer.

        Raises:
            NotFound: there is none of that number; also to whom it is no business.
            Conflict: it is over already.
        """
        now_ms = self._accounts.now_ms()

        def ended(record: AccountRecord) -> AccountRecord:
            found = next((one for one in record.delegations if one.number == number), None)
            known = (found.by if found else "", record.id)
            if found is None or (by.principal.id not in known and by.principal.role is not Role.OFFICER):
                raise NotFound(
                    sentence("{account} has no delegation {number}", account=account[:64], number=number),
                    hint="`twinward account show` prints them",
                )
            if found.fault(now_ms) == "over":
                raise Conflict("this delegation is over already")
            over = found.model_copy(update={"ended_at_ms": now_ms})
            every = tuple(over if one is found else one for one in record.delegations)
            return record.model_copy(update={"delegations": every})

        return self._accounts.change(account, ended, f"delegation {number} ended", by)

    def of(self, principal: Principal) -> list[dict[str, Any]]:
        """Those that somebody gave or has, but for those that are over."""
        now_ms = self._accounts.now_ms()
        return [
            {"account": record.id, **delegation_json(one, now_ms)}
            for record, one in self._every()
            if principal.id in (record.id, one.by) and one.fault(now_ms) != "over"
        ]

    def _every(self) -> Iterator[tuple[AccountRecord, DelegationRecord]]:
        for record in self._accounts.records():
            for one in record.delegations:
                yield record, one

    def require_staff(self, by: AccessContext) -> None:
        """Raise ``Refused``, logged, for whoever neither lends a role nor is lent one."""
        if by.principal.role not in TAKEN_BY or by.purpose is not Purpose.COMPLIANCE:
            self._accounts.events.denied(by, "roles are lent among staff")
            raise Refused("roles are lent among staff", hint="systems, vendors and patients act as what they are")

    def require_giver(self, by: AccessContext) -> AccountRecord:
        """The account of somebody who may lend their role. Raises ``Refused``, logged."""
        principal = by.principal
        record = self._accounts.find(principal.id)
        lent = principal.standing is not None and principal.standing.delegation
        own = record is not None and record.role is principal.role and record.role in LENT and not lent
        if record is None or not own or by.purpose is not Purpose.COMPLIANCE:
            self._accounts.events.denied(by, "no role that may be lent")
            raise Refused(
                "no role that may be lent", hint="officers and clinicians lend their own; with --as at this machine"
            )
        return record


def _require_taker(record: AccountRecord, giver: AccountRecord, kept: tuple[DelegationRecord, ...]) -> None:
    """Raise ``BadInput`` or ``Conflict`` for who cannot take a role over, or not one more."""
    if record.id == giver.id or record.role not in TAKEN_BY or record.disabled:
        said = sentence("{account} cannot take a role over", account=record.id)
        raise BadInput(said, hint="lend it to a colleague with an account")
    if APART.get(giver.role) in {record.role, *(one.role for one in kept)}:
        raise Conflict(
            sentence(
                "{account} has the role {role}, which nobody has together with yours",
                account=record.id,
                role=sentence(APART[giver.role].value),
            ),
            hint="lend it to somebody who has not: an officer stands in for an officer",
        )
    if len(kept) >= MOST:
        said = sentence("{account} has {most} delegations already", account=record.id, most=MOST)
        raise Conflict(said, hint="end one first")

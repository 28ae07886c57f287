"""Which roles are lent to somebody now: in their time, and while whoever lent them has them still."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from twinward.access.account_store import AccountRecord, DelegationRecord
from twinward.access.interfaces import Principal
from twinward.core.clock import Clock
from twinward.core.vocabulary import Role

APART: Final = {Role.OFFICER: Role.CLINICIAN, Role.CLINICIAN: Role.OFFICER}
"""Roles that nobody has together: who records a patient's consent is not who opens records by it."""


@dataclass(frozen=True, slots=True)
class Lent:
    """A role that is lent to somebody.

    Attributes:
        principal: who acts with it, in the units that were lent.
        record: the delegation.
        bounds: the same with all units of who lent it, and with those and the delegate's own. Something is permitted
            only where it is to each of them: a rule that forbids by a unit is not gone around by leaving that unit out.
    """

    principal: Principal
    record: DelegationRecord
    bounds: tuple[Principal, ...]


class LentRoles:
    """Held against the accounts as they are at each look, whoever changed them. ``find``: an account as it is kept."""

    def __init__(self, find: Callable[[str], AccountRecord | None], clock: Clock) -> None:
        self._find = find
        self._clock = clock

    def acting(self, principal: Principal) -> list[Lent]:
        """Somebody with each role that is lent to them; one that is lent is not lent on."""
        if principal.standing is None or principal.standing.delegation:
            return []
        record = self._find(principal.id)
        if record is None:
            return []
        standing = principal.standing
        every = [(replace(record.acting(one, standing), network=principal.network), one) for one in self.to(record)]
        return [Lent(acting, one, self._bounds(acting, one, record)) for acting, one in every]

    def roles_of(self, record: AccountRecord) -> frozenset[Role]:
        """An account's own role, and those that are lent to it."""
        return frozenset({record.role, *(one.role for one in self.to(record))})

    def to(self, record: AccountRecord) -> list[DelegationRecord]:
        """An account's delegations that hold. Of two roles that nobody is to have together, the first."""
        now_ms = self._clock.now_ms()
        held = {record.role}
        found = []
        for one in record.delegations:
            if one.fault(now_ms) or APART.get(one.role) in held or not self._gives(one):
                continue
            held.add(one.role)
            found.append(one)
        return found

    def _bounds(self, acting: Principal, one: DelegationRecord, delegate: AccountRecord) -> tuple[Principal, ...]:
        giver = self._find(one.by)
        whole = set(one.units) | set(giver.every_unit if giver else ())
        sets = {tuple(sorted(whole)), tuple(sorted(whole | set(delegate.every_unit)))} - {acting.units}
        return tuple(replace(acting, unit=units[0] if units else "", more_units=units[1:]) for units in sorted(sets))

    def _gives(self, one: DelegationRecord) -> bool:
        giver = self._find(one.by)
        if giver is None or giver.disabled or giver.role is not one.role:
            return False
        return set(one.units) <= set(giver.every_unit)

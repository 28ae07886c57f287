"""Sign-ins, refusals and changes of accounts, as events of the access log.

What succeeds is in the log before it takes effect. What fails is, too, but a stranger must not be able to fill the log:
the first ``MOST_REFUSALS`` of a minute each have an event, those after them one together, with their number. Nothing
that was typed is ever written down: people type passwords into the wrong field.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress

from twinward.access.account_store import AccountRecord
from twinward.access.interfaces import NODE, AccessContext, Principal
from twinward.audit.interfaces import AuditTrail
from twinward.audit.models import AccessEvent
from twinward.core.clock import Clock, iso
from twinward.core.errors import Unavailable
from twinward.core.vocabulary import Action, Purpose, Role, TwinId

Via = Sequence[tuple[str, str]]
"""Small facts of how it came: ``("via", "console"), ("address", "192.0.2.7")``."""

MOST_REFUSALS = 20
_MOST_NAMES = 4000
WINDOW_MS = 60_000
UNKNOWN = "(unknown)"
"""The agent of a sign-in under a name that is nobody's. No account can be called so."""


AT_THE_MACHINE = AccessContext(NODE, Purpose.COMPLIANCE)
"""Who changes accounts without having one: whoever can run commands on the node's machine. The node stands for them."""


class AccountEvents:
    """Writes them. ``trail`` None writes nothing: for accounts that are nobody's log's."""

    def __init__(self, trail: AuditTrail | None, clock: Clock) -> None:
        self._trail = trail
        self._clock = clock
        self._lock = threading.Lock()
        self._began_ms = clock.now_ms()
        self._refused = 0
        self._unsaid = 0

    def signed_in(self, who: Principal, via: Via, said: str = "the password was right") -> None:
        """Somebody proved who they are. Raises ``Unavailable`` where it cannot be logged: then nobody signs in."""
        self._write(who, Action.SIGN_IN, "permit", said, via)

    def signed_out(self, who: Principal, via: Via) -> None:
        """Somebody left. A log that is down keeps nobody signed in."""
        with suppress(Unavailable):
            self._write(who, Action.SIGN_OUT, "permit", "signed out", via)

    def changed(self, record: AccountRecord, said: str, by: AccessContext, twin: TwinId | None = None) -> None:
        """An account is about to change. Raises ``Unavailable`` where it cannot be logged: then it does not.

        ``twin``: whose record it is tied to, or was until now: the patient sees that, and it is erased with the record.
        """
        facts = [("account", record.id), ("change", said), ("its_role", record.role.value), *by.detail]
        if by.justification:
            facts.append(("justification", by.justification))
        self._write(by.principal, Action.ACCOUNT, "permit", f"account {record.id}: {said}", facts, by.purpose, twin)

    def taken_over(self, records: Sequence[AccountRecord]) -> None:
        """Accounts of an earlier release, for which nothing vouched, count from now on. Raises ``Unavailable``."""
        names = ", ".join(f"{one.id} ({one.role.value})" for one in records)
        facts = [("change", "taken over"), ("accounts", names[:_MOST_NAMES])]
        said = f"{len(records)} accounts of an earlier release are taken over"
        self._write(NODE, Action.ACCOUNT, "permit", said, facts, Purpose.RECORD_MANAGEMENT)

    def refused(self, record: AccountRecord | None, why: str, via: Via) -> None:
        """Somebody was not let in: the account that was named, or none. Never raises for a log that is down."""
        self.say_the_rest()
        with self._lock:
            self._refused += 1
            if self._refused > MOST_REFUSALS:
                self._unsaid += 1
                return
        who = Principal(UNKNOWN, Role.NODE) if record is None else record.principal()
        try:
            self._write(who, Action.SIGN_IN, "deny", why, via)
        except Unavailable:
            with self._lock:
                self._unsaid += 1

    def denied(self, by: AccessContext, why: str) -> None:
        """Somebody known asked for what their role has no business with. Raises ``Unavailable``."""
        self._write(by.principal, Action.ACCOUNT, "deny", why, by.detail, by.purpose)

    def say_the_rest(self, *, now: bool = False) -> None:
        """Once the minute is over (or ``now``): one event for all refusals that had none of their own."""
        now_ms = self._clock.now_ms()
        with self._lock:
            if not now and now_ms - self._began_ms < WINDOW_MS:
                return
            began_ms, unsaid = self._began_ms, self._unsaid
            self._began_ms, self._refused, self._unsaid = now_ms, 0, 0
        if not unsaid:
            return
        said = f"{unsaid} more sign-ins were refused since {iso(began_ms)}"
        try:
            self._write(NODE, Action.SIGN_IN, "deny", said, [("refused", str(unsaid))])
        except Unavailable:
            with self._lock:
                self._unsaid += unsaid

    def close(self) -> None:
        """Say what is still to be said."""
        self.say_the_rest(now=True)

    def _write(
        self,
        who: Principal,
        action: Action,
        decision: str,
        reason: str,
        facts: Via,
        purpose: Purpose = Purpose.OPERATIONS,
        twin: TwinId | None = None,
    ) -> None:
        if self._trail is None:
            return
        event = AccessEvent(
            at_ms=self._clock.now_ms(),
            agent=who.id,
            role=who.role,
            unit=who.units_said,
            action=action,
            purpose=purpose,
            twin=twin,
            categories=(),
            decision=decision,
            reason=reason,
            policy_hash="",
            consent_version=0,
            detail=tuple(facts),
        )
        self._trail.record([event])

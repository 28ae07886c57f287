"""What a change of the policy would change: the last decisions, taken again by both policies on the same facts.

A decision's facts are in its event: who, what, what for, which categories, which justification, and the version of the
consent it was taken under. What both say is compared, so that a change of consent since, or an emergency's bound, is
never taken for the policy's doing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from twinward.access.consent import NO_CONSENT, Consent, ConsentOutcome
from twinward.access.interfaces import UNITS_JOINED, AccessRequest, Permit, Principal
from twinward.access.policy import Facts, Policy, Verdict
from twinward.audit.models import AccessEvent
from twinward.audit.reader import MAX_PAGE, AuditReader
from twinward.core.vocabulary import Role, TwinId

LAST: Final = 10_000
"""Decisions that are taken again."""
EXAMPLES: Final = 5

ConsentAt = Callable[[TwinId, int], Consent | None]
"""A version of a patient's consent; None where it is not kept any more."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Decisions of one kind that would come out otherwise.

    Attributes:
        role, action, purpose: of what kind they are.
        now, then: what each policy says, and in whose words.
        now_reason, then_reason: those words.
        count: how many there were.
        examples: places of a few in the log.
    """

    role: str
    action: str
    purpose: str
    now: bool
    then: bool
    now_reason: str
    then_reason: str
    count: int
    examples: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """How many decisions were taken again, how many could not be, and what would differ, most often first."""

    looked_at: int
    unknown: int
    differences: tuple[Difference, ...]

    @property
    def changed(self) -> int:
        """How many of the decisions would come out otherwise."""
        return sum(one.count for one in self.differences)


def preview(
    reader: AuditReader[Permit],
    permit: Permit,
    consent_at: ConsentAt,
    now: Policy,
    then: Policy,
    *,
    last: int = LAST,
    told: Callable[[int], None] = lambda _: None,
) -> Preview:
    """Take the newest decisions again. Wants a permit to audit that names no twin."""
    tally = _Tally()
    looked_at = unknown = 0
    before: int | None = None
    while looked_at + unknown < last:
        page = reader.events(permit, before=before, limit=min(MAX_PAGE, last))
        for row in page.rows:
            event = row.event
            if event is None or not event.policy_hash or looked_at + unknown >= last:
                continue
            facts = facts_of(event, consent_at)
            if facts is None:
                unknown += 1
                continue
            looked_at += 1
            tally.add(row.index, facts, now.evaluate(facts), then.evaluate(facts))
        told(looked_at + unknown)
        if page.before is None:
            break
        before = page.before
    return Preview(looked_at, unknown, tally.differences())


def consent_preview(
    events: Iterable[tuple[int, AccessEvent]], policy: Policy, now: Consent, then: Consent, at_ms: int
) -> Preview:
    """Take a patient's newest decisions again, by one policy and at one moment, under two consents.

    Args:
        events: each with its place in the log; all about that patient.
        policy: the one in force.
        now: the consent in force.
        then: the one that is thought of.
        at_ms: when both are asked; what is over by then does not count.
    """
    tally, looked_at, unknown = _Tally(), 0, 0
    for index, event in events:
        if not event.policy_hash:
            continue
        before, after = facts_of(event, lambda *_: now, at_ms), facts_of(event, lambda *_: then, at_ms)
        if before is None or after is None:
            unknown += 1
            continue
        looked_at += 1
        tally.add(index, after, policy.evaluate(before), policy.evaluate(after))
    return Preview(looked_at, unknown, tally.differences())


class _Tally:
    """Counts decisions that come out otherwise, by kind."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str, bool, bool, str, str]] = Counter()
        self._examples: dict[tuple[str, str, str, bool, bool, str, str], list[int]] = {}

    def add(self, index: int, facts: Facts, one: Verdict, other: Verdict) -> None:
        """Take in what two ways of deciding say to the same facts."""
        if one.permitted == other.permitted:
            return
        said = (one.permitted, other.permitted, one.reason, other.reason)
        kind = (facts.role, facts.action, facts.purpose, *said)
        self._counts[kind] += 1
        self._examples.setdefault(kind, []).append(index)

    def differences(self) -> tuple[Difference, ...]:
        """Most often first."""
        return tuple(
            Difference(*kind, count, tuple(self._examples[kind][:EXAMPLES]))
            for kind, count in self._counts.most_common()
        )


def facts_of(event: AccessEvent, consent_at: ConsentAt, at_ms: int | None = None) -> Facts | None:
    """What the policy saw when this was decided; None where the consent of then is not kept any more.

    Nor where a patient was refused: the event does not say whether it was the patient's own record.
    """
    if event.role is Role.PATIENT and event.twin is not None and event.decision == "deny":
        return None
    own = event.twin if event.role is Role.PATIENT else None  # patients are permitted nothing but their own
    first, *more = event.unit.split(UNITS_JOINED)
    request = AccessRequest(
        Principal(event.agent, event.role, unit=first, own_twin=own, more_units=tuple(more)),
        event.action,
        event.purpose,
        event.twin,
        frozenset(event.categories),
        dict(event.detail).get("justification", ""),
    )
    if event.twin is None:
        return Facts.of(request, ConsentOutcome.NONE)
    asked = event.consent_version or at_ms is not None  # at another moment also where none was recorded then
    consent = consent_at(event.twin, event.consent_version) if asked else NO_CONSENT
    return (
        None
        if consent is None
        else Facts.of(request, consent.outcome(request, event.at_ms if at_ms is None else at_ms))
    )

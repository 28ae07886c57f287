"""What a change of the policy would change: the last decisions, taken again by both policies on the same facts.

A decision's facts are in its event: who, what, what for, when, from which network, which categories, which
justification, and the version of the consent it was taken under. What both say is compared, so that a change of consent
since, or an emergency's bound, is never taken for the policy's doing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from twinward.access.consent import NO_CONSENT, Consent, ConsentOutcome
from twinward.access.hours import Hours
from twinward.access.interfaces import PLACE, UNITS_JOINED, AccessRequest, Permit, Principal
from twinward.access.policy import Facts, Policy, Verdict
from twinward.audit.models import AccessEvent
from twinward.audit.reader import MAX_PAGE, AuditReader
from twinward.core.network_settings import INSIDE
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
    """How many decisions were taken again, how many could not be, and what would differ, most often first.

    ``unknown``: their consents are kept no longer. ``placeless``: a rule asks from which network they came, and their
    events do not say so, which those of earlier releases do not.
    """

    looked_at: int
    unknown: int
    differences: tuple[Difference, ...]
    placeless: int = 0

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
    hours: Hours,
    last: int = LAST,
    told: Callable[[int], None] = lambda _: None,
) -> Preview:
    """Take the newest decisions again, each as of its own hour. Wants a permit to audit that names no twin."""
    tally = _Tally()
    before: int | None = None
    while tally.seen < last:
        page = reader.events(permit, before=before, limit=min(MAX_PAGE, last))
        for row in page.rows:
            event = row.event
            if event is None or not event.policy_hash or tally.seen >= last:
                continue
            facts = facts_of(event, consent_at, hours)
            tally.take(row.index, (facts, now), (facts, then))
        told(tally.seen)
        if page.before is None:
            break
        before = page.before
    return tally.preview()


def consent_preview(
    events: Iterable[tuple[int, AccessEvent]], policy: Policy, now: Consent, then: Consent, at_ms: int, hours: Hours
) -> Preview:
    """Take a patient's newest decisions again, by one policy, each as of its own hour, under two consents.

    Args:
        events: each with its place in the log; all about that patient.
        policy: the one in force.
        now: the consent in force.
        then: the one that is thought of.
        at_ms: when both are asked; what is over by then does not count.
        hours: the hospital's clock.
    """
    tally = _Tally()
    for index, event in events:
        if not event.policy_hash:
            continue
        before, after = (facts_of(event, lambda *_, one=one: one, hours, at_ms) for one in (now, then))
        tally.take(index, (before, policy), (after, policy))
    return tally.preview()


class _Tally:
    """Counts decisions, and by kind those that come out otherwise."""

    def __init__(self) -> None:
        self._looked_at = self._unknown = self._placeless = 0
        self._counts: Counter[tuple[str, str, str, bool, bool, str, str]] = Counter()
        self._examples: dict[tuple[str, str, str, bool, bool, str, str], list[int]] = {}

    @property
    def seen(self) -> int:
        """How many there were."""
        return self._looked_at + self._unknown + self._placeless

    def take(self, index: int, one: tuple[Facts | None, Policy], other: tuple[Facts | None, Policy]) -> None:
        """Decide one by the facts and policies of two ways."""
        (before, now), (after, then) = one, other
        if before is None or after is None:
            self._unknown += 1
        elif not before.network and any("network" in policy.asks(before.action) for policy in (now, then)):
            self._placeless += 1
        else:
            self._looked_at += 1
            self._add(index, after, now.evaluate(before), then.evaluate(after))

    def preview(self) -> Preview:
        """What was found."""
        return Preview(self._looked_at, self._unknown, self._differences(), self._placeless)

    def _add(self, index: int, facts: Facts, one: Verdict, other: Verdict) -> None:
        if one.permitted == other.permitted:
            return
        said = (one.permitted, other.permitted, one.reason, other.reason)
        kind = (facts.role, facts.action, facts.purpose, *said)
        self._counts[kind] += 1
        self._examples.setdefault(kind, []).append(index)

    def _differences(self) -> tuple[Difference, ...]:
        return tuple(
            Difference(*kind, count, tuple(self._examples[kind][:EXAMPLES]))
            for kind, count in self._counts.most_common()
        )


def facts_of(event: AccessEvent, consent_at: ConsentAt, hours: Hours, at_ms: int | None = None) -> Facts | None:
    """What the policy saw when this was decided; None where the consent of then is not kept any more.

    ``at_ms`` is when consent is asked, where that is not when it was decided. An empty network is not known.

    Nor where a patient was refused: the event does not say whether it was the patient's own record.
    """
    if event.role is Role.PATIENT and event.twin is not None and event.decision == "deny":
        return None
    own = event.twin if event.role is Role.PATIENT else None  # patients are permitted nothing but their own
    first, *more = event.unit.split(UNITS_JOINED)
    detail = dict(event.detail)
    network = INSIDE if event.role is Role.NODE else detail.get(PLACE, "")
    request = AccessRequest(
        Principal(event.agent, event.role, unit=first, own_twin=own, more_units=tuple(more), network=network),
        event.action,
        event.purpose,
        event.twin,
        frozenset(event.categories),
        detail.get("justification", ""),
    )
    hour = hours.at(event.at_ms)
    if event.twin is None:
        return Facts.of(request, ConsentOutcome.NONE, hour)
    asked = event.consent_version or at_ms is not None  # at another moment also where none was recorded then
    consent = consent_at(event.twin, event.consent_version) if asked else NO_CONSENT
    return (
        None
        if consent is None
        else Facts.of(request, consent.outcome(request, event.at_ms if at_ms is None else at_ms), hour)
    )

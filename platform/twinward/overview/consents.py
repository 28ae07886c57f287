"""One patient's consents for whoever examines them: who recorded each, and what the newest comes to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from twinward.access.consent import Consent, Provision
from twinward.access.hours import NO_HOUR
from twinward.access.interfaces import AccessRequest, Permit, Principal
from twinward.access.policy import Facts
from twinward.access.policy_preview import Preview, consent_preview
from twinward.access.policy_scenes import ever
from twinward.audit.events.wording import PURPOSES
from twinward.audit.models import AuditRow, Filters
from twinward.audit.reader import MAX_PAGE
from twinward.core.sentences import Moment, listed, sentence
from twinward.core.vocabulary import SENSITIVE, Action, Category, Purpose, Role, TwinId
from twinward.node import Node

_ASKED: Final = (
    (Role.CLINICIAN, Action.READ, Purpose.TREATMENT, sentence("a clinician who treats")),
    (Role.RESEARCHER, Action.TRAIN, Purpose.RESEARCH, sentence("a study that trains")),
    (Role.NODE, Action.COUNT, Purpose.PUBLIC_HEALTH, sentence("the node that counts cases for outbreaks")),
    (Role.VENDOR, Action.MATCH, Purpose.SIMILARITY, sentence("a vendor that is told of a match")),
    (Role.VENDOR, Action.EXPORT, Purpose.SIMILARITY, sentence("a vendor that receives records")),
)

LOOKED_BACK: Final = 1000
"""Decisions about one patient that a preview takes again, the newest."""
LOOKED: Final = ("page", "own consents")
CHANGED: Final = ("page", "change of own consents")
"""What the events of patients at their own consents say of it."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What somebody may have of a patient, at some hour and from somewhere: which categories; why the first other one
    is refused."""

    who: str
    permitted: tuple[str, ...]
    refused: tuple[str, ...]
    reason: str


def check_effects(node: Node, twin: TwinId) -> list[Effect]:
    """What policy and the newest consent say to the usual questions; dry runs, nothing is logged."""
    return [_effect(node, twin, *asked) for asked in _ASKED]


@dataclass(frozen=True, slots=True)
class EffectChange:
    """What somebody would have besides, and would have no more."""

    who: str
    role: Role
    action: Action
    gained: tuple[Category, ...]
    lost: tuple[Category, ...]


@dataclass(frozen=True, slots=True)
class ConsentChange:
    """What another consent would change: for the usual questions, and of the newest decisions about this patient."""

    effects: tuple[EffectChange, ...]
    decisions: Preview


def preview_consent(node: Node, permit: Permit, twin: TwinId, provisions: Sequence[Provision]) -> ConsentChange:
    """What would change if a patient's consent said this instead; dry runs. Wants a permit to audit this twin."""
    now = node.access.consent_of(twin)
    then, policy, at_ms = (
        Consent(version=now.version, provisions=tuple(provisions)),
        node.policy.current(),
        node.clock.now_ms(),
    )
    effects = []
    for role, action, purpose, who in _ASKED:
        gained: list[Category] = []
        lost: list[Category] = []
        for category in _categories():
            request = AccessRequest(Principal("somebody", role), action, purpose, twin, frozenset({category}))
            before, after = (
                ever(policy, Facts.of(request, one.outcome(request, at_ms), NO_HOUR)) for one in (now, then)
            )
            if before != after:
                (gained if after else lost).append(category)
        if gained or lost:
            effects.append(EffectChange(who, role, action, tuple(gained), tuple(lost)))
    events = ((row.index, row.event) for row in _newest(node, permit, twin) if row.event is not None)
    return ConsentChange(tuple(effects), consent_preview(events, policy, now, then, at_ms, node.hours))


def _newest(node: Node, permit: Permit, twin: TwinId) -> Iterator[AuditRow]:
    before: int | None = None
    seen = 0
    while seen < LOOKED_BACK:
        page = node.audit_reader.of_twin(permit, twin, before=before, limit=min(MAX_PAGE, LOOKED_BACK - seen))
        yield from page.rows
        seen += len(page.rows)
        before = page.before
        if before is None:
            return


def _categories() -> list[Category]:
    """Those that are given out by explicit consent only last."""
    return sorted(Category, key=lambda one: (one in SENSITIVE, one.value))


def recorded_by(node: Node, permit: Permit, twin: TwinId) -> dict[int, str]:
    """Who recorded each version, by the log: a permitted ``consent`` names the version that it replaced.

    Wants a permit to audit that names this twin.
    """
    found: dict[int, str] = {}
    before: int | None = None
    while True:
        filters = Filters(action=Action.CONSENT, decision="permit")
        page = node.audit_reader.of_twin(permit, twin, before=before, limit=MAX_PAGE, filters=filters)
        for row in page.rows:
            if row.event is not None:
                found.setdefault(row.event.consent_version + 1, row.event.agent)
        if page.before is None:
            return found
        before = page.before


def _effect(node: Node, twin: TwinId, role: Role, action: Action, purpose: Purpose, who: str) -> Effect:
    consent, policy = node.access.consent_of(twin), node.policy.current()
    permitted: list[str] = []
    refused: list[str] = []
    reason = ""
    for category in _categories():
        request = AccessRequest(Principal("somebody", role), action, purpose, twin, frozenset({category}))
        decision = node.access.check(request)
        facts = Facts.of(request, consent.outcome(request, node.clock.now_ms()), NO_HOUR)
        may = decision.permitted or ever(policy, facts)  # nobody asks just now, from anywhere
        (permitted if may else refused).append(category.value)
        reason = reason or ("" if may else decision.reason)
    return Effect(who, tuple(permitted), tuple(refused), reason)


def provision_sentence(one: Provision) -> str:
    """One rule of a consent, as a patient would say it."""
    who = ", ".join([*one.actors, *(f"every {role.value}" for role in one.roles if not one.actors)]) or sentence(
        "everybody"
    )
    what = ", ".join(category.value for category in one.categories) or sentence("everything")
    why = listed([sentence(PURPOSES[purpose]) for purpose in one.purposes]) or sentence("any purpose")
    since = sentence(" from {valid_from}", valid_from=Moment(one.valid_from_ms)) if one.valid_from_ms else ""
    until = (
        sentence(" until {valid_until}", valid_until=Moment(one.valid_until_ms))
        if one.valid_until_ms is not None
        else ""
    )
    values = {"who": who, "what": what, "why": why, "since": since, "until": until}
    if one.effect == "permit":
        return sentence("allows {who} to use {what} for {why}{since}{until}", **values)
    return sentence("forbids {who} to use {what} for {why}{since}{until}", **values)

"""One patient's consents for whoever examines them: who recorded each, and what the newest comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from twinward.access.consent import Provision
from twinward.access.interfaces import AccessRequest, Permit, Principal
from twinward.audit.events.wording import PURPOSES
from twinward.audit.models import Filters
from twinward.audit.reader import MAX_PAGE
from twinward.core.clock import iso
from twinward.core.vocabulary import SENSITIVE, Action, Category, Purpose, Role, TwinId
from twinward.node import Node

_ASKED: Final = (
    (Role.CLINICIAN, Action.READ, Purpose.TREATMENT, "a clinician who treats"),
    (Role.RESEARCHER, Action.TRAIN, Purpose.RESEARCH, "a study that trains"),
    (Role.VENDOR, Action.MATCH, Purpose.SIMILARITY, "a vendor that is told of a match"),
    (Role.VENDOR, Action.EXPORT, Purpose.SIMILARITY, "a vendor that receives records"),
)

LOOKED: Final = ("page", "own consents")
CHANGED: Final = ("page", "change of own consents")
"""What the events of patients at their own consents say of it."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What somebody may have of a patient now: which categories, and why the first other one is refused."""

    who: str
    permitted: tuple[str, ...]
    refused: tuple[str, ...]
    reason: str


def check_effects(node: Node, twin: TwinId) -> list[Effect]:
    """What policy and the newest consent say to the usual questions; dry runs, nothing is logged."""
    return [_effect(node, twin, *asked) for asked in _ASKED]


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
    permitted: list[str] = []
    refused: list[str] = []
    reason = ""
    for category in sorted(Category, key=lambda one: (one in SENSITIVE, one.value)):
        request = AccessRequest(Principal("somebody", role), action, purpose, twin, frozenset({category}))
        decision = node.access.check(request)
        (permitted if decision.permitted else refused).append(category.value)
        reason = reason or ("" if decision.permitted else decision.reason)
    return Effect(who, tuple(permitted), tuple(refused), reason)


def provision_sentence(one: Provision) -> str:
    """One rule of a consent, as a patient would say it."""
    who = ", ".join([*one.actors, *(f"every {role.value}" for role in one.roles if not one.actors)]) or "everybody"
    what = ", ".join(category.value for category in one.categories) or "everything"
    why = ", ".join(PURPOSES[purpose] for purpose in one.purposes) or "any purpose"
    since = f" from {_minute(one.valid_from_ms)}" if one.valid_from_ms else ""
    until = f" until {_minute(one.valid_until_ms)}" if one.valid_until_ms is not None else ""
    return f"{'allows' if one.effect == 'permit' else 'forbids'} {who} to use {what} for {why}{since}{until}"


def _minute(at_ms: int) -> str:
    return iso(at_ms)[:16].replace("T", " ")

"""What a patient allows, shaped after FHIR R4 Consent.provision, and what that says about one request.

A consent is a list of provisions. For a request, a matching ``deny`` wins; else every category asked for must be
covered by a ``permit``; else there is no consent, and policy decides what that means (for vendors and studies: no).

A no is read widely, a yes narrowly:

* A ``deny`` of a purpose denies every kind of it (v3 ActReason: no research is no CLINTRCH); a deny of a category
  denies what is made of it (no labs is no feature vector); a deny of vendors keeps the patient out of their cohort.
* A ``permit`` covers what it names and nothing else: leave to use one thing is never leave to use another by kinship.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from twinward.access.interfaces import AccessRequest
from twinward.core.vocabulary import Action, Category, Purpose, Role, is_a, with_sources

Instant = Annotated[int, Field(strict=True)]
"""Milliseconds since the Unix epoch."""


_ROLES_MEANT = {role: frozenset({role}) for role in Role} | {Role.NODE: frozenset({Role.NODE, Role.SYSTEM})}
"""The roles of a provision that concern a principal of this one. The node's own jobs ran as ``system`` before they had
a role of their own, and patients' consents name them so."""


class ConsentOutcome(StrEnum):
    """What the patient's consent says about one request."""

    PERMIT = "permit"
    DENY = "deny"
    NONE = "none"


class Provision(BaseModel):
    """One rule of a consent. An empty tuple means "all"; the period is half-open ``[from, until)`` in ms."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    effect: Literal["permit", "deny"]
    roles: tuple[Role, ...] = ()
    actors: tuple[str, ...] = ()
    categories: tuple[Category, ...] = ()
    purposes: tuple[Purpose, ...] = ()
    valid_from_ms: Instant = 0
    valid_until_ms: Instant | None = None

    def permits(self, request: AccessRequest, at_ms: int) -> bool:
        """Whether this is a permit for the request's actor, purpose and time; its categories are looked at apart."""
        right_role = not self.roles or bool(_ROLES_MEANT[request.principal.role].intersection(self.roles))
        right_purpose = not self.purposes or request.purpose in self.purposes
        return self.effect == "permit" and right_role and right_purpose and self._right_now(request, at_ms)

    def denies(self, request: AccessRequest, at_ms: int) -> bool:
        """Whether this is a deny for the request's actor, purpose and time; its categories are looked at apart."""
        right_role = not self.roles or bool(_roles_denied(request).intersection(self.roles))
        right_purpose = not self.purposes or any(is_a(request.purpose, named) for named in self.purposes)
        return self.effect == "deny" and right_role and right_purpose and self._right_now(request, at_ms)

    def covers(self, category: Category) -> bool:
        """Whether a category falls under this provision."""
        return not self.categories or category in self.categories

    def _right_now(self, request: AccessRequest, at_ms: int) -> bool:
        in_period = self.valid_from_ms <= at_ms and (self.valid_until_ms is None or at_ms < self.valid_until_ms)
        return in_period and (not self.actors or request.principal.id in self.actors)


class Consent(BaseModel):
    """One version of a patient's consent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    provisions: tuple[Provision, ...]

    def outcome(self, request: AccessRequest, at_ms: int) -> ConsentOutcome:
        """What this consent says about a request at a moment."""
        asked = request.categories or frozenset(Category)
        touched = asked if _keeps_up(request) else with_sources(asked)
        if any(p.covers(category) for p in self.provisions if p.denies(request, at_ms) for category in touched):
            return ConsentOutcome.DENY
        permits = [p for p in self.provisions if p.permits(request, at_ms)]
        if permits and all(any(p.covers(category) for p in permits) for category in asked):
            return ConsentOutcome.PERMIT
        return ConsentOutcome.NONE

    def next_change(self, at_ms: int) -> int | None:
        """When the period of one of the provisions begins or ends next; None where none will."""
        bounds = (bound for one in self.provisions for bound in (one.valid_from_ms, one.valid_until_ms))
        return min((bound for bound in bounds if bound is not None and bound > at_ms), default=None)


NO_CONSENT = Consent(version=0, provisions=())
"""What stands where a patient has said nothing."""

ALL_DENIED = Consent(version=0, provisions=(Provision(effect="deny"),))
"""What stands where it is not known what a patient has said."""


def _keeps_up(request: AccessRequest) -> bool:
    """Whether this brings derived data up to date: nobody sees it, so what it is derived from need not be asked for."""
    by_the_node = request.principal.role is Role.NODE and request.action is Action.READ
    return by_the_node or request.action is Action.WRITE


def _roles_denied(request: AccessRequest) -> frozenset[Role]:
    """On whose behalf, too: a cohort is taken by the node, for vendors."""
    meant = _ROLES_MEANT[request.principal.role]
    return meant | {Role.VENDOR} if request.action is Action.COHORT else meant

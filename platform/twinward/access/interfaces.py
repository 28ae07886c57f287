"""The permit, and what other domains may ask of access control.

**No permit, no plaintext.** ``AccessControl.decide`` yields a ``Permit`` only after the access event is durable in
the log. The vault opens a ciphertext only against a permit that covers that twin, category and action, has not
expired, and carries a capability (HMAC-SHA256 under a key this process made at start) over all of its fields.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, TypeVar

from twinward.access.errors import AccessDenied, NotARecord, PermitInvalid
from twinward.core.errors import TwinwardError, outcome_of
from twinward.core.network_settings import INSIDE, OUTSIDE
from twinward.core.vocabulary import DERIVED_FROM, Action, Category, Purpose, Role, TwinId

T = TypeVar("T")


NOT_LENT = frozenset({Action.ACCOUNT, Action.POLICY, Action.SHRED, Action.STUDY})
"""What a lent role does not do: accounts, policy, erasure, approving studies. Two officers stay two people."""
PLACE = "network"
"""The detail of an event that says from which network. Events of earlier releases, and the node's own, have none."""
UNITS_JOINED = " · "
"""Between the units of somebody who has several; no unit that is set has it in its name."""


@dataclass(frozen=True, slots=True)
class Standing:
    """By which sign-in somebody is who they are: it ends with the account's generation, and with the token.

    ``token`` 0 is no token: a password, or the node's own command line. ``until_ms``: when it ends by itself; 0 is not.
    ``delegation``: by which of the account's somebody acts with a role that is not theirs; 0 is with their own.
    ``proven``: by a token for which they proved a short while ago who they are.
    """

    generation: int
    token: int = 0
    until_ms: int = 0
    delegation: int = 0
    proven: bool = False


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody or something that has proven who it is.

    ``standing`` is what every later decision holds against the account as it is then; None is a principal without an
    account: the node itself. ``own_twin`` is the record of a patient whose account an officer tied to it. ``network``
    is from which of the hospital's networks they ask; whoever takes a request in says it, and nobody did: outside.
    """

    id: str
    role: Role
    name: str = ""
    unit: str = ""
    standing: Standing | None = field(default=None, compare=False, repr=False)
    own_twin: TwinId | None = field(default=None, repr=False)
    more_units: tuple[str, ...] = field(default=(), repr=False)
    network: str = OUTSIDE

    @property
    def place(self) -> tuple[tuple[str, str], ...]:
        """What an event says of where this came from: the network's name, never an address."""
        return () if self.role is Role.NODE else ((PLACE, self.network),)

    @property
    def units(self) -> tuple[str, ...]:
        """The units somebody belongs to, in order."""
        if not self.more_units:
            return (self.unit,) if self.unit else ()
        return tuple(sorted({self.unit, *self.more_units} - {""}))

    @property
    def units_said(self) -> str:
        """The units as events and lists say them."""
        return UNITS_JOINED.join(self.units)


NODE = Principal("node", Role.NODE, "this node", network=INSIDE)
"""The node at its own jobs: no token, session or account yields this role (``Accounts`` refuses it)."""


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """What a principal is about to do. ``lasting``: it goes on for a while as one access: a page that is watched."""

    principal: Principal
    action: Action
    purpose: Purpose
    twin: TwinId | None = None
    categories: frozenset[Category] = frozenset()
    justification: str = ""
    detail: tuple[tuple[str, str], ...] = ()
    lasting: bool = False

    @property
    def is_urgent(self) -> bool:
        """Whether this is an emergency, if permitted: the one access that a log which is down must not stop."""
        return self.purpose is Purpose.EMERGENCY and self.action in (Action.READ, Action.BREAK_GLASS)

    @property
    def breaks_glass(self) -> bool:
        """Whether this is an emergency's access to one twin, if permitted."""
        return self.is_urgent and self.twin is not None


@dataclass(frozen=True, slots=True)
class AccessContext:
    """Who asks, what for, and why: one value that goes with a request from where it comes in to its decisions.

    ``detail`` is what every event of it says besides, how it came in, say.
    """

    principal: Principal
    purpose: Purpose
    justification: str = ""
    detail: tuple[tuple[str, str], ...] = ()

    def request(
        self,
        action: Action,
        twin: TwinId | None = None,
        categories: Iterable[Category] = (),
        *,
        detail: tuple[tuple[str, str], ...] = (),
        lasting: bool = False,
    ) -> AccessRequest:
        """What is asked of access control for one step; without a twin, whether this may be done to any at all."""
        return AccessRequest(
            self.principal,
            action,
            self.purpose,
            twin,
            frozenset(categories),
            self.justification,
            self.detail + detail,
            lasting,
        )


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to touch one twin's categories for one purpose, for a short while. Made only by ``AccessControl``.

    ``log_index`` is the event's place in the access log: it was durable before this permit existed. In an emergency
    while the log cannot be written it is negative: -1 minus the event's number in the break-glass journal.
    ``consent_version`` and ``policy_hash`` are the consent and the policy it was given under: with others in force the
    permit is decided again. So it is after ``hour_ends_ms``, where a rule asked for the hour that it was given in.
    """

    request: AccessRequest
    log_index: int
    expires_at_ms: int
    capability: bytes = field(repr=False)
    consent_version: int = 0
    policy_hash: str = ""
    hour_ends_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What policy and consent say, with the sentence that explains it. A dry run: nothing is logged.

    ``until_ms`` is when a provision of the consent begins or ends to be in force next: until then this holds.
    ``hour_ends_ms`` is when the hour ends that a rule asked for; None where none did.
    """

    permitted: bool
    reason: str
    consent_version: int = 0
    policy_hash: str = ""
    until_ms: int | None = None
    hour_ends_ms: int | None = None


class AccessControl(ABC):
    """Decides every access. Three looks at a request are a service's own; how they are put together is written here.

    A deny raises ``AccessDenied`` (a ``Refused``), and is in the log before it is raised; a log that cannot be written
    raises ``Unavailable``.
    """

    @abstractmethod
    def check(self, request: AccessRequest) -> Decision:
        """A dry run that explains itself. Nothing is logged, nothing may be opened with it."""

    def barred_by_consent_alone(self, request: AccessRequest) -> bool:  # noqa: ARG002
        """Whether policy would permit what the patient's consent withholds. A dry run. False where unsure."""
        return False

    @abstractmethod
    def decide(self, request: AccessRequest) -> Permit:
        """Decide one request, log it durably, then give the permit or raise ``AccessDenied``."""

    @abstractmethod
    def decide_many(self, requests: Sequence[AccessRequest]) -> list[Permit | None]:
        """Decide many in one durable append; None stands where a request was denied (and logged as such)."""

    def decide_each(self, requests: Sequence[AccessRequest]) -> list[Permit | TwinwardError]:
        """Decide each by itself: its permit, or what ``decide`` raises. In one durable append, where that can be had.

        For requests of different people, who have nothing to do with each other.
        """
        return [outcome_of(partial(self.decide, request)) for request in requests]

    def may(self, *requests: AccessRequest) -> bool:
        """Whether all of these would be permitted. A dry run: nothing is logged, nothing may be opened with it."""
        return all(self.check(request).permitted for request in requests)

    def require(self, *requests: AccessRequest) -> None:
        """Log and raise the first refusal, if there is one. What would be permitted is not logged: it is decided later.

        Called before anything is looked at: who may not do this learns nothing of what is kept.
        """
        for request in requests:
            if not self.may(request):
                self.decide(request)

    def require_any(self, *requests: AccessRequest) -> None:
        """As ``require``, where it is enough that one of them would be permitted."""
        if not any(self.may(request) for request in requests):
            self.decide(requests[0])

    def decide_all(self, requests: Sequence[AccessRequest]) -> list[Permit]:
        """A permit for each request, all in one durable append, or ``AccessDenied`` for the first that is refused.

        Consent may change between ``require`` and this: the refusal is then raised here.
        """
        permits = self.decide_many(requests)
        return [one or self.decide(request) for one, request in zip(permits, requests, strict=True)]

    def decide_part(self, request: AccessRequest) -> list[Permit]:
        """Permits for as much of a request as may be had; ``AccessDenied`` where that is nothing.

        Each is decided by itself: in an emergency there is a journal to go to while the log cannot be written.
        """
        return [self.decide(one) for one in self._narrowed(request)]

    def decide_parts(self, requests: Iterable[AccessRequest]) -> list[Permit]:
        """Permits for as much of each request as may be had, all in one durable append; the refused are logged."""
        narrowed = [one for request in requests for one in self._narrowed(request)]
        return [permit for permit in self.decide_many(narrowed) if permit is not None]

    def decide_permitted(self, requests: Iterable[AccessRequest]) -> list[Permit]:
        """Permits for those requests that would be permitted, all in one durable append.

        The others are passed over by a dry run: nobody tries them, so there is nothing to log. What is refused between
        the dry run and the decision is in the log.
        """
        permitted = [request for request in requests if self.may(request)]
        return [permit for permit in self.decide_many(permitted) if permit is not None]

    def decide_further(self, permit: Permit, categories: Collection[Category]) -> list[Permit]:
        """A permit for each further category that the holder of a permit may see, for the same purpose.

        One at a time, since consent to psychiatry alone permits psychiatry and says nothing of psychiatry with
        conditions. Every answer is in the log, the refusals too.
        """
        requests = [replace(permit.request, categories=frozenset({one})) for one in sorted(categories)]
        if permit.request.purpose is not Purpose.EMERGENCY:
            return [one for one in self.decide_many(requests) if one is not None]
        given = []
        for request in requests:  # an emergency has a journal to go to while the log cannot be written
            with suppress(AccessDenied):
                given.append(self.decide(request))
        return given

    def opened(self, permit: Permit, by: Callable[[Permit], T]) -> list[T]:
        """What is opened by a permit that was given a while ago, with others: usually one thing.

        Where consent was withdrawn since, or the permit has grown old, it is decided and logged anew: what is still
        permitted is opened, in parts perhaps, and the rest is left out.
        """
        try:
            return [by(permit)]
        except PermitInvalid:
            return [by(one) for one in self.decide_parts([permit.request])]

    def permitted(self, request: AccessRequest) -> list[AccessRequest]:
        """The request, cut down to what would be permitted: usually one request, none where nothing would be.

        A dry run. Categories that are permitted one by one may be refused together: consent to psychiatry alone permits
        psychiatry, and does not cover psychiatry with labs. Such are asked for apart. Derived data is asked for beside
        what it comes from, as far as that is permitted: features without labs where the patient denies labs.
        """

        def permits(categories: frozenset[Category]) -> bool:
            return self.may(replace(request, categories=categories))

        derived = request.categories & DERIVED_FROM.keys()
        groups = _permitted_together(request.categories - derived, permits)
        for one in derived:
            sources = DERIVED_FROM[one]
            if sources & request.categories:
                groups = [group | {one} if sources & group and permits(group | {one}) else group for group in groups]
            elif permits(frozenset({one})):
                groups.append(frozenset({one}))
        return [replace(request, categories=group) for group in groups]

    def _narrowed(self, request: AccessRequest) -> list[AccessRequest]:
        """With nothing permitted everything is asked for, so that the refusal is logged and explained."""
        return self.permitted(request) or [request]


def _permitted_together(
    categories: Iterable[Category], permits: Callable[[frozenset[Category]], bool]
) -> list[frozenset[Category]]:
    """The categories that are permitted, in as few groups as may be asked for together."""
    allowed = [one for one in sorted(categories) if permits(frozenset({one}))]
    if not allowed or permits(frozenset(allowed)):
        return [frozenset(allowed)] if allowed else []
    groups: list[frozenset[Category]] = []
    for category in allowed:
        joined = (one for one in groups if permits(one | {category}))
        fitting = next(joined, frozenset[Category]())
        groups = [one for one in groups if one != fitting] + [fitting | {category}]
    return groups


def categories_in(requests: Iterable[AccessRequest]) -> frozenset[Category]:
    """All categories that are asked for in these."""
    return frozenset[Category]().union(*(request.categories for request in requests))


class PermitVerifier(Protocol):
    """What the vault asks before it opens or seals anything."""

    def require(self, permit: Permit, *, action: Action, twin: TwinId | None, category: Category | None) -> None:
        """Raise ``PermitInvalid`` (a ``Refused``) unless the permit is genuine, fresh and covers exactly this."""
        ...


def require_records(categories: Iterable[Category]) -> None:
    """Raise ``NotARecord`` where a category is asked for that holds no records but what was computed from them."""
    derived = sorted(one.value for one in set(categories) & DERIVED_FROM.keys())
    if derived:
        raise NotARecord(f"{', '.join(derived)}: computed by this node from other records, and never given as a record")

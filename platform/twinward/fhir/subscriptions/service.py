"""Subscriptions as their owners handle them: made, read, found, changed, ended, asked what they told.

Each belongs to one account. To all others there is no such subscription; whoever may not search records here is refused
before anything is looked at, and the refusal is logged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from twinward.access.interfaces import AccessContext, AccessControl
from twinward.core.clock import Clock
from twinward.core.errors import Conflict
from twinward.core.ids import uuid7
from twinward.core.vocabulary import Action, RecordId
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.json.strict_json import REQUEST_LIMITS, JsonObject, decode
from twinward.fhir.search.parameters import require_served
from twinward.fhir.search.representation import with_server_meta
from twinward.fhir.subscriptions.notifications import searchset
from twinward.fhir.subscriptions.profile import CONTENTS, MAX_BYTES, read_subscription
from twinward.fhir.subscriptions.store import Kept, SubscriptionStore
from twinward.fhir.subscriptions.telling import (
    ACTIVE,
    OFF,
    STATUSES,
    STEPS,
    Followed,
    Teller,
    generation_of,
    is_own,
)
from twinward.twins.service import Twins
from twinward.twins.state.subscriptions import Writes
from twinward.vault.interfaces import StoredAt

SEARCHED = ("_id", "criteria", "status")
OF_STATUS = ("id", "status")
OF_EVENTS = ("content", "eventsSinceNumber", "eventsUntilNumber")
_TRIES = 5
MOST_CRITERIA = 200
"""Characters of a topic's URL that is searched for."""
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}", re.ASCII)
_IDS = re.compile(rf"{_ID.pattern}(,{_ID.pattern}){{0,19}}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,15}")
_ENCODER = msgspec.json.Encoder(decimal_format="number")
Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """What the routes call."""

    twins: Twins
    access: AccessControl
    store: SubscriptionStore
    writes: Writes
    clock: Clock

    def require(self, context: AccessContext) -> None:
        """Refuse, and log it, whoever may not subscribe, before looking at what they send. Raises ``AccessDenied``."""
        self.twins.require(context, Action.SEARCH)

    def create(self, context: AccessContext, body: bytes) -> Kept:
        """Take a Subscription in; it is active at once, and tells of what is stored from now on.

        Raises:
            AccessDenied: the principal may not search here.
            InvalidResource: it is none, or asks for what is not served.
            Conflict: the account has as many as it may.
        """
        self.require(context)
        resource = _read(body, STATUSES[:2])
        self.access.decide(context.request(Action.SEARCH, detail=(("subscription", "create"),)))
        now_ms = self.clock.now_ms()
        name = uuid7(now_ms)
        text = _text(resource, name, ACTIVE)
        kept = Kept(name, context.principal.id, generation_of(context), text, 1, now_ms, _from(now_ms))
        self.store.add(kept)
        return kept

    def update(self, context: AccessContext, name: str, body: bytes) -> Kept:
        """Change one: its numbers go on. Switched on again, it tells of what is stored from then on.

        Raises:
            AccessDenied, InvalidResource: as ``create``.
            SubscriptionNotFound: the caller has none of this id; ids are the server's to choose.
        """
        self.require(context)
        resource = _read(body, STATUSES)
        self.access.decide(context.request(Action.SEARCH, detail=(("subscription", name),)))
        for _ in range(_TRIES):
            stored = self._teller.own(context, name)
            if resource.get("id") != name:
                raise InvalidResource(Issue("value", "Subscription.id", "is not the id of the address"))
            before, now_ms = stored.kept, self.clock.now_ms()
            was_off = self._teller.status_of(before, self._teller.asked(before)) == OFF
            changed = msgspec.structs.replace(
                before,
                resource=_text(resource, name, OFF if resource["status"] == OFF else ACTIVE),
                version=before.version + 1,
                changed_ms=now_ms,
                looked_at=_from(now_ms) if was_off else before.looked_at,
            )
            if self.store.replace(stored, changed):
                return changed
        raise Conflict("the subscription changes all the time", hint="try again")

    def read(self, context: AccessContext, name: str) -> Kept:
        """One of the caller's. Raises ``AccessDenied``, ``SubscriptionNotFound``."""
        self.require(context)
        return self._teller.own(context, name).kept

    def delete(self, context: AccessContext, name: str) -> None:
        """End one: its streams end with it. Raises as ``read``."""
        self.read(context, name)
        self.store.delete(name)

    def shown(self, kept: Kept) -> bytes:
        """One as FHIR answers with it; past its end it is off."""
        resource = decode(kept.resource.encode())
        resource["status"] = self._teller.status_of(kept, self._teller.asked(kept))
        return with_server_meta(_ENCODER.encode(resource), kept.version, kept.changed_ms)

    def search(self, context: AccessContext, pairs: Pairs, base: str) -> bytes:
        """The caller's own, as a searchset. Raises ``AccessDenied``; ``InvalidResource`` for other parameters."""
        self.require(context)
        require_served("a search of Subscription", pairs, SEARCHED)
        _require_well_formed(pairs)
        shown = [decode(self.shown(one)) for one in self._mine(context)]
        found = [one for one in shown if all(_is(one, *pair) for pair in pairs)]
        return searchset(
            [
                {"fullUrl": f"{base}/Subscription/{one['id']}", "resource": one, "search": {"mode": "match"}}
                for one in found
            ]
        )

    def statuses(self, context: AccessContext, pairs: Pairs, base: str, name: str = "") -> bytes:
        """How one stands, or all of the caller's, or those that the parameters name: a searchset of Parameters."""
        self.require(context)
        require_served("$status", pairs, OF_STATUS)
        _require_well_formed(pairs)
        mine = [self._teller.own(context, name).kept] if name else self._mine(context)
        found = [self._teller.status(one, self._teller.asked(one), base) for one in mine]
        asked = {each: _all(pairs, each) for each in OF_STATUS} if not name else {"id": [], "status": []}
        return searchset(
            [
                one.searched()
                for one in found
                if (not asked["id"] or one.name in asked["id"])
                and (not asked["status"] or one.status in asked["status"])
            ]
        )

    def events(self, context: AccessContext, name: str, pairs: Pairs, base: str) -> bytes:
        """The newest events, as far as they are kept and may be told now: a notification Bundle.

        Raises:
            AccessDenied, SubscriptionNotFound: as ``read``.
            InvalidResource: a parameter that is not served.
        """
        self.require(context)
        require_served("$events", pairs, OF_EVENTS)
        since, until = (_number(pairs, one, usual) for one, usual in zip(OF_EVENTS[1:], (0, 2**53), strict=True))
        content = next(iter(_all(pairs, "content")), "")
        if content and content not in CONTENTS:
            raise InvalidResource(Issue("code-invalid", "", f"content is one of {', '.join(CONTENTS)}"))
        kept = self._up_to_date(context, name)
        asked = self._teller.asked(kept)
        chosen = [one for one in kept.events if since <= one.number <= until]
        told = self._teller.again(context, kept, asked, chosen)
        return self._teller.status(kept, asked, base, content).bundle("query-event", told)

    def follow(self, context: AccessContext, name: str, *, base: str, after: int | None) -> Followed:
        """Follow one. That somebody follows is logged. Raises as ``Followed``, and ``AccessDenied``."""
        self.require(context)
        self._teller.own(context, name)
        self.access.decide(context.request(Action.SEARCH, detail=(("subscription", name),)))
        return Followed(self._teller, self.writes, context, name, base=base, after=after)

    @property
    def _teller(self) -> Teller:
        return Teller(self.twins, self.store, self.clock)

    def _mine(self, context: AccessContext) -> list[Kept]:
        return [one for one in self.store.of(context.principal.id) if is_own(one, context)]

    def _up_to_date(self, context: AccessContext, name: str) -> Kept:
        """One of the caller's, once what was stored since was looked at."""
        for _ in range(STEPS):
            stored = self._teller.own(context, name)
            asked = self._teller.asked(stored.kept)
            if self._teller.status_of(stored.kept, asked) == OFF:
                break
            looked = self._teller.look(context, stored, asked)
            if looked is not None and looked[0] is stored.kept:
                break
        return self._teller.own(context, name).kept


def _read(body: bytes, statuses: tuple[str, ...]) -> JsonObject:
    if len(body) > 4 * MAX_BYTES:
        raise InvalidResource(Issue("too-long", "Subscription", f"a Subscription has {MAX_BYTES} bytes at most"))
    resource = decode(body, limits=REQUEST_LIMITS)
    read_subscription(resource, statuses=statuses)
    return resource


def _text(resource: JsonObject, name: str, status: str) -> str:
    """What is kept of what was sent: ``id``, ``status`` and what ``meta`` says of versions are the server's."""
    meta = {key: value for key, value in resource.get("meta", {}).items() if key not in ("versionId", "lastUpdated")}
    rest = {key: value for key, value in resource.items() if key not in ("resourceType", "id", "meta", "error")}
    own: dict[str, Any] = {"resourceType": "Subscription", "id": name} | ({"meta": meta} if meta else {})
    return _ENCODER.encode(own | rest | {"status": status}).decode()


def _from(at_ms: int) -> StoredAt:
    """The place before everything that is stored from a moment on."""
    return at_ms, RecordId(""), 0


def _is(resource: dict[str, Any], name: str, value: str) -> bool:
    """Whether one of a parameter's alternatives is what a Subscription has; wishes are true of all."""
    member = {"_id": "id"}.get(name, name)
    return name not in SEARCHED or resource.get(member) in value.split(",")


def _require_well_formed(pairs: Pairs) -> None:
    formed = {"_id": _ID, "id": _IDS}
    if any(formed[name].fullmatch(value) is None for name, value in pairs if name in formed):
        raise InvalidResource(Issue("value", "", "an id is of 1 to 64 letters, digits, hyphens and dots"))
    if any(len(value) > MOST_CRITERIA for name, value in pairs if name == "criteria"):
        raise InvalidResource(Issue("value", "", f"criteria are a topic's URL of {MOST_CRITERIA} characters at most"))
    if not set(_all(pairs, "status")) <= {*STATUSES, "error"}:
        raise InvalidResource(Issue("code-invalid", "", f"status is one of {', '.join(STATUSES)}, error"))


def _all(pairs: Pairs, name: str) -> list[str]:
    return [one for each, value in pairs if each == name for one in value.split(",")]


def _number(pairs: Pairs, name: str, usual: int) -> int:
    said = _all(pairs, name)
    if len(said) > 1 or not all(_NUMBER.fullmatch(one) for one in said):
        raise InvalidResource(Issue("value", "", f"{name} is one number"))
    return int(said[0]) if said else usual

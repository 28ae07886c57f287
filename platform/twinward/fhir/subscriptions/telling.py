"""What a subscription tells. Each event is an access: decided, logged, and opened when it is about to be told.

Nothing is queued. A subscription remembers up to which place in time the node's versions were looked at for it. Whoever
follows or asks has what was stored since then looked at: versions of the topic's types, of its patients, that the
subscriber may see at that moment, and that match. Those get the next numbers; numbers tell nothing of what was refused.
A number that was given stays that version's, and when it is told again that is decided again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import msgspec

from twinward.access.interfaces import AccessContext
from twinward.core.clock import Clock
from twinward.core.errors import NotFound
from twinward.core.vocabulary import TwinId
from twinward.fhir.errors import SubscriptionEnded, SubscriptionNotFound
from twinward.fhir.json.strict_json import decode
from twinward.fhir.subscriptions.notifications import Status, Told
from twinward.fhir.subscriptions.profile import Asked, read_subscription
from twinward.fhir.subscriptions.store import KEPT_EVENTS, Event, Kept, Stored, SubscriptionStore
from twinward.twins.read.changes import Wanted
from twinward.twins.service import Twins
from twinward.twins.state.subscriptions import ENTRIES_AT_ONCE, LOOKS, Writes
from twinward.vault.interfaces import Record, Span

ACTIVE, OFF = "active", "off"
STATUSES: Final = ("requested", ACTIVE, OFF)
SETTLED_MS: Final = 250
"""Versions are looked at so long after they were stored: by then those stored in the same moment are all there."""
AT_ONCE: Final = 100
"""Versions that are looked at in one step."""
STEPS: Final = 10
"""Of one poll, or one request."""
POLLS_UNTIL_LOOK: Final = 60
"""Without a sign in the log: a write may land long after it was permitted."""


@dataclass(frozen=True, slots=True)
class Teller:
    """Looks for what there is to tell, and opens it."""

    twins: Twins
    store: SubscriptionStore
    clock: Clock

    def own(self, context: AccessContext, name: str) -> Stored:
        """A subscription of whoever asks. Raises ``SubscriptionNotFound``, ``StoreAltered``."""
        found = self.store.find(name)
        if found is None or not is_own(found.kept, context):
            raise SubscriptionNotFound("no subscription is kept under this id")
        return found

    def asked(self, kept: Kept) -> Asked:
        """What a kept subscription asks for. Raises ``InvalidResource``: an earlier release took more than this one."""
        return read_subscription(decode(kept.resource.encode()), statuses=STATUSES)

    def status_of(self, kept: Kept, asked: Asked) -> str:
        """``active``, or ``off``."""
        ended = asked.end_ms is not None and asked.end_ms <= self.clock.now_ms()
        return OFF if ended or decode(kept.resource.encode())["status"] == OFF else ACTIVE

    def status(self, kept: Kept, asked: Asked, base: str, content: str = "") -> Status:
        """What documents say of it."""
        said, now_ms = self.status_of(kept, asked), self.clock.now_ms()
        return Status(base, kept.id, asked.topic.url, said, kept.count, content or asked.content, now_ms)

    def look(self, context: AccessContext, stored: Stored, asked: Asked) -> tuple[Kept, Told] | None:
        """Look at what was stored since; number and return what may be told. None where somebody else was first.

        Raises:
            AccessDenied: the subscriber may not search here any more.
        """
        kept, until_ms = stored.kept, self.clock.now_ms() - SETTLED_MS
        if until_ms <= kept.looked_at[0]:
            return kept, ()
        wanted = self._wanted(kept, asked, Span(0, until_ms))
        found, place = self.twins.changes.since(context, wanted, kept.looked_at, AT_ONCE)
        if place == kept.looked_at:
            return kept, ()
        told = list(enumerate((one for one in found if asked.matches(one)), start=kept.count + 1))
        events = (*kept.events, *(_event(number, record) for number, record in told))[-KEPT_EVENTS:]
        changed = msgspec.structs.replace(kept, looked_at=place, count=kept.count + len(told), events=events)
        return (changed, told) if self.store.replace(stored, changed) else None

    def again(self, context: AccessContext, kept: Kept, asked: Asked, events: Sequence[Event]) -> Told:
        """Those of these events that may be told now. Raises as ``look``."""
        numbers = {one.place: one.number for one in events}
        wanted = self._wanted(kept, asked, Span(0, self.clock.now_ms()))
        found = self.twins.changes.at(context, wanted, numbers.keys()) if numbers else []
        told = [(numbers[place], one) for one in found if (place := _place(one)) in numbers and asked.matches(one)]
        return sorted(told, key=lambda pair: pair[0])

    def _wanted(self, kept: Kept, asked: Asked, span: Span) -> Wanted:
        """The versions asked for, as far as is known without opening them."""
        twins: frozenset[TwinId] | None = None
        for names in asked.patients:
            some = self._twins_of(names)
            twins = some if twins is None else twins & some
        return Wanted(asked.topic.types, span, label=kept.id, twins=twins, kind="subscription")

    def _twins_of(self, patients: Sequence[str]) -> frozenset[TwinId]:
        found: set[TwinId] = set()
        for one in patients:
            with suppress(NotFound):
                found.add(self.twins.find(one))
        return frozenset(found)


class Followed:
    """One subscription, followed. ``resume`` is the number of the last event that was told."""

    def __init__(
        self, teller: Teller, writes: Writes, context: AccessContext, name: str, *, base: str, after: int | None
    ) -> None:
        """Begin after an event, or with the next one.

        Raises:
            SubscriptionNotFound: it is not the subscriber's.
            SubscriptionEnded: it is off.
        """
        self._teller, self._writes, self._context = teller, writes, context
        self._name, self._base = name, base
        stored, self._asked = self._active()
        self.timeout_s = self._asked.timeout_s
        self.resume = stored.kept.count if after is None else min(after, stored.kept.count)
        self.first = teller.status(stored.kept, self._asked, base).bundle("handshake")
        self._next, self._looks, self._polls = writes.size(), LOOKS, 0
        self._told_at = time.monotonic()

    def poll(self) -> Iterator[bytes]:
        """Notification Bundles of what happened since, ``max-count`` events each, and heartbeats.

        Raises:
            AccessDenied: policy no longer lets the subscriber search: the end.
            SubscriptionNotFound, SubscriptionEnded: it was deleted, ended with its account, or was switched off.
        """
        may_be_more = self._may_be_more()
        for _ in range(STEPS):
            stored, self._asked = self._active()
            kept = stored.kept
            if kept.count > self.resume:
                missed = [one for one in kept.events if one.number > self.resume]
                told = self._teller.again(self._context, kept, self._asked, missed)
            elif may_be_more:
                looked = self._teller.look(self._context, stored, self._asked)
                if looked is None:
                    continue
                kept, told = looked
                may_be_more = kept is not stored.kept
            else:
                break
            yield from self._notifications(kept, told)
            self.resume = kept.count
        yield from self._heartbeat()

    def _active(self) -> tuple[Stored, Asked]:
        stored = self._teller.own(self._context, self._name)
        asked = self._teller.asked(stored.kept)
        if self._teller.status_of(stored.kept, asked) == OFF:
            raise SubscriptionEnded("the subscription is off, or its end has come", hint="update it to go on")
        return stored, asked

    def _may_be_more(self) -> bool:
        """Whether to look: for a while after the log said that a write was permitted, and now and then."""
        stop = min(self._writes.size(), self._next + ENTRIES_AT_ONCE)
        if any(True for _ in self._writes.between(self._next, stop)):
            self._looks = LOOKS
        self._next = stop
        self._looks, self._polls = max(self._looks - 1, -1), self._polls + 1
        return self._looks >= 0 or self._polls % POLLS_UNTIL_LOOK == 0

    def _notifications(self, kept: Kept, told: Told) -> Iterator[bytes]:
        status = self._teller.status(kept, self._asked, self._base)
        for start in range(0, len(told), self._asked.max_count):
            some = told[start : start + self._asked.max_count]
            self.resume = some[-1][0]
            self._told_at = time.monotonic()
            yield status.bundle("event-notification", some)

    def _heartbeat(self) -> Iterator[bytes]:
        if not self._asked.heartbeat_s or time.monotonic() - self._told_at < self._asked.heartbeat_s:
            return
        self._told_at = time.monotonic()
        stored, asked = self._active()
        yield self._teller.status(stored.kept, asked, self._base).bundle("heartbeat")


def is_own(kept: Kept, context: AccessContext) -> bool:
    """Whether a subscription is the asker's, and the account still the same that made it."""
    return (kept.account, kept.generation) == (context.principal.id, generation_of(context))


def generation_of(context: AccessContext) -> int:
    """Which generation of the account asks: it counts up when everybody who signed in with it is signed out."""
    standing = context.principal.standing
    return 0 if standing is None else standing.generation


def _place(record: Record) -> tuple[int, str, int]:
    return record.committed_at_ms, str(record.record_id), record.version


def _event(number: int, record: Record) -> Event:
    return Event(number, *_place(record))

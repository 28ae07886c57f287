"""Following twins: what a subscriber is told when one changes. Each telling is an access, decided and logged anew.

Whoever follows polls. Nothing is queued for a subscriber beyond which twins it is still to look at, so a slow one
costs no memory; what it missed it is told when it asks again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from twinward.access.emergencies import CHANGE
from twinward.access.errors import AccessDenied
from twinward.access.interfaces import AccessContext, AccessControl
from twinward.core.errors import BadInput, NotFound
from twinward.core.vocabulary import Action, Category, TwinId
from twinward.twins.errors import FollowedTooSlowly
from twinward.twins.state.states import Outline, TwinState, TwinStates, category_of

SUBSCRIPTION = (("subscription", "events"),)
MOST_REVISIONS = 100
"""Told one by one to whoever resumes; beyond, only the newest."""
MOST_ENTRIES = 100_000
"""How far back in the log a subscription may resume."""
ENTRIES_AT_ONCE = 500
MOST_WAITING = 1_000
LOOKS = 10
"""How often a twin is looked at after its write was permitted, until the write has landed."""


class Writes(Protocol):
    """Where writes stand in the access log; ``twinward.audit.events.write_index.WriteIndex`` is one."""

    def size(self) -> int:
        """How many entries the log has."""
        ...

    def between(self, start: int, stop: int) -> Iterator[tuple[int, TwinId, int]]:
        """Index, twin and minute (in ms) of each permitted write."""
        ...


@dataclass(slots=True)
class _Waiting:
    """A twin to be looked at: since which entry, and how often yet."""

    index: int
    since_ms: int
    looks: int = LOOKS


@dataclass(frozen=True, slots=True)
class TwinChange:
    """One event: a twin as it stands, and where to resume after it."""

    resume: int
    state: TwinState


class TwinSubscription:
    """One twin, every revision of it. ``resume`` is a revision."""

    def __init__(
        self,
        states: TwinStates,
        access: AccessControl,
        writes: Writes,
        subscriber: AccessContext,
        twin: TwinId,
        *,
        after: int | None,
    ) -> None:
        """Begin after a revision, or with the next change.

        Raises:
            AccessDenied: the subscriber may see nothing of the twin.
            TwinNotFound, TwinShredded: there is no such twin.
        """
        self._states = states
        self._access = access
        self._subscriber = subscriber
        self._writes = writes
        self._next = writes.size()
        self._looks = LOOKS
        outline = states.outline(twin)
        states.read(
            subscriber,
            outline,
            detail=SUBSCRIPTION,
        )
        self._twin = twin
        self.resume = outline.revision if after is None else min(after, outline.revision)

    def poll(self) -> Iterator[TwinChange]:
        """What happened since, each looked up when it is asked for: what is told was permitted that very moment.

        Raises:
            AccessDenied: policy or consent no longer lets the subscriber see anything of it: the end.
            TwinShredded: there is nothing left to see.
        """
        self._require_leave()
        self._note_writes()
        if not self._looks:
            return
        self._looks -= 1
        outline = self._states.outline(self._twin)
        first = max(self.resume + 1, 1)
        if outline.revision - first >= MOST_REVISIONS:
            first = outline.revision
        for revision in range(first, outline.revision + 1):
            told = TwinChange(revision, _read(self._states, self._subscriber, self._at(outline, revision)))
            self.resume = revision
            yield told

    def _note_writes(self) -> None:
        """Look at the twin again for a while if the log says that a write to it was permitted."""
        stop = min(self._writes.size(), self._next + ENTRIES_AT_ONCE)
        if any(twin == self._twin for _, twin, _ in self._writes.between(self._next, stop)):
            self._looks = LOOKS
        self._next = stop

    def _at(self, outline: Outline, revision: int) -> Outline:
        newest = revision == outline.revision
        return outline if newest else self._states.outline(self._twin, revision=revision)

    def _require_leave(self) -> None:
        """A consent withdrawn ends the stream at once, not with the next change."""
        categories = (Category.FEATURES, *dict.fromkeys(map(category_of, self._states.units)))
        self._access.require_any(
            *(self._subscriber.request(Action.READ, self._twin, frozenset({one})) for one in categories)
        )


class AllTwinsSubscription:
    """Every twin that the subscriber may see; ``resume`` is a place in the access log.

    A twin's several changes in short succession may be told as one. After a resumption what was told may be told
    again: the revision says whether it is new.
    """

    def __init__(
        self,
        states: TwinStates,
        access: AccessControl,
        writes: Writes,
        subscriber: AccessContext,
        *,
        after: int | None,
    ) -> None:
        """Begin at a place in the log, or now.

        Raises:
            AccessDenied: the subscriber may not search twins.
            BadInput: no such place, or one too far back.
        """
        request = subscriber.request(Action.SEARCH, detail=SUBSCRIPTION)
        access.decide(request)
        size = writes.size()
        if after is not None and not size - MOST_ENTRIES <= after <= size:
            raise BadInput("this place in the stream is not kept", hint="read the twins anew, then follow from now")
        self._states = states
        self._access = access
        self._request = request
        self._writes = writes
        self._subscriber = subscriber
        self._next = size if after is None else after
        self._waiting: dict[TwinId, _Waiting] = {}
        self._told: dict[TwinId, int] = {}

    @property
    def resume(self) -> int:
        """Everything before this place in the log was told."""
        return min((one.index for one in self._waiting.values()), default=self._next)

    def poll(self) -> Iterator[TwinChange]:
        """What happened since, each looked up when it is asked for.

        Raises:
            AccessDenied: policy no longer lets the subscriber search: the end.
            FollowedTooSlowly: more twins change than the subscriber takes.
        """
        self._access.require(self._request)
        self._note_writes()
        for twin, one in list(self._waiting.items()):
            state = self._changed(twin, one.since_ms)
            one.looks -= 1
            if not one.looks:
                del self._waiting[twin]
            if state is not None:
                yield TwinChange(self.resume, state)

    def _note_writes(self) -> None:
        stop = min(self._writes.size(), self._next + ENTRIES_AT_ONCE)
        for index, twin, since_ms in self._writes.between(self._next, stop):
            self._waiting.setdefault(twin, _Waiting(index, since_ms)).looks = LOOKS
        self._next = stop
        if len(self._waiting) > MOST_WAITING:
            raise FollowedTooSlowly(
                f"more than {MOST_WAITING} twins changed at once", hint="read the twins anew, then follow from now"
            )

    def _changed(self, twin: TwinId, since_ms: int) -> TwinState | None:
        """The twin's state if it changed and the subscriber may see it; a refusal is logged and passed over."""
        try:
            outline = self._states.outline(twin)
            if self._told.get(twin) == outline.revision or outline.modified_ms < since_ms:
                return None
            self._told[twin] = outline.revision
            while len(self._told) > MOST_WAITING * LOOKS:
                del self._told[next(iter(self._told))]
            return _read(self._states, self._subscriber, outline)
        except (AccessDenied, NotFound):
            return None


def _read(states: TwinStates, subscriber: AccessContext, outline: Outline) -> TwinState:
    return states.read(subscriber, outline, detail=(CHANGE,))

"""Leave to write to twins, decided once a minute at most for each twin, device and caller, not once a reading.

What a permit was given for is in the log when it was given; it ends with its minute, with the caller's sign-in, and
with the consent it was given under: the authority is asked before each batch.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from twinward.access.errors import PermitInvalid, SignInEnded
from twinward.access.interfaces import AccessContext, AccessControl, Permit, PermitVerifier
from twinward.core.one_look import one_look
from twinward.core.vocabulary import Action, Category, TwinId

MOST_KEPT = 20_000


class Wanted(NamedTuple):
    """What one batch writes to one twin by one device."""

    twin: TwinId
    device: str
    categories: frozenset[Category]


class WritePermits:
    """Permits to write that are still good. Safe to share between threads."""

    def __init__(self, access: AccessControl, verifier: PermitVerifier) -> None:
        self._access = access
        self._verifier = verifier
        self._lock = threading.Lock()
        self._kept: dict[tuple[AccessContext, str, Wanted], Permit] = {}

    def decide(self, context: AccessContext, source: str, wanted: Iterable[Wanted]) -> Mapping[Wanted, Permit | None]:
        """A permit for each, or None where policy or consent says no. Every new decision is in the log.

        Raises:
            SignInEnded: the caller is nobody any more.
            Unavailable: the log cannot be written.
        """
        every = list(dict.fromkeys(wanted))
        found: dict[Wanted, Permit | None] = {}
        with one_look():  # one a patient would be most of what a batch costs
            for one in every:
                kept = self._kept.get((context, source, one))
                if kept is not None and self._is_good(kept, one):
                    found[one] = kept
        missing = [one for one in every if one not in found]
        requests = [
            context.request(
                Action.WRITE,
                one.twin,
                one.categories,
                detail=(("live", "readings"), ("source", source), ("device", one.device or "none")),
            )
            for one in missing
        ]
        decided = dict(zip(missing, self._access.decide_many(requests), strict=True))
        with self._lock:
            for one, permit in decided.items():
                while len(self._kept) >= MOST_KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept.pop((context, source, one), None)
                if permit is not None:
                    self._kept[context, source, one] = permit
        return found | decided

    def _is_good(self, permit: Permit, wanted: Wanted) -> bool:
        try:
            for category in wanted.categories:
                self._verifier.require(permit, action=Action.WRITE, twin=wanted.twin, category=category)
        except (PermitInvalid, SignInEnded):  # whoever asks now may have signed in anew: they are decided on
            return False
        return True

"""Leave to watch: a page that shows itself anew is one access of each patient for ten minutes, not one a refresh.

What it was given for is in the log when it was given. It ends with its time, with the watcher's sign-in, and with the
consent and the policy it was given under: the authority is asked at every refresh.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from twinward.access.errors import PermitInvalid, SignInEnded
from twinward.access.interfaces import AccessContext, AccessControl, AccessRequest, Permit, PermitVerifier, Standing
from twinward.core.vocabulary import Action, Category, TwinId

MOST_KEPT: Final = 20_000
_Key = tuple[AccessContext, Standing | None, AccessRequest]


class Leave:
    """Permits to read that are still good. Safe to share between threads."""

    def __init__(self, access: AccessControl, verifier: PermitVerifier) -> None:
        self._access = access
        self._verifier = verifier
        self._lock = threading.Lock()
        self._kept: dict[_Key, tuple[Permit, ...]] = {}

    def of_many(
        self, context: AccessContext, page: str, twins: Collection[TwinId], categories: Collection[Category]
    ) -> Mapping[TwinId, Sequence[Permit]]:
        """Permits for as much of each twin as may be seen, all new ones in one durable append; nothing for the others.

        Raises:
            SignInEnded: the caller is nobody any more.
            Unavailable: the log cannot be written.
        """
        asked = {twin: self._request(context, page, twin, categories) for twin in twins}
        found = {twin: self._good(context, request) for twin, request in asked.items()}
        parts = [one for twin, request in asked.items() if not found[twin] for one in self._access.permitted(request)]
        given: dict[TwinId, tuple[Permit, ...]] = {}
        for permit in self._access.decide_many(parts):
            if permit is not None and permit.request.twin is not None:
                given[permit.request.twin] = (*given.get(permit.request.twin, ()), permit)
        for twin, permits in given.items():
            self._keep(context, asked[twin], permits)
        return {twin: permits for twin, permits in (found | given).items() if permits}

    def of_one(
        self, context: AccessContext, page: str, twin: TwinId, categories: Collection[Category]
    ) -> Sequence[Permit]:
        """As ``of_many``; raises ``AccessDenied``, which is logged, where nothing of it may be seen."""
        request = self._request(context, page, twin, categories)
        found = self._good(context, request)
        if not found:
            found = tuple(self._access.decide_part(request))
            self._keep(context, request, found)
        return found

    def _request(
        self, context: AccessContext, page: str, twin: TwinId, categories: Collection[Category]
    ) -> AccessRequest:
        return context.request(Action.READ, twin, categories, detail=(("live", page),), lasting=True)

    def _good(self, context: AccessContext, request: AccessRequest) -> tuple[Permit, ...]:
        """What is kept, if all of it still holds: a part that was withdrawn has all of it decided anew."""
        kept = self._kept.get(_key(context, request), ())
        try:
            for permit in kept:
                for category in permit.request.categories:
                    self._verifier.require(permit, action=Action.READ, twin=request.twin, category=category)
        except (PermitInvalid, SignInEnded):  # an ended sign-in's permits are nobody's: who asks now is decided anew
            return ()
        return kept

    def _keep(self, context: AccessContext, request: AccessRequest, permits: tuple[Permit, ...]) -> None:
        with self._lock:
            key = _key(context, request)
            self._kept.pop(key, None)
            while len(self._kept) >= MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = permits


def _key(context: AccessContext, request: AccessRequest) -> _Key:
    # Principals are equal whatever they signed in by; what is kept is of one sign-in.
    return context, context.principal.standing, request

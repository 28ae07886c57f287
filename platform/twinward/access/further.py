"""Leave for what a record turns out to tell of: asked when it is open in the vault, before it is shown to anybody."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from twinward.access.errors import AccessDenied
from twinward.access.interfaces import AccessControl, Permit
from twinward.core.vocabulary import Category, Purpose


class FurtherLeave:
    """Asks the gate on behalf of a permit's holder, for the same purpose, one category at a time.

    One at a time, since consent to psychiatry alone permits psychiatry and says nothing of psychiatry with conditions.
    Every answer is in the log, the refusals too.
    """

    def __init__(self, access: AccessControl) -> None:
        self._access = access

    def __call__(self, permit: Permit, categories: Collection[Category]) -> list[Permit]:
        """A permit for each category that may be read under these circumstances too."""
        requests = [replace(permit.request, categories=frozenset({one})) for one in sorted(categories)]
        if permit.request.purpose is not Purpose.EMERGENCY:
            return [one for one in self._access.decide_many(requests) if one is not None]
        given = []
        for request in requests:  # an emergency has a journal to go to while the log cannot be written
            try:
                given.append(self._access.decide(request))
            except AccessDenied:
                continue
        return given

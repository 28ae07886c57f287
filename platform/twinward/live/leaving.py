"""Readings that leave for another system: hour by hour, as whoever takes them reads on.

Each hour is a look of its own: who reads slowly holds no transaction and no more than an hour in memory, and whoever
says no meanwhile is left out from the next hour on. A permit that has grown old is decided, and logged, anew.
"""

from __future__ import annotations

from collections.abc import Iterator

from twinward.access.errors import PermitInvalid
from twinward.access.interfaces import AccessContext, AccessControl, Permit
from twinward.core.errors import NotFound
from twinward.core.vocabulary import Action, Category, TwinId
from twinward.live.signals import LIVE_CATEGORIES
from twinward.live.storage.reader import SeriesReader
from twinward.live.storage.series import WINDOW_MS, Run


class Leaving:
    """Opens hours for an export. Safe to share between threads."""

    def __init__(self, access: AccessControl, reader: SeriesReader) -> None:
        self._access = access
        self._reader = reader

    def hours(self, context: AccessContext, twin: TwinId, since_ms: int = 0) -> Iterator[list[Run]]:
        """All runs of each category and hour of which anything was stored since a moment, as far as it may be had.

        An hour is stored anew when it is closed, and then comes again. Refusals are logged.
        """
        detail = (("live", "exported"),)
        asked = [context.request(Action.EXPORT, twin, {one}, detail=detail) for one in sorted(LIVE_CATEGORIES)]
        for permit in self._access.decide_parts(asked):
            for category in sorted(permit.request.categories):
                yield from self._of(permit, category, since_ms)

    def _of(self, permit: Permit, category: Category, since_ms: int) -> Iterator[list[Run]]:
        after_ms, held = -1, [permit]
        while held:
            try:
                found = self._reader.next_hour(held[0], category, after_ms, since_ms)
            except PermitInvalid:
                held = self._access.decide_parts([held[0].request])
                continue
            except NotFound:  # erased meanwhile
                return
            if found is None:
                return
            after_ms = found[0] + WINDOW_MS - 1
            yield found[1]

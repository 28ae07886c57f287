"""One signal of one twin, followed: what was measured since, as soon as a batch of any process stored it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twinward.access.errors import PermitInvalid
from twinward.access.interfaces import AccessContext, AccessControl, Permit
from twinward.core.late_module import LateModule
from twinward.core.vocabulary import Action, TwinId
from twinward.live.models import QUALITIES
from twinward.live.signals import Signal
from twinward.live.storage.columns import Columns
from twinward.live.storage.reader import SeriesReader
from twinward.live.timeseries import Point, joined

if TYPE_CHECKING:
    import numpy as np
else:
    np = LateModule("numpy")

MOST_AT_ONCE = 5_000


class Follower:
    """Tells of samples measured after a moment, in order of time. What comes late, from before, is not told again.

    A permit is decided, and logged, when it begins and whenever the last one has ended: about once a minute. Nothing is
    opened, and nothing decided, while nothing was stored.
    """

    def __init__(
        self,
        access: AccessControl,
        reader: SeriesReader,
        context: AccessContext,
        twin: TwinId,
        signal: Signal,
        after_ms: int,
    ) -> None:
        """Begin. Raises ``AccessDenied``."""
        detail = (("live", "followed"), ("signal", signal.name))
        self._request = context.request(Action.READ, twin, {signal.category}, detail=detail)
        self._access = access
        self._reader = reader
        self._signal = signal
        self._twin = twin
        self.after_ms = after_ms
        self._seen = ""
        self._known: dict[str, int] = {}
        self._permit = access.decide(self._request)

    def poll(self) -> list[Point]:
        """What was measured since. Raises ``AccessDenied`` once policy or consent says no."""
        newest = self._reader.newest_row(self._twin)
        if newest == self._seen:
            return []
        found = self._opened(
            lambda permit: self._reader.read_on(permit, self._signal, self.after_ms, self._known, enough=MOST_AT_ONCE)
        )
        samples = joined(found, self.after_ms + 1, _FOREVER_MS)
        shown = len(samples)
        if shown > MOST_AT_ONCE:  # and what was measured at the very moment of the last: it is not asked for again
            shown = int(np.searchsorted(samples.times, samples.times[MOST_AT_ONCE - 1], side="right"))
        columns = (samples.times[:shown].tolist(), samples.values[:shown].tolist(), samples.qualities[:shown].tolist())
        points = [Point(time, value, QUALITIES[quality]) for time, value, quality in zip(*columns, strict=True)]
        if points:
            self.after_ms = points[-1].time_ms
        if len(samples) <= MOST_AT_ONCE:
            self._seen = newest
        return points

    def _opened(self, by: Callable[[Permit], list[Columns]]) -> list[Columns]:
        try:
            return by(self._permit)
        except PermitInvalid:
            self._permit = self._access.decide(self._request)
            return by(self._permit)


_FOREVER_MS = 1 << 50

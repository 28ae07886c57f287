"""An alert, and what may be done with it.

    raised ── acknowledged ── over
       └── escalated ──┘

A rule that rises again within ``FOLD_MS`` of being over belongs to the same alert, one more time: a value that hangs
about a threshold is one alert, not a storm. One that somebody has seen and that is over is done: what rises after it is
a new alert, so that it is escalated where nobody sees it. One that is silenced is still counted, and told to nobody
until then.
"""

from __future__ import annotations

from typing import Final

import msgspec

from twinward.core.vocabulary import Category, TwinId
from twinward.live.alerts.monitor import Change, Measurement
from twinward.live.alerts.rules import Severity
from twinward.live.errors import AlertConflict

FOLD_MS: Final = 10 * 60_000
_OF_DOSES: Final = "medication:"
MAX_SILENCE_MS: Final = 8 * 3_600_000


class Alert(msgspec.Struct, frozen=True):
    """An alert of one patient.

    Attributes:
        rule, version, severity: by what it was raised.
        raised_ms: by the clock of the measurement.
        times: how often its rule rose.
        because: what the rule looked at when it rose last; ``score`` its sum, or a model's score, and then ``shares``
            of it by signal.
        about: of a dose: what was to be given, and when.
        over_ms: since when the rule is not up any more.
        acknowledged_by, acknowledged_ms: the clinician who has seen it.
        escalate_ms, escalated_ms: when it is to be escalated, and was.
        silenced_until_ms, silenced_by, silence_reason: told to nobody until then.
    """

    id: str
    twin: TwinId
    rule: str
    version: str
    severity: Severity
    raised_ms: int
    because: tuple[Measurement, ...]
    escalate_ms: int
    score: int | float | None = None
    times: int = 1
    over_ms: int | None = None
    acknowledged_by: str = ""
    acknowledged_ms: int | None = None
    escalated_ms: int | None = None
    silenced_until_ms: int = 0
    silenced_by: str = ""
    silence_reason: str = ""
    shares: dict[str, float] = msgspec.field(default_factory=dict)
    about: str = ""

    @property
    def category(self) -> Category:
        """Under whose key it is kept: an alert of a dose is medication, any other is monitoring."""
        return Category.MEDICATIONS if self.rule.startswith(_OF_DOSES) else Category.MONITORING

    @property
    def is_done(self) -> bool:
        """Whether nobody has to look at it any more: it is over, and somebody has seen it."""
        return self.over_ms is not None and self.acknowledged_ms is not None

    def ended(self, at_ms: int) -> Alert:
        """Over."""
        return msgspec.structs.replace(self, over_ms=at_ms)

    def rose_again(self, change: Change) -> Alert:
        """One more time."""
        return msgspec.structs.replace(
            self,
            times=self.times + 1,
            over_ms=None,
            because=change.because,
            score=change.score,
            shares=dict(change.shares),
        )

    def folds(self, change: Change) -> bool:
        """Whether a rule that rises belongs to this alert."""
        near = self.over_ms is None or (not self.is_done and change.time_ms - self.over_ms <= FOLD_MS)
        return near and self.rule == change.rule.name

    def acknowledged(self, by: str, at_ms: int) -> Alert:
        """Seen by somebody. Raises ``AlertConflict`` where it was before."""
        if self.acknowledged_ms is not None:
            raise AlertConflict("somebody acknowledged this alert before")
        return msgspec.structs.replace(self, acknowledged_by=by, acknowledged_ms=at_ms)

    def silenced(self, by: str, until_ms: int, now_ms: int, reason: str) -> Alert:
        """Told to nobody until then. Raises ``AlertConflict`` for a time that cannot be."""
        if not now_ms < until_ms <= now_ms + MAX_SILENCE_MS:
            raise AlertConflict("an alert is silenced for 8 hours at most, from now on")
        return msgspec.structs.replace(self, silenced_by=by, silenced_until_ms=until_ms, silence_reason=reason)

    def is_to_escalate(self, now_ms: int) -> bool:
        """Whether nobody has seen it for too long."""
        waits = self.acknowledged_ms is None and self.escalated_ms is None and self.over_ms is None
        return waits and now_ms >= max(self.escalate_ms, self.silenced_until_ms)

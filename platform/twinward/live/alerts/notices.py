"""What a hospital's own system is told of an alert, and where that stands (a transactional outbox).

A notice is written in the transaction that stores its alert, so there are both or neither, and is sent until the
receiver takes it: more than once, maybe, under one id. It names no patient, rule or value: whoever is told looks the
alert up under a permit of their own.
"""

from __future__ import annotations

from typing import Final

import msgspec

RAISED: Final = "alert.raised"
ESCALATED: Final = "alert.escalated"
RETRY_S: Final = (5, 30, 120, 600, 3_600, 10_800, 21_600, 43_200)
"""Seconds until each next attempt; after the last one a notice is a dead letter. About a day in all."""
KEPT_MS: Final = 30 * 86_400_000
"""How long a dead letter is kept."""


class Notice(msgspec.Struct, frozen=True):
    """A notice.

    Attributes:
        kind: ``RAISED`` or ``ESCALATED``.
        alert: its id, by which an alert is looked up.
        at_ms: when that happened.
        tries: how often it was sent in vain; ``problem`` why, the last time.
    """

    kind: str
    alert: str
    severity: str
    at_ms: int
    tries: int = 0
    problem: str = ""

    @property
    def is_dead(self) -> bool:
        """Whether it is sent no more unless somebody asks for it."""
        return self.tries > len(RETRY_S)

    def failed(self, problem: str) -> Notice:
        """Sent in vain once more."""
        return msgspec.structs.replace(self, tries=self.tries + 1, problem=problem)

    def revived(self) -> Notice:
        """As if it had never been sent."""
        return msgspec.structs.replace(self, tries=0)

"""A sample of a day's visits that nobody can choose: drawn by the log's own signed tree head.

The seed is the first signed checkpoint that covers the day's last event. It stands in the log's history before anybody
reviews that day, its root was co-signed by other hospitals, and anybody who has it draws the same sample.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from twinward.review.models import Visit

_DOMAIN: Final = b"twinward/review-sample/1\x00"


def sample(visits: Sequence[Visit], seed: bytes, count: int) -> list[Visit]:
    """``count`` of them, each as likely as any other: those of the smallest SHA-256 of seed and first event."""
    return sorted(visits, key=lambda one: _draw(seed, one.index))[:count]


def _draw(seed: bytes, index: int) -> bytes:
    return hashlib.sha256(_DOMAIN + len(seed).to_bytes(4, "big") + seed + index.to_bytes(8, "big")).digest()

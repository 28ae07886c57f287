"""Events that say nothing, so that the published log does not say how many patients something was about.

A leaf tells its kind and its minute, nothing else; what is done with each patient of a cohort so shows, by how much the
log grows, how many they are. Fillers make that a number that says less: they are leaves of the same kind, about nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from twinward.audit.interfaces import AuditTrail
from twinward.audit.models import AccessEvent
from twinward.core.vocabulary import NOBODY, Action, Purpose, Role

REASON: Final = "a filler, about nobody: the log's size does not tell how many patients something was about"
_AT_ONCE: Final = 4096


def fill_up(trail: AuditTrail, count: int, at_ms: int, beside: str = "yes") -> None:
    """Record so many fillers; ``beside`` tells the hospital, in them, of what. Raises as ``AuditTrail.record``."""
    for size in _parts(count):
        trail.record([_filler(at_ms, beside)] * size)


def _parts(count: int) -> Iterator[int]:
    while count > 0:
        yield min(count, _AT_ONCE)
        count -= _AT_ONCE


def _filler(at_ms: int, beside: str) -> AccessEvent:
    return AccessEvent(
        at_ms=at_ms,
        agent="node",
        role=Role.NODE,
        unit="",
        action=Action.NOTE,
        purpose=Purpose.RECORD_MANAGEMENT,
        twin=NOBODY,
        categories=(),
        decision="permit",
        reason=REASON,
        policy_hash="",
        consent_version=0,
        detail=(("filler", beside),),
    )

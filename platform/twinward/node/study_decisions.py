"""What a hospital's log says its officers decided on studies: the last word on every approval.

Folded from the events of the action ``study``, which every process of the hospital appends to and reads anew whenever
the log has grown.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final, Protocol

from twinward.audit.models import Noted
from twinward.federation.approval import Decision

APPROVE: Final = "approve"
WITHDRAW: Final = "withdraw"


class StudyEvents(Protocol):
    """The log's events about studies (``audit.action_log``)."""

    def size(self) -> int:
        """How many entries the log has."""
        ...

    def between(self, start: int, stop: int) -> Sequence[Noted]:
        """Those of ``start <= index < stop``, oldest first."""
        ...


class StudyDecisions:
    """Implements ``federation.approval.Decisions``. Safe to share between threads.

    Args:
        events: of the hospital's log.
    """

    def __init__(self, events: StudyEvents) -> None:
        self._events = events
        self._lock = threading.Lock()
        self._read = 0
        self._newest: dict[str, Decision] = {}

    def newest(self, fingerprint: bytes) -> Decision | None:
        """The newest decision on a protocol. Raises ``Unavailable`` and ``LogTampered``."""
        with self._lock:
            stop = self._events.size()
            if stop < self._read:  # another log than before: what it says now counts
                self._newest, self._read = {}, 0
            if stop > self._read:
                for noted in self._events.between(self._read, stop):
                    self._take(noted)
                self._read = stop
            return self._newest.get(fingerprint.hex())

    def _take(self, noted: Noted) -> None:
        event, detail = noted.event, dict(noted.event.detail)
        step = detail.get("step")
        if event.decision == "permit" and step in (APPROVE, WITHDRAW):
            self._newest[detail.get("fingerprint", "")] = Decision(
                approved=step == APPROVE,
                invitation=detail.get("invitation", ""),
                officer=event.agent,
                at_ms=event.at_ms,
                reason=detail.get("justification", ""),
            )

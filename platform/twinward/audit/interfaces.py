"""What other domains may ask of the audit trail, and what it asks of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from twinward.audit.models import AccessEvent, Head, LoggedEvent, Noted
from twinward.core.vocabulary import TwinId


class AuditTrail(Protocol):
    """Where access events go. ``record`` returns only when they are durable; otherwise it raises ``Unavailable``."""

    def record(self, events: Sequence[AccessEvent]) -> list[LoggedEvent]:
        """Append events in one durable step, in order."""
        ...


class HeadTrail(Protocol):
    """The log's record of where the node's small stores stand."""

    def newest(self, store: str) -> Head | None:
        """What was recorded last. Raises ``Unavailable`` where the log does not answer, ``LogTampered``."""
        ...

    def furthest(self, store: str) -> Head | None:
        """The furthest head that any entry records, whatever the index says: the whole log is verified and opened.

        For before something is begun anew. Raises as ``newest``.
        """
        ...

    def record(self, store: str, head: Head) -> None:
        """Record a head durably. Raises ``Unavailable``."""
        ...


class EmergencyTrail(Protocol):
    """Where break-glass goes: into the log, and into a journal beside it while the log cannot be written."""

    def record_emergency(self, events: Sequence[AccessEvent]) -> list[LoggedEvent]:
        """As ``AuditTrail.record``; an index below zero is a place in the journal. Raises ``Unavailable``."""
        ...


class BreakGlassTrail(Protocol):
    """Break-glass events read back: what ``twinward.access.emergencies`` knows. It writes through the trail."""

    def size(self) -> int:
        """How many entries the log has. Raises ``Unavailable``."""
        ...

    def between(self, start: int, stop: int) -> list[Noted]:
        """Those of ``start <= index < stop``, oldest first. Raises ``Unavailable``, ``LogTampered``."""
        ...

    def waiting(self) -> list[Noted]:
        """Those that wait in the journal for the log, oldest first."""
        ...

    def salt(self, leaf_hash: bytes) -> bytes:
        """16 bytes that only this hospital can compute: without them nobody can tell what a commitment is to."""
        ...


class EventKeys(Protocol):
    """The keys under which event bodies are sealed: a patient's own, so that shredding a twin erases its events."""

    def audit_key(self, twin: TwinId | None) -> bytes:
        """32 bytes; the tenant's own audit key where no patient is concerned. Raises ``NotFound`` once shredded."""
        ...

    def tag(self, label: str, value: str) -> bytes:
        """A 16-byte blind-index tag for ``value``, stable for this tenant."""
        ...

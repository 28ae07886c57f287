"""What other domains may ask of the audit trail, and what it asks of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId


@dataclass(frozen=True, slots=True)
class AccessEvent:
    """One access, shaped after FHIR R4 AuditEvent (IHE BALP): who did what to whom, why, and by which rule.

    Attributes:
        at_ms: when it was decided.
        agent, role, unit: the principal, its role and organisational unit.
        action, purpose: what was done and why.
        twin: whose twin; None for an event about no single patient (a login, a vendor query over a cohort).
        categories: what it touched, sorted.
        decision: ``permit`` or ``deny``.
        reason: one sentence an officer can read.
        policy_hash: SHA-256 hex of the policy set that decided.
        consent_version: the consent that decided; 0 where none was needed.
        detail: small facts of the kind of event (query mode, study id); strings only, never clinical values.
    """

    at_ms: int
    agent: str
    role: Role
    unit: str
    action: Action
    purpose: Purpose
    twin: TwinId | None
    categories: tuple[Category, ...]
    decision: str
    reason: str
    policy_hash: str
    consent_version: int
    detail: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event together with its place in the log. It is durable once this exists."""

    index: int
    leaf_hash: bytes
    event: AccessEvent


class AuditTrail(Protocol):
    """Where access events go. ``record`` returns only when they are durable; otherwise it raises ``Unavailable``."""

    def record(self, events: Sequence[AccessEvent]) -> list[LoggedEvent]:
        """Append events in one durable step, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Head:
    """Where a store of the node stands: how many changes it has seen, and the MAC (or hash) that ends their chain."""

    changes: int
    mac: bytes


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


class EventKeys(Protocol):
    """The keys under which event bodies are sealed: a patient's own, so that shredding a twin erases its events."""

    def audit_key(self, twin: TwinId | None) -> bytes:
        """32 bytes; the tenant's own audit key where no patient is concerned. Raises ``NotFound`` once shredded."""
        ...

    def tag(self, label: str, value: str) -> bytes:
        """A 16-byte blind-index tag for ``value``, stable for this tenant."""
        ...

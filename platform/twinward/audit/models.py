"""What the audit trail takes and gives: events, their places in the log, and the rows that officers read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId
from twinward_ledger.formats.leaf import LeafKind
from twinward_ledger.proofs.bundle import Opening


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


@dataclass(frozen=True, slots=True)
class Head:
    """Where a store of the node stands: how many changes it has seen, and the MAC (or hash) that ends their chain."""

    changes: int
    mac: bytes


@dataclass(frozen=True, slots=True)
class Noted:
    """One break-glass event; ``index`` is None while it waits in the journal."""

    index: int | None
    leaf_hash: bytes
    event: AccessEvent = field(repr=False)


class RowState(StrEnum):
    """What became of an event's body."""

    OPEN = "open"
    ERASED = "erased"
    """Shredded with its patient's key, or overwritten. Its proof stands."""
    HEARTBEAT = "heartbeat"
    """Nothing happened; it has no body."""
    DAMAGED = "damaged"
    """Not the body its leaf commits to: evidence of tampering."""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One line of the log as an officer sees it. ``minute_ms`` is the leaf's time, known even for erased events."""

    index: int
    kind: LeafKind
    minute_ms: int
    state: RowState
    twin: TwinId | None
    event: AccessEvent | None = field(repr=False)
    opening: Opening | None = field(default=None, repr=False)
    """What lets a reader hold the event against its leaf without trusting this node."""


@dataclass(frozen=True, slots=True)
class IndexedAccess:
    """What the index knows of one event: see ``AccessEvent``. ``detail`` is its details as one text."""

    index: int
    at_ms: int
    agent: str
    role: Role
    unit: str
    action: Action
    purpose: Purpose
    twin: TwinId | None
    categories: tuple[Category, ...]
    permitted: bool
    detail: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Footprint:
    """What one account did, counted over all that is indexed.

    Attributes:
        permitted, refused: events of each action.
        patients: how many different patients the permitted ones of an action were about.
        requests: permitted events about no patient, by action and the first detail that they carry ("mode gated").
        categories: what was taken out, of anybody.
        first_ms, last_ms: the oldest and the newest event; 0 where there is none.
        whole: whether the whole log is indexed; else older events are not counted yet.
    """

    permitted: Mapping[Action, int]
    refused: Mapping[Action, int]
    patients: Mapping[Action, int]
    requests: Mapping[tuple[Action, str], int]
    categories: tuple[Category, ...]
    first_ms: int
    last_ms: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Tally:
    """Accesses counted over a span of time, cut into equal parts.

    Attributes:
        since_ms, until_ms: the span.
        by_role: how many each role made in each part.
        refused: how many of each role's were refused, in all.
    """

    since_ms: int
    until_ms: int
    by_role: Mapping[Role, tuple[int, ...]]
    refused: Mapping[Role, int]


@dataclass(frozen=True, slots=True)
class Page:
    """Rows, newest first; ``before`` continues, None where the log ends."""

    rows: tuple[AuditRow, ...]
    before: int | None


@dataclass(frozen=True, slots=True)
class Filters:
    """Exact values an event must have; None is any."""

    twin: TwinId | None = None
    agent: str | None = None
    role: Role | None = None
    action: Action | None = None
    decision: str | None = None

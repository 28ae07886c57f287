"""Who is affected by a breach, and how one knows: read from the log, entry by entry, within one size of it.

Only what was permitted counts: what was refused showed nothing, and is told apart. Each subject carries the places of
its events in the log, so that whoever doubts it asks for their proofs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from twinward.audit.models import AuditRow, RowState
from twinward.core.vocabulary import Action, TwinId

SHOWN: Final = frozenset(
    {
        Action.READ,
        Action.SEARCH,
        Action.EXPORT,
        Action.MATCH,
        Action.COHORT,
        Action.COUNT,
        Action.TRAIN,
        Action.BREAK_GLASS,
    }
)
"""Actions by which something of a record is seen or leaves: confidentiality."""

ALTERED: Final = frozenset({Action.WRITE, Action.SHRED, Action.CONSENT})
"""Actions by which a record, or what may be done with it, changes: integrity and availability."""

LOGGED, SEALED_UNDER = "log", "key"
"""How one knows: an access of the log, or that the lost key opens the record though nobody is known to have looked."""


@dataclass(slots=True)
class Subject:
    """One affected patient.

    Attributes:
        twin: the opaque id.
        known_by: ``log`` or ``key``.
        categories: how many accesses touched each.
        actions: how many accesses of each kind.
        purposes: what they were said to be for.
        indices: their places in the log, oldest first.
        first_ms, last_ms: when, to the minute; 0 where there was none.
    """

    twin: TwinId
    known_by: str = LOGGED
    categories: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    purposes: Counter[str] = field(default_factory=Counter)
    indices: list[int] = field(default_factory=list)
    first_ms: int = 0
    last_ms: int = 0

    @property
    def altered(self) -> bool:
        """Whether something of it was changed, too."""
        return any(Action(one) in ALTERED for one in self.actions)


@dataclass(frozen=True, slots=True)
class Affected:
    """Everybody who is affected, in the first ``size`` entries of the log.

    Attributes:
        subjects: most accesses first.
        accesses: to them, altogether.
        categories: how many subjects' records of each were touched.
        refused: what was tried and refused: it showed nothing.
        erased: entries about patients who are shredded since, by how many: what they said is not known any more.
        others: permitted accesses about no single patient: queries over a cohort, looks at the log.
    """

    size: int
    subjects: tuple[Subject, ...]
    accesses: int
    categories: tuple[tuple[str, int], ...]
    refused: int = 0
    erased: int = 0
    others: int = 0


def affected(rows: Iterable[AuditRow], size: int, held_by_key: Iterable[TwinId] = ()) -> Affected:
    """Fold a case's rows.

    Args:
        rows: of the log, in any order.
        size: of the log, within which they were read.
        held_by_key: twins whose records a lost key opens.
    """
    found = {twin: Subject(twin, SEALED_UNDER) for twin in held_by_key}
    refused = erased = others = 0
    for row in rows:
        event = row.event
        if event is None:
            erased += row.state is RowState.ERASED and row.twin is not None
        elif event.decision != "permit":
            refused += 1
        elif event.twin is None:
            others += 1
        elif event.action in SHOWN | ALTERED:
            _note(found.setdefault(event.twin, Subject(event.twin)), row)
    for subject in found.values():
        subject.indices.sort()
    subjects = sorted(found.values(), key=lambda one: (-len(one.indices), one.twin))
    touched = Counter(category for one in subjects for category in one.categories)
    accesses = sum(len(one.indices) for one in subjects)
    return Affected(size, tuple(subjects), accesses, tuple(sorted(touched.items())), refused, erased, others)


def _note(subject: Subject, row: AuditRow) -> None:
    event = row.event
    assert event is not None  # noqa: S101 - narrows the type: ``affected`` has looked
    subject.categories.update(category.value for category in event.categories)
    subject.actions[event.action.value] += 1
    subject.purposes[event.purpose.value] += 1
    subject.indices.append(row.index)
    subject.first_ms = min(subject.first_ms or row.minute_ms, row.minute_ms)
    subject.last_ms = max(subject.last_ms, row.minute_ms)

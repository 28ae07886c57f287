"""A day's review: accesses explained from care data, the rest ranked, a sample; and what officers found, in the log.

Invariants:

* Care data are opened by the node itself, twin by twin, each behind a permit for compliance that stands in the log; a
  patient's consent is heard. What is derived stays in memory with the day's review.
* Each finding is one event, durable before anybody is told so; all processes read the same ones.
* Nobody reviews a visit of their own, and only whoever made it answers a question about it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final

import msgspec

from twinward.access import justification
from twinward.access.errors import AccessDenied
from twinward.access.interfaces import NODE, AccessContext, AccessControl, Permit, Principal
from twinward.audit.models import IndexedAccess, Noted
from twinward.audit.queries import AccessQuery
from twinward.core.errors import BadInput, NotFound
from twinward.core.sentences import sentence
from twinward.core.vocabulary import Action, Category, Purpose, TwinId
from twinward.review.care import CARE_TYPES, STAFF_TYPE, Directory, Resource, care_of
from twinward.review.errors import NoSuchVisit, OwnAccess, ReviewConflict
from twinward.review.examination import examine, visits_of
from twinward.review.findings import Findings, ReviewLog
from twinward.review.models import CareContext, DayReview, ReviewCase, Staff, Step, Verdict, Visit
from twinward.review.relations import relation
from twinward.vault.errors import NotReleased, TwinShredded

if TYPE_CHECKING:
    from twinward.audit.search import AccessSearch
    from twinward.vault.interfaces import RecordVault

_KEPT_DAYS: Final = 8
_BATCH: Final = 100
_OPENED: Final = frozenset(
    {Category.DEMOGRAPHICS, Category.ENCOUNTERS, Category.PROCEDURES, Category.MEDICATIONS, Category.NOTES}
)
"""The categories that ``CARE_TYPES`` are of."""
_STAFF_CATEGORIES: Final = frozenset({Category.ADMINISTRATIVE})

Progress = Callable[[int, int], None]
"""Called with (patients whose care data were opened, patients in all)."""


@dataclass(frozen=True, slots=True)
class Care:
    """What the review reads of care: the vault, and the twin in which the hospital's directory is."""

    vault: RecordVault
    access: AccessControl
    directory: Callable[[], TwinId | None]


class Reviews:
    """The reviews of one node.

    Args:
        search: finds the day's accesses.
        log: where a finding's event is read.
        findings: what was found so far.
        care: what connects people and patients.
        units: each account's unit.
        ties: whose record each patient's account is tied to.
        seed_of: the signed checkpoint that covers so many events first; empty where none does.
    """

    def __init__(
        self,
        search: AccessSearch[Permit],
        log: ReviewLog,
        findings: Findings,
        care: Care,
        units: Callable[[], dict[str, str]],
        ties: Callable[[], dict[str, TwinId]],
        seed_of: Callable[[int], bytes],
    ) -> None:
        self._search, self._log, self._care, self._units, self._seed_of = search, log, care, units, seed_of
        self._ties, self._findings = ties, findings
        self._lock = threading.Lock()
        self._days: OrderedDict[date, tuple[int, DayReview]] = OrderedDict()
        self._counts: OrderedDict[date, tuple[tuple[int, int], int]] = OrderedDict()
        """Of a day: how its events stood when they were counted, and how many accesses they are."""

    def day(self, permit: Permit, day: date, told: Progress = lambda _, __: None) -> DayReview:
        """Examine one day (UTC). Wants a permit to audit that names no twin.

        A day that was examined by this process, and to which nothing came since, is not examined again.

        Raises:
            Unavailable: log or vault do not answer.
        """
        visits = self._visits(permit, day)
        count = _accesses(visits)
        with self._lock:
            kept = self._days.get(day)
        if kept is not None and kept[0] == count:
            return kept[1]
        size = self._log.size()
        staff, care = self._cares(sorted({one.twin for one in visits}), told)
        last = max((access.index for one in visits for access in one.accesses), default=-1)
        found = examine(day, visits, care, staff, seed=self._seed_of(last + 1), size=size)
        with self._lock:
            self._days[day] = (count, found)
            while len(self._days) > _KEPT_DAYS:
                self._days.popitem(last=False)
        return found

    def held(self, permit: Permit, day: date) -> tuple[DayReview | None, int]:
        """A day as this process examined it last, None where it has not; and how many accesses came since.

        Opens nothing of care. Wants a permit as ``day`` does. Raises ``Unavailable``.
        """
        count = self._count(permit, day)
        with self._lock:
            kept = self._days.get(day)
        return (None, count) if kept is None else (kept[1], count - kept[0])

    def has_examined(self, day: date) -> bool:
        """Whether this process has. Opens nothing."""
        with self._lock:
            return day in self._days

    def cases(self) -> dict[int, ReviewCase]:
        """What was found so far, by the visit's first event."""
        return self._findings.cases()

    def waiting(self, day: date, most: int) -> int | None:
        """Of a day's riskiest so many, how many nobody has closed; None where this process has not examined that day.

        Opens nothing and names nobody.
        """
        with self._lock:
            kept = self._days.get(day)
        if kept is None:
            return None
        cases = self.cases()
        return sum(not _closed(cases, one.visit) for one in kept[1].suspects[:most])

    def find(self, permit: Permit, officer: Principal, index: int, verdict: Verdict, note: str) -> ReviewCase:
        """Sign a visit off, ask whoever made it, or escalate it.

        Args:
            permit: to audit, naming no twin.
            officer: who finds so; the log says it.
            index: the visit's first event.
            verdict: ``SIGNED_OFF``, ``ASKED`` or ``ESCALATED``.
            note: why, or the question.

        Raises:
            BadInput: no note, or one too long; or an answer, which is for the one who was asked.
            NoSuchVisit: no visit begins with that event.
            OwnAccess: the officer made it.
            ReviewConflict: it is closed, or a question waits.
            AccessDenied: this officer may not review.
        """
        note = _note(note)
        if verdict is Verdict.ANSWERED:
            raise BadInput("an answer is given by whoever was asked")
        visit = self._visit(permit, index)
        if visit.agent == officer.id:
            raise OwnAccess("nobody reviews what they did themselves", hint="ask another officer")
        case = self.cases().get(index)
        if case is not None and case.is_closed:
            raise ReviewConflict(sentence("{officer} closed this review already", officer=case.steps[-1].by))
        if case is not None and case.question and verdict is Verdict.ASKED:
            raise ReviewConflict("a question waits for its answer already")
        return self._noted(officer, visit.twin, visit.index, visit.agent, verdict, note)

    def questions(self, account: str) -> list[tuple[ReviewCase, Step]]:
        """The questions that wait for an account's answer, with who asked what and when."""
        found = [one for one in self.cases().values() if one.agent == account]
        return [(one, question) for one in found if (question := one.question) is not None]

    def answer(self, person: Principal, index: int, text: str) -> ReviewCase:
        """Answer a question about a visit of one's own.

        Raises:
            BadInput: no answer, or one too long.
            ReviewConflict: no question waits for this account there.
            AccessDenied: this role is asked nothing.
        """
        text, case = _note(text), self.cases().get(index)
        if case is None or case.agent != person.id or case.question is None:
            raise ReviewConflict("no question waits for your answer here")
        return self._noted(person, self._twin_of(case), index, case.agent, Verdict.ANSWERED, text)

    def relations(self, twin: TwinId, accesses: Iterable[IndexedAccess]) -> dict[int, str]:
        """What connects whoever made each access with this patient, by its index: see ``relations.relation``.

        Opening that is an event of the node's own. Who asks has shown a permit for the accesses before.
        """
        staff, care = self._cares([twin], lambda _, __: None)
        known = care.get(twin, CareContext(twin, is_known=False))
        visits = [Visit(one.agent, one.role, one.unit, twin, (one,)) for one in accesses if one.twin == twin]
        return {one.index: said for one in visits if (said := relation(one, known, staff))}

    def _noted(
        self, by: Principal, twin: TwinId | None, index: int, whose: str, verdict: Verdict, note: str
    ) -> ReviewCase:
        detail = (("step", verdict.value), ("of", str(index)), ("whose", whose), ("note", note))
        self._care.access.decide(AccessContext(by, Purpose.COMPLIANCE).request(Action.REVIEW, twin, detail=detail))
        return self.cases()[index]

    def _twin_of(self, case: ReviewCase) -> TwinId | None:
        asked = case.question
        noted: list[Noted] = self._log.between(asked.index, asked.index + 1) if asked else []
        return noted[0].event.twin if noted else None

    def _count(self, permit: Permit, day: date) -> int:
        """The accesses of a day; counted anew only where the day's events are others than when they were counted."""
        standing = self._search.standing(permit, _of_day(day))
        with self._lock:
            kept = self._counts.get(day)
        if kept is None or kept[0] != standing:
            kept = standing, _accesses(self._visits(permit, day))
            with self._lock:
                self._counts[day] = kept
                while len(self._counts) > _KEPT_DAYS:
                    self._counts.popitem(last=False)
        return kept[1]

    def _visits(self, permit: Permit, day: date) -> list[Visit]:
        found = self._search.accesses(permit, _of_day(day))
        directory = self._care.directory()
        return visits_of(one for one in found if one.twin != directory and not _examines(one))

    def _visit(self, permit: Permit, index: int) -> Visit:
        """The visit that begins with an event, of the day that event was."""
        day = self._search.day_of(permit, index)
        found = next((one for one in self._visits(permit, day) if one.index == index), None) if day else None
        if found is None:
            raise NoSuchVisit(sentence("no visit of a patient's record begins with event {index}", index=index))
        return found

    def _cares(self, twins: Sequence[TwinId], told: Progress) -> tuple[Staff, dict[TwinId, CareContext]]:
        """The directory, and what connects each patient with people. Each patient opened is an event of the node's."""
        if not twins:
            return Staff(), {}
        context = AccessContext(NODE, Purpose.COMPLIANCE, detail=(("page", "review"),))
        directory = Directory(self._directory(context))
        staff = Staff(directory.staff.kin, self._units(), self._ties())
        care: dict[TwinId, CareContext] = {}
        for start in range(0, len(twins), _BATCH):
            batch = twins[start : start + _BATCH]
            requests = [context.request(Action.READ, twin, _OPENED) for twin in batch]
            for permit in self._care.access.decide_parts(requests):
                twin = permit.request.twin
                if twin is not None:
                    found = care_of(twin, self._resources(permit, CARE_TYPES), directory)
                    care[twin] = _joined(care.get(twin), found)
            told(start + len(batch), len(twins))
        return staff, care

    def _directory(self, context: AccessContext) -> list[Resource]:
        twin = self._care.directory()
        if twin is None:
            return []
        permits = self._care.access.decide_parts([context.request(Action.READ, twin, _STAFF_CATEGORIES)])
        return [one for permit in permits for one in self._resources(permit, (STAFF_TYPE,))]

    def _resources(self, permit: Permit, types: Iterable[str]) -> list[Resource]:
        found: list[Resource] = []
        for name in types:
            try:
                records = self._care.vault.read_twin(permit, record_type=name)
            except (TwinShredded, NotReleased, AccessDenied, NotFound):
                continue
            trees = [msgspec.json.decode(record.content) for record in records]
            found += [tree for tree in trees if isinstance(tree, dict)]
        return found


def _examines(one: IndexedAccess) -> bool:
    """Whether it is the review's own look at care data."""
    return one.agent == NODE.id and one.purpose is Purpose.COMPLIANCE


def _of_day(day: date) -> AccessQuery:
    return AccessQuery(since=day, until=day, hides_own=False)


def _accesses(visits: Iterable[Visit]) -> int:
    return sum(len(one.accesses) for one in visits)


def _joined(before: CareContext | None, found: CareContext) -> CareContext:
    """What several permits of one patient let be known together."""
    if before is None:
        return found
    kin = found.kin if found.kin.surnames or found.kin.accounts or found.kin.addresses else before.kin
    return CareContext(found.twin, (*before.links, *found.links), kin, before.is_vip or found.is_vip)


def _closed(cases: dict[int, ReviewCase], visit: Visit) -> bool:
    case = cases.get(visit.index)
    return case is not None and case.is_closed


def _note(text: str) -> str:
    note = justification.bounded(text)
    if not note:
        raise BadInput("a finding says in a sentence what was looked at", hint="write what you found, or ask")
    return note

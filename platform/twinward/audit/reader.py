"""Reading the access log, which is an access itself: every method wants a permit for the action ``audit``.

This domain stands below access control and imports nothing of it, so what checks a permit is handed in as a
``ReadGuard``; access control's ``PermitAuthority`` is one. There is no way to read without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Generic, Protocol, TypeVar

from twinward.audit.errors import (
    EventErased,
    EventNotLoggable,
    LogTampered,
    NoSuchPatient,
    NotCosigned,
    ledger_translated,
)
from twinward.audit.events import codec
from twinward.audit.exports.document import AccessDocument
from twinward.audit.models import AccessEvent, AuditRow, Filters, Page
from twinward.audit.rows import row_of, rows_of
from twinward.audit.service import Audit
from twinward.core.errors import BadInput
from twinward.core.sentences import of_numbers, sentence
from twinward.core.vocabulary import Action, Category, TwinId
from twinward_crypto.errors import CryptoError
from twinward_ledger.errors import LedgerError, QuorumNotReached
from twinward_ledger.formats.leaf import MINUTE_MS, Leaf, LeafKind
from twinward_ledger.log.store import Entry
from twinward_ledger.proofs.bundle import ProofBundle
from twinward_ledger.proofs.verifier import TrustPolicy

MAX_PAGE = 500
MAX_SCANNED = 5000
"""Entries looked at for one page where several filters must meet; the page then says where to go on."""

_MAP = bytes([LeafKind.COMPLETENESS])
"""Roots of the completeness map are entries of the log, and no access: pages leave them out."""

PermitT = TypeVar("PermitT", contravariant=True)


class ReadGuard(Protocol[PermitT]):
    """What checks a permit: raises unless it is genuine, fresh and covers exactly this."""

    def require(self, permit: PermitT, *, action: Action, twin: TwinId | None, category: Category | None) -> None:
        """Raise a ``Refused`` unless the permit allows it."""
        ...


class AuditReader(Generic[PermitT]):
    """What an officer, or a patient through one, reads from the log."""

    def __init__(self, audit: Audit, guard: ReadGuard[PermitT]) -> None:
        self._audit = audit
        self._guard = guard

    def events(
        self, permit: PermitT, *, before: int | None = None, limit: int = 50, filters: Filters | None = None
    ) -> Page:
        """A page of events, newest first, over all patients. Wants a permit that names no twin."""
        self._guard.require(permit, action=Action.AUDIT, twin=None, category=None)
        return self._page(before, limit, filters or Filters())

    def of_twin(
        self,
        permit: PermitT,
        twin: TwinId,
        *,
        before: int | None = None,
        limit: int = 50,
        filters: Filters | None = None,
    ) -> Page:
        """A page of the events about one twin. Wants a permit for that twin."""
        self._guard.require(permit, action=Action.AUDIT, twin=twin, category=None)
        return self._page(before, limit, replace(filters or Filters(), twin=twin))

    def event(self, permit: PermitT, index: int) -> AuditRow:
        """One event. Wants a permit that names no twin. Raises ``NoSuchEvent``."""
        self._guard.require(permit, action=Action.AUDIT, twin=None, category=None)
        return row_of(self._audit.sealer, self._audit.log.origin, index, self._entry(index))

    def every(self, permit: PermitT) -> Iterator[AccessEvent]:
        """Every event whose patient was not shredded, oldest first, found without tags. Wants a permit for no twin.

        Raises:
            LogTampered: an entry is not what it was, or says nothing: what it said is not known.
        """
        self._guard.require(permit, action=Action.AUDIT, twin=None, category=None)
        sealer, store = self._audit.sealer, self._audit.log.store
        with ledger_translated():
            for index in range(store.size()):
                entry = store.entry(index)
                twin, opening = sealer.open(index, entry)
                sealer.require_filed(index, entry, twin, opening)
                if opening is not None:
                    yield codec.decode(opening.event, self._audit.log.origin)
                elif twin is None and Leaf.decode(entry.leaf).kind in (LeafKind.ACCESS, LeafKind.NODE):
                    raise LogTampered(
                        sentence("event {index} has no body any more", index=index), first_bad_index=index
                    )

    def select(
        self, permit: PermitT, filters: Filters, *, stop: int, from_ms: int = 0, until_ms: int = 0
    ) -> Iterator[AuditRow]:
        """Every event below ``stop`` that fits, erased ones too, newest first. Wants a permit that names no twin.

        Args:
            permit: leave to audit.
            filters: exact values; with none of them every leaf is looked at, and opened where its time fits.
            stop: a size of the log; nothing that is logged while this runs comes in between.
            from_ms: of events from then on.
            until_ms: of events before then; 0 is no end.

        Raises:
            LogTampered, Unavailable: the log is not what it was, or does not answer.
        """
        self._guard.require(permit, action=Action.AUDIT, twin=None, category=None)
        tags, sealer, origin = self._tags(filters), self._audit.sealer, self._audit.log.origin
        with ledger_translated():
            for found in self._filed(stop, tags) if tags else self._of_time(stop, from_ms, until_ms):
                rising = sorted(found)
                numbered = [
                    (index, entry)
                    for index, entry in zip(rising, self._audit.log.store.picked(rising), strict=True)
                    if entry.leaf[1:2] != _MAP and tags <= set(entry.tags) and _within(entry.leaf, from_ms, until_ms)
                ]
                for row in reversed(rows_of(sealer, origin, numbered)):
                    at_ms = row.event.at_ms if row.event else from_ms
                    if from_ms <= at_ms and not 0 < until_ms <= at_ms:
                        yield row

    def disclose(self, permit: PermitT, index: int) -> ProofBundle:
        """The proof of one event together with the event itself, for an auditor. Wants a permit that names no twin.

        Raises:
            NoSuchEvent: there is no such event, or no checkpoint covers it yet.
            EventErased: it was erased; ``Proofs.inclusion`` still proves that it happened.
            LogTampered: its body is not the one its leaf commits to.
        """
        self._guard.require(permit, action=Action.AUDIT, twin=None, category=None)
        _, opening = self._audit.sealer.open(index, self._entry(index))
        if opening is None:
            raise EventErased(
                sentence("event {index} was erased", index=index), hint="its proof without the event still stands"
            )
        return replace(self._audit.proofs.inclusion(index), opening=opening).sealed(self._audit.log.seal)

    def document(
        self,
        permit: PermitT,
        twin: TwinId,
        *,
        hospital: str,
        at_ms: int,
        told: Callable[[int, int], None] = lambda _done, _rows: None,
    ) -> AccessDocument:
        """All accesses to one patient, opened, with the proof that none was left out. Wants a permit for that twin.

        It is checked as an auditor would before it leaves the house. It is complete up to the newest completeness
        map; what was logged since, the very export among it, comes with the next checkpoint. ``told`` hears how many
        of how many rows are opened and proven.

        Raises:
            NoSuchPatient: nobody is known by this id and nothing is logged about it: nobody's proven absence would
                look like that of a patient whom nobody accessed.
            NoSuchEvent: no completeness map is under a checkpoint yet.
            NotCosigned: too few witnesses have cosigned that checkpoint.
            LogTampered: the log is not what was committed to.
        """
        self._guard.require(permit, action=Action.AUDIT, twin=twin, category=None)
        report, anchorer = self._audit.proofs.report(twin, told), self._audit.anchorer
        with ledger_translated():
            history = self._audit.log.history
        policy = TrustPolicy(
            log=history.newest,
            earlier=history.earlier,
            witnesses=tuple(peer.key for peer in anchorer.witnesses),
            quorum=anchorer.quorum,
            rule=anchorer.policy,
            bls_keys=report.anchor.signers if report.anchor else (),  # who they are is for the reader to know
        )
        try:
            document = AccessDocument.of(report, policy, hospital=hospital, at_ms=at_ms)
        except QuorumNotReached as error:
            raise NotCosigned(str(error), hint="make a checkpoint when the witnesses answer, then export") from error
        except (LedgerError, CryptoError, EventNotLoggable) as error:
            raise LogTampered(
                sentence("the log does not hold what it committed to: {error}", error=of_numbers(str(error))),
                first_bad_index=None,
            ) from error
        if not document.rows:
            self._require_known(twin)
        return document

    def _require_known(self, twin: TwinId) -> None:
        if not self._audit.sealer.has_key(twin):
            raise NoSuchPatient(
                "there is no patient of this id, and nothing in the log about one",
                hint="check the id: `twinward twin list` prints all",
            )

    def _page(self, before: int | None, limit: int, filters: Filters) -> Page:
        if not 1 <= limit <= MAX_PAGE:
            raise BadInput(sentence("a page is 1 to {most} events, not {limit}", most=MAX_PAGE, limit=limit))
        tags = self._tags(filters)
        fitting: list[tuple[int, Entry]] = []
        with ledger_translated():
            position = self._audit.log.store.size() if before is None else before
            for scanned, (index, entry) in enumerate(self._candidates(position, tags, limit), 1):
                position = index
                if entry.leaf[1:2] != _MAP and tags <= set(entry.tags):
                    fitting.append((index, entry))
                if len(fitting) == limit or scanned == MAX_SCANNED:
                    return Page(self._opened(fitting), position if position > 0 else None)
        return Page(self._opened(fitting), None)

    def _opened(self, numbered: list[tuple[int, Entry]]) -> tuple[AuditRow, ...]:
        return tuple(rows_of(self._audit.sealer, self._audit.log.origin, numbered))

    def _candidates(self, before: int, tags: frozenset[bytes], at_once: int) -> Iterator[tuple[int, Entry]]:
        """Entries below ``before``, newest first: those with one of the tags, or all where there is none."""
        store = self._audit.log.store
        stop = min(before, store.size())
        pages = self._filed(before, tags) if tags else _pages(stop, at_once)
        for found in pages:
            for start in range(0, len(found), at_once):
                newest = found[start : start + at_once]
                yield from zip(newest, reversed(store.picked(newest[::-1])), strict=True)

    def _filed(self, before: int, tags: frozenset[bytes]) -> Iterator[list[int]]:
        """Where entries below ``before`` carry the rarest of some tags, newest first, a page at a time."""
        store = self._audit.log.store
        rarest = min(tags, key=lambda tag: len(store.find(tag, before=before, limit=MAX_PAGE)))
        while found := store.find(rarest, before=before, limit=MAX_PAGE):
            yield found
            before = found[-1]

    def _of_time(self, stop: int, from_ms: int, until_ms: int) -> Iterator[list[int]]:
        """Where entries below ``stop`` have a minute that touches a time, newest first, a page at a time. Leaves are
        not in the order of their time: what waited in the break-glass journal comes later than it happened."""
        leaves = self._audit.log.store.leaves(0, stop)
        fitting = [index for index, leaf in enumerate(leaves) if _within(leaf, from_ms, until_ms)]
        for end in range(len(fitting), 0, -MAX_PAGE):
            yield fitting[max(0, end - MAX_PAGE) : end]

    def _tags(self, filters: Filters) -> frozenset[bytes]:
        named = {
            "twin": filters.twin,
            "agent": filters.agent,
            "role": filters.role.value if filters.role else None,
            "action": filters.action.value if filters.action else None,
            "decision": filters.decision,
        }
        return frozenset(self._audit.sealer.tag(label, value) for label, value in named.items() if value is not None)

    def _entry(self, index: int) -> Entry:
        with ledger_translated():
            return self._audit.log.store.entry(index)


def _pages(stop: int, size: int) -> Iterator[list[int]]:
    """All indices below ``stop``, newest first, so many at a time."""
    for end in range(stop, 0, -size):
        yield list(range(end - 1, max(0, end - size) - 1, -1))


def _within(leaf: bytes, from_ms: int, until_ms: int) -> bool:
    """Whether a leaf's minute touches the time."""
    minute_ms = Leaf.decode(leaf).minute * MINUTE_MS
    return from_ms < minute_ms + MINUTE_MS and not 0 < until_ms <= minute_ms

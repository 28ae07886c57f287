"""The audit trail: events in, checkpoints and anchors out, tampering found.

``Audit.record`` is what makes "every access is in the log" true: it returns only once the events are durable, and
whatever goes wrong on the way is ``Unavailable``, upon which access control refuses. Reading events back is an access
of its own and stands in ``reader.py``, behind a permit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from twinward.audit import body, emergency, event_format
from twinward.audit.break_glass_journal import BreakGlassJournal, JournalState
from twinward.audit.completeness import Completeness
from twinward.audit.errors import EventNotLoggable, LogNotWritten, LogTampered, NoSuchEvent, NotCosigned
from twinward.audit.interfaces import AccessEvent, EventKeys, LoggedEvent
from twinward.errors import NotFound, TwinwardError, Unavailable
from twinward.vocabulary import TwinId
from twinward_crypto.errors import CryptoError, InvalidSignature, OpenError
from twinward_ledger import merkle
from twinward_ledger.access_report import AccessReport, LoggedLeaf, ReportRow
from twinward_ledger.anchor import Anchorer, AnchorOutcome
from twinward_ledger.anchor_record import AnchorRecord
from twinward_ledger.bundle import Opening, ProofBundle
from twinward_ledger.checkpoint import open_checkpoint
from twinward_ledger.errors import (
    LedgerError,
    LogCorrupt,
    LogUnavailable,
    NoSuchEntry,
    QuorumNotReached,
    SplitView,
)
from twinward_ledger.fsck import fsck
from twinward_ledger.leaf import LeafKind
from twinward_ledger.store import Entry, LogStore
from twinward_ledger.stores.anchor_journal import Trouble
from twinward_ledger.stores.sqlite import SqliteLogStore
from twinward_ledger.verifier import verify_quorum

TAG_LABELS = ("twin", "agent", "role", "action", "decision")
"""What events are found by. Tags of few-valued fields show whoever holds the file how often each value occurs."""

_CACHED_TAGS = 4096
_ACCESS, _PUBLIC = bytes([LeafKind.ACCESS]), bytes([LeafKind.COMPLETENESS])
"""The second byte of a leaf: about a patient; not about anybody, its body is no secret."""


@dataclass(frozen=True, slots=True)
class AuditStatus:
    """The trail at a glance.

    Attributes:
        size: events in the log.
        signed_size: how many of them the newest checkpoint covers.
        witnesses: how many witnesses there are.
        cosigned: how many of them signed the newest checkpoint.
        quorum: how many must.
        anchored_size: how many events the newest confirmed anchor covers.
        anchored_block: the block it is in; None if nothing is anchored.
        waits: why anchoring waits, and since when; None where it does not.
        taken_back: when the chain last lost anchors it had confirmed; None if it never did.
        journal: emergencies that were written beside the log while it could not be.
    """

    size: int
    signed_size: int
    witnesses: int
    cosigned: int
    quorum: int
    anchored_size: int
    anchored_block: int | None
    waits: Trouble | None = None
    taken_back: Trouble | None = None
    journal: JournalState = field(default_factory=JournalState)

    @property
    def pending(self) -> int:
        """Events that are not anchored yet, those in the break-glass journal too."""
        return self.size - self.anchored_size + self.journal.waiting


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """A log that was re-derived and is what was signed.

    Attributes:
        size: events whose leaves were hashed again.
        root: the root over all of them.
        signed_size: how many of them the newest checkpoint covers.
        checkpoints: how many signed checkpoints agreed.
        map_heads: how many roots of the completeness map were built again.
        map_covered: how many entries the newest of them covers.
        opened: bodies that were opened and held against their leaves (``deep`` only).
        erased: bodies that are erased (``deep`` only).
    """

    size: int
    root: bytes
    signed_size: int
    checkpoints: int
    map_heads: int = 0
    map_covered: int = 0
    opened: int = 0
    erased: int = 0


class Audit:
    """Implements ``AuditTrail``.

    Args:
        anchorer: the log, its witnesses and its chain.
        keys: under which event bodies are sealed.
        completeness: the map that proves that no row was left out; None keeps none.
        journal: where emergencies are written while the log cannot be; None refuses them, too.
    """

    def __init__(
        self,
        anchorer: Anchorer,
        keys: EventKeys,
        completeness: Completeness | None = None,
        journal: BreakGlassJournal | None = None,
    ) -> None:
        self.anchorer = anchorer
        self.completeness = completeness
        self.journal = journal
        self.log = anchorer.log
        self.keys = keys
        self.tag = lru_cache(maxsize=_CACHED_TAGS)(self._tag)

    def record(self, events: Sequence[AccessEvent]) -> list[LoggedEvent]:
        """Append events in one durable step, in order.

        Raises:
            EventNotLoggable: one of them has no canonical form; none was written.
            LogNotWritten: they could not be made durable; the accesses must be refused.
        """
        if not events:
            return []
        try:
            entries = self.sealed(events)
            indices = self.log.append(entries)
        except EventNotLoggable:
            raise
        except (LedgerError, CryptoError, TwinwardError) as error:
            raise LogNotWritten(f"the access log cannot be written: {error}", hint="nothing was permitted") from error
        if self.completeness is not None:
            self.completeness.hint(indices, [event.twin for event in events])
        if self.journal is not None:  # the log is back: what waits for it comes in now
            with suppress(LogNotWritten):
                emergency.bring_in(self, self.journal)
        return [
            LoggedEvent(index, merkle.leaf_hash(entry.leaf), event)
            for index, entry, event in zip(indices, entries, events, strict=True)
        ]

    def record_emergency(self, events: Sequence[AccessEvent]) -> list[LoggedEvent]:
        """As ``record``; where the log cannot be written, into the break-glass journal, and the index is negative.

        Raises:
            EventNotLoggable, LogNotWritten: neither log nor journal took them; the accesses must be refused.
        """
        try:
            return self.record(events)
        except LogNotWritten:
            if self.journal is None:
                raise
            return emergency.keep(self, self.journal, events)

    def sealed(self, events: Sequence[AccessEvent]) -> list[Entry]:
        """Events as entries of the log. Raises ``EventNotLoggable``, and whatever the key service does."""
        keys = self._keys_for(events)
        return [self._entry(event, keys) for event in events]

    def checkpoint_and_anchor(self) -> AnchorOutcome:
        """Log the completeness map, sign the log, have it cosigned, anchor it.

        First what waits in the break-glass journal is brought into the log. A chain that is down is in ``problem``, not
        raised.

        Raises:
            LogTampered: the log no longer extends what was signed, cosigned or anchored.
            NotCosigned: too few witnesses signed.
            Unavailable: the store does not answer.
        """
        try:
            if self.journal is not None:
                emergency.bring_in(self, self.journal)
            if self.completeness is not None:
                self.completeness.publish()
            return self.anchorer.advance()
        except LogCorrupt as error:
            raise LogTampered(str(error), first_bad_index=error.first_bad_index) from error
        except SplitView as error:
            raise LogTampered(str(error), first_bad_index=None) from error
        except QuorumNotReached as error:
            reasons = "; ".join(getattr(error, "__notes__", []))
            raise NotCosigned(f"{error}. {reasons}", hint="see that the other hospitals' witnesses answer") from error
        except LedgerError as error:
            raise Unavailable(f"the checkpoint could not be made: {error}") from error

    def status(self) -> AuditStatus:
        """How far the trail is signed, cosigned and anchored."""
        try:
            latest, newest = self.log.latest(), self.anchorer.journal.newest()
            anchor: AnchorRecord | None = newest[1] if newest else None
            return AuditStatus(
                size=self.log.store.size(),
                signed_size=latest[0].size if latest else 0,
                witnesses=len(self.anchorer.witnesses),
                cosigned=len(verify_all(latest[1].encode(), self.anchorer)) if latest else 0,
                quorum=self.anchorer.quorum,
                anchored_size=anchor.statement.size if anchor else 0,
                anchored_block=anchor.block_number if anchor else None,
                waits=self.anchorer.journal.problem(),
                taken_back=self.anchorer.journal.taken_back(),
                journal=self.journal.state() if self.journal else JournalState(),
            )
        except LogCorrupt as error:
            raise LogTampered(str(error), first_bad_index=error.first_bad_index) from error
        except LedgerError as error:
            waiting = self.journal.state().waiting if self.journal else 0
            kept = f"; {waiting} emergency accesses wait in the break-glass journal" if waiting else ""
            raise Unavailable(f"the access log does not answer: {error}{kept}") from error

    def proof(self, index: int) -> ProofBundle:
        """Everything that proves one event is in the log, without showing what it says.

        The checkpoint is the first anchored one that covers it; failing that, the newest one signed.

        Raises:
            NoSuchEvent: there is no such entry, or no checkpoint covers it yet.
        """
        with _ledger_translated():
            leaf = self.log.store.entry(index).leaf
            size, note, anchor = self._covering(index)
            path = tuple(self.log.prove_inclusion(index, size))
            return ProofBundle(index, leaf, path, note, anchor).sealed(self.log.seal)

    def report(self, twin: TwinId) -> AccessReport:
        """All of a patient's accesses with the proof that none was left out. For ``AuditReader`` only: it opens them.

        It is complete up to the newest completeness map; what was logged since comes with the next checkpoint.

        Raises:
            NoSuchEvent: no completeness map is logged, or no checkpoint covers it yet.
        """
        if self.completeness is None:
            raise NoSuchEvent("this log keeps no completeness map")
        with _ledger_translated():
            found = self.completeness.prove(twin)
            index, head = found.logged.index, found.logged.head
            size, note, anchor = self._covering(index)
            rows = tuple(self._report_row(row, entry, size) for row, entry in self._rows_of(twin, head.through))
            return AccessReport(
                origin=self.log.origin,
                subject=twin,
                label_key=found.label_key,
                head=head.encode(),
                head_place=self._place(index, self.log.store.entry(index).leaf, size),
                proof=found.proof,
                rows=rows,
                note=note,
                anchor=anchor,
            ).sealed(self.log.seal)

    def consistency(self, old: int, new: int) -> list[bytes]:
        """The proof that the tree of ``new`` entries continues the one of ``old``: for an auditor who saw that one.

        Raises:
            NoSuchEvent: the log is not that large.
        """
        with _ledger_translated():
            return self.log.prove_consistency(old, new)

    def verify(self, copy: Path | LogStore | None = None, *, deep: bool = False) -> VerifyReport:
        """Re-derive a log from its leaves: this node's own, or a copy of its file.

        The copy is held against its own checkpoints and against those this node kept. ``deep`` also opens every body
        and holds it against its leaf. Where leaves were rewritten with their hashes, bodies name the exact one.

        Raises:
            LogTampered: it is not what was signed; ``first_bad_index`` says where.
            Unavailable: it cannot be read.
        """
        try:
            store = SqliteLogStore(copy, read_only=True) if isinstance(copy, Path) else copy or self.log.store
            try:
                return self._verify(store, deep=deep)
            finally:
                if store is not copy and store is not self.log.store:
                    store.close()
        except LogUnavailable as error:
            raise Unavailable(f"the log cannot be read: {error}") from error

    def opened(self, index: int, entry: Entry) -> tuple[TwinId | None, Opening | None]:
        """Whom an entry is about and its opening, None where it was erased. For ``AuditReader`` and ``verify`` only.

        Raises:
            LogTampered: the body is not this leaf's.
        """
        if not entry.body or entry.leaf[1:2] == _PUBLIC:
            return None, None
        try:
            tenant_key = self.keys.audit_key(None)
            twin = body.open_routing(entry.body, entry.leaf, tenant_key=tenant_key, origin=self.log.origin)
            try:
                key = tenant_key if twin is None else self.keys.audit_key(twin)
            except NotFound:
                return twin, None
            return twin, body.open_event(entry.body, entry.leaf, key=key, origin=self.log.origin)
        except (OpenError, LedgerError) as error:
            message = f"the body of event {index} is not the one its leaf commits to"
            raise LogTampered(message, first_bad_index=index) from error

    def _covering(self, index: int) -> tuple[int, bytes, AnchorRecord | None]:
        """The first anchored checkpoint that covers an entry; failing that, the newest one signed."""
        anchored = self.anchorer.journal.covering(index)
        if anchored:
            return anchored[1].statement.size, *anchored
        latest = self.log.latest()
        if not latest or latest[0].size <= index:
            raise NoSuchEvent(f"event {index} is not under a checkpoint yet", hint="make a checkpoint, then ask again")
        return latest[0].size, latest[1].encode(), None

    def _rows_of(self, twin: TwinId, through: int) -> list[tuple[int, Entry]]:
        """The entries of a patient's sub-log, in the order of the log."""
        store, found = self.log.store, []
        for index in store.find(self.tag("twin", twin), before=through, limit=merkle.MAX_SIZE):
            entry = store.entry(index)
            if entry.leaf[1:2] == _ACCESS:
                found.append((index, entry))
        return found[::-1]

    def _report_row(self, index: int, entry: Entry, size: int) -> ReportRow:
        return ReportRow(self._place(index, entry.leaf, size), self.opened(index, entry)[1])

    def _place(self, index: int, leaf: bytes, size: int) -> LoggedLeaf:
        return LoggedLeaf(index, leaf, tuple(self.log.prove_inclusion(index, size)))

    def _verify(self, store: LogStore, *, deep: bool) -> VerifyReport:
        try:
            tags = self.completeness.tags() if self.completeness is not None else None
            report = fsck(store, self.log.key, [note for _, note in self.log.store.checkpoints()], tags=tags)
            if self.completeness is not None and store is self.log.store:
                self.completeness.require_sound()
        except LogCorrupt as error:
            exact = self._first_misfit(store, error.first_bad_index)
            found = error.first_bad_index if exact is None else exact
            raise LogTampered(str(error), first_bad_index=found) from error
        except (InvalidSignature, LedgerError) as error:
            if isinstance(error, LogUnavailable):
                raise
            raise LogTampered(str(error), first_bad_index=None) from error
        opened, erased = self._open_all(store, range(report.size)) if deep else (0, 0)
        return VerifyReport(
            size=report.size,
            root=report.root,
            signed_size=report.signed_size,
            checkpoints=report.checkpoints,
            map_heads=report.map_heads,
            map_covered=report.map_covered,
            opened=opened,
            erased=erased,
        )

    def _open_all(self, store: LogStore, indices: Iterable[int]) -> tuple[int, int]:
        opened = erased = 0
        for index in indices:
            entry = store.entry(index)
            twin, opening = self.opened(index, entry)
            self._require_own_tag(index, entry, twin)
            if entry.leaf[1:2] == _PUBLIC:
                continue
            if opening:
                opened += 1
            else:
                erased += 1
        return opened, erased

    def _require_own_tag(self, index: int, entry: Entry, twin: TwinId | None) -> None:
        """The entry must be found under its patient's tag: by that tag it is in her sub-log, and in her export."""
        if entry.leaf[1:2] == _ACCESS and twin is not None and self.tag("twin", twin) not in entry.tags:
            raise LogTampered(f"event {index} is not filed under its own patient", first_bad_index=index)

    def _first_misfit(self, store: LogStore, start: int | None) -> int | None:
        """The first entry from ``start`` whose body does not belong to its leaf: bodies were sealed to their leaves."""
        if start is None:
            return None
        try:
            self._open_all(store, range(start, store.size()))
        except LogTampered as error:
            return error.first_bad_index
        except LogCorrupt as error:
            return error.first_bad_index
        except LedgerError:
            return None
        return None

    def _keys_for(self, events: Sequence[AccessEvent]) -> dict[TwinId | None, bytes]:
        """The audit key of every twin the events are about, and the hospital's own under None."""
        keys: dict[TwinId | None, bytes] = {None: self.keys.audit_key(None)}
        for twin in {event.twin for event in events if event.twin is not None}:
            # an attempt on a twin that was shredded or never was is logged too, under the hospital's own key
            with suppress(NotFound):
                keys[twin] = self.keys.audit_key(twin)
        return keys

    def _entry(self, event: AccessEvent, keys: Mapping[TwinId | None, bytes]) -> Entry:
        data = event_format.encode(event, self.log.origin)
        twin = event.twin if event.twin in keys else None
        sealed = body.seal_event(data, event.at_ms, twin, key=keys[twin], tenant_key=keys[None], origin=self.log.origin)
        values = (event.twin, event.agent, event.role.value, event.action.value, event.decision)
        tags = (self.tag(label, value) for label, value in zip(TAG_LABELS, values, strict=True) if value is not None)
        return Entry(sealed.leaf, sealed.body, tuple(tags))

    def _tag(self, label: str, value: str) -> bytes:
        return self.keys.tag(f"audit/{label}", value)


@contextmanager
def _ledger_translated() -> Iterator[None]:
    """The ledger's errors as the trail's own, for what reads and proves."""
    try:
        yield
    except NoSuchEntry as error:
        raise NoSuchEvent(str(error)) from error
    except LogCorrupt as error:
        raise LogTampered(str(error), first_bad_index=error.first_bad_index) from error
    except LedgerError as error:
        raise Unavailable(f"the access log does not answer: {error}") from error


def verify_all(note: bytes, anchorer: Anchorer) -> tuple[tuple[str, int], ...]:
    """The witnesses whose cosignatures on a note verify; none if there are none."""
    _, opened = open_checkpoint(note, anchorer.log.key)
    try:
        return verify_quorum(opened, [peer.key for peer in anchorer.witnesses], 1)
    except (QuorumNotReached, InvalidSignature):
        return ()

"""The audit trail: events in, checkpoints and anchors out, tampering found.

``Audit.record`` is what makes "every access is in the log" true: it returns only once the events are durable, and
whatever goes wrong on the way is ``Unavailable``, upon which access control refuses. Reading events back is an access
of its own and stands in ``reader.py``, behind a permit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from twinward.audit.break_glass.journal import BreakGlassJournal
from twinward.audit.break_glass.journal_replay import JournalReplay
from twinward.audit.errors import (
    ClockNotBelieved,
    EventNotLoggable,
    LogNotWritten,
    LogTampered,
    NotCosigned,
    corrupt,
    ledger_translated,
)
from twinward.audit.events.sealer import EventSealer
from twinward.audit.events.write_index import WriteIndex
from twinward.audit.interfaces import EventKeys
from twinward.audit.models import AccessEvent, LoggedEvent
from twinward.audit.proofs.completeness import Completeness
from twinward.audit.proofs.proofs import Proofs
from twinward.audit.proofs.verification import Verification
from twinward.audit.status import AuditStatus, JournalState, VerifyReport, cosigners
from twinward.core.clock import Clock
from twinward.core.errors import Conflict, NotAtWork, TwinwardError, Unavailable
from twinward.core.sentences import sentence
from twinward_crypto.errors import CryptoError, MalformedKey
from twinward_ledger import merkle
from twinward_ledger.completeness.interfaces import MapStore
from twinward_ledger.errors import (
    ClockDoubted,
    KeyReplaced,
    LedgerError,
    LogCorrupt,
    QuorumNotReached,
    Rollback,
    SplitView,
)
from twinward_ledger.formats.anchor_record import AnchorRecord
from twinward_ledger.formats.key_history import KeyHistory
from twinward_ledger.formats.note import VerifierKey
from twinward_ledger.log.log import Log
from twinward_ledger.log.store import LogStore
from twinward_ledger.stores.anchor_journal import AnchorJournal

if TYPE_CHECKING:
    from twinward.audit.event_index.index import EventIndex
    from twinward.audit.newest import NewestEntries
    from twinward_ledger.anchoring.anchorer import Anchorer, AnchorOutcome


_KEY_CHANGE_TRIES = 5


class Audit:
    """Implements ``AuditTrail``.

    Args:
        log: where events are appended.
        anchors: what of it was anchored.
        keys: under which event bodies are sealed.
        map_store: where the completeness map is kept, which proves that no row was left out; None keeps none.
        journal: where emergencies are written while the log cannot be; None refuses them, too.
        clock: dates the roots of the completeness map.
        anchorer: opens what takes the log to its witnesses and its chain, when it is first needed.
        at_work: whether checkpoints are signed; those of a restored home would contradict the working node's.

    Attributes:
        sealer: makes entries of events, and opens them.
    """

    def __init__(
        self,
        log: Log,
        anchors: AnchorJournal,
        keys: EventKeys,
        map_store: MapStore | None = None,
        journal: BreakGlassJournal | None = None,
        *,
        clock: Clock,
        anchorer: Callable[[], Anchorer],
        at_work: bool = True,
    ) -> None:
        self._at_work = at_work
        self._open_anchorer = anchorer
        self.log = log
        self.anchors = anchors
        self.sealer = EventSealer(keys, log.origin)
        self._map_store, self._keys, self._clock = map_store, keys, clock
        self.journal = journal

    @classmethod
    def through(
        cls,
        anchorer: Anchorer,
        keys: EventKeys,
        map_store: MapStore | None = None,
        journal: BreakGlassJournal | None = None,
    ) -> Self:
        """The trail of an anchorer that is at hand."""
        clock = anchorer.clock
        return cls(anchorer.log, anchorer.journal, keys, map_store, journal, clock=clock, anchorer=lambda: anchorer)

    @cached_property
    def completeness(self) -> Completeness | None:
        """The completeness map; None where none is kept."""
        if self._map_store is None:
            return None
        return Completeness(self.log, self._map_store, self.sealer, self._keys, self._clock)

    @cached_property
    def writes(self) -> WriteIndex:
        """Which twins were written to."""
        return WriteIndex(self.log, self.sealer)

    @cached_property
    def proofs(self) -> Proofs:
        """What is proven to others."""
        return Proofs(self.log, self.anchors, self.sealer, self.completeness)

    @cached_property
    def _verification(self) -> Verification:
        return Verification(self.log, self.sealer, self.completeness, self.anchors.notes)

    @cached_property
    def event_index(self) -> EventIndex:
        """Every event's facts in memory, for ``AccessSearch``."""
        from twinward.audit.event_index.index import EventIndex

        return EventIndex(self.log, self.sealer)

    @cached_property
    def newest(self) -> NewestEntries:
        """The newest entries, held against their leaves at every look."""
        from twinward.audit.newest import NewestEntries

        return NewestEntries(self.log, self.sealer)

    def signed_size(self) -> int:
        """How many events the newest checkpoint covers. Raises ``LogTampered``, ``Unavailable``."""
        with ledger_translated():
            latest = self.log.latest()
        return latest[0].size if latest else 0

    @cached_property
    def anchorer(self) -> Anchorer:
        """What takes the log to its witnesses and its chain."""
        return self._open_anchorer()

    def record(self, events: Sequence[AccessEvent]) -> list[LoggedEvent]:
        """Append events in one durable step, in order.

        Raises:
            EventNotLoggable: one of them has no canonical form; none was written.
            LogNotWritten: they could not be made durable; the accesses must be refused.
        """
        if not events:
            return []
        try:
            entries = self.sealer.seal(events)
            indices = self.log.append(entries)
        except EventNotLoggable:
            raise
        except (LedgerError, CryptoError, TwinwardError) as error:
            raise LogNotWritten(f"the access log cannot be written: {error}", hint="nothing was permitted") from error
        if self.completeness is not None:
            self.sealer.remember(indices, events)
        with suppress(LogNotWritten):  # the log is back: what waits for it comes in now, whoever kept it
            self._bring_in_what_waits()
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
            return self._replay(self.journal).keep(events)

    def bring_in_copy(self, path: Path) -> int:
        """Append to the log what waits in a copy of its journal, each event exactly once. Returns how many waited.

        Raises:
            LogNotWritten: the log or the copy does not answer; they wait on.
        """
        return 0 if self.journal is None else self._replay(self.journal.copy_at(path)).bring_in()

    def checkpoint_and_anchor(self) -> AnchorOutcome:
        """Log the completeness map, sign the log, have it cosigned, anchor it.

        First what waits in the break-glass journal is brought into the log. A chain that is down is in ``problem``, not
        raised.

        Raises:
            NotAtWork: this is a restored home.
            LogTampered: the log no longer extends what was signed, cosigned or anchored.
            NotCosigned: too few witnesses signed.
            ClockNotBelieved: the clock is far ahead; nothing was signed.
            Unavailable: the store does not answer.
        """
        with self._signing():
            self._take_in()
            return self.anchorer.advance()

    def change_log_key(self, to: VerifierKey) -> KeyHistory:
        """Bring the log's next key into force, the one that the log says; ``cosign_and_anchor`` shows it to others.

        The checkpoint that both keys sign covers all that is logged so far.

        Raises:
            NotAtWork: this is a restored home.
            Conflict: another process changed the key at the same moment.
            LogTampered, Unavailable: as ``checkpoint_and_anchor``; the key before is in force.
        """
        with self._signing():
            self._take_in()
            for _ in range(_KEY_CHANGE_TRIES):
                try:
                    return self.log.change_key(to)
                except Rollback:  # another process signed a larger tree meanwhile: there is more to sign now
                    continue
                except MalformedKey as error:
                    raise Conflict(
                        sentence("the log's key cannot be changed again: {error}", error=str(error))
                    ) from error
                except KeyReplaced as error:
                    raise Conflict("the log's key was changed by another process at the same moment") from error
        raise Unavailable("the log grows too fast to change its key", hint="try again; nothing was changed")

    def cosign_and_anchor(self) -> AnchorOutcome:
        """Take the checkpoint that is signed, if nothing was logged since, to the witnesses and the chain.

        Raises as ``checkpoint_and_anchor``.
        """
        with self._signing():
            return self.anchorer.advance()

    def status(self) -> AuditStatus:
        """How far the trail is signed, cosigned and anchored."""
        try:
            latest, newest = self.log.latest(), self.anchors.newest()
            anchor: AnchorRecord | None = newest[1] if newest else None
            return AuditStatus(
                size=self.log.store.size(),
                signed_size=latest[0].size if latest else 0,
                witnesses=len(self.anchorer.witnesses),
                cosigned=len(cosigners(latest[1].encode(), self.anchorer)) if latest else 0,
                quorum=self.anchorer.quorum,
                anchored_size=anchor.statement.size if anchor else 0,
                anchored_block=anchor.block_number if anchor else None,
                waits=self.anchors.problem(),
                taken_back=self.anchors.taken_back(),
                journal=self.journal.state() if self.journal else JournalState(),
            )
        except LogCorrupt as error:
            raise corrupt(error) from error
        except LedgerError as error:
            waiting = self.journal.state().waiting if self.journal else 0
            kept = f"; {waiting} events of emergencies wait in the break-glass journal" if waiting else ""
            raise Unavailable(f"the access log does not answer: {error}{kept}") from error

    def verify(
        self,
        copy: Path | LogStore | None = None,
        *,
        deep: bool = False,
        going_on: Callable[[], bool] = lambda: True,
        told: Callable[[int, int], None] = lambda _done, _leaves: None,
    ) -> VerifyReport:
        """Re-derive this log, or a copy of it, from its leaves.

        Raises:
            LogTampered, Unavailable: see ``Verification.verify``.
        """
        return self._verification.verify(copy, deep=deep, going_on=going_on, told=told)

    def _take_in(self) -> None:
        """What the next checkpoint is to cover."""
        self._bring_in_what_waits()
        if self.completeness is not None:
            self.completeness.publish()

    @contextmanager
    def _signing(self) -> Iterator[None]:
        """A restored home signs nothing; what goes wrong comes as the platform's own errors."""
        if not self._at_work:
            raise NotAtWork(sentence("no checkpoint of its log is signed"))
        try:
            yield
        except LogCorrupt as error:
            raise corrupt(error) from error
        except SplitView as error:
            raise LogTampered(str(error), first_bad_index=None) from error
        except QuorumNotReached as error:
            reasons = "; ".join(getattr(error, "__notes__", []))
            raise NotCosigned(f"{error}. {reasons}", hint="see that the other hospitals' witnesses answer") from error
        except ClockDoubted as error:
            hint = "set the clock right; if it is right, `twinward audit accept-clock` says so in the log"
            raise ClockNotBelieved(str(error), hint=hint) from error
        except LedgerError as error:
            raise Unavailable(f"the checkpoint could not be made: {error}") from error

    def _bring_in_what_waits(self) -> None:
        if self.journal is not None and self.journal.waiting():
            self._replay(self.journal).bring_in()

    def _replay(self, journal: BreakGlassJournal) -> JournalReplay:
        return JournalReplay(self.log, self.sealer, journal)

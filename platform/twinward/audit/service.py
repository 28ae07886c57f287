"""The audit trail: events in, checkpoints and anchors out, tampering found.

``Audit.record`` is what makes "every access is in the log" true: it returns only once the events are durable, and
whatever goes wrong on the way is ``Unavailable``, upon which access control refuses. Reading events back is an access
of its own and stands in ``reader.py``, behind a permit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from twinward.audit.break_glass import journal_replay
from twinward.audit.break_glass.journal import BreakGlassJournal, JournalState
from twinward.audit.errors import ClockNotBelieved, EventNotLoggable, LogNotWritten, LogTampered, NotCosigned
from twinward.audit.events.sealer import EventSealer
from twinward.audit.interfaces import AccessEvent, EventKeys, LoggedEvent
from twinward.audit.proofs.completeness import Completeness
from twinward.audit.proofs.proofs import Proofs
from twinward.audit.proofs.verification import Verification, VerifyReport
from twinward.audit.status import AuditStatus, cosigners
from twinward.core.errors import TwinwardError, Unavailable
from twinward.core.restored_home import NotAtWork
from twinward_crypto.errors import CryptoError
from twinward_ledger import merkle
from twinward_ledger.errors import ClockDoubted, LedgerError, LogCorrupt, QuorumNotReached, SplitView
from twinward_ledger.formats.anchor_record import AnchorRecord
from twinward_ledger.log.log import Log
from twinward_ledger.log.store import LogStore
from twinward_ledger.stores.anchor_journal import AnchorJournal

if TYPE_CHECKING:
    from twinward_ledger.anchoring.anchorer import Anchorer, AnchorOutcome


class Audit:
    """Implements ``AuditTrail``.

    Args:
        log: where events are appended.
        anchors: what of it was anchored.
        keys: under which event bodies are sealed.
        completeness: the map that proves that no row was left out; None keeps none.
        journal: where emergencies are written while the log cannot be; None refuses them, too.
        anchorer: opens what takes the log to its witnesses and its chain, when it is first needed.
        at_work: whether checkpoints are signed; those of a restored home would contradict the working node's.

    Attributes:
        sealer: makes entries of events, and opens them.
        proofs: what is proven to others.
    """

    def __init__(
        self,
        log: Log,
        anchors: AnchorJournal,
        keys: EventKeys,
        completeness: Completeness | None = None,
        journal: BreakGlassJournal | None = None,
        *,
        anchorer: Callable[[], Anchorer],
        at_work: bool = True,
    ) -> None:
        self._at_work = at_work
        self._open_anchorer = anchorer
        self.anchors = anchors
        self.completeness = completeness
        self.journal = journal
        self.log = log
        self.keys = keys
        self.sealer = EventSealer(keys, self.log.origin)
        self.proofs = Proofs(self.log, anchors, self.sealer, completeness)
        self._verification = Verification(self.log, self.sealer, completeness, anchors.notes)

    @classmethod
    def through(
        cls,
        anchorer: Anchorer,
        keys: EventKeys,
        completeness: Completeness | None = None,
        journal: BreakGlassJournal | None = None,
    ) -> Self:
        """The trail of an anchorer that is at hand."""
        return cls(anchorer.log, anchorer.journal, keys, completeness, journal, anchorer=lambda: anchorer)

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
            self.completeness.hint(indices, [event.twin for event in events])
        if self.journal is not None:  # the log is back: what waits for it comes in now
            with suppress(LogNotWritten):
                journal_replay.bring_in(self, self.journal)
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
            return journal_replay.keep(self, self.journal, events)

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
        if not self._at_work:
            raise NotAtWork("no checkpoint of its log is signed")
        try:
            if self.journal is not None:
                journal_replay.bring_in(self, self.journal)
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
        except ClockDoubted as error:
            hint = "set the clock right; if it is right, `twinward audit accept-clock` says so in the log"
            raise ClockNotBelieved(str(error), hint=hint) from error
        except LedgerError as error:
            raise Unavailable(f"the checkpoint could not be made: {error}") from error

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
            raise LogTampered(str(error), first_bad_index=error.first_bad_index) from error
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
    ) -> VerifyReport:
        """Re-derive this log, or a copy of it, from its leaves.

        Raises:
            LogTampered, Unavailable: see ``Verification.verify``.
        """
        return self._verification.verify(copy, deep=deep, going_on=going_on)

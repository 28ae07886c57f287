"""Emergency accesses while the log cannot be written: kept in the break-glass journal, brought into the log after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from twinward.audit.break_glass.journal import BreakGlassJournal
from twinward.audit.errors import EventNotLoggable, LogNotWritten
from twinward.audit.events.sealer import EventSealer
from twinward.audit.models import AccessEvent, LoggedEvent
from twinward.core.errors import TwinwardError
from twinward_crypto.errors import CryptoError
from twinward_ledger import merkle
from twinward_ledger.errors import LedgerError
from twinward_ledger.log.log import Log
from twinward_ledger.log.store import Entry

TAG_LABEL: Final = "break-glass-journal"
REMARK: Final = ("journal", "kept in the break-glass journal while the log could not be written")


class JournalReplay:
    """Between one log and the journal that stands in for it.

    Args:
        log: the log.
        sealer: makes entries of events.
        journal: the journal.
    """

    def __init__(self, log: Log, sealer: EventSealer, journal: BreakGlassJournal) -> None:
        self._log = log
        self._sealer = sealer
        self._journal = journal

    def keep(self, events: Sequence[AccessEvent]) -> list[LoggedEvent]:
        """Seal events as for the log and keep them in the journal. Their index is -1 minus their number there.

        Raises:
            EventNotLoggable: one of them has no canonical form.
            LogNotWritten: keys or the journal do not answer, or it is full; the access must be refused.
        """
        remarked = [replace(event, detail=(*event.detail, REMARK)) for event in events]
        try:
            entries = [self._tagged(entry) for entry in self._sealer.seal(remarked)]
        except (EventNotLoggable, LogNotWritten):
            raise
        except (LedgerError, CryptoError, TwinwardError) as error:
            message = f"an emergency cannot be written down: {error}"
            raise LogNotWritten(message, hint="nothing was permitted") from error
        numbers = self._journal.append(entries, min(event.at_ms for event in events))
        return [
            LoggedEvent(-1 - number, merkle.leaf_hash(entry.leaf), event)
            for number, entry, event in zip(numbers, entries, remarked, strict=True)
        ]

    def bring_in(self) -> int:
        """Append to the log whatever waits in the journal, each exactly once. Returns how many waited.

        Raises:
            LogNotWritten: the log or the journal does not answer; they wait on.
        """
        try:
            return self._journal.replay(self._log.append, self._known)
        except LedgerError as error:
            raise LogNotWritten(f"the break-glass journal waits for the access log: {error}") from error

    def _known(self, entry: Entry) -> int | None:
        found = self._log.store.find(entry.tags[-1], limit=1)
        return found[0] if found else None

    def _tagged(self, entry: Entry) -> Entry:
        """The entry with a tag of its own behind the others, by which the log is asked whether it holds it already."""
        return Entry(entry.leaf, entry.body, (*entry.tags, self._sealer.tag(TAG_LABEL, entry.leaf.hex())))

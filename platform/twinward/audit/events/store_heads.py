"""Where the log says that the node's small stores stand: entries about no patient, found by a tag of the store.

The entry is in the tree: it stands as firmly as any access. See ``head_event`` for what it says.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from twinward.audit.errors import LogNotWritten, LogTampered
from twinward.audit.events import head_event
from twinward.audit.interfaces import AccessEvent, Head
from twinward.audit.service import Audit
from twinward.core.clock import Clock
from twinward.core.errors import TwinwardError, Unavailable
from twinward_crypto.errors import CryptoError
from twinward_ledger.errors import LedgerError
from twinward_ledger.formats.leaf import Leaf, LeafKind

TAG_LABEL = "audit/store-head"
_LOOKED_AT = 8
"""Processes that change a store at once may record heads in another order: the furthest of the last ones counts."""


class StoreHeads:
    """Implements ``HeadTrail`` over the node's log."""

    def __init__(self, audit: Audit, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock
        self._searched: dict[str, Head | LogTampered] = {}

    def newest(self, store: str) -> Head | None:
        """The furthest head recorded lately; None where none was.

        Raises:
            LogTampered: the last entry that should hold one does not. Earlier ones that are damaged are passed over:
                otherwise a flipped bit anywhere would keep the officer from the page that tells her of it.
            Unavailable: the log does not answer.
        """
        try:
            indices = self._audit.log.store.find(self._audit.keys.tag(TAG_LABEL, store), limit=_LOOKED_AT)
            heads = [self._at(index, store) for index in indices[:1]]
            for index in indices[1:]:
                with suppress(LogTampered):
                    heads.append(self._at(index, store))
        except LedgerError as error:
            raise Unavailable(f"the access log does not answer: {error}") from error
        return max(heads, key=lambda head: head.changes, default=None)

    def furthest(self, store: str) -> Head | None:
        """The furthest head that any entry records, whatever the index says: the whole log is verified and opened.

        Raises:
            LogTampered: the log is not what was signed, or lacks a body that nobody erases.
            Unavailable: the log does not answer.
        """
        # Refusals are kept: whoever is refused asks again and again. That there was none is true only now.
        found = self._searched.get(store)
        if isinstance(found, LogTampered):
            raise found
        if found is not None:
            return found
        try:
            found = self._search(store)
        except LogTampered as error:
            self._searched[store] = error
            raise
        if found is not None:
            self._searched[store] = found
        return found

    def _search(self, store: str) -> Head | None:
        report = self._audit.verify(deep=True)
        try:
            for index, leaf in enumerate(self._audit.log.store.leaves(0, report.size)):
                if Leaf.decode(leaf).kind is LeafKind.NODE and not self._audit.log.store.entry(index).body:
                    raise LogTampered(f"the body of event {index} is gone", first_bad_index=index)
        except LedgerError as error:
            raise Unavailable(f"the access log does not answer: {error}") from error
        return report.heads.get(store)

    def record(self, store: str, head: Head) -> None:
        """Append a head to the log. Raises ``LogNotWritten`` where it cannot be."""
        tag = self._audit.keys.tag(TAG_LABEL, store)
        self._append(head_event.of(store, head, self._clock.now_ms()), tag)

    def say(self, store: str, what: str) -> None:
        """Append a sentence about a store, which is no head of it. Raises as ``record``."""
        self._append(head_event.saying(store, what, self._clock.now_ms()))

    def _append(self, event: AccessEvent, *tags: bytes) -> None:
        try:
            (entry,) = self._audit.sealer.seal([event])
            self._audit.log.append([replace(entry, tags=(*entry.tags, *tags))])
        except LogNotWritten:
            raise
        except (LedgerError, CryptoError, TwinwardError) as error:
            raise LogNotWritten(f"the access log cannot be written: {error}") from error

    def _at(self, index: int, store: str) -> Head:
        _, opening = self._audit.sealer.open(index, self._audit.log.store.entry(index))
        found = None if opening is None else head_event.read(opening.event, self._audit.log.origin)
        if found is None or found[0] != store:
            raise LogTampered(f"event {index} should say where the {store} store stands", first_bad_index=index)
        return found[1]

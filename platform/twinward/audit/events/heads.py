"""Where the log says that the node's small stores stand: entries about no patient, found by a tag of the store.

The event is of the action ``note``, sealed under the hospital's own key, with ``store``, ``changes`` and ``head`` (the
chain's MAC in hex) in its detail. Its entry is in the tree: it stands as firmly as any access.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from twinward.audit.errors import EventNotLoggable, LogNotWritten, LogTampered
from twinward.audit.events import codec
from twinward.audit.events.sealer import EventSealer
from twinward.audit.interfaces import EventKeys
from twinward.audit.models import AccessEvent, Head
from twinward.audit.status import VerifyReport
from twinward.core.clock import Clock
from twinward.core.errors import TwinwardError, Unavailable
from twinward.core.sentences import sentence
from twinward.core.vocabulary import Action, Purpose, Role
from twinward_crypto.errors import CryptoError
from twinward_crypto.kdf import derive
from twinward_ledger.errors import LedgerError, LogUnavailable
from twinward_ledger.formats.leaf import Leaf, LeafKind
from twinward_ledger.log.log import Log

TAG_LABEL: Final = "store-head"
WITNESSES: Final = "witnesses"
"""The name in the log of what the node remembers of its log's witnesses."""

_WITNESS_KEY_LABEL: Final = b"twinward/witness-memory/1"
_LOOKED_AT: Final = 8
"""Processes that change a store at once may record heads in another order: the furthest of the last ones counts."""

_MAX_SENTENCE: Final = 300


class StoreHeads:
    """Implements ``HeadTrail`` over the node's log.

    Args:
        log: the log.
        sealer: seals and opens its events.
        verify: verifies and opens the whole log.
        clock: dates what is recorded.
    """

    def __init__(self, log: Log, sealer: EventSealer, verify: Callable[[], VerifyReport], clock: Clock) -> None:
        self._log = log
        self._sealer = sealer
        self._verify = verify
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
            indices = self._log.store.find(self._sealer.tag(TAG_LABEL, store), limit=_LOOKED_AT)
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
        report = self._verify()
        try:
            for index, leaf in enumerate(self._log.store.leaves(0, report.size)):
                if Leaf.decode(leaf).kind is LeafKind.NODE and not self._log.store.entry(index).body:
                    raise LogTampered(sentence("the body of event {index} is gone", index=index), first_bad_index=index)
        except LedgerError as error:
            raise Unavailable(f"the access log does not answer: {error}") from error
        return report.heads.get(store)

    def record(self, store: str, head: Head) -> None:
        """Append a head to the log. Raises ``LogNotWritten`` where it cannot be."""
        tag = self._sealer.tag(TAG_LABEL, store)
        self._append(recording(store, head, self._clock.now_ms()), tag)

    def say(self, store: str, what: str) -> None:
        """Append a sentence about a store, which is no head of it. Raises as ``record``."""
        self._append(saying(store, what, self._clock.now_ms()))

    def _append(self, event: AccessEvent, *tags: bytes) -> None:
        try:
            (entry,) = self._sealer.seal([event])
            self._log.append([replace(entry, tags=(*entry.tags, *tags))])
        except LogNotWritten:
            raise
        except (LedgerError, CryptoError, TwinwardError) as error:
            raise LogNotWritten(f"the access log cannot be written: {error}") from error

    def _at(self, index: int, store: str) -> Head:
        _, opening = self._sealer.open(index, self._log.store.entry(index))
        found = None if opening is None else head_of(opening.event, self._log.origin)
        if found is None or found[0] != store:
            raise LogTampered(
                sentence("event {index} should say where the {store} store stands", index=index, store=store),
                first_bad_index=index,
            )
        return found[1]


class WitnessVoucher:
    """Vouches for what the node remembers of its log's witnesses: a MAC under the tenant's key, heads in the log.

    Implements ``Voucher`` of the ledger's ``WitnessMemory``, with HMAC-SHA256 (FIPS 198-1).

    Args:
        keys: whose tenant key the MAC's is derived from, when it is first needed.
        heads: the log's record.
    """

    def __init__(self, keys: EventKeys, heads: StoreHeads) -> None:
        self._keys, self._heads = keys, heads
        self._key: bytes | None = None

    def mac(self, content: bytes) -> bytes:
        """32 bytes."""
        if self._key is None:
            self._key = derive(self._keys.audit_key(None), _WITNESS_KEY_LABEL, b"")
        return hmac.digest(self._key, content, "sha256")

    def newest(self) -> tuple[int, bytes] | None:
        """What the log recorded last. Raises ``LogUnavailable``."""
        try:
            found = self._heads.newest(WITNESSES)
        except Unavailable as error:
            raise LogUnavailable(str(error)) from error
        return None if found is None else (found.changes, found.mac)

    def record(self, changes: int, mac: bytes) -> None:
        """Let the log record a head. Raises ``LogUnavailable``."""
        try:
            self._heads.record(WITNESSES, Head(changes, mac))
        except Unavailable as error:
            raise LogUnavailable(str(error)) from error

    def say(self, what: str) -> None:
        """An event of the node's own, about no patient. Raises ``LogUnavailable``."""
        try:
            self._heads.say(WITNESSES, what)
        except Unavailable as error:
            raise LogUnavailable(str(error)) from error


def recording(store: str, head: Head, at_ms: int) -> AccessEvent:
    """The event that records a head."""
    detail = (("store", store), ("changes", str(head.changes)), ("head", head.mac.hex()))
    return _note(f"the {store} store stands at change {head.changes}", at_ms, detail)


def saying(store: str, what: str, at_ms: int) -> AccessEvent:
    """An event in which the node says something of a store, in a sentence."""
    return _note(what[:_MAX_SENTENCE], at_ms, (("about", store),))


def head_of(event: bytes, origin: str) -> tuple[str, Head] | None:
    """The store and the head that an event records; None for any other event."""
    try:
        found = codec.decode(event, origin)
        if found.action is not Action.NOTE:
            return None
        detail = dict(found.detail)
        return detail["store"], Head(int(detail["changes"]), bytes.fromhex(detail["head"]))
    except (EventNotLoggable, KeyError, ValueError):
        return None


def _note(reason: str, at_ms: int, detail: tuple[tuple[str, str], ...]) -> AccessEvent:
    return AccessEvent(
        at_ms=at_ms,
        agent="node",
        role=Role.NODE,
        unit="",
        action=Action.NOTE,
        purpose=Purpose.RECORD_MANAGEMENT,
        twin=None,
        categories=(),
        decision="permit",
        reason=reason,
        policy_hash="",
        consent_version=0,
        detail=detail,
    )

"""Events as entries of the log: sealed under their patients' keys, filed under blind tags, opened again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache

from twinward.audit.errors import EventNotLoggable, LogTampered
from twinward.audit.events import body, codec
from twinward.audit.interfaces import AccessEvent, EventKeys
from twinward.core.errors import NotFound
from twinward.core.vocabulary import TwinId
from twinward_crypto.errors import OpenError
from twinward_ledger.errors import LedgerError
from twinward_ledger.formats.leaf import MINUTE_MS, Leaf, LeafKind
from twinward_ledger.log.store import Entry
from twinward_ledger.proofs.bundle import Opening

TAG_LABELS = ("twin", "agent", "role", "action", "decision")
"""What events are found by. Tags of few-valued fields show whoever holds the file how often each value occurs."""

ACCESS, PUBLIC = bytes([LeafKind.ACCESS]), bytes([LeafKind.COMPLETENESS])
"""The second byte of a leaf: about a patient; not about anybody, its body is no secret."""

_CACHED_TAGS = 4096


class EventSealer:
    """Seals one log's events.

    Args:
        keys: under which event bodies are sealed.
        origin: the log's name, which every body is bound to.
    """

    def __init__(self, keys: EventKeys, origin: str) -> None:
        self._keys = keys
        self._origin = origin
        self.tag = lru_cache(maxsize=_CACHED_TAGS)(self._tag)

    def seal(self, events: Sequence[AccessEvent]) -> list[Entry]:
        """Events as entries of the log. Raises ``EventNotLoggable``, and whatever the key service does."""
        keys = self._keys_for(events)
        return [self._entry(event, keys) for event in events]

    def open(self, index: int, entry: Entry) -> tuple[TwinId | None, Opening | None]:
        """Whom an entry is about and its opening, None where it was erased.

        For those who hold a permit (``AuditReader``) or show nothing of it (``Verification``).

        Raises:
            LogTampered: the body is not this leaf's.
        """
        if not entry.body or entry.leaf[1:2] == PUBLIC:
            return None, None
        try:
            tenant_key = self._keys.audit_key(None)
            twin = body.open_routing(entry.body, entry.leaf, tenant_key=tenant_key, origin=self._origin)
            try:
                key = tenant_key if twin is None else self._keys.audit_key(twin)
            except NotFound:
                return twin, None
            return twin, body.open_event(entry.body, entry.leaf, key=key, origin=self._origin)
        except (OpenError, LedgerError) as error:
            message = f"the body of event {index} is not the one its leaf commits to"
            raise LogTampered(message, first_bad_index=index) from error

    def require_filed(self, index: int, entry: Entry, twin: TwinId | None, opening: Opening | None) -> None:
        """What is said of an entry in four places must agree: its leaf, its routing, its tags and its sealed event.

        By routing and tag an access is in its patient's sub-log, and in her export; so an event that names a patient
        must be filed under her. Only an attempt on somebody whose key never was, or is shredded by now, is filed under
        nobody: whether there was a key when it was logged, nobody can tell any more.

        Args:
            index: which entry, for the message.
            entry: the entry.
            twin: whom its routing names, as ``open`` gives it.
            opening: its event, None where that was erased.

        Raises:
            LogTampered: they do not agree.
        """
        leaf = Leaf.decode(entry.leaf)
        if not entry.body or leaf.kind in (LeafKind.HEARTBEAT, LeafKind.COMPLETENESS):
            return
        if (leaf.kind is LeafKind.ACCESS) != (twin is not None):
            raise LogTampered(f"event {index} is not of the kind its leaf says", first_bad_index=index)
        if twin is not None and self.tag("twin", twin) not in entry.tags:
            raise LogTampered(f"event {index} is not filed under its own patient", first_bad_index=index)
        if opening is None:
            return
        try:
            event = codec.decode(opening.event, self._origin)
        except EventNotLoggable as error:
            raise LogTampered(f"event {index} is none of this log's", first_bad_index=index) from error
        if event.at_ms // MINUTE_MS != leaf.minute:
            raise LogTampered(f"event {index} is not of the minute its leaf says", first_bad_index=index)
        if event.twin != twin and (twin is not None or event.twin is None or self._has_key(event.twin)):
            raise LogTampered(f"event {index} names a patient it is not filed under", first_bad_index=index)
        if self.tag("agent", event.agent) not in entry.tags:
            raise LogTampered(f"event {index} is not filed under who did it", first_bad_index=index)

    def _has_key(self, twin: TwinId) -> bool:
        try:
            self._keys.audit_key(twin)
        except NotFound:
            return False
        return True

    def _keys_for(self, events: Sequence[AccessEvent]) -> dict[TwinId | None, bytes]:
        """The audit key of every twin the events are about, and the hospital's own under None."""
        keys: dict[TwinId | None, bytes] = {None: self._keys.audit_key(None)}
        for twin in {event.twin for event in events if event.twin is not None}:
            # an attempt on a twin that was shredded or never was is logged too, under the hospital's own key
            with suppress(NotFound):
                keys[twin] = self._keys.audit_key(twin)
        return keys

    def _entry(self, event: AccessEvent, keys: Mapping[TwinId | None, bytes]) -> Entry:
        data = codec.encode(event, self._origin)
        twin = event.twin if event.twin in keys else None
        sealed = body.seal_event(data, event.at_ms, twin, key=keys[twin], tenant_key=keys[None], origin=self._origin)
        values = (event.twin, event.agent, event.role.value, event.action.value, event.decision)
        tags = (self.tag(label, value) for label, value in zip(TAG_LABELS, values, strict=True) if value is not None)
        return Entry(sealed.leaf, sealed.body, tuple(tags))

    def _tag(self, label: str, value: str) -> bytes:
        return self._keys.tag(f"audit/{label}", value)

"""Events as entries of the log: sealed under their patients' keys, filed under blind tags, opened again.

The sealed body stands beside its leaf in the log store. Storage sees neither who nor whom.

======  ==========  =======================================================================================
bytes   field       content
======  ==========  =======================================================================================
1       version     ``0x01``
144     routing     TE1 envelope under the *tenant's* audit key: the twin's id, zero-padded to 64 bytes
rest    event       TE1 envelope under the *twin's* audit key (the tenant's for no twin): ``pad(salt 32 ‖ JSON)``
======  ==========  =======================================================================================

The leaf commits to the JSON with the salt, under a key derived from the audit key and the salt: what discloses one
event discloses no other. Both envelopes are bound to the log and to the leaf, so a body moved to another entry does
not open. Shredding a twin destroys its audit key: the event is gone, while the routing still says which opaque id it
was about.
"""

from __future__ import annotations

import functools
import hmac
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Final, NamedTuple

from twinward.audit.errors import EventNotLoggable, LogTampered
from twinward.audit.events import codec
from twinward.audit.interfaces import EventKeys
from twinward.audit.models import AccessEvent
from twinward.core.errors import NotFound
from twinward.core.sentences import sentence
from twinward.core.vocabulary import TwinId
from twinward_crypto import commitment, padding
from twinward_crypto.envelope import OVERHEAD_BYTES, SealingKey, open_sealed, seal, seal_many
from twinward_crypto.errors import OpenError
from twinward_crypto.kdf import KEY_BYTES, AbsorbedKey, block_frame, derive, length_prefixed
from twinward_ledger.errors import LedgerError
from twinward_ledger.formats.leaf import EVENT_DOMAIN, MINUTE_MS, Leaf, LeafKind
from twinward_ledger.log.store import Entry
from twinward_ledger.proofs.bundle import Opening

VERSION: Final = b"\x01"
TWIN_ID_BYTES = 64
ROUTING_BYTES = OVERHEAD_BYTES + TWIN_ID_BYTES
COMMITMENT_KEY = b"twinward/event-commitment"

_ROUTING_CONTEXT = b"twinward/audit-routing/1"
_EVENT_CONTEXT = b"twinward/audit-event/1"

TAG_LABELS = ("twin", "agent", "role", "action", "decision")
"""What events are found by. Tags of few-valued fields show whoever holds the file how often each value occurs."""

ACCESS, PUBLIC = bytes([LeafKind.ACCESS]), bytes([LeafKind.COMPLETENESS])
"""The second byte of a leaf: about a patient; not about anybody, its body is no secret."""

_CACHED_TAGS: Final = 4096

MAX_REMEMBERED: Final = 1 << 17
"""Entries whose patient is remembered in memory; of any other it is read from the entry."""


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
        self._writer = codec.EventWriter(origin)
        self._subjects: dict[int, TwinId] = {}
        self._subjects_lock = threading.Lock()

    def seal(self, events: Sequence[AccessEvent]) -> list[Entry]:
        """Events as entries of the log. Raises ``EventNotLoggable``, and whatever the key service does."""
        keys, write = self._keys_for(events), self._writer.encode
        written = [(write(event), event.at_ms, event.twin if event.twin in keys else None) for event in events]
        sealed = seal_events(written, keys, self._origin)
        return [Entry(leaf, body, self._tags(event)) for event, (leaf, body) in zip(events, sealed, strict=True)]

    def open(self, index: int, entry: Entry) -> tuple[TwinId | None, Opening | None]:
        """Whom an entry is about and its opening, None where it was erased.

        For those who hold a permit (``AuditReader``) or show nothing of it (``Verification``).

        Raises:
            LogTampered: the body is not this leaf's.
        """
        return next(self.open_all([(index, entry)]))

    def open_all(self, numbered: Iterable[tuple[int, Entry]]) -> Iterator[tuple[TwinId | None, Opening | None]]:
        """``open`` for many at one moment: each patient's key is unwrapped once."""
        keys, tenant = functools.cache(self._opener), None
        for index, entry in numbered:
            if not entry.body or entry.leaf[1:2] == PUBLIC:
                yield None, None
                continue
            try:
                tenant = tenant or _absorbed(self._keys.audit_key(None))
                twin = _routing(entry.body, entry.leaf, self._origin, tenant)
                opener = tenant if twin is None else keys(twin)
                opening = None if opener is None else _event(entry.body, entry.leaf, self._origin, opener)
            except (OpenError, LedgerError) as error:
                message = sentence("the body of event {index} is not the one its leaf commits to", index=index)
                raise LogTampered(message, first_bad_index=index) from error
            yield twin, opening

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
            raise LogTampered(
                sentence("event {index} is not of the kind its leaf says", index=index), first_bad_index=index
            )
        if twin is not None and self.tag("twin", twin) not in entry.tags:
            raise LogTampered(
                sentence("event {index} is not filed under its own patient", index=index), first_bad_index=index
            )
        if opening is None:
            return
        try:
            event = codec.decode(opening.event, self._origin)
        except EventNotLoggable as error:
            raise LogTampered(
                sentence("event {index} is none of this log's", index=index), first_bad_index=index
            ) from error
        if event.at_ms // MINUTE_MS != leaf.minute:
            raise LogTampered(
                sentence("event {index} is not of the minute its leaf says", index=index), first_bad_index=index
            )
        if event.twin != twin and (twin is not None or event.twin is None or self.has_key(event.twin)):
            raise LogTampered(
                sentence("event {index} names a patient it is not filed under", index=index), first_bad_index=index
            )
        if self.tag("agent", event.agent) not in entry.tags:
            raise LogTampered(
                sentence("event {index} is not filed under who did it", index=index), first_bad_index=index
            )

    def remember(self, indices: Sequence[int], events: Sequence[AccessEvent]) -> None:
        """Remember whom entries that were just appended are about, so that ``remembered`` can tell."""
        with self._subjects_lock:
            if len(self._subjects) < MAX_REMEMBERED:
                named = zip(indices, events, strict=True)
                self._subjects.update({index: event.twin for index, event in named if event.twin is not None})

    def forget(self, stop: int) -> None:
        """Nobody asks for entries below ``stop`` any more."""
        with self._subjects_lock:
            self._subjects = {index: twin for index, twin in self._subjects.items() if index >= stop}

    def remembered(self, index: int) -> TwinId | None:
        """Whom an entry is about, where this process appended it lately; None asks so that ``remembered`` can tell."""
        return self._subjects.get(index)

    def subject(self, entry: Entry) -> TwinId | None:
        """Whom an entry's routing names, which outlives its event; None for nobody. The event is not opened.

        Raises:
            OpenError: the body is not this leaf's.
        """
        return open_routing(entry.body, entry.leaf, tenant_key=self._keys.audit_key(None), origin=self._origin)

    def has_key(self, twin: TwinId) -> bool:
        """Whether events about a patient can be sealed and opened: not before it is known, nor once shredded."""
        return self._key_if_any(twin) is not None

    def _key_if_any(self, twin: TwinId | None) -> bytes | None:
        try:
            return self._keys.audit_key(twin)
        except NotFound:
            return None

    def _opener(self, twin: TwinId) -> _Opener | None:
        key = self._key_if_any(twin)
        return None if key is None else _absorbed(key)

    def _keys_for(self, events: Sequence[AccessEvent]) -> dict[TwinId | None, bytes]:
        """The audit key of every twin the events are about, and the hospital's own under None."""
        keys: dict[TwinId | None, bytes] = {None: self._keys.audit_key(None)}
        for twin in {event.twin for event in events if event.twin is not None}:
            # an attempt on a twin that was shredded or never was is logged too, under the hospital's own key
            with suppress(NotFound):
                keys[twin] = self._keys.audit_key(twin)
        return keys

    def _tags(self, event: AccessEvent) -> tuple[bytes, ...]:
        values = (event.twin, event.agent, event.role.value, event.action.value, event.decision)
        return tuple(
            [self.tag(label, value) for label, value in zip(TAG_LABELS, values, strict=True) if value is not None]
        )

    def _tag(self, label: str, value: str) -> bytes:
        return self._keys.tag(f"audit/{label}", value)


@dataclass(frozen=True, slots=True)
class SealedEvent:
    """An event as it goes into the log: the leaf's bytes and the body."""

    leaf: bytes
    body: bytes = field(repr=False)


def seal_event(
    event: bytes, at_ms: int, twin: TwinId | None, *, key: bytes, tenant_key: bytes, origin: str
) -> SealedEvent:
    """Make an event's leaf and body.

    Args:
        event: its canonical JSON.
        at_ms: when it was; the leaf keeps the minute.
        twin: whom it is about.
        key: the audit key it is sealed under, 32 bytes.
        tenant_key: the tenant's audit key, 32 bytes; the same as ``key`` where there is no twin.
        origin: the log's name.
    """
    name = (twin or "").encode()
    if len(name) > TWIN_ID_BYTES:
        raise EventNotLoggable(f"a twin's id is at most {TWIN_ID_BYTES} bytes")
    salt = commitment.new_salt()
    committed = commitment.commit(derive(key, COMMITMENT_KEY, salt), event, salt, domain=EVENT_DOMAIN)
    leaf = Leaf.at(at_ms, LeafKind.NODE if twin is None else LeafKind.ACCESS, committed).encode()
    routing = seal(tenant_key, name.ljust(TWIN_ID_BYTES, b"\0"), _context(_ROUTING_CONTEXT, origin, leaf))
    sealed = seal(key, padding.pad(salt + event), _context(_EVENT_CONTEXT, origin, leaf))
    return SealedEvent(leaf, VERSION + routing + sealed)


def seal_events(
    events: Sequence[tuple[bytes, int, TwinId | None]], keys: Mapping[TwinId | None, bytes], origin: str
) -> list[tuple[bytes, bytes]]:
    """``seal_event`` for many at once: leaf and body of each, in one straight pass with what is the same hoisted out.

    Args:
        events: canonical JSON, when it was, and whom it is about.
        keys: the audit key of each of these twins, and the tenant's under None.
        origin: the log's name.
    """
    tenant, salts = keys[None], os.urandom(commitment.SALT_BYTES * len(events))
    (before, after), digest, parts, leaves = block_frame(COMMITMENT_KEY, KEY_BYTES), hmac.digest, [], []
    routing_context, event_context = (_context_of_log(one, origin) for one in (_ROUTING_CONTEXT, _EVENT_CONTEXT))
    for at, (event, at_ms, twin) in enumerate(events):
        name, key = (twin or "").encode(), keys[twin]
        if len(name) > TWIN_ID_BYTES:
            raise EventNotLoggable(f"a twin's id is at most {TWIN_ID_BYTES} bytes")
        salt = salts[commitment.SALT_BYTES * at : commitment.SALT_BYTES * (at + 1)]
        commitment_key = digest(key, before + salt + after, "sha512")[:KEY_BYTES]
        committed = commitment.commit(commitment_key, event, salt, domain=EVENT_DOMAIN)
        leaf = Leaf.at(at_ms, LeafKind.NODE if twin is None else LeafKind.ACCESS, committed).encode()
        bound = length_prefixed(leaf)
        leaves.append(leaf)
        parts += [
            (tenant, name.ljust(TWIN_ID_BYTES, b"\0"), routing_context + bound),
            (key, padding.pad(salt + event), event_context + bound),
        ]
    sealed = iter(seal_many(parts))
    return [(leaf, VERSION + next(sealed) + next(sealed)) for leaf in leaves]


def open_routing(body: bytes, leaf: bytes, *, tenant_key: bytes, origin: str) -> TwinId | None:
    """Whom an event is about. Raises ``OpenError`` for a body that is not this leaf's."""
    return _routing(body, leaf, origin, _once(tenant_key))


def open_event(body: bytes, leaf: bytes, *, key: bytes, origin: str) -> Opening:
    """The event with what discloses it. Raises ``OpenError`` unless the body is this leaf's, whole and unaltered."""
    return _event(body, leaf, origin, _once(key))


class _Opener(NamedTuple):
    """What a key does for a body: its envelopes are opened, keys of commitments derived."""

    open: Callable[[bytes, bytes], bytes]
    derive: Callable[[bytes, bytes], bytes]


def _absorbed(key: bytes) -> _Opener:
    """For many bodies."""
    return _Opener(SealingKey(key).open, AbsorbedKey(key).derive)


def _once(key: bytes) -> _Opener:
    return _Opener(partial(open_sealed, key), partial(derive, key))


def _routing(body: bytes, leaf: bytes, origin: str, tenant: _Opener) -> TwinId | None:
    if body[:1] != VERSION:
        raise OpenError
    name = tenant.open(body[1 : 1 + ROUTING_BYTES], _context(_ROUTING_CONTEXT, origin, leaf)).rstrip(b"\0")
    return TwinId(name.decode()) if name else None


def _event(body: bytes, leaf: bytes, origin: str, opener: _Opener) -> Opening:
    plain = padding.unpad(opener.open(body[1 + ROUTING_BYTES :], _context(_EVENT_CONTEXT, origin, leaf)))
    salt, event = plain[: commitment.SALT_BYTES], plain[commitment.SALT_BYTES :]
    commitment_key = opener.derive(COMMITMENT_KEY, salt)
    commitment.open_commitment(commitment_key, event, salt, Leaf.decode(leaf).commitment, domain=EVENT_DOMAIN)
    return Opening(commitment_key, salt, event)


def _context(label: bytes, origin: str, leaf: bytes) -> bytes:
    return _context_of_log(label, origin) + length_prefixed(leaf)


@lru_cache(maxsize=16)
def _context_of_log(label: bytes, origin: str) -> bytes:
    return length_prefixed(label, origin.encode())

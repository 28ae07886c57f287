"""The sealed body of an event, beside its leaf in the log store. Storage sees neither who nor whom.

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

from dataclasses import dataclass, field
from functools import lru_cache

from twinward.audit.errors import EventNotLoggable
from twinward.core.vocabulary import TwinId
from twinward_crypto import commitment, padding
from twinward_crypto.envelope import OVERHEAD_BYTES, open_sealed, seal
from twinward_crypto.errors import OpenError
from twinward_crypto.kdf import derive, length_prefixed
from twinward_ledger.formats.leaf import EVENT_DOMAIN, Leaf, LeafKind
from twinward_ledger.proofs.bundle import Opening

VERSION = b"\x01"
TWIN_ID_BYTES = 64
ROUTING_BYTES = OVERHEAD_BYTES + TWIN_ID_BYTES
COMMITMENT_KEY = b"twinward/event-commitment"

_ROUTING_CONTEXT = b"twinward/audit-routing/1"
_EVENT_CONTEXT = b"twinward/audit-event/1"


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


def open_routing(body: bytes, leaf: bytes, *, tenant_key: bytes, origin: str) -> TwinId | None:
    """Whom an event is about. Raises ``OpenError`` for a body that is not this leaf's."""
    if body[:1] != VERSION:
        raise OpenError
    routing = body[1 : 1 + ROUTING_BYTES]
    name = open_sealed(tenant_key, routing, _context(_ROUTING_CONTEXT, origin, leaf)).rstrip(b"\0")
    return TwinId(name.decode()) if name else None


def open_event(body: bytes, leaf: bytes, *, key: bytes, origin: str) -> Opening:
    """The event with what discloses it. Raises ``OpenError`` unless the body is this leaf's, whole and unaltered."""
    plain = padding.unpad(open_sealed(key, body[1 + ROUTING_BYTES :], _context(_EVENT_CONTEXT, origin, leaf)))
    salt, event = plain[: commitment.SALT_BYTES], plain[commitment.SALT_BYTES :]
    commitment_key = derive(key, COMMITMENT_KEY, salt)
    commitment.open_commitment(commitment_key, event, salt, Leaf.decode(leaf).commitment, domain=EVENT_DOMAIN)
    return Opening(commitment_key, salt, event)


def _context(label: bytes, origin: str, leaf: bytes) -> bytes:
    return _context_of_log(label, origin) + length_prefixed(leaf)


@lru_cache(maxsize=16)
def _context_of_log(label: bytes, origin: str) -> bytes:
    return length_prefixed(label, origin.encode())

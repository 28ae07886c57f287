"""The event that says where a small store of the node stands.

It is of the action ``note``, sealed under the hospital's own key, with ``store``, ``changes`` and ``head`` (the chain's
MAC in hex) in its detail.
"""

from __future__ import annotations

from twinward.audit.errors import EventNotLoggable
from twinward.audit.events import codec
from twinward.audit.interfaces import AccessEvent, Head
from twinward.core.vocabulary import Action, Purpose, Role

_MAX_SENTENCE = 300


def of(store: str, head: Head, at_ms: int) -> AccessEvent:
    """The event that records a head."""
    detail = (("store", store), ("changes", str(head.changes)), ("head", head.mac.hex()))
    return _note(f"the {store} store stands at change {head.changes}", at_ms, detail)


def saying(store: str, what: str, at_ms: int) -> AccessEvent:
    """An event in which the node says something of a store, in a sentence."""
    return _note(what[:_MAX_SENTENCE], at_ms, (("about", store),))


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


def read(event: bytes, origin: str) -> tuple[str, Head] | None:
    """The store and the head that an event records; None for any other event."""
    try:
        found = codec.decode(event, origin)
        if found.action is not Action.NOTE:
            return None
        detail = dict(found.detail)
        return detail["store"], Head(int(detail["changes"]), bytes.fromhex(detail["head"]))
    except (EventNotLoggable, KeyError, ValueError):
        return None

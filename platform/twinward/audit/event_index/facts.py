"""What the index takes of an event's canonical JSON (``events.codec``), read several times as fast as the whole event.

The bytes were held against their leaf, so this node wrote them; what an officer is shown is decoded whole.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from twinward.audit.event_index.columns import ACTION_CODES, CATEGORY_BITS, PURPOSE_CODES, ROLE_CODES
from twinward.core.vocabulary import Action


class _Identifier(msgspec.Struct):
    value: str


class _Identified(msgspec.Struct):
    identifier: _Identifier


class _Coding(msgspec.Struct):
    code: str


class _Concept(msgspec.Struct):
    coding: list[_Coding]


class _Place(msgspec.Struct):
    display: str


class _Agent(msgspec.Struct):
    who: _Identified
    role: list[_Concept]
    location: _Place | None = None


class _Detail(msgspec.Struct):
    type: str
    value: str = msgspec.field(name="valueString")


class _Entity(msgspec.Struct):
    detail: list[_Detail]
    what: _Identified | None = None


class _Event(msgspec.Struct):
    recorded: datetime
    outcome: str
    reason: str = msgspec.field(name="outcomeDesc")
    subtype: list[_Coding]
    purposes: list[_Concept] = msgspec.field(name="purposeOfEvent")
    agent: list[_Agent]
    entity: list[_Entity]


_READER: Final = msgspec.json.Decoder(_Event)


class EventFacts(msgspec.Struct, frozen=True):
    """An event as the columns hold it: words by their codes, texts as they are."""

    at_ms: int
    agent: str
    role: int
    unit: str
    action: int
    purpose: int
    twin: str | None
    categories: int
    permitted: bool
    reason: str
    details: dict[str, str]

    @property
    def is_shred(self) -> bool:
        """Whether keys may go by it."""
        return self.action == ACTION_CODES[Action.SHRED]


def facts_of(data: bytes) -> EventFacts:
    """Read an event.

    Raises:
        msgspec.MsgspecError, KeyError, IndexError: it is none.
    """
    event = _READER.decode(data)
    agent, entity = event.agent[0], event.entity[0]
    return EventFacts(
        at_ms=round(event.recorded.timestamp() * 1000),
        agent=agent.who.identifier.value,
        role=ROLE_CODES[agent.role[0].coding[0].code],
        unit=agent.location.display if agent.location else "",
        action=ACTION_CODES[event.subtype[0].code],
        purpose=PURPOSE_CODES[event.purposes[0].coding[0].code],
        twin=entity.what.identifier.value if entity.what else None,
        categories=sum(CATEGORY_BITS[one.value] for one in entity.detail if one.type == "category"),
        permitted=event.outcome == "0",
        reason=event.reason,
        details={one.type[2:]: one.value for one in entity.detail if one.type.startswith("x-")},
    )

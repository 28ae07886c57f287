"""Access events as RFC 8785 JSON in the shape of FHIR R4 AuditEvent (IHE BALP), and back.

The bytes are what a leaf commits to, so there is one form only: ``decode`` refuses anything that ``encode`` would not
have written. An exported event is a valid AuditEvent as it stands.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from twinward.audit.errors import EventNotLoggable
from twinward.audit.models import AccessEvent
from twinward.core.clock import iso
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId

MAX_EVENT_BYTES = 64 * 1024

TWIN_SYSTEM = "urn:twinward:twin"
AGENT_SYSTEM = "urn:twinward:principal"
ROLE_SYSTEM = "urn:twinward:role"
ACTION_SYSTEM = "urn:twinward:action"
SOURCE_SYSTEM = "urn:twinward:log"
PURPOSE_SYSTEM = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
TYPE = {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"}

_PERMIT, _DENY = "0", "8"  # audit-event-outcome: success, serious failure (the action was not carried out)
_FHIR_ACTION = {
    Action.WRITE: "U",
    Action.READ: "R",
    Action.EXPORT: "R",
    Action.AUDIT: "R",
    Action.COHORT: "R",
    Action.COUNT: "R",
    Action.MATCH: "R",
    Action.SHRED: "D",
    Action.CONSENT: "U",
    Action.ACCOUNT: "U",
    Action.STUDY: "U",
    Action.EXCHANGE: "U",
    Action.OUTBREAK: "U",
}  # everything else is E, execute
_WRITER = msgspec.json.Encoder(order="sorted")
_READER = msgspec.json.Decoder()
_RECORDED = b'"recorded":"'
_WHAT = f'"what":{{"identifier":{{"system":"{TWIN_SYSTEM}","value":"'.encode()
_DETAILS_END, _OUTCOME = b"]}],", b'"outcome":'
"""Of an event about nobody: the details are the last that its entity has, the outcome is what follows."""

_PLAIN_ID = re.compile(r"[0-9A-Za-z-]+").fullmatch
_YEAR_10000_MS = 253_402_300_800_000
_REMEMBERED = 1024
_CATEGORY, _CONSENT = "category", "consent-version"


def encode(event: AccessEvent, source: str) -> bytes:
    """An event's canonical bytes. ``source`` is the origin of the log it goes into.

    Raises:
        EventNotLoggable: it has no canonical form or is too long.
    """
    try:
        # RFC 8785, many times as fast as the general writer: every name is ASCII, so code points sort like UTF-16, and
        # there are no numbers. A property test holds it against ``canonicalize``.
        data = _WRITER.encode(as_fhir(event, source))
    except (ValueError, OverflowError, OSError, TypeError) as error:  # a lone surrogate, a time beyond the year 9999
        raise EventNotLoggable(f"an event cannot be written down: {type(error).__name__}") from error
    if event.decision not in ("permit", "deny") or len(data) > MAX_EVENT_BYTES:
        raise EventNotLoggable(f"an event's decision is permit or deny, and it is at most {MAX_EVENT_BYTES} bytes")
    return data


class EventWriter:
    """``encode`` for many events of one log, which differ in time, patient and details, and in little else.

    What is the same is written once, by ``encode`` itself, and cut around the patient, the time and the details. The
    cuts are at names that stand in an event once; inside a text the quotes would be escaped. No patient is in what it
    remembers. Threads may share it.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._around = lru_cache(maxsize=_REMEMBERED)(self._pieces)

    def encode(self, event: AccessEvent) -> bytes:
        """As the function of this name; it has the last word on everything unusual."""
        twin = event.twin
        if not 0 <= event.at_ms < _YEAR_10000_MS or (twin is not None and not _PLAIN_ID(twin)):
            return encode(event, self._source)
        said = (
            event.agent, event.role, event.unit, event.action, event.purpose, event.categories, event.decision,
            event.reason, event.policy_hash, event.consent_version,
        )  # fmt: skip
        before, what, between, after = self._around(twin is None, said)
        try:
            details = [b"," + _WRITER.encode(one) for one in _details(event.detail)]
        except (ValueError, TypeError):
            return encode(event, self._source)
        data = b"".join((before, *details, what, (twin or "").encode(), between, iso(event.at_ms).encode(), after))
        return data if len(data) <= MAX_EVENT_BYTES else encode(event, self._source)

    def _pieces(self, nobody: bool, said: tuple[Any, ...]) -> tuple[bytes, bytes, bytes, bytes]:
        """What stands before the details, between them and the patient, from there to the time, and behind it."""
        agent, role, unit, action, purpose, categories, *rest = said
        twin = None if nobody else TwinId("-")
        whole = encode(AccessEvent(0, agent, role, unit, action, purpose, twin, categories, *rest), self._source)
        until_time, after = whole.split(_RECORDED + iso(0).encode())
        if nobody:
            before, between = until_time.split(_DETAILS_END + _OUTCOME)
            return before, b"", _DETAILS_END + _OUTCOME + between + _RECORDED, after
        before, between = until_time.split(b"]," + _WHAT + b"-")
        return before, b"]," + _WHAT, between + _RECORDED, after


def as_fhir(event: AccessEvent, source: str) -> dict[str, Any]:
    """An event as a FHIR R4 AuditEvent resource."""
    agent: dict[str, Any] = {
        "who": {"identifier": {"system": AGENT_SYSTEM, "value": event.agent}},
        "role": [_concept(ROLE_SYSTEM, event.role)],
        "requestor": True,
    }
    if event.unit:
        agent["location"] = {"display": event.unit}
    if event.policy_hash:
        agent["policy"] = [f"urn:sha256:{event.policy_hash}"]
    details = [(_CATEGORY, category.value) for category in event.categories]
    details.append((_CONSENT, str(event.consent_version)))
    said = [{"type": name, "valueString": value} for name, value in details]
    entity: dict[str, Any] = {"detail": [*said, *_details(event.detail)]}
    if event.twin is not None:
        entity["what"] = {"identifier": {"system": TWIN_SYSTEM, "value": event.twin}}
    return {
        "resourceType": "AuditEvent",
        "type": TYPE,
        "subtype": [{"system": ACTION_SYSTEM, "code": event.action.value}],
        "action": _FHIR_ACTION.get(event.action, "E"),
        "recorded": iso(event.at_ms),
        "outcome": _PERMIT if event.decision == "permit" else _DENY,
        "outcomeDesc": event.reason,
        "purposeOfEvent": [_concept(PURPOSE_SYSTEM, event.purpose)],
        "agent": [agent],
        "source": {"observer": {"identifier": {"system": SOURCE_SYSTEM, "value": source}}},
        "entity": [entity],
    }


def decode(data: bytes, source: str) -> AccessEvent:
    """Read ``encode`` back. Raises ``EventNotLoggable`` for any other bytes."""
    try:
        event = _read(_READER.decode(data))
        same = _writer(source).encode(event) == data
    except (
        msgspec.MsgspecError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        RecursionError,
        StopIteration,
    ) as error:
        raise EventNotLoggable("not an access event") from error
    if not same:
        raise EventNotLoggable("an access event in another form than the canonical one")
    return event


@lru_cache(maxsize=16)
def _writer(source: str) -> EventWriter:
    return EventWriter(source)


def _read(resource: Any) -> AccessEvent:
    agent, entity = resource["agent"][0], resource["entity"][0]
    details = [(item["type"], item["valueString"]) for item in entity["detail"]]
    moment = datetime.fromisoformat(resource["recorded"])  # of another form or zone it is not written back the same
    return AccessEvent(
        at_ms=round(moment.timestamp() * 1000),
        agent=agent["who"]["identifier"]["value"],
        role=Role(agent["role"][0]["coding"][0]["code"]),
        unit=agent.get("location", {}).get("display", ""),
        action=Action(resource["subtype"][0]["code"]),
        purpose=Purpose(resource["purposeOfEvent"][0]["coding"][0]["code"]),
        twin=TwinId(entity["what"]["identifier"]["value"]) if "what" in entity else None,
        categories=tuple(Category(value) for name, value in details if name == _CATEGORY),
        decision="permit" if resource["outcome"] == _PERMIT else "deny",
        reason=resource["outcomeDesc"],
        policy_hash=agent["policy"][0].removeprefix("urn:sha256:") if "policy" in agent else "",
        consent_version=next(int(value) for name, value in details if name == _CONSENT),
        detail=tuple((name.removeprefix("x-"), value) for name, value in details if name.startswith("x-")),
    )


def _details(detail: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    return [{"type": f"x-{name}", "valueString": value} for name, value in detail]


def _concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": str(code)}]}

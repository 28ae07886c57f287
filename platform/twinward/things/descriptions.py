"""A thing as others' systems read it: W3C Web of Things (WoT) Thing Description 1.1, W3C Recommendation 5 Dec 2023.

It says what a thing is and how it is asked: nothing of any patient, and nothing that changes. What is asked is asked
over the node's API, under the node's own access control: the token is a bearer's (``securityDefinitions``).
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from twinward.core.clock import iso
from twinward.things.interactions import OF_KIND
from twinward.things.models import MAX_AMOUNT, MAX_NOTE_CHARS, Kind, Thing, What

CONTEXT: Final = "https://www.w3.org/2022/wot/td/v1.1"
MEDIA_TYPE: Final = "application/td+json"
_COUNT: Final = {"type": "integer", "minimum": 0}
_SHOWN_COUNT: Final = {"oneOf": [_COUNT, {"type": "string", "const": "*"}]}
_MAYBE_TIME: Final = {"oneOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}

_MAINTAINED: Final[dict[str, dict[str, Any]]] = {
    "useHours": {"title": "Hours of use since the last service", "type": "number", "minimum": 0, "unit": "h"},
    "serviceDue": {"title": "When it is due for service", **_MAYBE_TIME},
}
_PLACE: Final[dict[str, dict[str, Any]]] = {
    "beds": {"title": "Beds", **_COUNT},
    "census": {"title": "Patients in beds; * is 1 to 7", **_SHOWN_COUNT},
    "free": {"title": "Free beds", **_SHOWN_COUNT},
    "acuity": {
        "title": "Patients by their NEWS2, for who may read them",
        "type": "object",
        "properties": dict.fromkeys(("low", "medium", "high", "unknown", "withheld"), _COUNT),
    },
    "equipmentDue": {"title": "Devices and beds due for service", **_COUNT},
}
PROPERTIES: Final[dict[Kind, dict[str, dict[str, Any]]]] = {
    Kind.DEVICE: _MAINTAINED,
    Kind.BED: _MAINTAINED,
    Kind.WARD: _PLACE,
    Kind.HOSPITAL: _PLACE,
    Kind.STOCK: {"level": {"title": "How many there are", **_COUNT}},
}


def description(thing: Thing, base: str) -> dict[str, Any]:
    """The Thing Description, as JSON. ``base``: the node's address, without a slash behind."""
    described: dict[str, Any] = {
        "@context": [CONTEXT, {"@language": "en"}],
        "id": f"urn:uuid:{thing.id}",
        "title": thing.title,
        "description": f"A {thing.kind}" + (f" ({thing.type})" if thing.type else ""),
        "created": iso(thing.added_ms),
        "base": f"{base}/api/1/things/{quote(thing.name, safe='')}/",
        "securityDefinitions": {"token": {"scheme": "bearer", "in": "header", "format": "opaque"}},
        "security": ["token"],
        "forms": [{"href": "properties", "op": ["readallproperties"], "contentType": "application/json"}],
        "properties": {name: _property(name, about, thing) for name, about in PROPERTIES[thing.kind].items()},
    }
    if OF_KIND[thing.kind]:
        described["actions"] = {what.value: _action(what) for what in OF_KIND[thing.kind]}
    return described


def _property(name: str, about: dict[str, Any], thing: Thing) -> dict[str, Any]:
    unit = {"unit": thing.unit} if name == "level" and thing.unit else {}
    form = {"href": f"properties/{name}", "op": ["readproperty"], "contentType": "application/json"}
    return about | unit | {"readOnly": True, "forms": [form]}


def _action(what: What) -> dict[str, Any]:
    members: dict[str, Any] = {"note": {"type": "string", "maxLength": MAX_NOTE_CHARS}}
    required: list[str] = []
    if what in (What.USED, What.FILLED):
        members["amount"] = {"type": "integer", "minimum": 1, "maximum": MAX_AMOUNT}
        required.append("amount")
    if what is What.USED:
        members["twin"] = {"type": "string", "description": "The patient's opaque twin."}
        required.append("twin")
    asked: dict[str, Any] = {"type": "object", "properties": members}
    if required:
        asked["required"] = required
    form = {"href": f"actions/{what.value}", "op": ["invokeaction"], "contentType": "application/json"}
    return {"input": asked, "safe": False, "idempotent": False, "forms": [form]}

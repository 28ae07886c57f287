"""Subscriptions as tests make them, and notifications as they read them."""

from __future__ import annotations

import json
from typing import Any

from twinward.fhir.subscriptions.profile import CHANNEL_CODE, CHANNEL_SYSTEM, GUIDE
from twinward.fhir.validation.validator import validate

TOPIC = "urn:twinward:subscription-topic:"
EXTENSION = f"{GUIDE}/StructureDefinition/backport-"
LOINC = "http://loinc.org"


def subscription(
    topic: str = "observation", *filters: str, content: str = "id-only", channel: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A Subscription over the event stream. ``channel`` is put over its channel."""
    said: dict[str, Any] = {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "the ward round",
        "criteria": TOPIC + topic,
        "channel": {
            "type": "websocket",
            "_type": {
                "extension": [
                    {
                        "url": EXTENSION + "channel-type",
                        "valueCoding": {"system": CHANNEL_SYSTEM, "code": CHANNEL_CODE},
                    }
                ]
            },
            "payload": "application/fhir+json",
            "_payload": {"extension": [{"url": EXTENSION + "payload-content", "valueCode": content}]},
        }
        | (channel or {}),
    }
    if filters:
        said["_criteria"] = {
            "extension": [{"url": EXTENSION + "filter-criteria", "valueString": one} for one in filters]
        }
    return said


def observation(name: str, patient: str = "p", code: str = "8867-4", category: str = "vital-signs") -> dict[str, Any]:
    system = "http://terminology.hl7.org/CodeSystem/observation-category"
    return {
        "resourceType": "Observation",
        "id": name,
        "status": "final",
        "category": [{"coding": [{"system": system, "code": category}]}],
        "code": {"coding": [{"system": LOINC, "code": code}]},
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": "2025-12-01T08:00:00Z",
        "valueQuantity": {"value": 72, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"},
    }


def told(bundle: dict[str, Any]) -> tuple[str, int, list[tuple[int, str]]]:
    """A notification Bundle: its type, how many events there were, and the events: numbers and what they are about."""
    assert (bundle["resourceType"], bundle["type"]) == ("Bundle", "history")
    validate(json.loads(json.dumps(bundle)))
    return told_in(bundle["entry"][0]["resource"])


def told_in(status: dict[str, Any]) -> tuple[str, int, list[tuple[int, str]]]:
    """The same of the Parameters."""
    assert status["resourceType"] == "Parameters"
    said = {one["name"]: one for one in status["parameter"]}
    events = []
    for one in status["parameter"]:
        if one["name"] == "notification-event":
            parts = {part["name"]: part for part in one["part"]}
            focus = parts.get("focus", {}).get("valueReference", {}).get("reference", "")
            events.append((int(parts["event-number"]["valueString"]), focus.partition("/fhir/")[2]))
    count = int(said["events-since-subscription-start"]["valueString"])
    return said["type"]["valueCode"], count, events

"""The documents of a subscription: its status as Parameters, and notification Bundles around it.

https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/notifications.html, the profiles for R4.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from twinward.core.clock import iso
from twinward.core.ids import uuid7
from twinward.fhir.search.representation import etag, reference_of, shown
from twinward.fhir.subscriptions.profile import GUIDE
from twinward.vault.interfaces import Record

_STATUS_PROFILE = f"{GUIDE}/StructureDefinition/backport-subscription-status-r4"
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_BUNDLE_PROFILE = f"{GUIDE}/StructureDefinition/backport-subscription-notification-r4"

Told = Sequence[tuple[int, Record]]
"""Events that may be told: their numbers, and what they are about."""


@dataclass(frozen=True, slots=True)
class Status:
    """What every document says of its subscription.

    Attributes:
        base: the service's base URL.
        name: the subscription's id.
        topic: its canonical URL.
        status: ``active`` or ``off``.
        count: events numbered since it was made.
        content: how much is told.
        at_ms: now.
    """

    base: str
    name: str
    topic: str
    status: str
    count: int
    content: str
    at_ms: int

    def parameters(self, kind: str, told: Told = ()) -> dict[str, Any]:
        """The status as Parameters. ``kind`` is of the value set ``subscription-notification-type``."""
        said: list[dict[str, Any]] = [
            {"name": "subscription", "valueReference": {"reference": f"{self.base}/Subscription/{self.name}"}}
        ]
        if self.content != "empty":
            said.append({"name": "topic", "valueCanonical": self.topic})
        said += [
            {"name": "status", "valueCode": self.status},
            {"name": "type", "valueCode": kind},
            {"name": "events-since-subscription-start", "valueString": str(self.count)},
        ]
        said += [self._event(number, record) for number, record in told]
        return {
            "resourceType": "Parameters",
            "id": uuid7(self.at_ms),
            "meta": {"profile": [_STATUS_PROFILE]},
            "parameter": said,
        }

    def bundle(self, kind: str, told: Told = ()) -> bytes:
        """A notification Bundle: the status, and of what it tells as much as the subscription asks for."""
        status = self.parameters(kind, told)
        first = {
            "fullUrl": f"urn:uuid:{status['id']}",
            "resource": status,
            "request": {"method": "GET", "url": f"{self.base}/Subscription/{self.name}/$status"},
            "response": {"status": "200"},
        }
        head = {
            "resourceType": "Bundle",
            "id": uuid7(self.at_ms),
            "meta": {"profile": [_BUNDLE_PROFILE]},
            "type": "history",
            "timestamp": iso(self.at_ms),
        }
        entries = [_json(first)]
        if self.content == "full-resource":
            entries += [self._entry(record) for _, record in told]
        return _json(head)[:-1] + b',"entry":[' + b",".join(entries) + b"]}"

    def searched(self) -> dict[str, Any]:
        """An entry of what ``$status`` answers."""
        status = self.parameters("query-status")
        return {"fullUrl": f"urn:uuid:{status['id']}", "resource": status, "search": {"mode": "match"}}

    def _event(self, number: int, record: Record) -> dict[str, Any]:
        said: list[dict[str, Any]] = [
            {"name": "event-number", "valueString": str(number)},
            {"name": "timestamp", "valueInstant": iso(record.committed_at_ms)},
        ]
        if self.content != "empty":
            said.append({"name": "focus", "valueReference": {"reference": f"{self.base}/{reference_of(record)}"}})
        return {"name": "notification-event", "part": said}

    def _entry(self, record: Record) -> bytes:
        """A version, as a history has it: a deletion has no resource."""
        reference = reference_of(record)
        method, status = ("PUT", "200") if record.content else ("DELETE", "204")
        if record.content and record.version == 1:
            status = "201"
        rest = {
            "request": {"method": method, "url": reference},
            "response": {"status": status, "etag": etag(record.version), "lastModified": iso(record.committed_at_ms)},
        }
        resource = b'"resource":' + shown(record) + b"," if record.content else b""
        return b'{"fullUrl":' + _json(f"{self.base}/{reference}") + b"," + resource + _json(rest)[1:]


def searchset(entries: Sequence[Any]) -> bytes:
    """A searchset of all there is."""
    head: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "total": len(entries)}
    return _ENCODER.encode(head | ({"entry": list(entries)} if entries else {}))


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

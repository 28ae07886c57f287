"""What became of one entry of a batch or a transaction. https://hl7.org/fhir/R4/bundle.html#transaction-response."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from twinward.core.clock import iso
from twinward.fhir.json.strict_json import JsonObject
from twinward.fhir.search.render import etag


@dataclass(frozen=True, slots=True)
class Answer:
    """One entry's outcome: what goes into ``resource``, and what into ``response``."""

    status: int
    resource: bytes = field(default=b"", repr=False)
    outcome: JsonObject | None = field(default=None, repr=False)
    version: int = 0
    at_ms: int = 0
    location: str = ""

    def encode(self) -> bytes:
        """The entry of the answer."""
        response: dict[str, Any] = {"status": f"{self.status} {HTTPStatus(self.status).phrase}"}
        if self.location:
            response["location"] = self.location
        if self.version:
            response |= {"etag": etag(self.version), "lastModified": iso(self.at_ms)}
        if self.outcome is not None:
            response["outcome"] = self.outcome
        resource = b'"resource":' + self.resource + b"," if self.resource else b""
        return b"{" + resource + b'"response":' + _json(response) + b"}"


def answer_bundle(kind: str, answers: Sequence[Answer]) -> bytes:
    """The Bundle of a kind (``batch-response``) that has these entries; R4 forbids an empty array of them."""
    head = _json({"resourceType": "Bundle", "type": kind})[:-1]
    return head + (b',"entry":[' + b",".join(one.encode() for one in answers) + b"]}" if answers else b"}")


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

"""What goes out: exact stored bytes, wrapped in as little as possible.

Resources are spliced into responses as they are kept, never decoded and written anew, so that ``1.10`` stays ``1.10``
and a signature over a resource still holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from twinward.clock import iso
from twinward.fhir.errors import Issue
from twinward.fhir.outcome import operation_outcome
from twinward.fhir.resource_types import R4_TYPES
from twinward.twins.models import Stored
from twinward.vault.interfaces import Record
from twinward.vocabulary import Category

MEDIA_TYPE = "application/fhir+json"


def is_resource(record: Record) -> bool:
    """Whether a record is a FHIR resource, and not one of the node's own (features, monitoring, the directory)."""
    return record.record_type in R4_TYPES


def reference_of(record: Record) -> str:
    """A record's ``Type/id``."""
    return record.references[0]


def etag(record: Record) -> str:
    """The weak entity tag of a version, https://hl7.org/fhir/R4/http.html#versioning."""
    return f'W/"{record.version}"'


def searchset(records: Sequence[Record], *, base: str, withheld: Iterable[Category] = ()) -> bytes:
    """A searchset of records as stored; an OperationOutcome entry says which categories were withheld.

    Args:
        records: FHIR resources.
        base: the service's base URL, without a slash at the end.
        withheld: categories that policy or consent kept back.
    """
    entries = [
        b'{"fullUrl":'
        + _json(f"{base}/{reference_of(record)}")
        + b',"resource":'
        + record.content
        + b',"search":{"mode":"match"}}'
        for record in records
    ]
    kept_back = ", ".join(sorted(withheld))
    if kept_back:
        issue = Issue("suppressed", "", f"withheld by policy or consent: {kept_back}", severity="warning")
        entries.append(b'{"resource":' + _json(operation_outcome([issue])) + b',"search":{"mode":"outcome"}}')
    head = b'{"resourceType":"Bundle","type":"searchset","total":' + str(len(records)).encode() + b',"entry":['
    # R4 forbids empty arrays: a bundle of nothing has no entry element.
    return head + b",".join(entries) + b"]}" if entries else head.removesuffix(b',"entry":[') + b"}"


def transaction_response(stored: Sequence[Stored], *, at_ms: int) -> bytes:
    """What became of each entry, in the order of the request."""
    status = {"created": "201 Created", "updated": "200 OK", "unchanged": "200 OK"}
    entries = [
        {"response": {"status": status[one.change], "location": _location(one), "lastModified": iso(at_ms)}}
        for one in stored
    ]
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "transaction-response"}
    return _json(bundle | ({"entry": entries} if entries else {}))


def capability_statement(*, base: str, software_version: str, at_ms: int) -> bytes:
    """What this endpoint serves today, and nothing more. https://hl7.org/fhir/R4/capabilitystatement.html."""
    resources = [
        {"type": name, "interaction": [{"code": "read"}], "versioning": "versioned", "readHistory": False}
        | ({"operation": [_EVERYTHING]} if name == "Patient" else {})
        for name in sorted(R4_TYPES)
    ]
    return _json(
        {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": iso(at_ms),
            "kind": "instance",
            "software": {"name": "Twinward", "version": software_version},
            "implementation": {"description": "Twinward FHIR R4 endpoint", "url": base},
            "fhirVersion": "4.0.1",
            "format": ["json", MEDIA_TYPE],
            "rest": [
                {
                    "mode": "server",
                    "security": {"description": "bearer tokens; policy and consent decide, each access is logged"},
                    "resource": resources,
                    "interaction": [{"code": "transaction"}],
                }
            ],
        }
    )


_EVERYTHING = {"name": "everything", "definition": "http://hl7.org/fhir/OperationDefinition/Patient-everything"}


def _location(one: Stored) -> str:
    return f"{one.reference}/_history/{one.version}" if one.version else one.reference


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

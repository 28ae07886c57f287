"""A report as a FHIR R4 Bundle of AuditEvents, shaped after IHE's Basic Audit Log Patterns.

Each AuditEvent is the committed event with what BALP adds for readers: the entity's type and role (a person, the
patient), and where in the log it stands. An erased event keeps its place: time, log and leaf, and an agent unknown.
"""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any, Final

from twinward.audit.events import codec
from twinward.audit.exports.document import AccessDocument, DocumentRow
from twinward.core.clock import iso

INDEX_SYSTEM: Final = "urn:twinward:log-index"
LEAF_SYSTEM: Final = "urn:twinward:log-leaf"
ABSENT: Final = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
_PERSON: Final = {"system": "http://terminology.hl7.org/CodeSystem/audit-entity-type", "code": "1", "display": "Person"}
_PATIENT: Final = {"system": "http://terminology.hl7.org/CodeSystem/object-role", "code": "1", "display": "Patient"}


def as_fhir_bundle(document: AccessDocument) -> bytes:
    """The Bundle as JSON."""
    origin = document.report.origin
    entries = [
        {"fullUrl": f"urn:uuid:{_uuid(origin, row.index)}", "resource": _resource(row, document)}
        for row in document.rows
    ]
    bundle: dict[str, Any] = {
        "resourceType": "Bundle",
        "identifier": {"system": codec.SOURCE_SYSTEM, "value": f"{origin}#{document.report.subject}"},
        "type": "collection",
        "timestamp": iso(document.at_ms),
    }
    if entries:  # FHIR has no empty arrays
        bundle["entry"] = entries
    return (json.dumps(bundle, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def _resource(row: DocumentRow, document: AccessDocument) -> dict[str, Any]:
    origin = document.report.origin
    resource = _erased(row, origin, document.report.subject) if row.event is None else codec.as_fhir(row.event, origin)
    resource["extension"] = [
        {"url": INDEX_SYSTEM, "valueString": str(row.index)},
        {"url": LEAF_SYSTEM, "valueBase64Binary": base64.b64encode(row.leaf).decode()},
    ]
    resource["entity"][0] |= {"type": _PERSON, "role": _PATIENT}
    cleaned: dict[str, Any] = _without_empty(resource)
    return cleaned


def _erased(row: DocumentRow, origin: str, subject: str) -> dict[str, Any]:
    unknown = {"extension": [{"url": ABSENT, "valueCode": "unknown"}]}
    return {
        "resourceType": "AuditEvent",
        "type": codec.TYPE,
        "recorded": iso(row.minute_ms),
        "outcomeDesc": "the event was erased; that it happened, and when, still stands",
        "agent": [{"who": unknown, "requestor": True}],
        "source": {"observer": {"identifier": {"system": codec.SOURCE_SYSTEM, "value": origin}}},
        "entity": [{"what": {"identifier": {"system": codec.TWIN_SYSTEM, "value": subject}}}],
    }


def _without_empty(value: Any) -> Any:
    """FHIR has no empty strings, arrays or objects."""
    if isinstance(value, dict):
        kept = {name: _without_empty(one) for name, one in value.items()}
        return {name: one for name, one in kept.items() if one not in ("", [], {}, None)}
    if isinstance(value, list):
        return [one for one in map(_without_empty, value) if one not in ("", [], {}, None)]
    return value


def _uuid(origin: str, index: int) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_URL, f"{origin}/{index}")

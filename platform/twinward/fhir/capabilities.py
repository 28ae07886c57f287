"""The CapabilityStatement: what this endpoint serves today, and nothing more.

https://hl7.org/fhir/R4/capabilitystatement.html.
"""

from __future__ import annotations

import json
from typing import Any

from twinward.clock import iso
from twinward.fhir.includes import REVERSE, includes_of
from twinward.fhir.render import MEDIA_TYPE
from twinward.fhir.resource_types import R4_TYPES
from twinward.fhir.search_parameters import is_searchable, parameters_of

_INTERACTIONS = ("read", "vread", "update", "delete", "history-instance", "create")
_BULK = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition"
_EVERYTHING = {"name": "everything", "definition": "http://hl7.org/fhir/OperationDefinition/Patient-everything"}


def capability_statement(*, base: str, software_version: str, at_ms: int) -> bytes:
    """The statement of the endpoint at a base URL."""
    rest = {
        "mode": "server",
        "security": {"description": "bearer tokens; policy and consent decide, each access is logged"},
        "resource": [_resource(name) for name in sorted(R4_TYPES - {"Bundle"})],
        "interaction": [{"code": "transaction"}, {"code": "batch"}],
        "operation": [{"name": "export", "definition": f"{_BULK}/export"}],
    }
    statement = {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": iso(at_ms),
        "kind": "instance",
        "software": {"name": "Twinward", "version": software_version},
        "implementation": {"description": "Twinward FHIR R4 endpoint", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["json", MEDIA_TYPE],
        "rest": [rest],
    }
    return json.dumps(statement, separators=(",", ":")).encode()


def _resource(name: str) -> dict[str, Any]:
    served: dict[str, Any] = {
        "type": name,
        "interaction": [{"code": code} for code in (*_INTERACTIONS, "search-type")],
        "versioning": "versioned-update",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalUpdate": True,
        "conditionalDelete": "single",
        "searchParam": [{"name": each, "type": one.kind} for each, one in sorted(parameters_of(name).items())],
    }
    includes = includes_of(name)
    if includes:
        served["searchInclude"] = includes
    if is_searchable(name):
        served["searchRevInclude"] = list(REVERSE)
    if name == "Patient":
        served["operation"] = [_EVERYTHING, {"name": "export", "definition": f"{_BULK}/patient-export"}]
    return served

"""The CapabilityStatement: what this endpoint serves today, and nothing more.

https://hl7.org/fhir/R4/capabilitystatement.html.
"""

from __future__ import annotations

import json
from typing import Any

from twinward.core.clock import iso
from twinward.fhir.json.patch import MEDIA_TYPE as PATCH
from twinward.fhir.resource_types import R4_TYPES, SUBSCRIPTION
from twinward.fhir.search.chains import reverse_of, targets_of
from twinward.fhir.search.includes import REVERSE, includes_of
from twinward.fhir.search.parameters import is_searchable, parameters_of
from twinward.fhir.search.representation import MEDIA_TYPE
from twinward.fhir.search.service import MOST_TWINS
from twinward.fhir.subscriptions.profile import CHANNEL_CODE, CHANNEL_SYSTEM, GUIDE, PROFILE
from twinward.fhir.subscriptions.topics import TOPICS

_INTERACTIONS = ("read", "vread", "update", "patch", "delete", "history-instance", "history-type", "create")
_CHOSEN = (
    "POST always makes a new id. A transaction takes several patients, and is done as one or not at all. "
    "Its conditional references are true of what is kept and of what it brings. "
    "It refuses two creates on one condition; a precondition that does not hold fails all of it. "
    "PATCH is JSON Patch, in a bundle a Binary of it; on a condition true of nothing it is 404, of several 412. "
    "Preconditions are looked at by RFC 9110, 13.2.2, or refused by name. "
    "If-Match compares weakly, and is not demanded. "
    "What was deleted is not there: If-Match fails, and to write it again is 201. "
    "A GET of what it changes, and a search, is answered after it, in its own entry. "
    "Entries of a batch do not refer to each other. "
    "What breaks an invariant of severity error is refused; what leaves one undecided is taken. "
    "References at this base are kept as relative ones; at any other base they are another server's. "
    "A subject that is no patient here or in the bundle is refused. "
    "A token matches whatever its case, an identifier as it is written; a code also by the system its binding implies. "
    "Names and addresses match by their first letters, without case, accents and punctuation. "
    "A moment without a zone is in UTC, one without seconds is a minute. "
    "_count=0 is _summary=count. A total, a sort and a page are of what the caller may see, and of nothing else. "
    f"Across patients a search is sorted and counted of at most {MOST_TWINS}. "
    "A chain and _has have one step, and stay within one patient's records and the directory. "
    "JSON only: another _format or Accept is 406, another Content-Type 415. gzip and zstd are taken and answered with. "
    "SMART Backend Services only: no app launch, no user's authorization. "
    "$everything takes start, end, _since, _type, _count; a history _since, _at, _count; other parameters are refused. "
    "A version is current until the next one is written, whoever may see that. "
    "A Subscription is by topic (Subscriptions R5 Backport), told over the event stream, its account's own, no record."
)
"""Where R4 leaves a choice."""

_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_SERVICES = "http://terminology.hl7.org/CodeSystem/restful-security-service"
_BULK = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition"
_EVERYTHING = {"name": "everything", "definition": "http://hl7.org/fhir/OperationDefinition/Patient-everything"}


def capability_statement(*, base: str, token_url: str = "", software_version: str, at_ms: int) -> bytes:
    """The statement of the endpoint at a base URL; ``token_url`` empty says that no access tokens are given."""
    rest = {
        "mode": "server",
        "documentation": _CHOSEN,
        "security": _security(token_url),
        "resource": [_resource(name) for name in sorted(R4_TYPES - {"Bundle"})],
        "interaction": [{"code": "transaction"}, {"code": "batch"}, {"code": "history-system"}],
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
        "patchFormat": [PATCH],
        "rest": [rest],
    }
    return json.dumps(statement, separators=(",", ":")).encode()


def _security(token_url: str) -> dict[str, Any]:
    """https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html: the service's code, and where tokens are given."""
    said: dict[str, Any] = {"description": "bearer tokens; policy and consent decide, each access is logged"}
    if token_url:
        said["extension"] = [{"url": _OAUTH_URIS, "extension": [{"url": "token", "valueUri": token_url}]}]
        said["service"] = [{"coding": [{"system": _SERVICES, "code": "SMART-on-FHIR"}]}]
    return said


def _parameters(name: str) -> list[dict[str, str]]:
    """The search parameters of a type; R4 has no element for what is chained, so their documentation says it."""
    chained = {
        each: "chained: " + ", ".join(f"{each}:{one}.parameter" for one in targets)
        for each, targets in targets_of(name).items()
    }
    return [
        {"name": each, "type": one.kind} | ({"documentation": chained[each]} if each in chained else {})
        for each, one in sorted(parameters_of(name).items())
    ]


_SUBSCRIPTION = {
    "extension": [
        {"url": f"{GUIDE}/StructureDefinition/capabilitystatement-subscriptiontopic-canonical", "valueCanonical": url}
        for url in TOPICS
    ],
    "type": "Subscription",
    "supportedProfile": [PROFILE],
    "documentation": (
        f"Channel: {CHANNEL_SYSTEM}#{CHANNEL_CODE}, as backport-channel-type: GET Subscription/[id]/$stream is "
        "text/event-stream. Filters: "
        + "; ".join(f"{one.url} {one.filter_type}?{', '.join(one.filters)}" for one in TOPICS.values())
    ),
    "interaction": [{"code": code} for code in ("read", "update", "delete", "create", "search-type")],
    "versioning": "versioned",
    "readHistory": False,
    "updateCreate": False,
    "searchParam": [
        {"name": "_id", "type": "token"},
        {"name": "criteria", "type": "string"},
        {"name": "status", "type": "token"},
    ],
    "operation": [
        {"name": name, "definition": f"{GUIDE}/OperationDefinition/backport-subscription-{name}"}
        for name in ("status", "events")
    ],
}


def _resource(name: str) -> dict[str, Any]:
    if name == SUBSCRIPTION:
        return _SUBSCRIPTION
    served: dict[str, Any] = {
        "type": name,
        "interaction": [{"code": code} for code in (*_INTERACTIONS, "search-type")],
        "versioning": "versioned",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalRead": "full-support",
        "conditionalUpdate": True,
        "conditionalDelete": "single",
        "searchParam": _parameters(name),
    }
    if reverse_of(name):
        served["documentation"] = "_has: " + ", ".join(f"_has:{one}:parameter" for one in reverse_of(name))
    includes = includes_of(name)
    if includes:
        served["searchInclude"] = includes
    if is_searchable(name):
        served["searchRevInclude"] = list(REVERSE)
    if name == "Patient":
        served["operation"] = [_EVERYTHING, {"name": "export", "definition": f"{_BULK}/patient-export"}]
    return served

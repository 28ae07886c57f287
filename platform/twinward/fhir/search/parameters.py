"""The parameters that are served: search parameters by type, those of every request, and the refusal of others by name.

https://hl7.org/fhir/R4/searchparameter-registry.html. The search parameters are US Core's, as far as they ask about
the resource itself; what is not listed here is refused, so that nobody takes an unfiltered answer for a filtered one.
``_id``, ``patient``, ``subject`` and ``identifier`` are looked up through blind tags (``names_of``), all others are
held against decoded content after a permit has let the record be opened (``matching``).

https://hl7.org/fhir/R4/http.html#parameters. Answers are JSON, their resources byte for byte as they are kept.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from twinward.core.errors import NotAcceptable
from twinward.core.media_types import read_media_type
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.json.values import asked_interval
from twinward.fhir.mapping.records import identifier_key, is_identified
from twinward.fhir.resource_types import R4_TYPES, SHARED_TYPES, names
from twinward.fhir.validation.validator import ID

_HL7 = "http://hl7.org/fhir/"

CODE_SYSTEMS = {
    ("Patient", "gender"): _HL7 + "administrative-gender",
    ("AllergyIntolerance", "category"): _HL7 + "allergy-intolerance-category",
    ("CarePlan", "status"): _HL7 + "request-status",
    ("CareTeam", "status"): _HL7 + "care-team-status",
    ("Device", "status"): _HL7 + "device-status",
    ("DiagnosticReport", "status"): _HL7 + "diagnostic-report-status",
    ("DocumentReference", "status"): _HL7 + "document-reference-status",
    ("Encounter", "status"): _HL7 + "encounter-status",
    ("Goal", "lifecycleStatus"): _HL7 + "goal-status",
    ("Immunization", "status"): _HL7 + "event-status",
    ("Medication", "status"): _HL7 + "CodeSystem/medication-status",
    ("MedicationDispense", "status"): "http://terminology.hl7.org/CodeSystem/medicationdispense-status",
    ("MedicationRequest", "intent"): _HL7 + "CodeSystem/medicationrequest-intent",
    ("MedicationRequest", "status"): _HL7 + "CodeSystem/medicationrequest-status",
    ("Observation", "status"): _HL7 + "observation-status",
    ("Procedure", "status"): _HL7 + "event-status",
    ("QuestionnaireResponse", "status"): _HL7 + "questionnaire-answers-status",
    ("ServiceRequest", "status"): _HL7 + "request-status",
}
"""By type and element."""

Kind = Literal["token", "date", "string", "reference"]

_SEPARATOR = re.compile(r"(?<!\\),")
_ESCAPED = re.compile(r"\\([,|$\\])")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter's kind, and the elements of the resource it looks at.

    ``system`` is implied by elements whose type is ``code``; ``exact`` tokens are found by blind tags, case and all.
    """

    kind: Kind
    elements: tuple[str, ...]
    system: str = ""
    exact: bool = False


def _table(text: str) -> dict[str, dict[str, Parameter]]:
    """Lines of ``Type: name=kind:element+element …``."""
    table: dict[str, dict[str, Parameter]] = {}
    for line in text.strip().splitlines():
        name, _, rest = line.strip().partition(": ")
        for one in rest.split():
            parameter, _, definition = one.partition("=")
            kind, _, text_of_elements = definition.partition(":")
            elements = tuple(text_of_elements.split("+"))
            system = CODE_SYSTEMS.get((name, elements[0]), "")
            table.setdefault(name, {})[parameter] = Parameter(kind, elements, system)  # type: ignore[arg-type]
    return table


_OWN = _table("""
    Patient: gender=token:gender birthdate=date:birthDate name=string:name family=string:name.family
    Patient: given=string:name.given death-date=date:deceasedDateTime
    Patient: general-practitioner=reference:generalPractitioner organization=reference:managingOrganization
    AllergyIntolerance: code=token:code category=token:category clinical-status=token:clinicalStatus
    CarePlan: category=token:category status=token:status date=date:period
    CareTeam: category=token:category status=token:status role=token:participant.role
    CareTeam: participant=reference:participant.member
    Condition: code=token:code category=token:category clinical-status=token:clinicalStatus
    Condition: onset-date=date:onsetDateTime+onsetPeriod recorded-date=date:recordedDate
    Condition: abatement-date=date:abatementDateTime+abatementPeriod encounter=reference:encounter
    Device: type=token:type status=token:status
    DiagnosticReport: code=token:code category=token:category status=token:status
    DiagnosticReport: date=date:effectiveDateTime+effectivePeriod encounter=reference:encounter
    DiagnosticReport: performer=reference:performer result=reference:result
    DocumentReference: type=token:type category=token:category status=token:status date=date:date
    DocumentReference: period=date:context.period encounter=reference:context.encounter author=reference:author
    Encounter: class=token:class type=token:type status=token:status date=date:period
    Encounter: discharge-disposition=token:hospitalization.dischargeDisposition
    Encounter: location=reference:location.location participant=reference:participant.individual
    Encounter: service-provider=reference:serviceProvider
    Goal: lifecycle-status=token:lifecycleStatus target-date=date:target.dueDate description=token:description
    Immunization: vaccine-code=token:vaccineCode status=token:status date=date:occurrenceDateTime
    Medication: code=token:code status=token:status
    MedicationDispense: status=token:status type=token:type medication=reference:medicationReference
    MedicationRequest: code=token:medicationCodeableConcept intent=token:intent status=token:status
    MedicationRequest: authoredon=date:authoredOn encounter=reference:encounter
    MedicationRequest: medication=reference:medicationReference requester=reference:requester
    Observation: code=token:code category=token:category status=token:status
    Observation: date=date:effectiveDateTime+effectivePeriod+effectiveInstant encounter=reference:encounter
    Observation: performer=reference:performer has-member=reference:hasMember
    Procedure: code=token:code category=token:category status=token:status encounter=reference:encounter
    Procedure: date=date:performedDateTime+performedPeriod
    Provenance: target=reference:target recorded=date:recorded
    QuestionnaireResponse: status=token:status authored=date:authored
    RelatedPerson: name=string:name
    ServiceRequest: code=token:code category=token:category status=token:status authored=date:authoredOn
    ServiceRequest: encounter=reference:encounter requester=reference:requester
    Organization: name=string:name address=string:address
    Practitioner: name=string:name family=string:name.family given=string:name.given
    PractitionerRole: specialty=token:specialty practitioner=reference:practitioner organization=reference:organization
    PractitionerRole: location=reference:location endpoint=reference:endpoint
    Location: name=string:name address=string:address address-city=string:address.city
    Location: address-state=string:address.state address-postalcode=string:address.postalCode
""")
_OF_SUBJECT = names("""
    CarePlan CareTeam Condition DiagnosticReport DocumentReference Encounter Goal ImagingStudy Media
    MedicationAdministration MedicationDispense MedicationRequest MedicationStatement Observation Procedure
    QuestionnaireResponse ServiceRequest Specimen
""")
_OF_PATIENT = _OF_SUBJECT | names("""
    AllergyIntolerance Claim Coverage Device ExplanationOfBenefit Immunization Provenance RelatedPerson
""")
_COMMON = {"_id": Parameter("token", ("id",), exact=True), "_lastUpdated": Parameter("date", ())}
_OWNER = Parameter("reference", ("subject", "patient", "beneficiary"))
_SUBJECT = Parameter("reference", ("subject",))
_IDENTIFIER = Parameter("token", ("identifier",), exact=True)
_BLIND = frozenset({"_id", "patient", "subject"})


def parameters_of(resource_type: str) -> dict[str, Parameter]:
    """Every parameter that a search of this type may have."""
    found = _COMMON | _OWN.get(resource_type, {})
    if resource_type in _OF_PATIENT:
        found["patient"] = _OWNER
    if resource_type in _OF_SUBJECT:
        found["subject"] = _SUBJECT
    if is_identified(resource_type):
        found["identifier"] = _IDENTIFIER
    return found


def is_blind(resource_type: str, name: str) -> bool:
    """Whether a parameter is answered by blind tags alone. An identifier is not: content says which of two tags."""
    return name in _BLIND and name in parameters_of(resource_type)


def is_searchable(resource_type: str) -> bool:
    """Whether anything beyond ``_id`` finds this type: a search of it may go across all twins."""
    return resource_type in _OF_PATIENT | SHARED_TYPES | {"Patient"}


def alternatives(value: str) -> list[str]:
    """The values of a parameter that any may match, as they were sent (escapes kept)."""
    return _SEPARATOR.split(value)


def token_parts(text: str) -> tuple[str | None, str]:
    """System (None for any, "" for none) and code of one token."""
    parts = [_ESCAPED.sub(r"\1", part) for part in re.split(r"(?<!\\)\|", text, maxsplit=1)]
    return (None, parts[0]) if len(parts) == 1 else (parts[0], parts[1])


_MAX_NAMED = 20
_OWNER_NAMED = re.compile(r"(?:Patient/)?([A-Za-z0-9\-.]{1,64})")


def names_of(resource_type: str, name: str, value: str) -> tuple[str, ...] | None:
    """The strings for a parameter of a type and its value; None for a parameter that names nothing.

    Raises:
        InvalidResource: a value that cannot be one, or too many of them.
    """
    if name == "_id":
        found = alternatives(value)
        if not all(ID.fullmatch(one) for one in found):
            raise InvalidResource(Issue("value", "", "_id takes ids of 1 to 64 letters, digits, hyphens and dots"))
        names = [f"{resource_type}/{one}" for one in found]
    elif name in ("patient", "subject"):
        owners = [_OWNER_NAMED.fullmatch(one) for one in alternatives(value)]
        names = [f"Patient/{owner[1]}" for owner in owners if owner is not None]
        if len(names) != len(owners):
            raise InvalidResource(Issue("value", "", f"{name} takes an id or Patient/id"))
    elif name == "identifier":
        tokens = [token_parts(one) for one in alternatives(value)]
        if not all(code for _, code in tokens):
            raise InvalidResource(Issue("value", "", "identifier takes value or system|value"))
        names = [identifier_key(resource_type, system, code) for system, code in tokens]
    else:
        return None
    if len(names) > _MAX_NAMED:
        raise InvalidResource(Issue("too-costly", "", f"{name} takes at most {_MAX_NAMED} values"))
    return tuple(names)


MAX_COUNT = 500
SUBSETS = ("_elements", "_summary")
WISHES = ("_format", "_pretty")
_FHIR_JSON = "application/fhir+json"
_FORMATS = frozenset({"application/json", "text/json", _FHIR_JSON})
_BOOLEANS = frozenset({"true", "false"})


def is_wish(name: str, value: str) -> bool:
    """Whether a parameter asks for no more than what is done anyway. Raises ``NotAcceptable`` as ``format_asked``."""
    if name == "_format":
        return bool(format_asked(value))
    return name == "_pretty" and value in _BOOLEANS


def format_asked(value: str) -> str:
    """The media type that ``_format`` asks for. Raises ``NotAcceptable`` for one that is not served, at every door."""
    if value.strip().lower() == "json":
        return _FHIR_JSON
    name, _, parameters = value.partition(";")
    # The + of a media type that was not escaped arrives as a blank.
    asked = read_media_type(f"{name.strip().replace(' ', '+')};{parameters}")
    if asked is None or asked.name not in _FORMATS or not asked.is_spoken:
        raise NotAcceptable(f"_format is json or {_FHIR_JSON} here", hint="resources are answered as JSON of R4 only")
    return asked.name


def require_served(what: str, pairs: Sequence[tuple[str, str]], served: Collection[str]) -> None:
    """Refuse a request that carries anything but these and wishes.

    Args:
        what: is asked, as the refusal names it.
        pairs: names and values.
        served: names whose values are looked at elsewhere.

    Raises:
        InvalidResource: the first that is not served, by name.
    """
    for name, value in pairs:
        if name not in served and not is_wish(name, value):
            issue = Issue("not-supported", "", f"{what} has no parameter {name[:40]!r} here, or not with this value")
            raise InvalidResource(issue, hint=f"one of {', '.join(sorted((*served, *WISHES)))}")


def count_of(value: str) -> int:
    """How many a page shows, bounded. Raises ``InvalidResource`` for what is no number."""
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise InvalidResource(Issue("value", "", "_count is a number"))
    return min(int(value), MAX_COUNT)


def types_of(value: str) -> frozenset[str]:
    """The types that ``_type`` lists. Raises ``InvalidResource`` where one is none of R4."""
    found = frozenset(value.split(","))
    if not found <= R4_TYPES:
        raise InvalidResource(Issue("not-supported", "", "_type takes types of R4, with commas between them"))
    return found


def moment_of(name: str, value: str) -> tuple[int, int]:
    """What a date or moment covers, in ms since the epoch, the end excluded. Raises ``InvalidResource``."""
    found = asked_interval(value)
    if found is None:
        raise InvalidResource(Issue("value", "", f"{name} takes a date or a moment such as 2024-01-31T08:00:00Z"))
    return found

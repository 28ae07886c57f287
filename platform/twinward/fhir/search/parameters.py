"""The search parameters that are served, type by type, and whether a resource matches one.

https://hl7.org/fhir/R4/searchparameter-registry.html. These are US Core's, as far as they ask about the resource
itself; what is not listed here is refused, so that nobody takes an unfiltered answer for a filtered one. Matching
reads decoded content after the gate has let the record be opened; only ``_id``, ``patient``, ``subject`` and
``identifier`` are looked up through blind tags.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.json.spelling import folded
from twinward.fhir.json.strict_json import JsonObject
from twinward.fhir.json.times import asked_interval, interval_of
from twinward.fhir.resource_types import SHARED_TYPES, names
from twinward.fhir.search.code_systems import CODE_SYSTEMS

Kind = Literal["token", "date", "string", "reference"]
Interval = tuple[int, int]

_PREFIXES: dict[str, Callable[[Interval, Interval], bool]] = {
    "eq": lambda asked, kept: asked[0] <= kept[0] and kept[1] <= asked[1],
    "ne": lambda asked, kept: not (asked[0] <= kept[0] and kept[1] <= asked[1]),
    "gt": lambda asked, kept: kept[1] > asked[1],
    "lt": lambda asked, kept: kept[0] < asked[0],
    "ge": lambda asked, kept: kept[1] > asked[1] or (asked[0] <= kept[0] and kept[1] <= asked[1]),
    "le": lambda asked, kept: kept[0] < asked[0] or (asked[0] <= kept[0] and kept[1] <= asked[1]),
    "sa": lambda asked, kept: kept[0] >= asked[1],
    "eb": lambda asked, kept: kept[1] <= asked[0],
}
"""https://hl7.org/fhir/R4/search.html#prefix, on half-open intervals of ms."""

_SEPARATOR = re.compile(r"(?<!\\),")
_ESCAPED = re.compile(r"\\([,|$\\])")
_LITERAL = re.compile(r"([A-Z][A-Za-z]{1,63}/[A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")
"""A reference to what is kept here: those at the node's own base are made so when they come in, others are others'."""

_SPOKEN = ("text", "family", "given", "prefix", "suffix", "line", "city", "district", "state", "postalCode", "country")


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
_IDENTIFIED = names("""
    Patient AllergyIntolerance CarePlan CareTeam Condition Coverage Device DiagnosticReport DocumentReference Encounter
    Goal Immunization Location Medication MedicationDispense MedicationRequest Observation Organization Practitioner
    PractitionerRole Procedure RelatedPerson ServiceRequest Specimen
""")
"""Types found by their business identifiers, through blind tags: across patients, nothing is opened in vain."""
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
    if resource_type in _IDENTIFIED:
        found["identifier"] = _IDENTIFIER
    return found


def is_blind(resource_type: str, name: str) -> bool:
    """Whether a parameter is answered by blind tags alone. An identifier is not: content says which of two tags."""
    return name in _BLIND and name in parameters_of(resource_type)


def is_identified(resource_type: str) -> bool:
    """Whether resources of a type are found by their business identifiers."""
    return resource_type in _IDENTIFIED


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


def check(name: str, parameter: Parameter, value: str) -> None:
    """Refuse a value that cannot be one of the parameter. Raises ``InvalidResource``."""
    if parameter.kind == "date":
        for one in alternatives(value):
            _asked(name, one)
    elif not all(alternatives(value)):
        raise InvalidResource(Issue("value", "", f"{name} has an empty value"))
    elif parameter.kind == "string" and not all(_spelled(one) for one in alternatives(value)):
        raise InvalidResource(Issue("value", "", f"{name} takes letters or digits"))


def matches(parameter: Parameter, value: str, resource: JsonObject) -> bool:
    """Whether one of a parameter's alternatives matches a resource. The value was checked before."""
    kept = [found for element in parameter.elements for found in _values(resource, element.split("."))]
    if parameter.kind == "date":
        return matches_date(value, [found for one in kept if (found := interval_of(one)) is not None])
    if parameter.kind == "string":
        words = [folded(word) for one in kept for word in _words(one)]
        asked = [_spelled(one) for one in alternatives(value)]
        return any(word.startswith(one) for one in asked for word in words)
    if parameter.kind == "reference":
        targets = [target for one in kept for target in _targets(one)]
        return any(_points(one, target) for one in alternatives(value) for target in targets)
    tokens = [token for one in kept for token in _tokens(one)]
    return any(_same(token_parts(one), token, parameter) for one in alternatives(value) for token in tokens)


def references_in(parameter: Parameter, resource: JsonObject) -> list[str]:
    """The ``Type/id`` of everything here that a reference parameter looks at; what is kept elsewhere is left out."""
    kept = [found for element in parameter.elements for found in _values(resource, element.split("."))]
    return [match[1] for one in kept for target in _targets(one) if (match := _LITERAL.fullmatch(target))]


def sort_key(parameter: Parameter, resource: JsonObject, *, descending: bool) -> tuple[int | str, ...] | None:
    """What a resource is sorted by: the earliest or first value, or the last one if ``descending``; None for none."""
    kept = [found for element in parameter.elements for found in _values(resource, element.split("."))]
    keys: list[tuple[int | str, ...]]
    if parameter.kind == "date":
        moments = [found for one in kept if (found := interval_of(one)) is not None]
        keys = [moment[::-1] for moment in moments] if descending else list(moments)  # by its end, or by its start
    elif parameter.kind == "string":
        keys = [(folded(word),) for one in kept for word in _words(one)]
    else:
        keys = [(code, system) for one in kept for system, code in _tokens(one)]
    if not keys:
        return None
    return max(keys) if descending else min(keys)


def matches_date(value: str, kept: list[Interval]) -> bool:
    """Whether one of the alternatives matches one of the intervals."""
    asked = [_asked("", one) for one in alternatives(value)]
    return any(_PREFIXES[prefix](one, moment) for prefix, one in asked for moment in kept)


def _asked(name: str, text: str) -> tuple[str, Interval]:
    prefix, moment = (text[:2], text[2:]) if text[:2] in _PREFIXES else ("eq", text)
    found = asked_interval(moment)
    if found is None:
        raise InvalidResource(Issue("value", "", f"{name} takes a date such as ge2024-01-31"))
    return prefix, found


def _values(value: Any, path: list[str]) -> Iterator[Any]:
    if isinstance(value, list):
        for one in value:
            yield from _values(one, path)
    elif not path:
        yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from _values(value[path[0]], path[1:])


def _tokens(value: Any) -> Iterator[tuple[str, str]]:
    """(system, code) of a code (which says no system), Coding, CodeableConcept or Identifier."""
    if isinstance(value, str):
        yield "", value
    elif isinstance(value, dict):
        if isinstance(value.get("coding"), list):
            for coding in value["coding"]:
                yield from _tokens(coding)
        code = value.get("code", value.get("value"))
        if isinstance(code, str):
            yield str(value.get("system", "")), code


def _targets(value: Any) -> Iterator[str]:
    reference = value.get("reference") if isinstance(value, dict) else None
    if isinstance(reference, str):
        yield reference


def _points(asked: str, kept: str) -> bool:
    """Whether a reference is the one asked for: by id or Type/id, or to the letter where it is another server's."""
    match = _LITERAL.fullmatch(kept)
    if match is None:
        return _plain_case(asked) == kept
    wanted = _LITERAL.fullmatch(asked)
    return match[1] == wanted[1] if wanted else match[1].partition("/")[2] == asked


def _same(asked: tuple[str | None, str], kept: tuple[str, str], parameter: Parameter) -> bool:
    """Whether a token is the one asked for. Of a code both its implied system and none are right.

    Most code systems do not tell ``final`` from ``Final``, and R4 prefers finding too much to missing something.
    """
    system, code = asked
    if system is not None and system not in (kept[0], kept[0] or parameter.system):
        return False
    if not code:
        return bool(system)
    return code == kept[1] or (not parameter.exact and code.casefold() == kept[1].casefold())


def _words(value: Any) -> Iterator[str]:
    """The strings of a name or an address: their parts where they are a HumanName or an Address."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in _SPOKEN:
            found = value.get(part)
            yield from (one for one in (found if isinstance(found, list) else [found]) if isinstance(one, str))


def _spelled(text: str) -> str:
    return folded(_plain_case(text))


def _plain_case(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)

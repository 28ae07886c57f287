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
from twinward.fhir.resource_types import SHARED_TYPES, names
from twinward.fhir.strict_json import JsonObject
from twinward.fhir.times import interval

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
_ALWAYS = (-(1 << 62), 1 << 62)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter's kind, and the elements of the resource it looks at."""

    kind: Kind
    elements: tuple[str, ...]


def _table(text: str) -> dict[str, dict[str, Parameter]]:
    """Lines of ``Type: name=kind:element+element …``."""
    table: dict[str, dict[str, Parameter]] = {}
    for line in text.strip().splitlines():
        name, _, rest = line.strip().partition(": ")
        for one in rest.split():
            parameter, _, definition = one.partition("=")
            kind, _, elements = definition.partition(":")
            table.setdefault(name, {})[parameter] = Parameter(kind, tuple(elements.split("+")))  # type: ignore[arg-type]
    return table


_OWN = _table("""
    Patient: gender=token:gender birthdate=date:birthDate name=string:name family=string:name.family
    Patient: given=string:name.given identifier=token:identifier
    AllergyIntolerance: code=token:code category=token:category clinical-status=token:clinicalStatus
    CarePlan: category=token:category status=token:status date=date:period
    CareTeam: category=token:category status=token:status
    Condition: code=token:code category=token:category clinical-status=token:clinicalStatus
    Condition: onset-date=date:onsetDateTime+onsetPeriod recorded-date=date:recordedDate
    DiagnosticReport: code=token:code category=token:category status=token:status
    DiagnosticReport: date=date:effectiveDateTime+effectivePeriod
    DocumentReference: type=token:type category=token:category status=token:status date=date:date
    Encounter: class=token:class type=token:type status=token:status date=date:period
    Goal: lifecycle-status=token:lifecycleStatus target-date=date:target.dueDate
    Immunization: vaccine-code=token:vaccineCode status=token:status date=date:occurrenceDateTime
    MedicationRequest: code=token:medicationCodeableConcept intent=token:intent status=token:status
    MedicationRequest: authoredon=date:authoredOn
    Observation: code=token:code category=token:category status=token:status
    Observation: date=date:effectiveDateTime+effectivePeriod+effectiveInstant
    Procedure: code=token:code category=token:category status=token:status
    Procedure: date=date:performedDateTime+performedPeriod
    ServiceRequest: code=token:code category=token:category status=token:status authored=date:authoredOn
    Organization: name=string:name identifier=token:identifier
    Practitioner: name=string:name identifier=token:identifier
    Location: name=string:name
""")
_OF_SUBJECT = names("""
    CarePlan CareTeam Condition DiagnosticReport DocumentReference Encounter Goal ImagingStudy Media
    MedicationAdministration MedicationDispense MedicationRequest MedicationStatement Observation Procedure
    QuestionnaireResponse ServiceRequest Specimen
""")
_OF_PATIENT = _OF_SUBJECT | names("AllergyIntolerance Claim Device ExplanationOfBenefit Immunization Provenance")
_COMMON = {"_id": Parameter("token", ("id",)), "_lastUpdated": Parameter("date", ())}
_NO_SUBJECT = Parameter("reference", ())


def parameters_of(resource_type: str) -> dict[str, Parameter]:
    """Every parameter that a search of this type may have."""
    owner = {"patient": _NO_SUBJECT} if resource_type in _OF_PATIENT else {}
    if resource_type in _OF_SUBJECT:
        owner["subject"] = _NO_SUBJECT
    return _COMMON | owner | _OWN.get(resource_type, {})


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


def matches(parameter: Parameter, value: str, resource: JsonObject) -> bool:
    """Whether one of a parameter's alternatives matches a resource. The value was checked before."""
    kept = [found for element in parameter.elements for found in _values(resource, element.split("."))]
    if parameter.kind == "date":
        return matches_date(value, [found for one in kept if (found := _interval_of(one)) is not None])
    if parameter.kind == "string":
        words = [word.casefold() for one in kept for word in _words(one)]
        return any(word.startswith(_plain(one)) for one in alternatives(value) for word in words)
    tokens = [token for one in kept for token in _tokens(one)]
    return any(_same(token_parts(one), token) for one in alternatives(value) for token in tokens)


def matches_date(value: str, kept: list[Interval]) -> bool:
    """Whether one of the alternatives matches one of the intervals."""
    asked = [_asked("", one) for one in alternatives(value)]
    return any(_PREFIXES[prefix](one, moment) for prefix, one in asked for moment in kept)


def _asked(name: str, text: str) -> tuple[str, Interval]:
    prefix, moment = (text[:2], text[2:]) if text[:2] in _PREFIXES else ("eq", text)
    # In a query an unescaped + of a zone arrives as a blank.
    found = interval(moment.replace(" ", "+"))
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
    """(system, code) of a code, Coding, CodeableConcept or Identifier."""
    if isinstance(value, str):
        yield "", value
    elif isinstance(value, dict):
        if isinstance(value.get("coding"), list):
            for coding in value["coding"]:
                yield from _tokens(coding)
        code = value.get("code", value.get("value"))
        if isinstance(code, str):
            yield str(value.get("system", "")), code


def _same(asked: tuple[str | None, str], kept: tuple[str, str]) -> bool:
    system, code = asked
    return (system is None or system == kept[0]) and (code == kept[1] or (not code and bool(system)))


def _words(value: Any) -> Iterator[str]:
    """The strings of a name: its parts where it is a HumanName."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in ("text", "family", "given", "prefix", "suffix"):
            found = value.get(part)
            yield from (one for one in (found if isinstance(found, list) else [found]) if isinstance(one, str))


def _plain(text: str) -> str:
    return _ESCAPED.sub(r"\1", text).casefold()


def _interval_of(value: Any) -> Interval | None:
    if not isinstance(value, dict):
        return interval(value)
    start, end = interval(value.get("start")), interval(value.get("end"))
    if start is None and end is None:
        return None
    return (start[0] if start else _ALWAYS[0], end[1] if end else _ALWAYS[1])

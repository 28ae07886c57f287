"""A bundle sorted by whom it is about: the one place where FHIR becomes records and measurements.

Whose a resource is, its ``subject``, ``patient``, ``beneficiary``, ``individual`` or ``for`` says. What they say, and
this node cannot tell whom it means (a placeholder of no entry, another server's address, an identifier, a mere name) is
nobody's. Only where it has none of them it is the only patient's of the bundle, or the only one's that it refers to
anywhere; the latter also where its subject is a device, a group or a place. Shared types (organisations, practitioners,
places …) go to the hospital's directory twin.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from twinward.core.vocabulary import SENSITIVE, Category
from twinward.features.derivation import Measurement, Person
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.json.strict_json import JsonObject
from twinward.fhir.json.values import to_date, to_ms
from twinward.fhir.mapping.bundle import Entry, ParsedBundle
from twinward.fhir.mapping.categories import LOINC, category_of
from twinward.fhir.mapping.coded_facts import facts_of
from twinward.fhir.resource_types import SHARED_TYPES, names
from twinward.twins.models import DIRECTORY, IfKept, ImportRecord, PatientImport
from twinward.vault.interfaces import MAX_REFERENCE_BYTES

if TYPE_CHECKING:
    pass


def element(resource: JsonObject, *names: str) -> Any:
    """A nested element of decoded JSON, or None where a step is missing or not an object."""
    found: Any = resource
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found


_IDENTIFIED = names("""
    Patient AllergyIntolerance CarePlan CareTeam Condition Coverage Device DiagnosticReport DocumentReference Encounter
    Goal Immunization Location Medication MedicationDispense MedicationRequest Observation Organization Practitioner
    PractitionerRole Procedure RelatedPerson ServiceRequest Specimen
""")
"""Types found by their business identifiers, through blind tags: across patients, nothing is opened in vain."""


def is_identified(resource_type: str) -> bool:
    """Whether resources of a type are found by their business identifiers."""
    return resource_type in _IDENTIFIED


_MAX_SITE_CHARS = 200
_MAX_IDENTIFIERS = 24
"""Of one resource, that it is found by: each takes two of the references a record may have."""

_OWNER_ELEMENTS = ("subject", "patient", "beneficiary", "individual", "for")


def patient_imports(bundle: ParsedBundle, *, source: str = "") -> list[PatientImport]:
    """One import per patient of a bundle, and one for the directory if it carries shared resources.

    Raises:
        InvalidResource: a resource of nobody or of two patients, or of no patient in a bundle that has not exactly one.
    """
    patients = [entry.reference for entry in bundle.entries if entry.resource_type == "Patient"]
    only = patients[0] if len(patients) == 1 else None
    owned: dict[str, list[Entry]] = {}
    for entry in bundle.entries:
        owned.setdefault(_owner(entry, only), []).append(entry)
    # The directory first: a patient's records may name what it holds.
    order = sorted(owned, key=lambda reference: reference != DIRECTORY)
    return [
        _directory_import(owned[reference], source)
        if reference == DIRECTORY
        else _patient_import(reference, owned[reference], source)
        for reference in order
    ]


def gather_directory(imports: Iterable[PatientImport]) -> Iterator[PatientImport]:
    """Pass patients through; hold what is for the directory and give it at the end as one import.

    Of several copies the first stays, unless a later one is an update.
    """
    held: dict[str, ImportRecord] = {}
    for one in imports:
        if one.reference == DIRECTORY:
            for record in one.records:
                if record.if_kept is IfKept.UPDATE:
                    held.pop(record.reference, None)
                held.setdefault(record.reference, record)
        else:
            yield one
    if held:
        marker = held.pop(DIRECTORY, None)
        records = (*([marker] if marker else []), *held.values())
        yield PatientImport(DIRECTORY, records, source="shared resources")


def _owner(entry: Entry, only_patient: str | None) -> str:
    if entry.resource_type == "Patient":
        return entry.reference
    named = [one for name in _OWNER_ELEMENTS for one in _items(entry.body.get(name))]
    owners = [entry.refers_to(one.get("reference")) if isinstance(one, dict) else None for one in named]
    patients = {one for one in owners if one is not None and one.startswith("Patient/")}
    if len(patients) > 1:
        issue = Issue("invariant", f"{entry.path}.subject", "names two patients, and a record has one")
        raise InvalidResource(issue, hint="file it for each of them, under ids of their own")
    if patients and None not in owners:
        return patients.pop()
    if entry.resource_type in SHARED_TYPES and not patients:
        return DIRECTORY
    if None in owners:
        issue = Issue("not-found", f"{entry.path}.subject", "names no patient of this node or of this bundle")
        raise InvalidResource(issue, hint="refer to Patient/id here, or to the fullUrl of an entry of the bundle")
    if not owners and only_patient is not None:
        return only_patient
    # Elsewhere (the target of a Provenance, the participant of an Appointment) one patient is as good as a subject.
    anywhere = {one for one in map(entry.refers_to, references_in(entry.body)) if one and one.startswith("Patient/")}
    if len(anywhere) == 1:
        return anywhere.pop()
    issue = Issue("required", f"{entry.path}.subject", "names no patient, so nobody's consent could protect it")
    raise InvalidResource(issue, hint="send it together with its one patient, or refer to the patient in subject")


def _items(value: object) -> list[object]:
    """The items of an element that may be one or several; none where it is absent."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def references_in(value: object) -> Iterator[str]:
    """Every reference in a decoded resource. Its nesting is bounded by the decoder."""
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for inner in value.values():
            yield from references_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references_in(inner)


def _record(entry: Entry, category: Category) -> ImportRecord:
    found_by = tuple(_found_by(entry))
    return ImportRecord(entry.reference, entry.resource_type, category, entry.content, found_by, if_kept=entry.if_kept)


def identifier_key(resource_type: str, system: str | None, value: str) -> str:
    """What a resource is found by: an identifier with its system, or (None) whatever its system."""
    return json.dumps([f"{resource_type}?identifier", system, value], ensure_ascii=False)


def _found_by(entry: Entry) -> Iterator[str]:
    if not is_identified(entry.resource_type):
        return
    identifiers = entry.body.get("identifier")
    for one in (identifiers if isinstance(identifiers, list) else [])[:_MAX_IDENTIFIERS]:
        value = one.get("value") if isinstance(one, dict) else None
        if isinstance(value, str):
            kind = entry.resource_type
            keys = (identifier_key(kind, str(one.get("system", "")), value), identifier_key(kind, None, value))
            yield from (key for key in keys if len(key.encode()) <= MAX_REFERENCE_BYTES)


def _patient_import(reference: str, entries: list[Entry], source: str) -> PatientImport:
    person = next((person_of(entry.body) for entry in entries if entry.reference == reference), Person())
    records = tuple(_record(entry, category_of(entry.body)) for entry in entries)
    numbers = (number for entry in entries for number in measurements_of(entry.body, entry.reference))
    facts = (
        fact
        for entry, record in zip(entries, records, strict=True)
        if record.category not in SENSITIVE  # what is kept apart is counted nowhere
        for fact in facts_of(entry.body, entry.reference)
    )
    return PatientImport(
        reference=reference,
        records=records,
        measurements=(*numbers, *facts),
        person=person,
        source=source,
    )


def _directory_import(entries: list[Entry], source: str) -> PatientImport:
    marker = ImportRecord(DIRECTORY, "Directory", Category.ADMINISTRATIVE, b"{}")
    records = tuple(_record(entry, Category.ADMINISTRATIVE) for entry in entries)
    return PatientImport(DIRECTORY, (marker, *records), source=source)


FINALITY = {"preliminary": 0, "final": 1, "amended": 2, "corrected": 2}
"""Observation.status values whose number stands, as of ``Measurement``; not registered, cancelled, entered-in-error or
unknown. R4's value set has ``corrected`` as a kind of ``amended``."""


def measurements_of(observation: JsonObject, source: str) -> Iterator[Measurement]:
    """Every LOINC-coded number of one Observation that says when it was taken; ``source`` is the record's name.

    Nothing where it is about something else than its subject (``focus``), or a ``modifierExtension`` says that it is
    not what it seems: nobody may read it who does not know the extension (R4, extensibility, 2.4.0.1).
    """
    finality = FINALITY.get(str(observation.get("status")))
    if observation.get("resourceType") != "Observation" or finality is None or "focus" in observation:
        return
    at_ms = _taken_at_ms(observation)
    if at_ms is None or "modifierExtension" in observation:
        return
    told_ms = to_ms(observation.get("issued")) or 0
    components = observation.get("component")
    for part in [observation, *(components if isinstance(components, list) else [])]:
        if isinstance(part, dict) and "modifierExtension" not in part:
            for code, number, unit in _numbers(part):
                yield Measurement(code, number, unit, at_ms, source, finality, told_ms)


def person_of(patient: JsonObject) -> Person:
    """Birth date, administrative gender and death of a Patient. Other and unknown genders stay unknown."""
    female = {"female": True, "male": False}.get(str(patient.get("gender")))
    died = patient.get("deceasedDateTime")
    return Person(
        birth_date=to_date(patient.get("birthDate")),
        female=female,
        died=to_date(died[:10]) if isinstance(died, str) else None,
        is_dead=died is not None or patient.get("deceasedBoolean") is True,
        site=_site_of(patient),
    )


def _site_of(patient: JsonObject) -> str:
    """What ``Patient.managingOrganization`` is called: its reference, else its identifier's value; empty for none."""
    found = element(patient, "managingOrganization", "reference")
    if not isinstance(found, str):
        found = element(patient, "managingOrganization", "identifier", "value")
    return found if isinstance(found, str) and len(found) <= _MAX_SITE_CHARS else ""


def _taken_at_ms(observation: JsonObject) -> int | None:
    events = element(observation, "effectiveTiming", "event")
    candidates = (
        observation.get("effectiveDateTime"),
        observation.get("effectiveInstant"),
        *sorted(events if isinstance(events, list) else (), key=lambda event: to_ms(event) or 0, reverse=True),
        element(observation, "effectiveTiming", "repeat", "boundsPeriod", "end"),
        element(observation, "effectiveTiming", "repeat", "boundsPeriod", "start"),
        element(observation, "effectivePeriod", "end"),
        element(observation, "effectivePeriod", "start"),
        observation.get("issued"),
    )
    return next((at_ms for value in candidates if (at_ms := to_ms(value)) is not None), None)


def _numbers(part: JsonObject) -> Iterator[tuple[str, float, str]]:
    """LOINC code, number and unit."""
    quantity = part.get("valueQuantity")
    # A comparator makes a bound of the number ("< 0.2"), not a measurement; a reason why there is none denies it.
    if not isinstance(quantity, dict) or "comparator" in quantity or "dataAbsentReason" in part:
        return
    value, unit = quantity.get("value"), _unit(quantity)
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not unit:
        return
    number = float(value)
    codings = element(part, "code", "coding")
    for coding in codings if isinstance(codings, list) and math.isfinite(number) else []:
        if isinstance(coding, dict) and coding.get("system") == LOINC and isinstance(coding.get("code"), str):
            yield coding["code"], number, unit


def _unit(quantity: JsonObject) -> str:
    coded: Any = quantity.get("code") if quantity.get("system") == "http://unitsofmeasure.org" else None
    unit = coded or quantity.get("unit")
    return unit if isinstance(unit, str) else ""

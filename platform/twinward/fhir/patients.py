"""A bundle sorted by whom it is about: the one place where FHIR becomes records and measurements.

Whose a resource is: its ``subject``, ``patient``, ``beneficiary``, ``individual`` or ``for`` element; else, unless it
is of a shared type, the only patient of the bundle; else the only patient that it refers to anywhere. Shared types
(organisations, practitioners, places …) go to the hospital's directory twin, where they are created once and never
overwritten by a patient's bundle: two patients' bundles often carry differing copies, and importing one again must not
undo the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from twinward.fhir.bundle import Entry, ParsedBundle
from twinward.fhir.categories import category_of
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.observations import measurements_of, person_of
from twinward.fhir.resource_types import SHARED_TYPES
from twinward.fhir.search_parameters import is_identified
from twinward.twins.measurements import Person
from twinward.twins.models import DIRECTORY, ImportRecord, PatientImport
from twinward.vault.payload import MAX_REFERENCE_BYTES
from twinward.vocabulary import Category

_MAX_IDENTIFIERS = 24
"""Of one resource, that it is found by: each takes two of the references a record may have."""

_OWNER_ELEMENTS = ("subject", "patient", "beneficiary", "individual", "for")


def patient_imports(bundle: ParsedBundle, *, source: str = "") -> list[PatientImport]:
    """One import per patient of a bundle, and one for the directory if it carries shared resources.

    Raises:
        InvalidResource: a resource of no patient, in a bundle that does not have exactly one.
    """
    patients = [entry.reference for entry in bundle.entries if entry.resource_type == "Patient"]
    only = patients[0] if len(patients) == 1 else None
    owned: dict[str, list[Entry]] = {}
    for entry in bundle.entries:
        owned.setdefault(_owner(bundle, entry, only), []).append(entry)
    # The directory first: a patient's records may name what it holds.
    order = sorted(owned, key=lambda reference: reference != DIRECTORY)
    return [
        _directory_import(owned[reference], source)
        if reference == DIRECTORY
        else _patient_import(reference, owned[reference], source)
        for reference in order
    ]


def gather_directory(imports: Iterable[PatientImport]) -> Iterator[PatientImport]:
    """Pass patients through; hold what is for the directory and give it at the end as one import, first copy first."""
    held: dict[str, ImportRecord] = {}
    for one in imports:
        if one.reference == DIRECTORY:
            for record in one.records:
                held.setdefault(record.reference, record)
        else:
            yield one
    if held:
        yield PatientImport(DIRECTORY, tuple(held.values()), keep_existing=True, source="shared resources")


def _owner(bundle: ParsedBundle, entry: Entry, only_patient: str | None) -> str:
    if entry.resource_type == "Patient":
        return entry.reference
    for reference in _references(entry):
        resolved = bundle.resolve(reference)
        if resolved is not None and resolved.startswith("Patient/"):
            return resolved
    if entry.resource_type in SHARED_TYPES:
        return DIRECTORY
    if only_patient is not None:
        return only_patient
    # Elsewhere (the target of a Provenance, the participant of an Appointment) one patient is as good as a subject.
    named = {one for one in map(bundle.resolve, _all_references(entry.body)) if one and one.startswith("Patient/")}
    if len(named) == 1:
        return named.pop()
    issue = Issue("required", f"{entry.path}.subject", "names no patient, so nobody's consent could protect it")
    raise InvalidResource(issue, hint="send it together with its one patient, or refer to the patient in subject")


def _references(entry: Entry) -> Iterator[object]:
    for name in _OWNER_ELEMENTS:
        value = entry.body.get(name)
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                yield one.get("reference")


def _all_references(value: object) -> Iterator[object]:
    """Every reference in a decoded resource. Its nesting is bounded by the decoder."""
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for inner in value.values():
            yield from _all_references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _all_references(inner)


def _record(entry: Entry, category: Category) -> ImportRecord:
    return ImportRecord(entry.reference, entry.resource_type, category, entry.content, tuple(_found_by(entry)))


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
    return PatientImport(
        reference=reference,
        records=tuple(_record(entry, category_of(entry.body)) for entry in entries),
        measurements=tuple(number for entry in entries for number in measurements_of(entry.body)),
        person=person,
        source=source,
    )


def _directory_import(entries: list[Entry], source: str) -> PatientImport:
    marker = ImportRecord(DIRECTORY, "Directory", Category.ADMINISTRATIVE, b"{}")
    records = tuple(_record(entry, Category.ADMINISTRATIVE) for entry in entries)
    return PatientImport(DIRECTORY, (marker, *records), keep_existing=True, source=source)

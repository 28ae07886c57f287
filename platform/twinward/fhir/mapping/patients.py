"""A bundle sorted by whom it is about: the one place where FHIR becomes records and measurements.

Whose a resource is, its ``subject``, ``patient``, ``beneficiary``, ``individual`` or ``for`` says. What they say, and
this node cannot tell whom it means (a placeholder of no entry, another server's address, an identifier, a mere name) is
nobody's. Only where it has none of them it is the only patient's of the bundle, or the only one's that it refers to
anywhere; the latter also where its subject is a device, a group or a place. Shared types (organisations, practitioners,
places …) go to the hospital's directory twin.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from twinward.core.vocabulary import Category
from twinward.features.derivation import Person
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.mapping.bundle import Entry, ParsedBundle
from twinward.fhir.mapping.categories import category_of
from twinward.fhir.mapping.observations import measurements_of, person_of
from twinward.fhir.resource_types import SHARED_TYPES
from twinward.fhir.search.parameters import is_identified
from twinward.twins.models import DIRECTORY, IfKept, ImportRecord, PatientImport
from twinward.vault.interfaces import MAX_REFERENCE_BYTES

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
    anywhere = {one for one in map(entry.refers_to, _all_references(entry.body)) if one and one.startswith("Patient/")}
    if len(anywhere) == 1:
        return anywhere.pop()
    issue = Issue("required", f"{entry.path}.subject", "names no patient, so nobody's consent could protect it")
    raise InvalidResource(issue, hint="send it together with its one patient, or refer to the patient in subject")


def _items(value: object) -> list[object]:
    """The items of an element that may be one or several; none where it is absent."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


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
    return PatientImport(
        reference=reference,
        records=tuple(_record(entry, category_of(entry.body)) for entry in entries),
        measurements=tuple(number for entry in entries for number in measurements_of(entry.body, entry.reference)),
        person=person,
        source=source,
    )


def _directory_import(entries: list[Entry], source: str) -> PatientImport:
    marker = ImportRecord(DIRECTORY, "Directory", Category.ADMINISTRATIVE, b"{}")
    records = tuple(_record(entry, Category.ADMINISTRATIVE) for entry in entries)
    return PatientImport(DIRECTORY, (marker, *records), source=source)

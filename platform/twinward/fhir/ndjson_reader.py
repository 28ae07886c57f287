"""One line of NDJSON as a bulk record: fast where it can be, strict where it must be, with one outcome.

The common shape of an Observation is decoded by a msgspec struct, several hundred thousand lines a minute; everything
else, and every line about which the struct could be wrong, goes through the strict decoder.

**Why the fast way accepts nothing that the strict one refuses.** msgspec takes the last of two equal keys. So a line
is taken fast only if it has no backslash: then a quote in it delimits a key or a string, and nothing else. The struct
encoded again has the quotes of what was kept; a key that stood twice took its own with it. So equal numbers of quotes
mean that no key did. Elements that repeat from line to line (codes, categories) stay raw bytes that were checked
strictly the first time they were seen.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Literal, NamedTuple

import msgspec

from twinward.fhir.bundle import ParsedBundle, read_bundle
from twinward.fhir.categories import LOINC, category_of
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.observations import measurements_of, person_of
from twinward.fhir.patients import patient_imports
from twinward.fhir.strict_json import REQUEST_LIMITS, JsonObject, decode
from twinward.fhir.validate import Depth
from twinward.twins.bulk_records import BulkRecord, Reading
from twinward.vocabulary import Category

_SEEN_AT_MOST = 8_192
"""Distinct codes, categories … remembered as checked; a stream that has more is read the strict way, not wrongly."""

_MAX_NUMBER_SLACK = 24
"""Bytes a line may lose when encoded again: a number written longer than it needs. More goes the strict way."""

_FULL_MOMENT = len("2026-01-01T00:00:00Z")
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_COUNTED = frozenset({"final", "amended", "corrected", "preliminary"})


class _Struct(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    pass


class _Reference(_Struct):
    reference: str
    display: str | msgspec.UnsetType = msgspec.UNSET


class _Quantity(_Struct):
    value: float
    unit: str | msgspec.UnsetType = msgspec.UNSET
    system: str | msgspec.UnsetType = msgspec.UNSET
    code: str | msgspec.UnsetType = msgspec.UNSET


_NONE = msgspec.Raw()


class _Component(_Struct):
    code: msgspec.Raw
    valueQuantity: _Quantity  # noqa: N815 - FHIR's names


class _Observation(_Struct):
    resourceType: Literal["Observation"]  # noqa: N815
    id: str
    status: str
    code: msgspec.Raw
    subject: _Reference
    category: msgspec.Raw = _NONE
    meta: msgspec.Raw = _NONE
    encounter: _Reference | msgspec.UnsetType = msgspec.UNSET
    effectiveDateTime: str = ""  # noqa: N815
    issued: str = ""
    performer: msgspec.Raw = _NONE
    valueQuantity: _Quantity | msgspec.UnsetType = msgspec.UNSET  # noqa: N815
    valueCodeableConcept: msgspec.Raw = _NONE  # noqa: N815
    valueString: str | msgspec.UnsetType = msgspec.UNSET  # noqa: N815
    interpretation: msgspec.Raw = _NONE
    referenceRange: msgspec.Raw = _NONE  # noqa: N815
    component: list[_Component] | msgspec.UnsetType = msgspec.UNSET


class _Code(NamedTuple):
    """What is known of a code that was checked strictly: its category and its LOINC codes."""

    category: Category
    loinc: tuple[str, ...]


class NdjsonReader:
    """Reads lines into bulk records. It remembers what it has checked, so one reader serves many files.

    Args:
        wanted: LOINC codes of the readings to be taken out of Observations.
        depth: ``full`` validates every resource against its FHIR model, and takes the strict way for all.
    """

    def __init__(self, wanted: Collection[str], *, depth: Depth = "structure") -> None:
        self._depth = depth
        self._wanted = wanted
        self._decode = msgspec.json.Decoder(_Observation).decode
        self._encode = msgspec.json.Encoder().encode
        self._codes: dict[tuple[bytes, bytes], _Code] = {}
        self._checked: set[bytes] = set()

    def read(self, line: bytes) -> BulkRecord:
        """One line as a record.

        Raises:
            InvalidResource: not one R4 resource, or one of no patient.
        """
        if self._depth == "structure":
            found = self._fast(line)
            if found is not None:
                return found
        return self._strict(line)

    def _fast(self, line: bytes) -> BulkRecord | None:
        """An Observation of the common shape; None for whatever must go the strict way."""
        if b"\\" in line:
            return None
        try:
            one = self._decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        again = self._encode(one)
        if again.count(b'"') != line.count(b'"') or len(line) - len(again) > _MAX_NUMBER_SLACK:
            return None
        subject = one.subject.reference
        if not subject.startswith("Patient/") or not _ID.fullmatch(one.id) or not _ID.fullmatch(subject, 8):
            return None
        if len(one.effectiveDateTime or one.issued) < _FULL_MOMENT:
            return None  # a partial date is the strict way's to read
        code = self._code(bytes(one.category), bytes(one.code))
        if code is None or not self._known(one):
            return None
        return BulkRecord(
            subject, "Observation", f"Observation/{one.id}", code.category, line, (), None, self._readings(one, code)
        )

    def _readings(self, one: _Observation, code: _Code) -> tuple[Reading, ...]:
        when = one.effectiveDateTime or one.issued
        if one.status not in _COUNTED:
            return ()
        found = []
        quantity = one.valueQuantity
        if quantity is not msgspec.UNSET and code.loinc:
            unit = _unit(quantity)
            if unit:
                found += [Reading(name, quantity.value, unit, when) for name in code.loinc]
        if one.component is not msgspec.UNSET:
            for part in one.component:
                known = self._code(b"", bytes(part.code))
                unit = _unit(part.valueQuantity)
                if known is not None and unit:
                    found += [Reading(name, part.valueQuantity.value, unit, when) for name in known.loinc]
        return tuple(found)

    def _code(self, category: bytes, code: bytes) -> _Code | None:
        key = category, code
        known = self._codes.get(key)
        if known is None and len(self._codes) < _SEEN_AT_MOST:
            body = b'{"resourceType":"Observation"' + (b',"category":' + category if category else b"") + b',"code":'
            tree = _decoded(body + code + b"}")
            if tree is not None:
                known = self._codes[key] = _Code(
                    category_of(tree), tuple(one for one in _loinc(tree) if one in self._wanted)
                )
        return known

    def _known(self, one: _Observation) -> bool:
        """Whether every element that was left raw was checked strictly, now or before."""
        if one.component is not msgspec.UNSET:
            for part in one.component:
                if self._code(b"", bytes(part.code)) is None:
                    return False
        for element in (one.meta, one.performer, one.valueCodeableConcept, one.interpretation, one.referenceRange):
            if element is _NONE:
                continue
            raw = bytes(element)
            if raw not in self._checked:
                if len(self._checked) >= _SEEN_AT_MOST or _decoded(b'{"_":' + raw + b"}") is None:
                    return False
                self._checked.add(raw)
        return True

    def _strict(self, line: bytes) -> BulkRecord:
        bundle = read_bundle(line, limits=REQUEST_LIMITS, depth=self._depth)
        if bundle.kind != "resource":
            raise InvalidResource(Issue("structure", "Bundle", "a line holds one resource, not a Bundle"))
        entry = bundle.entries[0]
        source = patient_imports(ParsedBundle("resource", (entry,), {}))[0]
        record = source.records[-1]  # before it stands the directory's marker, where it is the directory's
        person = person_of(entry.body) if entry.resource_type == "Patient" else None
        readings = tuple(_reading(entry.body)) if entry.resource_type == "Observation" else ()
        return BulkRecord(
            source.reference,
            entry.resource_type,
            record.reference,
            record.category,
            record.content,
            record.found_by,
            person,
            readings,
        )


def _decoded(body: bytes) -> JsonObject | None:
    try:
        return decode(body)
    except InvalidResource:
        return None


def _loinc(tree: JsonObject) -> Iterator[str]:
    coding = tree["code"].get("coding") if isinstance(tree.get("code"), dict) else None
    for one in coding if isinstance(coding, list) else []:
        if isinstance(one, dict) and one.get("system") == LOINC and isinstance(one.get("code"), str):
            yield one["code"]


def _reading(body: JsonObject) -> Iterator[Reading]:
    for one in measurements_of(body):
        yield Reading(one.code, one.value, one.unit, one.at_ms)


def _unit(quantity: _Quantity) -> str:
    coded = quantity.code if quantity.system == "http://unitsofmeasure.org" else msgspec.UNSET
    unit = coded or quantity.unit  # UNSET is falsy
    return unit if isinstance(unit, str) else ""

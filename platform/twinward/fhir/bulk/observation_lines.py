"""Observations of the common shape out of lines, by a msgspec struct: several hundred thousand lines a minute.

**Why it accepts nothing that the strict way refuses.** msgspec takes the last of two equal keys. So a line is taken
only if it has no backslash: then a quote in it delimits a key or a string, and nothing else. The struct encoded again
has the quotes of what was kept; a key that stood twice took its own with it. So equal numbers of quotes mean that no
key did. Elements that repeat from line to line (codes, categories) stay raw bytes that were checked strictly, and
validated as elements of an Observation, the first time they were seen. What is left of an Observation (status, times,
references, quantities) is checked by the same definitions as everywhere.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Literal, NamedTuple

import msgspec

from twinward.core.vocabulary import SENSITIVE, Category
from twinward.features.derivation import Measurement
from twinward.fhir.errors import InvalidResource
from twinward.fhir.json.edits import names_server_meta, object_of, parted, without_server_meta
from twinward.fhir.json.strict_json import JsonObject, decode
from twinward.fhir.json.values import to_ms
from twinward.fhir.mapping.categories import LOINC, filed_under, ordinary_category_of
from twinward.fhir.mapping.records import FINALITY, references_in
from twinward.fhir.sensitivity.content import sensitivities_of_part
from twinward.fhir.validation.definitions import Check, Element, kind_of
from twinward.fhir.validation.validator import element_faults
from twinward.twins.models import BulkRecord, IfKept

SEEN_AT_MOST = 8_192
"""Distinct codes, categories … remembered as checked; a stream that has more is read the strict way, not wrongly."""

MAX_LINE_BYTES = 8 * 1024
"""What is remembered of a line is a part of it: longer ones go the strict way, so that it all stays within megabytes,
whatever a small compressed file holds."""

MAX_NUMBER_SLACK = 24
"""Bytes a line may lose when encoded again: a number written longer than it needs. More goes the strict way."""

LEAST_NUMBER, MOST_NUMBER = 1e-300, 1e300
"""Numbers whose exponent the strict decoder is sure to take; others, and 0 (of which 0e999 is one way), go its way."""

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What the struct's decoder raises for bytes that the strict way has to say something about."""

_FULL_MOMENT = len("2026-01-01T00:00:00Z")
ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_RAW = ("meta", "performer", "valueCodeableConcept", "interpretation", "referenceRange")


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
_NOTHING: frozenset[Category] = frozenset()


class _Component(_Struct):
    code: msgspec.Raw
    valueQuantity: _Quantity  # noqa: N815 - FHIR's names


class CommonObservation(_Struct):
    """The common shape."""

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
    """What is known of a code that was checked strictly: its category, what else it tells of, its LOINC codes."""

    category: Category
    sensitivities: frozenset[Category]
    loinc: tuple[str, ...]


class ObservationLines:
    """Takes Observations of the common shape. It remembers what it has checked.

    Args:
        wanted: LOINC codes of the readings to be taken out.
        if_kept: what becomes of one whose name is kept already.
    """

    def __init__(self, wanted: Collection[str], if_kept: IfKept) -> None:
        self._wanted = wanted
        self.if_kept = if_kept
        self._decode = msgspec.json.Decoder(CommonObservation).decode
        self._encode = msgspec.json.Encoder().encode
        self._codes: dict[tuple[bytes, bytes], _Code] = {}
        self._checked: dict[tuple[str, bytes], frozenset[Category]] = {}
        self._units: dict[tuple[object, object, object], frozenset[Category]] = {}
        elements = kind_of("Observation").elements
        self._is_status, self._is_instant = (_check(elements[name]) for name in ("status", "issued"))
        self._moment = ""

    def record(self, line: bytes) -> BulkRecord | None:
        """An Observation of the common shape; None for whatever must go the strict way."""
        one = self._common(line)
        if one is None or not self._conforms(one):
            return None
        is_dated = names_server_meta(bytes(one.meta))
        if is_dated and not self._is_dated(one):
            return None
        readings = self._readings(one)
        code = self._code(bytes(one.category), bytes(one.code))
        told = self._told(one)
        if code is None or told is None or readings is None:
            return None
        sensitivities = told | code.sensitivities
        if sensitivities >= SENSITIVE:
            return None  # a label of confidentiality means all of them only where nothing beside it says which
        # What was left raw is known to be well-formed only now.
        content = without_server_meta(line) if is_dated else line
        category = filed_under(sensitivities, code.category) if sensitivities else code.category
        subject, reference = one.subject.reference, f"Observation/{one.id}"
        return BulkRecord(subject, "Observation", reference, category, content, (), None, readings, self.if_kept)

    def _common(self, line: bytes) -> CommonObservation | None:
        """The line by the struct, where that cannot be wrong about its keys, names its patient and a full moment."""
        if len(line) > MAX_LINE_BYTES or b"\\" in line:
            return None
        try:
            one = self._decode(line)
        except UNREADABLE:
            return None
        again = self._encode(one)
        if again.count(b'"') != line.count(b'"') or len(line) - len(again) > MAX_NUMBER_SLACK:
            return None
        subject = one.subject.reference
        if not subject.startswith("Patient/") or not ID.fullmatch(one.id) or not ID.fullmatch(subject, 8):
            return None
        # A partial date is the strict way's to read.
        return one if len(one.effectiveDateTime or one.issued) >= _FULL_MOMENT else None

    def _is_dated(self, one: CommonObservation) -> bool:
        """Whether a version and time of another server are as R4 writes them; ``meta`` loses them, as they are not kept
        and differ from line to line."""
        tree = _decoded(b'{"meta":' + bytes(one.meta) + b"}")
        if tree is None or not _conforming(tree):
            return False
        _, rest = parted(one.meta)
        one.meta = msgspec.Raw(object_of(rest)) if rest else _NONE
        return True

    def moment(self, effective: str, issued: str) -> tuple[int, int] | None:
        """When something was measured and when it was told (0 where that is not known), ms since the epoch; None for
        times that are wrong, or the strict way's to read."""
        if len(effective or issued) < _FULL_MOMENT:
            return None
        if not self._is_moment(effective) or (issued and not self._is_instant(issued)):
            return None
        at_ms = _moment(effective or issued)
        return None if at_ms is None else (at_ms, _moment(issued) or 0)

    def _conforms(self, one: CommonObservation) -> bool:
        """Whether what is not left raw keeps R4's rules; the strict way says which of them it breaks."""
        quantity, encounter = one.valueQuantity, one.encounter
        values = (quantity is not msgspec.UNSET) + (one.valueCodeableConcept is not _NONE)
        return (
            self._is_status(one.status)
            and self._is_moment(one.effectiveDateTime)
            and (not one.issued or self._is_instant(one.issued))
            and (quantity is msgspec.UNSET or self._is_quantity(quantity))
            and values + (one.valueString is not msgspec.UNSET) <= 1
            and one.valueString != ""
            and one.subject.display != ""
            and (encounter is msgspec.UNSET or (leads_out(encounter.reference) and encounter.display != ""))
            and (
                one.component is msgspec.UNSET
                or (
                    bool(one.component)
                    and not values  # obs-7 compares their codes with its own: rare, so the strict way's to do
                    and one.valueString is msgspec.UNSET
                    and all(self._is_quantity(part.valueQuantity) for part in one.component)
                )
            )
        )

    def _is_moment(self, text: str) -> bool:
        """Whether a dateTime names a full moment, as an instant does: often the very one of the line before."""
        if text and text != self._moment:
            if not self._is_instant(text):
                return False
            self._moment = text
        return True

    def _is_quantity(self, quantity: _Quantity) -> bool:
        if not LEAST_NUMBER < abs(quantity.value) < MOST_NUMBER:
            return False
        return self._told_by_unit(quantity) is not None

    def _told_by_unit(self, quantity: _Quantity) -> frozenset[Category] | None:
        """What a quantity tells of in words and codes: a unit is free text. None where R4 has no such one."""
        unit = quantity.unit, quantity.system, quantity.code
        found = self._units.get(unit)
        if found is None:
            named = {"unit": quantity.unit, "system": quantity.system, "code": quantity.code}
            given = {name: value for name, value in named.items() if value is not msgspec.UNSET}
            if given and element_faults("Observation", "valueQuantity", given):
                return None
            found = sensitivities_of_part(given)
            if len(self._units) < SEEN_AT_MOST:
                self._units[unit] = found
        return found

    def _readings(self, one: CommonObservation) -> tuple[Measurement, ...] | None:
        """As ``measurements_of``, of the wanted codes; None where the moment is the strict way's to read."""
        finality = FINALITY.get(one.status)
        if finality is None:
            return ()
        parts = [(bytes(one.category), bytes(one.code), one.valueQuantity)]
        if one.component is not msgspec.UNSET:
            parts += [(b"", bytes(part.code), part.valueQuantity) for part in one.component]
        found = []
        for category, code, quantity in parts:
            known = self._code(category, code)
            if quantity is not msgspec.UNSET and known is not None:
                unit = _unit(quantity)
                found += [(name, quantity.value, sys.intern(unit)) for name in known.loinc if unit]
        if not found:
            return ()
        at_ms = _moment(one.effectiveDateTime or one.issued)
        told_ms = _moment(one.issued) or 0
        if at_ms is None:
            return None
        source = f"Observation/{one.id}"
        return tuple(Measurement(name, value, unit, at_ms, source, finality, told_ms) for name, value, unit in found)

    def _code(self, category: bytes, code: bytes) -> _Code | None:
        key = category, code
        known = self._codes.get(key)
        if known is None and len(self._codes) < SEEN_AT_MOST:
            body = b'{"resourceType":"Observation"' + (b',"category":' + category if category else b"") + b',"code":'
            tree = _decoded(body + code + b"}")
            if tree is not None and _conforming(tree):
                known = self._codes[key] = _Code(
                    ordinary_category_of(tree),
                    sensitivities_of_part(tree),
                    tuple(one for one in _loinc(tree) if one in self._wanted),
                )
        return known

    def _told(self, one: CommonObservation) -> frozenset[Category] | None:
        """The sensitive categories that all but its code tells of; None unless every element that was left raw was
        checked strictly, now or before."""
        told: frozenset[Category] = _NOTHING
        if one.component is not msgspec.UNSET:
            for part in one.component:
                known = self._code(b"", bytes(part.code))
                if known is None:
                    return None
                told |= known.sensitivities
        for quantity in self._quantities(one):
            told |= self._told_by_unit(quantity) or _NOTHING
        raw = (one.meta, one.performer, one.valueCodeableConcept, one.interpretation, one.referenceRange)
        for name, element in zip(_RAW, raw, strict=True):
            if element is not _NONE:
                found = self._told_by(name, bytes(element))
                if found is None:
                    return None
                told |= found
        if one.valueString is not msgspec.UNSET:
            told |= sensitivities_of_part({"valueString": one.valueString})
        for reference in (one.subject, one.encounter):
            if reference is not msgspec.UNSET and reference.display is not msgspec.UNSET:
                told |= sensitivities_of_part(reference.display)
        return told

    def _quantities(self, one: CommonObservation) -> list[_Quantity]:
        parts = [] if one.component is msgspec.UNSET else [part.valueQuantity for part in one.component]
        return parts if one.valueQuantity is msgspec.UNSET else [one.valueQuantity, *parts]

    def _told_by(self, name: str, raw: bytes) -> frozenset[Category] | None:
        found = self._checked.get((name, raw))
        if found is None and len(self._checked) < SEEN_AT_MOST:
            tree = _decoded(b'{"' + name.encode() + b'":' + raw + b"}")
            if tree is not None and _conforming(tree):
                found = self._checked[name, raw] = sensitivities_of_part(tree)
        return found


def leads_out(reference: str) -> bool:
    """Whether a reference is one, to no contained resource (the common shape contains none, ref-1) and by no search:
    what that finds is the strict way's to say."""
    return reference != "" and reference[0] != "#" and "?" not in reference


def _decoded(body: bytes) -> JsonObject | None:
    try:
        return decode(body)
    except InvalidResource:
        return None


def _conforming(tree: JsonObject) -> bool:
    """Whether each member is valid as the element of an Observation that it is named after, and refers as the common
    shape does."""
    if not all(map(leads_out, references_in(tree))):
        return False
    return not any(element_faults("Observation", name, value) for name, value in tree.items() if name != "resourceType")


def _check(element: Element) -> Check:
    assert element.check is not None  # noqa: S101 - narrows the type: it is a primitive's
    return element.check


def _loinc(tree: JsonObject) -> Iterator[str]:
    coding = tree["code"].get("coding") if isinstance(tree.get("code"), dict) else None
    for one in coding if isinstance(coding, list) else []:
        if isinstance(one, dict) and one.get("system") == LOINC and isinstance(one.get("code"), str):
            yield one["code"]


@lru_cache(maxsize=4096)
def _moment(text: str) -> int | None:
    """Records that were told together share their moments."""
    return to_ms(text)


def _unit(quantity: _Quantity) -> str:
    coded = quantity.code if quantity.system == "http://unitsofmeasure.org" else msgspec.UNSET
    unit = coded or quantity.unit  # UNSET is falsy
    return unit if isinstance(unit, str) else ""

"""Observations of the common shape, many lines at a time: what repeats from line to line is looked up, not checked.

A line's *form* is all of it but its id, its references, its times and its number: status, category, code, unit and the
elements that stay raw, each in its very bytes. What the way line by line (``ObservationLines.record``) said of the
first line of a form holds for every other, so only what the form leaves out is checked again, by the same rules. That
way is the oracle as well as the way of every line that is passed over here: it, and the strict one behind it, decide.

**No key twice**: of lines without a backslash, the structs encoded again have at most the lines' quotes, each at most
its own line's. So one count over all of them says it of each; where the counts differ, nothing is taken here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from twinward.core.late_module import LateModule
from twinward.core.vocabulary import Category
from twinward.features.derivation import Measurement
from twinward.fhir.bulk.observation_lines import (
    ID,
    LEAST_NUMBER,
    MAX_LINE_BYTES,
    MAX_NUMBER_SLACK,
    MOST_NUMBER,
    SEEN_AT_MOST,
    UNREADABLE,
    CommonObservation,
    ObservationLines,
    leads_out,
)
from twinward.twins.models import BulkRecord

if TYPE_CHECKING:
    import numpy as np
else:
    np = LateModule("numpy")

_UNSET = msgspec.UNSET
_QUOTE = ord('"')

_Key = tuple[object, ...]


class _Form(NamedTuple):
    """What is known of a form: where its records belong, and which readings they have (LOINC code, unit, finality)."""

    category: Category
    readings: tuple[tuple[str, str, int], ...]


class ObservationColumns:
    """Takes lines of forms it knows. It remembers forms, patients' references and moments that were checked.

    Args:
        lines: the way line by line, which it learns forms from.
    """

    def __init__(self, lines: ObservationLines) -> None:
        self._lines = lines
        self._decode = msgspec.json.Decoder(CommonObservation).decode
        self._encode = msgspec.json.Encoder().encode
        self._forms: dict[_Key, _Form] = {}
        self._subjects: set[str] = set()
        self._moments: dict[tuple[str, str], tuple[int, int]] = {}

    def records(self, lines: Sequence[bytes]) -> list[BulkRecord | None]:
        """A record for each line that can be taken at once; None for each that must go line by line."""
        found: list[BulkRecord | None] = [None] * len(lines)
        places: list[int] = []
        plain: list[bytes] = []
        ones: list[CommonObservation] = []
        for place, line in enumerate(lines):
            if len(line) <= MAX_LINE_BYTES and b"\\" not in line:
                try:
                    ones.append(self._decode(line))
                except UNREADABLE:
                    continue
                places.append(place)
                plain.append(line)
        again = list(map(self._encode, ones))
        if _quotes(plain) == _quotes(again):
            for place, line, one, other in zip(places, plain, ones, again, strict=True):
                if len(line) - len(other) <= MAX_NUMBER_SLACK:
                    found[place] = self._record(line, one)
        return found

    def _record(self, line: bytes, one: CommonObservation) -> BulkRecord | None:
        """A line whose keys are known to stand once."""
        quantity, encounter, subject = one.valueQuantity, one.encounter, one.subject
        if (
            one.component is not _UNSET
            or one.valueString is not _UNSET
            or subject.display is not _UNSET
            or (encounter is not _UNSET and (encounter.display is not _UNSET or not leads_out(encounter.reference)))
            or not ID.fullmatch(one.id)
        ):
            return None
        value, unit = 0.0, None
        if quantity is not _UNSET:
            value, unit = quantity.value, (quantity.unit, quantity.system, quantity.code)
            if not LEAST_NUMBER < abs(value) < MOST_NUMBER:
                return None
        key: _Key = (
            one.status,
            unit,
            bytes(one.code),
            bytes(one.category),
            bytes(one.meta),
            bytes(one.performer),
            bytes(one.valueCodeableConcept),
            bytes(one.interpretation),
            bytes(one.referenceRange),
        )
        form = self._forms.get(key)
        if form is None:
            return self._learned(key, line)
        owner, times = subject.reference, (one.effectiveDateTime, one.issued)
        if owner not in self._subjects and not self._is_patient(owner):
            return None
        moment = self._moments.get(times) or self._moment(times)
        if moment is None:
            return None
        name = f"Observation/{one.id}"
        readings: tuple[Measurement, ...] = ()
        if form.readings:
            at, told = moment
            readings = tuple(
                [Measurement(code, value, unit, at, name, finality, told) for code, unit, finality in form.readings]
            )
        return BulkRecord(owner, "Observation", name, form.category, line, (), None, readings, self._lines.if_kept)

    def _learned(self, key: _Key, line: bytes) -> BulkRecord | None:
        """The first line of a form, line by line. One that is kept otherwise than it came teaches nothing."""
        record = self._lines.record(line)
        if record is not None and record.content is line and len(self._forms) < SEEN_AT_MOST:
            readings = tuple((one.code, one.unit, one.finality) for one in record.readings)
            self._forms[key] = _Form(record.category, readings)
        return record

    def _is_patient(self, reference: str) -> bool:
        if not reference.startswith("Patient/") or not ID.fullmatch(reference, 8):
            return False
        if len(self._subjects) >= SEEN_AT_MOST:
            self._subjects.clear()
        self._subjects.add(reference)
        return True

    def _moment(self, times: tuple[str, str]) -> tuple[int, int] | None:
        found = self._lines.moment(*times)
        if found is not None:
            if len(self._moments) >= SEEN_AT_MOST:
                self._moments.clear()
            self._moments[times] = found
        return found


def _quotes(lines: Sequence[bytes]) -> int:
    return int(np.count_nonzero(np.frombuffer(b"".join(lines), np.uint8) == _QUOTE))

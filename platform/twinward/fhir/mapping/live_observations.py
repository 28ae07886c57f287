"""What came by the live pipe as FHIR R4 Observations: single readings as quantities, sampled hours as SampledData.

An hour of one signal by one device is sampled where its values lie on a raster: one Observation, a gap or an artefact
an ``E`` in it (https://hl7.org/fhir/R4/datatypes.html#SampledData). Else each value is an Observation, artefacts left
out. Ids say whose, of which category and when, and are otherwise digests: a reading has the same id wherever it is
shown, and is found by it.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from twinward.core.clock import iso
from twinward.core.late_module import LateModule
from twinward.core.vocabulary import Category, RecordId, TwinId
from twinward.live.models import QUALITIES, Quality
from twinward.live.signals import BY_NAME, LOINC, Signal
from twinward.live.storage.columns import Columns
from twinward.live.storage.series import Run
from twinward.live.timeseries import Samples, joined

if TYPE_CHECKING:
    import numpy as np
else:
    np = LateModule("numpy")

LEAST_SAMPLED: Final = 4
"""Fewer values are told one by one."""
MOST_SLOTS: Final = 2
"""A raster may have so many slots for each value: one that is mostly gaps is none."""
_UCUM: Final = "http://unitsofmeasure.org"
_CATEGORIES: Final = "http://terminology.hl7.org/CodeSystem/observation-category"
_CATEGORY: Final = {Category.VITALS: "vital-signs", Category.LABS: "laboratory", Category.MONITORING: "therapy"}
_ORDER: Final = (Category.VITALS, Category.LABS, Category.MONITORING)
"""In which ids name categories: never changed, for ids are kept elsewhere."""
_ID: Final = re.compile(r"live-([0-9a-f]{32})-f([0-9a-f])([0-9a-f]{11})[0-9a-f]{13}")
_FOREVER_MS: Final = 1 << 50
_ARTEFACT: Final = QUALITIES.index(Quality.ARTEFACT)
_QUESTIONABLE: Final = QUALITIES.index(Quality.QUESTIONABLE)


@dataclass(frozen=True, slots=True)
class LiveObservation:
    """One Observation. ``record_id`` is behind those of all records that are kept, in order of category and time.

    Attributes:
        resource: FHIR's.
        last_ms: when the last of it was measured.
    """

    record_id: RecordId
    category: Category
    last_ms: int
    resource: dict[str, Any]


def live_observations(twin: TwinId, subject: str, runs: Iterable[Run]) -> Iterator[LiveObservation]:
    """Observations of the runs of one window.

    Args:
        twin: whose.
        subject: the patient's reference; empty where it is not known.
        runs: of one hour, in any order.
    """
    found: dict[tuple[str, str, str], list[Columns]] = {}
    for one in runs:
        if one.signal in BY_NAME:
            found.setdefault((one.signal, one.device, one.source), []).append(one.columns())
    for (name, device, source), columns in sorted(found.items(), key=lambda one: one[0]):
        samples = joined(columns, 0, _FOREVER_MS)
        signal, seed = BY_NAME[name], f"{twin}\x00{name}\x00{device}\x00{source}"
        period_ms = _raster(samples)
        if period_ms:
            made = _sampled(signal, samples, period_ms)
            yield _observation(twin, subject, signal, device, int(samples.times[0]), seed, made, samples)
            continue
        at_once: Counter[int] = Counter()
        for time_ms, value, quality in zip(
            samples.times.tolist(), samples.values.tolist(), samples.qualities.tolist(), strict=True
        ):
            at_once[time_ms] += 1
            if quality != _ARTEFACT:
                made = _single(signal, time_ms, value, questionable=quality == _QUESTIONABLE)
                yield _observation(twin, subject, signal, device, time_ms, f"{seed}\x00{at_once[time_ms]}", made)


def place_of(resource_id: str) -> tuple[TwinId, Category, int] | None:
    """Whose an Observation of this id would be, of which category and from when; None for an id of another kind."""
    match = _ID.fullmatch(resource_id)
    if match is None or int(match[2], 16) >= len(_ORDER):
        return None
    return TwinId(str(UUID(match[1]))), _ORDER[int(match[2], 16)], int(match[3], 16)


def place_from(record_id: str) -> tuple[int, int]:
    """Where a record's id stands: in which category's place, and at which time; (-1, 0) in front of all."""
    hexadecimal = record_id.replace("-", "")
    if not hexadecimal.startswith("f"):
        return -1, 0
    return int(hexadecimal[1], 16), int(hexadecimal[2:13], 16)


def _observation(
    twin: TwinId,
    subject: str,
    signal: Signal,
    device: str,
    first_ms: int,
    seed: str,
    made: dict[str, Any],
    samples: Samples | None = None,
) -> LiveObservation:
    digest = hashlib.sha256(f"{seed}\x00{first_ms}".encode()).hexdigest()
    name = f"f{_ORDER.index(signal.category):x}{first_ms:011x}{digest[:19]}"
    coding = {"system": LOINC, "code": signal.loinc[0], "display": signal.title}
    shown: dict[str, Any] = {
        "resourceType": "Observation",
        "id": f"live-{UUID(twin).hex}-{name[:26]}",
        "status": "final",
        "category": [{"coding": [{"system": _CATEGORIES, "code": _CATEGORY[signal.category]}]}],
        "code": {"coding": [coding], "text": signal.title},
    }
    if subject:
        shown["subject"] = {"reference": subject}
    if device:
        shown["device"] = {"display": device}
    last_ms = first_ms if samples is None else int(samples.times[-1])
    return LiveObservation(RecordId(str(UUID(name))), signal.category, last_ms, shown | made)


def _single(signal: Signal, time_ms: int, value: float, *, questionable: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {"effectiveDateTime": iso(time_ms), "valueQuantity": _quantity(signal, value)}
    if questionable:
        shown["note"] = [{"text": "questionable, says who measured"}]
    return shown


def _sampled(signal: Signal, samples: Samples, period_ms: int) -> dict[str, Any]:
    first_ms, last_ms = int(samples.times[0]), int(samples.times[-1])
    slots = ["E"] * ((last_ms - first_ms) // period_ms + 1)
    for time_ms, value, quality in zip(
        samples.times.tolist(), samples.values.tolist(), samples.qualities.tolist(), strict=True
    ):
        if quality != _ARTEFACT:
            slots[(time_ms - first_ms) // period_ms] = f"{value:.10g}"
    shown: dict[str, Any] = {
        "effectivePeriod": {"start": iso(first_ms), "end": iso(last_ms)},
        "valueSampledData": {
            "origin": _quantity(signal, 0),
            "period": period_ms,
            "dimensions": 1,
            "data": " ".join(slots),
        },
    }
    questionable = int((samples.qualities == _QUESTIONABLE).sum())
    if questionable:
        shown["note"] = [{"text": f"{questionable} of the values are questionable, says who measured"}]
    return shown


def _quantity(signal: Signal, value: float) -> dict[str, Any]:
    whole = int(value) if value == int(value) else value
    return {"value": whole, "unit": signal.unit, "system": _UCUM, "code": signal.unit}


def _raster(samples: Samples) -> int:
    """The period that all samples lie on, in milliseconds; 0 where there is none."""
    steps = np.diff(samples.times)
    if len(samples) < LEAST_SAMPLED or int(steps.min()) <= 0:
        return 0
    period_ms = int(steps.min())
    slots = int(samples.times[-1] - samples.times[0]) // period_ms + 1
    return period_ms if not (steps % period_ms).any() and slots <= MOST_SLOTS * len(samples) else 0

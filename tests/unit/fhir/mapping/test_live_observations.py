"""Readings as Observations: what lies on a raster is sampled data, all else one by one; R4 takes each."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from twinward.core.clock import instant_ms
from twinward.core.vocabulary import TwinId
from twinward.fhir.mapping.live_observations import live_observations, place_from, place_of
from twinward.fhir.validation.validator import validate
from twinward.live.models import Sample
from twinward.live.storage import columns
from twinward.live.storage.series import Run

ANN = TwinId("0199e0c2-0000-7000-8000-00000000000a")
HOUR = instant_ms("2026-01-31T08:00:00Z")


def run(*samples: tuple[int, float, int], signal: str = "heart_rate", device: str = "bed-1") -> Run:
    """Samples by milliseconds within the hour, value and quality."""
    kept = [Sample(HOUR + at, seq, value, quality) for seq, (at, value, quality) in enumerate(samples)]
    return Run(signal, device, "gateway", "gw-1", columns.encode(kept))


def shown(*runs: Run) -> list[dict[str, Any]]:
    found = list(live_observations(ANN, "Patient/ann", runs))
    for one in found:
        validate(one.resource)
        twin, category, time_ms = place_of(one.resource["id"]) or (None, None, 0)
        assert (twin, category) == (ANN, one.category)
        assert place_from(one.record_id)[1] == time_ms >= HOUR
    return [one.resource for one in found]


def test_single_readings_are_quantities_with_code_unit_time_and_device() -> None:
    (one,) = shown(run((1500, 36.8, 0), signal="temperature"))
    assert one["code"]["coding"] == [{"system": "http://loinc.org", "code": "8310-5", "display": "Temperature"}]
    assert one["valueQuantity"] == {"value": 36.8, "unit": "Cel", "system": "http://unitsofmeasure.org", "code": "Cel"}
    assert one["effectiveDateTime"] == "2026-01-31T08:00:01.500Z"
    assert (one["subject"], one["device"]) == ({"reference": "Patient/ann"}, {"display": "bed-1"})
    assert one["category"][0]["coding"][0]["code"] == "vital-signs"
    (doubted,) = shown(run((0, 70, 1)))
    assert "questionable" in doubted["note"][0]["text"]
    assert shown(run((0, 70, 2))) == []  # an artefact is no observation
    (without,) = live_observations(ANN, "", [run((0, 70, 0), device="")])
    assert without.resource.keys().isdisjoint({"subject", "device"})


def test_a_sampled_hour_is_one_observation_and_says_its_gaps() -> None:
    (one,) = shown(run((2000, 72, 0), (0, 70, 0), (1000, 71, 0)), run((4000, 74.5, 1), (5000, 75, 2)))
    assert one["valueSampledData"] == {
        "origin": {"value": 0, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"},
        "period": 1000,
        "dimensions": 1,
        "data": "70 71 72 E 74.5 E",
    }
    assert one["effectivePeriod"] == {"start": "2026-01-31T08:00:00.000Z", "end": "2026-01-31T08:00:05.000Z"}
    assert "1 of the values" in one["note"][0]["text"]
    two = shown(
        run(*((at * 1000, 70, 0) for at in range(5))), run(*((at * 1000, 70, 0) for at in range(5)), device="b")
    )
    assert len({each["id"] for each in two}) == 2


@given(st.lists(st.tuples(st.integers(0, 3_599_999), st.integers(0, 400), st.integers(0, 2)), max_size=30))
def test_nothing_is_lost_or_invented_and_ids_are_the_readings_own(samples: list[tuple[int, int, int]]) -> None:
    found = shown(run(*samples)) if samples else []
    told = []
    for one in found:
        if "valueQuantity" in one:
            told.append((instant_ms(one["effectiveDateTime"]) - HOUR, one["valueQuantity"]["value"]))
            continue
        first, data = instant_ms(one["effectivePeriod"]["start"]) - HOUR, one["valueSampledData"]
        slots = enumerate(data["data"].split())
        told += [(first + place * data["period"], float(value)) for place, value in slots if value != "E"]
    assert sorted(told) == sorted((at, value) for at, value, quality in samples if quality != 2)
    assert len({one["id"] for one in found}) == len(found)
    assert [one["id"] for one in shown(run(*samples))] == [one["id"] for one in found] if samples else True

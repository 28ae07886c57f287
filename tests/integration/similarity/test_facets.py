"""Queries filtered by public facets, in every mode; and where the facets come from."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from tests.integration.similarity.fixtures import ALL_MODES, VENDOR, House, schema_of
from twinward.client import Question
from twinward.core.errors import BadInput
from twinward.features.derivation import Measurement, derive, evidence_of, from_content, to_content
from twinward.features.facets import facets_of
from twinward.features.schema import CARDIOMETABOLIC
from twinward.fhir.mapping.records import person_of
from twinward.protocol.fields import where_of
from twinward.protocol.messages import VendorKeyQuery
from twinward.protocol.terms import Mode
from twinward.similarity.errors import QueryRefused

SITES = (("north", ("Organization/n", "4711")), ("south", ("Organization/s",)))
FACETS = facets_of("2024-2026", SITES)
SCHEMA = schema_of({"a": (0, 127), "b": (0, 127)}).model_copy(update={"facets": FACETS, "sites": SITES})
LEVELS = np.random.default_rng(3).integers(0, 128, (60, 2))
VALUES = np.array([[0, row % 2 + 1] for row in range(40)] + [[1, 2]] * 18 + [[1, 0]] * 2)
"""North in 2025 and 2026, 20 each; south 18 in 2026 and two in 2024."""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    folder = tmp_path_factory.mktemp("house")
    return House(folder, SCHEMA, LEVELS, modes=ALL_MODES, allowance=2, facets=VALUES, facet_minimum=10)


def handles(house: House, rows: list[int]) -> set[str]:
    return {house.service.secrets.handle(VENDOR.id, house.twins[row]) for row in rows}


@pytest.mark.slow  # a house of its own, with its processes
@pytest.mark.parametrize("mode", [Mode.GATED, Mode.MATRIX, Mode.VENDOR_KEY])
def test_only_entries_with_the_values_are_answered_about(tmp_path: Path, mode: Mode) -> None:
    house = House(tmp_path, SCHEMA, LEVELS, modes=(mode,), allowance=2, facets=VALUES, facet_minimum=10)
    told = house.vendor().ask(Question({"a": 64.0, "b": 64.0}, mode, threshold=1.0, where={"site": "north"}))
    assert set(told.handles) == handles(house, list(range(40)))
    near = house.vendor().ask(Question({"a": 64.0, "b": 64.0}, mode, nearest=5, threshold=1.0, where={"year": "2025"}))
    if mode is Mode.VENDOR_KEY:  # nothing is grouped there
        rows = [row for row in range(40) if VALUES[row, 1] == 1]
        far = ((LEVELS - 64) ** 2).sum(axis=1)
        limit = sorted(far[rows])[4]
        assert set(near.handles) == handles(house, [row for row in rows if far[row] <= limit])


@pytest.mark.slow  # a house of its own, with its processes
def test_a_small_cell_is_no_filter_and_costs_nothing(house: House) -> None:
    client = house.vendor()
    left = client.budget().remaining
    for where in ({"year": "2024"}, {"site": "south", "year": "2024"}, {"site": "south"}):
        with pytest.raises(Exception, match="no filter tells of fewer than 10 patients") as refused:
            client.ask(Question({"a": 1.0}, where=where))
        assert "Refused" in type(refused.value).__name__
    assert client.budget().remaining == left
    message = VendorKeyQuery(epoch=house.service.cohort.epoch, bundle=b"", where=where_of({"year": "2024"}))
    with pytest.raises(QueryRefused):
        house.answers.answer_vendor_key(VENDOR, message)


@pytest.mark.slow  # a house of its own, with its processes
def test_terms_declare_the_facets_and_unknown_ones_are_not_sent(house: House) -> None:
    client = house.vendor()
    assert [(one.name, one.values) for one in client.schema().facets] == [
        ("site", ("north", "south")),
        ("year", ("2024", "2025", "2026")),
    ]
    for where in ({"ward": "7"}, {"year": "1999"}):
        with pytest.raises(BadInput):
            client.prepare(Question({"a": 1.0}, where=where))


def test_facets_come_from_the_patients_organisation_and_the_newest_reading_that_counts() -> None:
    schema = CARDIOMETABOLIC.model_copy(update={"facets": FACETS, "sites": SITES})
    bmi = [Measurement("39156-5", 25.0, "kg/m2", year) for year in (1735689600000, 1767225600000)]
    for patient, level in (
        ({"managingOrganization": {"reference": "Organization/s"}}, 1),
        ({"managingOrganization": {"identifier": {"value": "4711"}}}, 0),
        ({"managingOrganization": {"reference": "Organization/else"}}, 2),
        ({"managingOrganization": {"reference": 7}}, 2),
        ({}, 2),
    ):
        evidence = evidence_of(schema, person_of(patient), bmi, 2_000_000_000_000)
        kept = from_content(schema, to_content(evidence))
        assert derive(schema, kept, date(2026, 6, 1)).facets == (level, 2)
        assert derive(schema, kept, date(2025, 6, 1)).facets == (level, 1)
    nothing = evidence_of(schema, None, [], 0)
    assert derive(schema, nothing, date(2026, 6, 1)).facets == (2, 3)


@pytest.mark.parametrize(("years", "sites"), [("2026-2024", ()), ("1900-2026", ()), ("", (("a/b", ("x",)),))])
def test_facets_that_make_no_sense_are_refused(years: str, sites: tuple[tuple[str, tuple[str, ...]], ...]) -> None:
    with pytest.raises(BadInput):
        facets_of(years, sites)

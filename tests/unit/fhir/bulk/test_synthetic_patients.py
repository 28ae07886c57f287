from __future__ import annotations

from collections import Counter
from datetime import date

import pytest

from tests.bundles import read_bundle
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Category
from twinward.features.derivation import derive, end_of, evidence_of
from twinward.features.schema import CARDIOMETABOLIC
from twinward.fhir.bulk.synthetic_patients import generate_cohort, patient_bundle
from twinward.twins.models import DIRECTORY


def test_the_same_seed_gives_the_same_patients_and_more_of_them_changes_none() -> None:
    few, many = list(generate_cohort(3, 7)), list(generate_cohort(6, 7))
    assert many[:3] == few[:3]
    assert list(generate_cohort(3, 7)) == few
    assert {one.reference for one in generate_cohort(3, 8)}.isdisjoint(one.reference for one in few[:3])


def test_patients_are_whole_mixed_and_differ() -> None:
    cohort = list(generate_cohort(40, 1))
    *patients, directory = cohort
    assert directory.reference == DIRECTORY
    assert len({one.reference for one in patients}) == 40
    assert all(40 <= len(one.records) <= 80 for one in patients)
    day = date(2026, 1, 2)
    known = [evidence_of(CARDIOMETABOLIC, one.person, one.measurements, end_of(day)) for one in patients]
    vectors = [derive(CARDIOMETABOLIC, one, day) for one in known]
    assert all(not vector.missing for vector in vectors)
    assert len({vector.levels for vector in vectors}) == 40
    ages = [vector.readings["age"].value for vector in vectors]
    assert min(ages) < 40 < 70 < max(ages)
    assert 8 < sum(vector.readings["sex_female"].value for vector in vectors) < 32
    assert max(vector.readings["hba1c_percent"].value for vector in vectors) > 7
    categories = Counter(record.category for one in patients for record in one.records)
    assert {Category.LABS, Category.VITALS, Category.CONDITIONS, Category.MEDICATIONS} <= categories.keys()


def test_every_resource_passes_full_validation() -> None:
    for index in range(5):
        read_bundle(patient_bundle(index, 3))


@pytest.mark.parametrize(("count", "seed"), [(0, 1), (-1, 1), (1, -1)])
def test_nonsense_is_refused(count: int, seed: int) -> None:
    with pytest.raises(BadInput):
        generate_cohort(count, seed)

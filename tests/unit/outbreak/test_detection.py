"""EARS by hand, syndromes by their codes, epidemics that run."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import poisson

from twinward.core.errors import BadInput
from twinward.outbreak.alerts import statement_of
from twinward.outbreak.ears import Ears, Statistic
from twinward.outbreak.evaluation import alarms_allowed
from twinward.outbreak.seir import Epidemic, background, cases
from twinward.outbreak.syndromes import ICD10, SNOMED, SYNDROMES, fingerprint

WEEK = [90.0, 110, 95, 105, 100, 120, 80]  # mean 100, sd 13.229


def test_c1_c2_and_c3_as_published() -> None:
    counts = [*WEEK, 100.0, 100.0, 150.0]
    c2 = Ears(Statistic.C2, 3.0)
    assert c2.score(counts, 9) == pytest.approx(50 / 13.22876)
    assert c2.expected(counts, 9) == 100
    assert c2.alarms(counts) == [9]
    assert Ears(Statistic.C1, 3.0).score(counts, 7) == 0
    longer = [*WEEK, 100.0, 100.0, 150.0, 150.0, 150.0]
    c3 = Ears(Statistic.C3, 2.0)
    by_hand = sum(max(0.0, c2.score(longer, day) - 1) for day in (9, 10, 11))
    assert c3.score(longer, 11) == pytest.approx(by_hand)
    assert 11 in c3.alarms(longer)


def test_what_is_said_of_any_days_fits_the_contracts_words() -> None:
    huge = 2**53 - 1
    said = statement_of("influenza", Ears(Statistic.C3, 2.0), [*[1] * 26, huge, huge, 1, 100], 20_000)
    assert said is not None
    assert max(map(abs, (said.expected_milli, said.threshold_milli))) < 2**63
    assert said.threshold_milli < said.counted * 1000


def test_days_that_are_alike_alarm_nobody_and_noise_widens_the_bound() -> None:
    flat = [100.0] * 9 + [125.0]
    assert Ears(Statistic.C2, 3.0).score(flat, 9) == pytest.approx(2.5)  # sd of a Poisson count, not 0
    assert Ears(Statistic.C2, 3.0, noise_variance=300).score(flat, 9) == pytest.approx(1.25)
    assert Ears(Statistic.C1, 3.0).score([0.0] * 7 + [3.0], 7) == 3.0
    for wrong in ({"baseline_days": 1}, {"limit": 0.0}, {"noise_variance": -1.0}):
        with pytest.raises(BadInput):
            Ears(**{"statistic": Statistic.C1, "limit": 3.0} | wrong)  # type: ignore[arg-type]
    with pytest.raises(BadInput):
        Ears(Statistic.C2, 3.0).score(flat, 8)


def test_a_code_is_a_case_where_the_list_says_so() -> None:
    influenza = SYNDROMES["influenza"]
    icd10 = min(ICD10)
    assert all(influenza.holds(icd10, code) for code in ("J10", "J10.1", "J11.8"))
    assert not any(influenza.holds(icd10, code) for code in ("J12", "J1", "J100", "", "A09"))
    assert influenza.holds(SNOMED, "6142004")
    assert not influenza.holds("http://loinc.org", "6142004")
    assert not influenza.holds(SNOMED, "J10")
    assert len(fingerprint()) == 32


def test_an_epidemic_grows_infects_nobody_twice_and_dies_out() -> None:
    city = Epidemic(population=20_000, presenting=1.0)
    found = cases(city, 200, np.random.default_rng(1))
    assert 10_000 < found.sum() <= city.population
    assert found[-20:].sum() < found[:60].max()
    none = cases(Epidemic(reproduction=0.2, presenting=1.0), 100, np.random.default_rng(1))
    assert none.sum() < 100
    every = background(Epidemic(), 700, np.random.default_rng(1))
    assert 55 < every.mean() < 65
    for wrong in ({"seeds": 500_000}, {"presenting": 1.5}, {"everyday": float("nan")}):
        with pytest.raises(BadInput):
            Epidemic(**wrong)  # type: ignore[arg-type]


def test_a_limit_says_with_confidence_that_there_is_one_alarm_a_year_at_most() -> None:
    """Against SciPy's Poisson, and that it holds: a rate of one a year passes in 5 % of trials at most."""
    for years in range(1, 201):
        allowed = alarms_allowed(years)
        assert poisson.cdf(allowed, years) <= 0.05 or allowed == 0
        assert poisson.cdf(allowed + 1, years) > 0.05 or years < 3
    assert [alarms_allowed(one) for one in (1, 3, 5, 20)] == [0, 0, 1, 12]

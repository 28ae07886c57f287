"""Simulated futures against queueing theory; bounds are five standard errors of fixed seeds, so nothing flakes."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from twinward.things.errors import BadThing
from twinward.things.what_if.outlook import Estimate, estimate, look_ahead
from twinward.things.what_if.picture import picture
from twinward.things.what_if.queueing import erlang_b, erlang_c, mean_wait_h
from twinward.things.what_if.scenario import EXAMPLES, Scenario, Stage, hours, per_hour
from twinward.things.what_if.simulation import GRID, _remaining, simulate


def slow_b(servers: int, load: float) -> float:
    """Erlang's own sum."""
    terms = [load**n / math.factorial(n) for n in range(servers + 1)]
    return terms[-1] / sum(terms)


def slow_c(servers: int, load: float) -> float:
    waits = load**servers / math.factorial(servers) * servers / (servers - load)
    return waits / (sum(load**n / math.factorial(n) for n in range(servers)) + waits)


def within(one: Estimate, expected: float, runs: int) -> bool:
    """Whether a mean lies within five standard errors of what is expected."""
    from scipy.special import stdtrit

    standard_error = (one.high - one.mean) / stdtrit(runs - 1, 0.975)
    return bool(abs(one.mean - expected) <= 5 * standard_error)


def settled(scenario: Scenario) -> Scenario:
    """Begun with as many patients as there are in the long run, so that no run has to warm up."""
    stage = scenario.stages[0]
    load = scenario.arrivals_h * stage.mean_h
    present = round(min(load * (1 - erlang_b(stage.servers, load)), stage.servers))
    return Scenario(
        scenario.name, scenario.stages, scenario.arrivals_h, scenario.days, scenario.waiting, 0, (0.0,) * present
    )


def test_the_formulas_are_erlangs() -> None:
    for servers, load in ((1, 0.5), (3, 2.0), (12, 10.5), (40, 35.0)):
        assert erlang_b(servers, load) == pytest.approx(slow_b(servers, load), rel=1e-12)
        assert erlang_c(servers, load) == pytest.approx(slow_c(servers, load), rel=1e-12)
    assert (erlang_c(3, 3.0), mean_wait_h(3, 3.0, 1.0)) == (1.0, math.inf)
    assert mean_wait_h(1, 0.5, 1.0) == pytest.approx(1.0)  # M/M/1: rho / (mu - lambda)
    assert erlang_b(1000, 900.0) > 0, "no factorial overflows"


@pytest.mark.parametrize("spread", [1.0, 0.0, 1.6], ids=["exponential", "fixed", "log-normal"])
def test_who_is_refused_is_erlang_b_whatever_stays_are_like(spread: float) -> None:
    runs = 24
    unit = Scenario("unit", (Stage("stay", 6, 24.0, spread),), 5 / 24, 500.0, waiting=0)
    found = look_ahead(settled(unit), runs, seed=11)
    assert within(found.refused, slow_b(6, 5.0), runs), found.refused
    assert found.theory is not None
    assert found.theory.refused == pytest.approx(slow_b(6, 5.0))
    assert within(found.stages[0].busy, 5 * (1 - slow_b(6, 5.0)), runs)
    assert found.refused.high - found.refused.low < 0.02, "an interval that would let anything pass"


def test_who_waits_and_how_long_is_erlang_c() -> None:
    runs = 24
    desk = Scenario("desk", (Stage("talk", 4, 0.5),), 6.0, 60.0)
    found = look_ahead(settled(desk), runs, seed=12)
    (stage,) = found.stages
    assert within(stage.waited, slow_c(4, 3.0), runs), stage.waited
    assert within(stage.wait_h, slow_c(4, 3.0) * 0.5 / (4 - 3.0), runs), stage.wait_h
    assert found.refused.mean == 0


def test_patients_pass_stages_and_the_urgent_go_first() -> None:
    line = EXAMPLES["vaccination"]
    found = look_ahead(line, 10, seed=3)
    assert [one.name for one in found.stages] == ["desk", "injection", "watch"]
    assert found.stages[2].busy.mean == pytest.approx(55 * 0.25, rel=0.1), "Little's law"
    runs, load, urgent = 24, 0.7, 0.3
    split = look_ahead(Scenario("split", (Stage("treat", 1, 1.0),), load, 200.0, urgent=urgent), runs, seed=5).stages[0]
    assert split.urgent_wait_h is not None
    assert within(split.urgent_wait_h, load / (1 - urgent * load), runs), "Cobham, 1954: M/M/1, two classes"
    assert within(split.wait_h, load / (1 - load), runs), "who goes first changes nothing for all together"
    few = Scenario("few", (Stage("treat", 2, 1.0, staff=1, per_staff=1.0),), 1.0, 1.0)
    assert few.stages[0].servers == 1, "a place without staff takes nobody"


def test_a_run_begins_with_who_is_there() -> None:
    full = Scenario("full", (Stage("stay", 4, 48.0, 1.2),), 1e-9, 2.0, waiting=0, present_h=(0.0, 10.0, 100.0, 1e7))
    run = simulate(full, np.random.default_rng(1))
    assert run.occupancy.shape == (GRID,)
    assert run.occupancy[0] == 4
    assert (np.diff(run.occupancy) <= 0).all(), "nobody comes, somebody leaves"
    assert run.occupancy[-1] <= 3, "who has stayed longer than anybody does is about to leave"
    long, stayed_h, random = full.stages[0], 100.0, np.random.default_rng(2)
    slow = random.lognormal(math.log(48) - math.log1p(1.2**2) / 2, math.sqrt(math.log1p(1.2**2)), 400_000)
    drawn = [_remaining(long, stayed_h, random) for _ in range(8_000)]
    parts = [0.1, 0.5, 0.9]
    assert np.quantile(drawn, parts) == pytest.approx(np.quantile(slow[slow > stayed_h] - stayed_h, parts), rel=0.1)
    for spread in (0.0, 1e-300, 1e-7):
        crowd = Scenario("crowd", (Stage("stay", 2, 48.0, spread),), 100.0, 1.0, waiting=0, present_h=(1.0, 1.0))
        run = simulate(crowd, np.random.default_rng(1))
        assert run.refused == run.arrived > 1000, "both leave after two days"


def test_the_same_seed_is_the_same_answer_and_more_runs_know_better() -> None:
    unit = Scenario("unit", (Stage("stay", 3, 24.0),), 3 / 24, 60.0, waiting=0)
    told: list[int] = []
    few, again = look_ahead(unit, 10, 4, told.append), look_ahead(unit, 10, 4)
    assert told == list(range(1, 11))
    assert (few.refused, few.stages) == (again.refused, again.stages)
    assert few.refused != look_ahead(unit, 10, 5).refused
    values = np.arange(10.0)
    one = estimate(values)
    assert one.mean == 4.5
    assert one.high - one.mean == pytest.approx(2.262157 * values.std(ddof=1) / math.sqrt(10), rel=1e-6)


def test_the_picture_is_svg_and_what_is_said_in_it_is_text() -> None:
    unit = Scenario("<script>&", (Stage("stay", 3, 24.0),), 3 / 24, 10.0, waiting=0)
    drawn = picture(look_ahead(unit, 4))
    root = ET.fromstring(drawn)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "<script>" not in drawn
    assert "refused" in drawn


def test_a_question_that_cannot_be_is_told_why() -> None:
    stage = Stage("stay", 3, 24.0)
    for wrong in (
        Scenario("x", (), 1.0, 1.0),
        Scenario("x", (Stage("stay", 0, 24.0),), 1.0, 1.0),
        Scenario("x", (Stage("stay", 3, 0.0),), 1.0, 1.0),
        Scenario("x", (Stage("stay", 3, math.inf),), 1.0, 1.0),
        Scenario("x", (Stage("stay", 3, 1.0, staff=1, per_staff=0.5),), 1.0, 1.0),
        Scenario("x", (Stage("stay", 3, 1.0, staff=1, per_staff=math.nan),), 1.0, 1.0),
        Scenario("x", (Stage("stay", 3, 1.0, staff=10**400, per_staff=1.5),), 1.0, 1.0),
        Scenario("x", (stage,), 0.0, 1.0, present_h=(1.0,) * 3_000_000),
        Scenario("x", (stage,), math.nan, 1.0),
        Scenario("x", (stage,), 1.0, 1e9),
        Scenario("x", (stage,), 1e9, 365.0),
        Scenario("x", (stage,), 1.0, 1.0, urgent=1.5),
    ):
        with pytest.raises(BadThing):
            look_ahead(wrong, 2)
    with pytest.raises(BadThing):
        look_ahead(Scenario("x", (stage,), 1.0, 1.0), 1)
    assert (per_hour("3/day"), per_hour("2/min"), hours("90min"), hours("3.5d")) == (0.125, 120, 1.5, 84)
    for text in ("3", "3 per day", "-1/day", "1e9/day", "3/year", "٣/day"):
        with pytest.raises(BadThing):
            per_hour(text)
    for text in ("3", "d", "3 weeks", "-1d"):
        with pytest.raises(BadThing):
            hours(text)

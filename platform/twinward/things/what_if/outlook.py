"""Many runs, and what they come to: means with 95 % intervals, and between what a single future lies.

The interval of a mean is Student's over independent runs (A. M. Law, Simulation Modeling and Analysis, 5th ed., 2015,
section 9.4.1): it says how well the mean is known, and shrinks with more runs. The range is where 95 of 100 futures
lie: it does not shrink.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinward.things.what_if.queueing import erlang_b, erlang_c, mean_wait_h
from twinward.things.what_if.scenario import MAX_ARRIVALS, Scenario
from twinward.things.what_if.simulation import Floats, Run, longest, simulate


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over runs: its 95 % interval, and the range of 95 of 100 runs."""

    mean: float
    low: float
    high: float
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class StageOutlook:
    """One stage: mean wait and its 95th percentile (hours), the share of patients who wait, servers in use.

    ``urgent_wait_h``: the mean wait of urgent patients; None where nobody is.
    """

    name: str
    servers: int
    wait_h: Estimate
    long_wait_h: Estimate
    waited: Estimate
    busy: Estimate
    urgent_wait_h: Estimate | None


@dataclass(frozen=True, slots=True)
class Theory:
    """What Erlang says of the long run, for one stage: refused where nobody may wait, else who waits and how long.

    ``wait_h`` None beside ``waited``: ever longer.
    """

    refused: float | None = None
    waited: float | None = None
    wait_h: float | None = None


@dataclass(frozen=True, slots=True)
class Outlook:
    """What many runs come to.

    Attributes:
        refused: the share of patients who are refused.
        occupancy: of the longest stage: mean, and 95 of 100 runs' least and most, at moments; shape ``(3, GRID)``.
        theory: None where Erlang has no formula: several stages, urgency, a bounded waiting room.
    """

    scenario: Scenario
    runs: int
    arrived: Estimate
    refused: Estimate
    stages: tuple[StageOutlook, ...]
    occupancy: NDArray[np.float64]
    theory: Theory | None


def look_ahead(
    scenario: Scenario,
    runs: int = 200,
    seed: int = 1,
    progress: Callable[[int], None] = lambda _: None,
    *,
    most_arrivals: int = MAX_ARRIVALS,
) -> Outlook:
    """Simulate many futures, each with random numbers of its own: the same seed gives the same answer.

    Args:
        scenario: what is asked.
        runs: how many, two or more.
        seed: where the random numbers begin.
        progress: told after each run how many were made.
        most_arrivals: of all runs together; ten microseconds each.

    Raises:
        BadThing: it cannot be simulated, or not so often.
    """
    scenario.checked(runs, most_arrivals)
    made: list[Run] = []
    for number, seeds in enumerate(np.random.SeedSequence(seed).spawn(runs), 1):
        made.append(simulate(scenario, np.random.Generator(np.random.PCG64(seeds))))
        progress(number)
    arrived = np.asarray([one.arrived for one in made], dtype=np.float64)
    refused = np.asarray([one.refused for one in made], dtype=np.float64)
    occupancy = np.stack([one.occupancy for one in made])
    band = np.stack([occupancy.mean(axis=0), *np.percentile(occupancy, [2.5, 97.5], axis=0)])
    return Outlook(
        scenario,
        runs,
        estimate(arrived),
        estimate(refused / np.maximum(arrived, 1)),
        tuple(_stage(scenario, made, place) for place in range(len(scenario.stages))),
        band,
        theory(scenario),
    )


def estimate(values: Floats) -> Estimate:
    """The estimate from one value for each run."""
    from scipy.special import stdtrit

    mean = float(values.mean())
    half = float(stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / np.sqrt(len(values)))
    least, most = np.percentile(values, [2.5, 97.5])
    return Estimate(mean, mean - half, mean + half, float(least), float(most))


def theory(scenario: Scenario) -> Theory | None:
    """What Erlang's formulas say, where they hold."""
    stage = scenario.stages[0]
    load = scenario.arrivals_h * stage.mean_h
    if len(scenario.stages) > 1 or scenario.urgent:
        return None
    if scenario.waiting == 0:
        return Theory(refused=erlang_b(stage.servers, load))
    if scenario.waiting is None and stage.spread == 1:
        wait_h = None if load >= stage.servers else mean_wait_h(stage.servers, load, stage.mean_h)
        return Theory(waited=erlang_c(stage.servers, load), wait_h=wait_h)
    return None


def main_stage(outlook: Outlook) -> StageOutlook:
    """The stage in which patients are longest: the one whose occupancy is shown."""
    return outlook.stages[longest(outlook.scenario)]


def _stage(scenario: Scenario, made: Sequence[Run], place: int) -> StageOutlook:
    waits = [one.waits_h[place] if len(one.waits_h[place]) else np.zeros(1) for one in made]
    return StageOutlook(
        scenario.stages[place].name,
        scenario.stages[place].servers,
        estimate(np.asarray([one.mean() for one in waits])),
        estimate(np.asarray([np.percentile(one, 95) for one in waits])),
        estimate(np.asarray([float((one > 0).mean()) for one in waits])),
        estimate(np.asarray([one.busy[place] for one in made])),
        _urgent(scenario, made, place),
    )


def _urgent(scenario: Scenario, made: Sequence[Run], place: int) -> Estimate | None:
    """The mean wait of urgent patients, over the runs that had any."""
    if not scenario.urgent:
        return None
    means = [one.waits_h[place][one.urgent[place]].mean() for one in made if one.urgent[place].any()]
    return estimate(np.asarray(means)) if len(means) > 1 else None

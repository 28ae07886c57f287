"""Things: a year of an intensive care unit simulated many times; a ward's twin derived."""

from __future__ import annotations

import heapq
import math

import numpy as np

from tests.benchmarks.harness import Arm, Benchmark, Row, Scale, Target, race, versus
from tests.integration.live.ward import CARING, FILING
from tests.integration.things.hospital import Equipped
from twinward.things.models import Kind, Relation
from twinward.things.service import New
from twinward.things.what_if.outlook import look_ahead
from twinward.things.what_if.queueing import erlang_b
from twinward.things.what_if.scenario import EXAMPLES

_BEDS = 24


def simulating(scale: Scale) -> list[Row]:
    runs = scale.pick(1_000, 20)
    icu = EXAMPLES["icu"]
    (stage,) = icu.stages

    def plainly() -> float:
        """No clock, no stages, no intervals: who finds twelve beds full, by a heap of leavings."""
        random = np.random.default_rng(1)
        variance = math.log1p(stage.spread**2)
        came = refused = 0
        for _ in range(runs):
            gaps = np.cumsum(random.exponential(1 / icu.arrivals_h, int(icu.days * 24 * icu.arrivals_h * 1.3)))
            times = gaps[gaps < icu.days * 24]
            stays = random.lognormal(math.log(stage.mean_h) - variance / 2, math.sqrt(variance), len(times))
            leaving: list[float] = []
            for at, stay in zip(times.tolist(), stays.tolist(), strict=True):
                while leaving and leaving[0] <= at:
                    heapq.heappop(leaving)
                if len(leaving) < stage.servers:
                    heapq.heappush(leaving, at + stay)
                else:
                    refused += 1
            came += len(times)
        return refused / came

    arms = [Arm("what-if", lambda: look_ahead(icu, runs)), Arm("a heap and a loop", plainly)]
    timed = race(arms, scale.pick(3, 2), warm_up=False)
    found, theory = look_ahead(icu, scale.pick(200, 20)).refused, erlang_b(12, icu.arrivals_h * stage.mean_h)
    said = f"refused {found.mean:.2%} ({found.low:.2%} to {found.high:.2%}), Erlang B {theory:.2%}"
    short = "" if runs == 1_000 else f"{runs} runs, not 1,000"
    target = Target("≤ 30 s for 1,000 runs", "value", "most", 30, short_of=short)
    pair = ("what-if", "a heap and a loop")
    work = f"a year of an ICU × {runs:,}; {said}"
    return [versus(work, timed, *pair, clock="wall", unit="s", scale=1, kind="times", target=target)]


def deriving(scale: Scale) -> list[Row]:
    ward = Equipped(scale.folder)
    ward.equip()
    for number in range(3, _BEDS + 1):
        ward.things.add(FILING, New(f"bed-{number}", Kind.BED, "Bed"))
        ward.things.relations.relate(FILING, f"bed-{number}", Relation.PART_OF, "icu")
    for number in range(1, _BEDS + 1):
        ward.put(f"bed-{number}", ward.admit(f"p{number}"))
    arms = [
        Arm("with acuity", lambda: ward.things.show(CARING, "icu")),
        Arm("without", lambda: ward.things.show(FILING, "icu")),
    ]
    timed = race(arms, scale.pick(15, 3))
    ward.close()
    work = f"the twin of a ward of {_BEDS} patients"
    return [versus(work, timed, "with acuity", "without", clock="wall", unit="ms", scale=1e3, kind="times")]


BENCHMARKS = (
    Benchmark(
        "things.what_if",
        "the shipped ICU (12 beds, 3 a day, log-normal stays of 3.5 days) for a year, one process; the same in a loop"
        " over a heap, without stages, waits, occupancy or intervals",
        simulating,
    ),
    Benchmark(
        "things.ward",
        "census, devices, maintenance and NEWS2 of each patient, each an access decided and logged; the same without"
        " acuity",
        deriving,
    ),
)

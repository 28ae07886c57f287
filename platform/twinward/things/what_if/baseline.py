"""From a ward as it stands to a question about it, and from one question to another.

What is not said is taken from the ward: its beds, who lies in them and since when, and how patients came and stayed
over the last four weeks. Where there were too few to tell, it has to be said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from twinward.things.errors import BadThing
from twinward.things.maintenance import DAY_MS, HOUR_MS, LATELY_MS
from twinward.things.models import Related
from twinward.things.what_if.scenario import Scenario, Stage
from twinward.things.what_if.simulation import longest

ENOUGH: Final = 10
"""Patients who came, or left, from whom a rate or a mean is told."""
ALL_WAIT: Final = -1


@dataclass(frozen=True, slots=True)
class Changes:
    """What is other than it is; None: as it is. Of several stages, the one in which patients are longest is meant.

    ``waiting``: how many may wait, ``ALL_WAIT`` for all. The other names are those of ``Scenario`` and ``Stage``.
    """

    places: int | None = None
    arrivals_h: float | None = None
    mean_h: float | None = None
    spread: float | None = None
    staff: int | None = None
    per_staff: float | None = None
    waiting: int | None = None
    urgent: float | None = None
    days: float | None = None


def of_ward(name: str, beds: int, stays: Sequence[Related], now_ms: int, changes: Changes) -> Scenario:
    """The question about a ward.

    Args:
        name: the ward's.
        beds: how many it has.
        stays: of patients in its beds, ever.
        now_ms: the moment.
        changes: what is to be other than it is.

    Raises:
        BadThing: there is too little to tell arrivals or stays from, and they are not said.
    """
    since_ms = max(now_ms - LATELY_MS, min((one.from_ms for one in stays), default=now_ms))
    lately = [one for one in stays if one.from_ms >= since_ms]
    over = [(one.until_ms - one.from_ms) / HOUR_MS for one in stays if one.until_ms and one.until_ms > since_ms]
    seen_ms = now_ms - since_ms
    arrivals_h, mean_h, spread = changes.arrivals_h, changes.mean_h, changes.spread
    if arrivals_h is None:
        if len(lately) < ENOUGH or seen_ms < DAY_MS:
            raise BadThing("too few patients came to tell how many will", hint="say it: --arrivals 3/day")
        arrivals_h = len(lately) * HOUR_MS / seen_ms
    if mean_h is None:
        if len(over) < ENOUGH:
            raise BadThing("too few patients left to tell how long they stay", hint="say it: --stay 3.5d")
        mean_h = float(np.mean(over))
        spread = float(np.std(over, ddof=1) / mean_h) if spread is None else spread
    present = tuple((now_ms - one.from_ms) / HOUR_MS for one in stays if one.until_ms is None)
    stage = Stage("stay", beds, mean_h, 1.0 if spread is None else spread)
    return changed(Scenario(name, (stage,), arrivals_h, 28.0, waiting=0, present_h=present), changes)


def changed(scenario: Scenario, changes: Changes) -> Scenario:
    """A question with some of its numbers changed."""
    place = longest(scenario)
    said = {name: getattr(changes, name) for name in ("places", "mean_h", "spread", "staff", "per_staff")}
    stage = replace(scenario.stages[place], **{name: one for name, one in said.items() if one is not None})
    stages = (*scenario.stages[:place], stage, *scenario.stages[place + 1 :])
    asked = {name: getattr(changes, name) for name in ("arrivals_h", "days", "urgent")}
    waiting = scenario.waiting if changes.waiting is None else changes.waiting
    return replace(
        scenario,
        stages=stages,
        waiting=None if waiting == ALL_WAIT else waiting,
        **{name: one for name, one in asked.items() if one is not None},
    )

"""A day's accesses examined: what care explains, what of planted snooping officers are shown, and how long it takes."""

from __future__ import annotations

from tests.benchmarks.harness import Arm, Benchmark, Figure, Row, Scale, Target, race
from tests.snooping import DAY, Hospital, a_day
from twinward.review.examination import examine
from twinward.review.explanations import explain
from twinward.review.models import DayReview

SHOWN = 50


def reviewing(scale: Scale) -> list[Row]:
    days = [a_day(seed) for seed in range(scale.pick(10, 2))]
    reviews = [_examined(day) for day in days]
    explained = [_explained_share(day) for day in days]
    caught = [_caught(day, review) for day, review in zip(days, reviews, strict=True)]
    recall = [number / len(day.planted) for number, day in zip(caught, days, strict=True)]
    alarms = [float(min(SHOWN, len(review.suspects)) - number) for number, review in zip(caught, reviews, strict=True)]
    samples = race([Arm("review", lambda: _examined(days[0]), len(days[0].visits))], scale.pick(5, 2))["review"]
    work = f"{len(days)} generated days of {len(days[0].visits):,} visits, snooping planted in each"
    target = Target("≥95 % of honest visits explained", "value", "least", 95.0)
    return [
        Row(f"{work}: honest visits explained", Figure.of(explained, "%", 100), target=target),
        Row(f"{work}: planted visits among the {SHOWN} riskiest", Figure.of(recall, "%", 100)),
        Row(f"{work}: honest ones among the {SHOWN} riskiest", Figure.of(alarms, "a day")),
        Row("one visit explained or ranked, care data at hand", Figure.of(samples.per_item("cpu"), "µs", 1e6)),
    ]


def _examined(day: Hospital) -> DayReview:
    return examine(DAY, day.visits, day.care, day.staff, seed=b"bench", size=0)


def _explained_share(day: Hospital) -> float:
    honest = day.honest
    return sum(explain(one, day.care[one.twin], day.staff) is not None for one in honest) / len(honest)


def _caught(day: Hospital, review: DayReview) -> int:
    return len(day.planted & {one.visit.index for one in review.suspects[:SHOWN]})


BENCHMARKS = (
    Benchmark(
        "ledger.review",
        "accesses explained from care data and the rest ranked, on days drawn by tests/snooping.py, 2 % of honest"
        " visits undocumented; no baseline",
        reviewing,
    ),
)

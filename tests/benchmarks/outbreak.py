"""How much later private counts alarm than exact ones, at as few false alarms, on the same simulated outbreaks."""

from __future__ import annotations

from statistics import fmean

from tests.benchmarks.harness import Benchmark, Figure, Row, Scale, Target
from twinward.outbreak.continual import Period
from twinward.outbreak.ears import Statistic
from twinward.outbreak.evaluation import Trial, tried
from twinward.outbreak.seir import Epidemic

SEEDS = (1, 2, 3)
WEEK = {"each day alone": Period(7, 1, 1.0, 1e-6), "a tree of 3 levels": Period(7, 3, 1.0, 1e-6)}


def delay(scale: Scale) -> list[Row]:
    """One row for each tree and figure: days beyond the exact detector, and false alarms in years not calibrated on."""
    trial = Trial(Epidemic(), Statistic.C3, 28)
    exact = [tried(trial, None, seed) for seed in SEEDS]
    rows = []
    for name, period in WEEK.items():
        private = [tried(trial, period, seed) for seed in SEEDS]
        later = [ours.mean_days - theirs.mean_days for ours, theirs in zip(private, exact, strict=True)]
        alarms = [one.false_alarms_a_year for one in private]
        plain = Figure.of([one.mean_days for one in exact], "days")
        raw = {"later": later, "missed": [one.missed for one in private], "mean_later": fmean(later)}
        rows.append(
            Row(
                f"an outbreak's alert beyond the exact detector's, ε = 1 a week, {name}",
                Figure.of(later, "days"),
                plain,
                "exact counts, from the first infections",
                target=Target("≤ 1 day", "value", "most", 1),
                raw=raw,
            )
        )
        rows.append(
            Row(
                f"false alarms a year, ε = 1 a week, {name}",
                Figure.of(alarms, "a year"),
                Figure.of([one.false_alarms_a_year for one in exact], "a year"),
                "exact counts",
                target=Target("≤ 1 a year", "value", "most", 1),
            )
        )
    return rows


BENCHMARKS = (
    Benchmark(
        "outbreak.delay",
        "EARS C3 over 28 days, 3 hospitals' shares of noise (2 honest); a city of 500,000, 60 everyday cases a day "
        "(negative binomial), SEIR at R0 2, 1 in 20 presents; 3 seeds of 100 outbreaks and 20 + 20 quiet years",
        delay,
        in_quick=False,
    ),
)

"""How much later private counts alarm than exact ones, at as few false alarms, on the same simulated outbreaks."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from datetime import timedelta
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.harness import Benchmark, Figure, Row, Scale, Target
from tests.integration.cli.conftest import OFFICER
from tests.integration.outbreak.region import DAYS, FILING, Region, condition, opened_region, terms
from twinward.access.consent_choices import CHOICES
from twinward.access.interfaces import AccessContext
from twinward.core.vocabulary import Category, Purpose
from twinward.outbreak.continual import Period
from twinward.outbreak.count_models import CountModels
from twinward.outbreak.ears import Statistic
from twinward.outbreak.evaluation import Trial, tried
from twinward.outbreak.seir import Epidemic, background, cases
from twinward.twins.models import ImportRecord, PatientImport

SEEDS = (1, 2, 3)
SEEN, AHEAD = 56, 14
STAGES = (0, 7, 14, 21, 28, 35, 42, 49)
"""Days since an outbreak began, when a forecast is made; 0 is without one."""
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


def foretold(scale: Scale) -> list[Row]:
    """Forecasts of a fortnight, scored on the exact counts that came; and what another training would be worth.

    The other arms are bounds, each with what no study could have: the weekdays' effects and the weights of models as
    the exact counts have them, with no noise for that ("trained"), either at no cost of its own, or where that half of
    ε is taken from the sums; and all of it exact.
    """
    rows = []
    for everyday in (60.0, 10.0):
        for epsilon in (0.3, 1.0, 3.0):
            arms = _fortnights(Epidemic(everyday=everyday), epsilon, scale.pick(24, 2))
            name = f"{everyday:.0f} cases a day, ε = {epsilon:g} a week"
            error = {arm: [one.error for one in found] for arm, found in arms.items()}
            held = [one.held for one in arms["sums"]]
            rows.append(
                Row(
                    f"a forecast's error (MASE, days 1 to 14), {name}",
                    Figure.of(error["sums"], ""),
                    Figure.of(error["naive"], ""),
                    "last week again, of the same sums",
                    raw={"held_95": fmean(held)} | {arm: fmean(found) for arm, found in error.items()},
                )
            )
            for arm, words in (
                ("trained_too", "parameters of exact counts, free"),
                ("halved", "these, ε halved"),
            ):
                rows.append(
                    Row(
                        f"… by a model with {words}, {name}",
                        Figure.of(error[arm], ""),
                        Figure.of(error["sums"], ""),
                        "the released sums alone",
                    )
                )
            rows.append(
                Row(
                    f"the share of days in the interval of 95 %, {name}",
                    Figure.of(held, ""),
                    Figure.of([0.95] * len(held), ""),
                    "what is said",
                )
            )
    return rows


@dataclass(frozen=True)
class _Scored:
    error: float
    held: float = 0.0


def _fortnights(epidemic: Epidemic, epsilon: float, seeds: int) -> dict[str, list[_Scored]]:
    """By arm, one value a simulated city: after eight weeks, a fortnight at each stage of an outbreak."""
    variance, doubled = (3 * Period(7, 1, one, 1e-6).share(2) for one in (epsilon, epsilon / 2))
    found: dict[str, list[_Scored]] = {}
    for seed in range(seeds):
        for stage in STAGES:
            draws = np.random.default_rng((seed, stage, 156))
            exact = background(epidemic, SEEN + AHEAD, draws)
            if stage:
                exact[SEEN - stage :] += cases(epidemic, AHEAD + stage, draws)
            noise = draws.normal(size=SEEN)
            sums, quarter = (exact[:SEEN] + np.rint(noise * one**0.5).astype(np.int64) for one in (variance, doubled))
            truth, plain = exact[SEEN:], _filtered(exact[:SEEN], 0.0)
            scale = float(np.abs(exact[7:SEEN] - exact[: SEEN - 7]).mean())
            drawn = _filtered(sums, variance).draw(AHEAD, SEEN % 7)
            low, high = np.quantile(drawn, (0.025, 0.975), axis=1, method="inverted_cdf")
            middles = {
                "naive": np.array([sums[SEEN - 7 + day % 7] for day in range(AHEAD)]),
                "sums": np.median(drawn, axis=1),
                "trained_too": _middle(_filtered(sums, variance, plain)),
                "halved": _middle(_filtered(quarter, doubled, plain)),
                "exact": _middle(plain),
            }
            for arm, middle in middles.items():
                error = float(np.abs(middle - truth).mean()) / scale
                inside = float(((low <= truth) & (truth <= high)).mean()) if arm == "sums" else 0.0
                found.setdefault(arm, []).append(_Scored(error, inside))
    return {
        arm: [
            _Scored(fmean(part.error for part in city), fmean(part.held for part in city))
            for city in (scored[start : start + len(STAGES)] for start in range(0, len(scored), len(STAGES)))
        ]
        for arm, scored in found.items()
    }


def _filtered(counts: NDArray[np.int64], variance: float, knowing: CountModels | None = None) -> CountModels:
    """The models after these days; knowing another's weekdays from the beginning, and its weights at the end."""
    models = CountModels(math.log(max(float(counts[:21].mean()), 0.5)))
    if knowing is not None:
        models.mean[:, 2:], models.spread[:, 2:, 2:] = knowing.mean[:, 2:], knowing.spread[:, 2:, 2:]
    for place, count in enumerate(counts):
        models.step()
        models.learn(place % 7, float(count), variance)
    if knowing is not None:
        models.log_weights = knowing.log_weights
    return models


def _middle(models: CountModels) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.median(models.draw(AHEAD, SEEN % 7), axis=1)
    return found


def release(scale: Scale) -> list[Row]:
    """Counting a day in a vault, and giving out again what was counted."""
    patients = scale.pick(10_000, 400)
    with opened_region(scale.folder / "region") as region:
        _fill(region, patients)
        agreed = region.agreed(terms())
        counted: list[float] = []
        again: list[float] = []
        for day in (1, 2, 3):
            for seconds in (counted, again):
                begun = time.perf_counter()
                region.released("st-anna", agreed, day)
                seconds.append(time.perf_counter() - begun)
    name = f"a day's release, {patients} patients who consent, each with a Condition"
    return [Row(name, Figure.of(counted, "s"), Figure.of(again, "s"), "the same day given out again")]


def _fill(region: Region, patients: int) -> None:
    def of(number: int) -> PatientImport:
        person = json.dumps({"resourceType": "Patient", "id": f"n{number}"}).encode()
        case = json.dumps(condition(DAYS[number % 5] - timedelta(days=number % 3))).encode()
        records = (
            ImportRecord(f"Patient/n{number}", "Patient", Category.DEMOGRAPHICS, person),
            ImportRecord(f"Condition/n{number}", "Condition", Category.CONDITIONS, case),
        )
        return PatientImport(f"Patient/n{number}", records)

    for start in range(0, patients, 500):
        made = region.node.twins.ingest_together(FILING, [of(one) for one in range(start, min(start + 500, patients))])
        by = AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT)
        region.node.access.set_consents(by, [(one.twin, (CHOICES["counts"],)) for one in made])


BENCHMARKS = (
    Benchmark(
        "outbreak.release",
        "one hospital of three in a home, SQLite, embedded chain and witnesses; one syndrome, each day alone: "
        "permits, reading, counting, noise, masks, log, cosigning",
        release,
    ),
    Benchmark(
        "outbreak.delay",
        "EARS C3 over 28 days, 3 hospitals' shares of noise (2 honest); a city of 500,000, 60 everyday cases a day "
        "(negative binomial), SEIR at R0 2, 1 in 20 presents; 3 seeds of 100 outbreaks and 20 + 20 quiet years",
        delay,
        in_quick=False,
    ),
    Benchmark(
        "outbreak.forecast",
        "eight weeks of sums with 3 hospitals' shares of noise (2 honest), periods of a week, each day alone; SEIR at "
        "R0 2 that began 0 to 49 days ago; scored on exact counts; 24 cities of 8 stages each",
        foretold,
    ),
)

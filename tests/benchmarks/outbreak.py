"""How much later private counts alarm than exact ones, at as few false alarms, on the same simulated outbreaks."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from statistics import fmean

from tests.benchmarks.harness import Benchmark, Figure, Row, Scale, Target
from tests.integration.cli.conftest import OFFICER
from tests.integration.outbreak.region import DAYS, FILING, Region, condition, opened_region, terms
from twinward.access.consent_choices import CHOICES
from twinward.access.interfaces import AccessContext
from twinward.core.vocabulary import Category, Purpose
from twinward.outbreak.continual import Period
from twinward.outbreak.ears import Statistic
from twinward.outbreak.evaluation import Trial, tried
from twinward.outbreak.seir import Epidemic
from twinward.twins.models import ImportRecord, PatientImport

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
)

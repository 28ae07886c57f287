"""What the shipped alert rules say over real ICU stays: how often, of whom, how early, and whether the tables agree."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from tests.benchmarks.harness import Benchmark, Figure, Ratio, Row, Scale, Target
from tests.benchmarks.study_quality import DATA
from tests.integration.live.icu_stays import FILE, HOUR_MS, PLAIN, SHIPPED, Stay, by_hour, replayed, stays
from twinward.live.alerts.models import Alert

_GRAVE = "news2-high"
_ADMITTED_H = 6
"""What is drawn before tells of how somebody came, not of how they fare here."""


def alarming(scale: Scale) -> list[Row]:
    if not (DATA / FILE).exists():
        absent = Target("no target", short_of=f"{FILE} is not here")
        return [Row("alerts a patient-day", Figure(0, "/d"), target=absent)]
    some = stays(DATA, "b", scale.pick(1_000, 20))
    alerts = replayed(scale.folder, some)
    return [
        *_often(some, alerts),
        *_of_whom(some, alerts),
        *_before(some, alerts),
        _as_the_tables(some, alerts),
    ]


def _often(some: Sequence[Stay], alerts: Sequence[Sequence[Alert]]) -> list[Row]:
    """Alerts a patient-day beside each crossing of each published threshold as an alert of its own."""
    days = sum(one.days for one in some)
    plainly = [one for stay in some for one in by_hour(stay, PLAIN)]
    rules = {one.rule for each in alerts for one in each} | {_GRAVE}
    rows = []
    for name, counted in [("all rules", rules), *((one, {one}) for one in sorted(rules))]:
        found = sum(one.rule in counted for each in alerts for one in each) / days
        plain = sum(rule in counted for rule, _ in plainly) / days
        base = Figure(plain, "/d") if plain else None
        ratio = Ratio(plain / found, "fewer") if plain and found else None
        raw = {"patient_days": days, "stays": len(some)}
        rows.append(Row(f"alerts a patient-day, {name}", Figure(found, "/d"), base, "each crossing", ratio, raw=raw))
    return rows


def _of_whom(some: Sequence[Stay], alerts: Sequence[Sequence[Alert]]) -> list[Row]:
    """Who had an alert within 48 hours: of those who died in hospital, some time later, and of those who did not."""
    rows = []
    for name, counted in (("NEWS2 of 7", {_GRAVE}), ("any rule", {one.rule for each in alerts for one in each})):
        flagged = [any(one.rule in counted for one in each) for each in alerts]
        died, lived = (
            _share([flag for flag, one in zip(flagged, some, strict=True) if one.died is end]) for end in (True, False)
        )
        raw = {"died": sum(one.died for one in some)}
        rows.append(Row(f"who died had {name}", Figure(died, "%"), Figure(lived, "%"), "who lived", raw=raw))
    return rows


def _before(some: Sequence[Stay], alerts: Sequence[Sequence[Alert]]) -> list[Row]:
    """How long before shock showed in the laboratory the first grave alert was; of the others, by the same hours."""
    first = [min((one.raised_ms / HOUR_MS for one in each if one.rule == _GRAVE), default=None) for each in alerts]
    worse = [(at, one.worse_at) for at, one in zip(first, some, strict=True) if (one.worse_at or 0) >= _ADMITTED_H]
    never = [at for at, one in zip(first, some, strict=True) if one.worse_at is None]
    leads = [hour - at for at, hour in worse if at is not None and hour is not None and at < hour]
    by_chance = [_share([at is not None and at < hour for at in never]) for _, hour in worse if hour is not None]
    share = Figure(100 * len(leads) / len(worse) if worse else 0.0, "%")
    chance = Figure(sum(by_chance) / len(by_chance) if by_chance else 0.0, "%")
    return [
        Row(
            "NEWS2 of 7 before lactate ≥ 4 or pH < 7.2 after hour 6",
            share,
            chance,
            "who never had it, same hours",
            raw={"with": len(worse), "never": len(never)},
        ),
        Row("the same: lead, median", Figure(median(leads) if leads else 0.0, "h"), raw={"hours": leads}),
    ]


def _as_the_tables(some: Sequence[Stay], alerts: Sequence[Sequence[Alert]]) -> Row:
    """Scores' alerts that the published tables, applied by the hour, do not raise at that very hour, or miss."""
    rules, wrong = {one.rule for one in SHIPPED}, 0
    for stay, each in zip(some, alerts, strict=True):
        found = {(one.rule, one.raised_ms) for one in each if one.rule in rules}
        wrong += len(found ^ set(by_hour(stay, SHIPPED)))
    none = Target("0: no delay, none more, none missed", "value", "most", 0)
    return Row("alerts of scores that differ from the tables by the hour", Figure(wrong, ""), target=none)


def _share(flags: Sequence[bool]) -> float:
    return 100 * sum(flags) / len(flags) if flags else 0.0


BENCHMARKS = (
    Benchmark(
        "live.alarms",
        "PhysioNet/CinC 2012 set b, the first 1,000 ICU stays of 48 hours, one value an hour and signal (breathing of a"
        " quarter, saturation from blood gases), sent hour by hour to the intake with the shipped rules at work; nobody"
        " acknowledges; who died in hospital is known, not when, nor who was worried",
        alarming,
        in_quick=False,
    ),
)

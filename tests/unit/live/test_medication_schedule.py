"""When doses are due, held against a reference that walks the minutes; zones, clocks that change, what was charted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinward.core.clock import instant_ms, iso
from twinward.fhir.mapping.medication_plans import charted_of, plan_of
from twinward.live.medication.models import Charted, Plan, Timing
from twinward.live.medication.schedule import answered_of, doses, due_between

BERLIN = ZoneInfo("Europe/Berlin")
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
BEGIN = instant_ms("2026-03-26T00:00:00Z")


def walked(timing: Timing, zone: ZoneInfo, from_ms: int, to_ms: int) -> list[int]:
    """Minute by minute, what a clock on the wall shows; an hour that is skipped is due when it would have been."""
    found, seen = [], set[tuple[Any, ...]]()
    first_day = datetime.fromtimestamp(timing.begin_ms / 1000, zone).date()
    for at_ms in range(from_ms // MINUTE * MINUTE, to_ms, MINUTE):
        wall = datetime.fromtimestamp(at_ms / 1000, zone)
        before = datetime.fromtimestamp(at_ms / 1000 - 3600, zone)
        # what the clock shows, and what it would have shown had it not just gone forward
        shown = {(wall.date(), wall.hour * 3600 + wall.minute * 60)}
        if (wall.utcoffset() or 0) > (before.utcoffset() or 0):  # type: ignore[operator]
            shown.add((before.date(), before.hour * 3600 + 3600 + before.minute * 60))
        for day, second in shown:
            days = (day - first_day).days % timing.every_days == 0
            fits = days and (not timing.weekdays or day.weekday() in timing.weekdays)
            if second in timing.times and fits and (day, second) not in seen:
                seen.add((day, second))
                found.append(at_ms)
        if timing.interval_ms and at_ms >= timing.begin_ms and (at_ms - timing.begin_ms) % timing.interval_ms == 0:
            found.append(at_ms)
    inside = [one for one in found if from_ms <= one < to_ms and one >= timing.begin_ms]
    return sorted(one for one in inside if timing.end_ms is None or one < timing.end_ms)


@settings(max_examples=25, deadline=None)
@given(
    times=st.lists(st.integers(0, 47).map(lambda half: half * 1800), max_size=3, unique=True).map(tuple),
    every=st.integers(1, 3),
    weekdays=st.frozensets(st.integers(0, 6), max_size=3),
    interval=st.sampled_from((0, 90 * MINUTE, 6 * HOUR, 35 * HOUR)),
    begin=st.integers(-2000, 4000),
    length=st.none() | st.integers(1, 4000),
    shift=st.integers(-100, 4000),
    season=st.sampled_from((BEGIN, BEGIN + 210 * DAY)),  # about both Sundays on which clocks change
)
def test_doses_are_those_of_a_clock_on_the_wall(
    times: tuple[int, ...],
    every: int,
    weekdays: frozenset[int],
    interval: int,
    begin: int,
    length: int | None,
    shift: int,
    season: int,
) -> None:
    begin_ms = season + begin * MINUTE
    end_ms = None if length is None else begin_ms + length * MINUTE
    timing = Timing(begin_ms, end_ms, (), times, every, weekdays, interval)
    from_ms = season + shift * MINUTE
    found = due_between(timing, BERLIN, from_ms, from_ms + 4 * DAY)
    assert sorted(found) == walked(timing, BERLIN, from_ms, from_ms + 4 * DAY)


def test_clocks_that_change() -> None:
    def local(timing: Timing, day: str, days: int = 1) -> list[str]:
        begin = instant_ms(f"{day}T00:00:00+01:00")
        return [iso(one)[11:16] for one in due_between(timing, BERLIN, begin, begin + days * DAY)]

    at_half_past_two = Timing(0, None, (), (2 * 3600 + 1800, 8 * 3600))
    assert local(at_half_past_two, "2026-03-29") == ["01:30", "06:00"], "02:30 is skipped: 03:30 in summer time"
    assert local(at_half_past_two, "2026-10-25") == ["00:30", "07:00"], "02:30 comes twice: the first"
    assert local(Timing(instant_ms("2026-10-24T22:00:00Z"), None, interval_ms=6 * HOUR), "2026-10-25") == [
        "04:00", "10:00", "16:00", "22:00",
    ]  # fmt: skip


@given(
    due=st.lists(st.integers(0, 60), unique=True, max_size=8).map(sorted),
    charted=st.lists(st.integers(-10, 70), max_size=8),
)
def test_what_is_charted_answers_one_dose_at_most_and_half_a_day_away_at_most(
    due: list[int], charted: list[int]
) -> None:
    answered = answered_of([one * HOUR for one in due], [one * HOUR for one in charted])
    assert len(answered) <= len(charted)
    assert answered <= {one * HOUR for one in due}
    for one in set(charted) & set(due):
        assert one * HOUR in answered or charted.count(one) >= 1
    assert all(min(abs(one - at * HOUR) for at in charted) <= 12 * HOUR for one in answered)


def request(repeat: dict[str, Any] | None = None, code: str = "", **members: Any) -> dict[str, Any]:
    timing: dict[str, Any] = {} if repeat is None else {"repeat": repeat}
    timing |= {"code": {"coding": [{"code": code}]}} if code else {}
    return {
        "resourceType": "MedicationRequest",
        "id": "a",
        "status": "active",
        "intent": "order",
        "authoredOn": "2026-03-02T10:00:00Z",  # a Monday
        "medicationCodeableConcept": {"text": "Amoxicillin 500 mg"},
        "dosageInstruction": [{"timing": timing, "text": "one\ncapsule"}],
    } | members


@pytest.mark.parametrize(
    ("repeat", "code", "due"),
    [
        ({"frequency": 3, "period": 1, "periodUnit": "d"}, "", "02T14 02T20 03T08 03T14 03T20 04T08 04T14 04T20"),
        ({"frequency": 1, "period": 8, "periodUnit": "h"}, "", "02T10 02T18 03T02 03T10 03T18 04T02 04T10 04T18"),
        ({"timeOfDay": ["09:30:00"], "frequency": 1, "period": 1, "periodUnit": "d"}, "", "03T09 04T09"),
        ({"when": ["MORN", "HS"], "offset": 0}, "", "02T22 03T08 03T22 04T08 04T22"),
        ({"dayOfWeek": ["tue"], "frequency": 1, "period": 1, "periodUnit": "wk"}, "", "03T08"),
        ({"frequency": 1, "period": 2, "periodUnit": "d"}, "", "04T08"),
        ({"count": 2, "frequency": 2, "period": 1, "periodUnit": "d"}, "", "02T20 03T08"),
        ({"boundsPeriod": {"end": "2026-03-03"}, "frequency": 1, "period": 1, "periodUnit": "d"}, "", "03T08"),
        (
            {"boundsDuration": {"value": 12, "code": "h"}, "frequency": 1, "period": 6, "periodUnit": "h"},
            "",
            "02T10 02T16",
        ),
        (None, "BID", "02T20 03T08 03T20 04T08 04T20"),
        (None, "Q12H", "02T10 02T22 03T10 03T22 04T10 04T22"),
        ({"boundsPeriod": {"start": "2026-03-04T00:00:00Z"}}, "QD", "04T08"),
    ],
)
def test_timings_of_fhir(repeat: dict[str, Any] | None, code: str, due: str) -> None:
    plan = plan_of(request(repeat, code))
    assert plan is not None
    assert (plan.request, plan.says, plan.unclear) == (
        "MedicationRequest/a",
        "Amoxicillin 500 mg: one capsule",
        0,
    )
    found = doses(plan, [], ZoneInfo("UTC"), instant_ms("2026-03-02T00:00:00Z"), instant_ms("2026-03-05T00:00:00Z"))
    assert [iso(one.due_ms)[8:13] for one in found] == due.split()
    seldom = len({one.due_ms % DAY for one in found}) == 1  # one a day at most: it may be two hours late
    assert {(one.missed_ms - one.due_ms) // HOUR for one in found} == {2 if seldom else 1}


@pytest.mark.parametrize(
    "repeat",
    [
        {"frequency": 1, "period": 1, "periodUnit": "mo"},
        {"frequency": 1, "frequencyMax": 2, "period": 1, "periodUnit": "d"},
        {"frequency": 1, "period": 0.001, "periodUnit": "min"},
        {"boundsRange": {}, "frequency": 1, "period": 1, "periodUnit": "d"},
        {"when": ["C"]},
        {"frequency": 1, "period": 2, "periodUnit": "wk", "dayOfWeek": ["mon"]},
        {"frequency": 0, "period": 1, "periodUnit": "d"},
        {"frequency": 1, "period": 1e305, "periodUnit": "wk"},
        {"frequency": 1, "period": [1], "periodUnit": ["d"]},
        {"boundsDuration": {"value": 1e305, "code": "wk"}, "frequency": 1, "period": 1, "periodUnit": "d"},
        {"when": [["MORN"]]},
        {"frequency": 1, "period": 2, "periodUnit": "min"},
        {"timeOfDay": [f"{minute // 60:02d}:{minute % 60:02d}:00" for minute in range(1440)]},
        {},
    ],
)
def test_what_says_when_otherwise_is_counted_never_guessed(repeat: dict[str, Any]) -> None:
    assert plan_of(request(repeat)) == Plan("MedicationRequest/a", "Amoxicillin 500 mg: one capsule", (), 1)


@pytest.mark.parametrize("begin", ["0001-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31"])
def test_orders_of_the_calendars_ends(begin: str) -> None:
    plan = plan_of(request({"boundsPeriod": {"start": begin}, "frequency": 1, "period": 1, "periodUnit": "d"}))
    assert plan is not None
    for zone in ("America/New_York", "UTC", "Pacific/Kiritimati"):
        assert len(doses(plan, [], ZoneInfo(zone), BEGIN, BEGIN + 2 * DAY)) == (0 if begin[0] == "9" else 2)


@pytest.mark.parametrize(
    ("timing", "due"),
    [
        (Timing(BEGIN - 300 * DAY, times=(0, 21_600, 43_200, 64_800), most=1204), 4),
        (Timing(BEGIN - 300 * DAY, times=(0, 21_600, 43_200, 64_800), most=1202), 2),
        (Timing(BEGIN - 300 * DAY, interval_ms=6 * HOUR, most=1202), 2),
        (Timing(BEGIN - 300 * DAY, interval_ms=5 * MINUTE, most=10**12), 288),
        (Timing(BEGIN - 300 * DAY, interval_ms=5 * MINUTE, most=10), 0),
        (Timing(BEGIN - 300 * DAY, end_ms=0, interval_ms=6 * HOUR), 0),
    ],
)
def test_orders_of_many_doses_in_all_are_due_until_the_last(timing: Timing, due: int) -> None:
    assert len(due_between(timing, ZoneInfo("UTC"), BEGIN, BEGIN + DAY)) == due


def test_orders_that_plan_nothing_and_what_was_charted() -> None:
    daily = {"frequency": 1, "period": 1, "periodUnit": "d"}
    for members in (
        {"status": "completed"},
        {"status": "stopped"},
        {"status": "on-hold"},
        {"intent": "proposal"},
        {"doNotPerform": True},
        {"dosageInstruction": [{"asNeededBoolean": True, "timing": {"repeat": daily}}]},
    ):
        assert plan_of(request(daily, **members)) is None
    events = request(dosageInstruction=[{"timing": {"event": ["2026-03-03T07:00:00+01:00"]}}])
    plan = plan_of(events)
    assert plan is not None
    assert plan.timings[0].at_ms == (instant_ms("2026-03-03T06:00:00Z"),)
    given = {
        "status": "completed",
        "request": {"reference": "https://x.example/fhir/MedicationRequest/a/_history/2"},
        "effectivePeriod": {"start": "2026-03-03T06:10:00Z"},
    }
    at_ms = int(datetime(2026, 3, 3, 6, 10, tzinfo=UTC).timestamp()) * 1000
    assert charted_of(given) == Charted("MedicationRequest/a", at_ms)
    assert charted_of(given | {"status": "not-done"}) == Charted("MedicationRequest/a", at_ms)
    assert charted_of(given | {"status": "entered-in-error"}) is None
    assert charted_of(given | {"effectivePeriod": {}}) is None

"""When a thing is due: held against a count of hours one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twinward.things.maintenance import DAY_MS, HOUR_MS, service_of, used_ms
from twinward.things.models import Happening, Kind, Related, Relation, Thing, What
from twinward.things.suppression import HIDDEN, SMALL, remaining, suppressed

BEGIN = 1_000 * DAY_MS


def device(hours: int = 0, days: int = 0) -> Thing:
    return Thing("i", "vent-1", Kind.DEVICE, "V", "ventilator", BEGIN, "a", hours, days)


def stay(first: int, last: int | None) -> Related:
    until = None if last is None else BEGIN + last * HOUR_MS
    return Related("r", "vent-1", Relation.ASSIGNED_TO, "t", BEGIN + first * HOUR_MS, until, "a")


def happened(what: What, hour: int) -> Happening:
    return Happening("h", "vent-1", what, BEGIN + hour * HOUR_MS, "a")


@given(
    st.lists(st.integers(0, 60), unique=True, max_size=9).map(sorted),
    st.integers(0, 70),
    st.integers(1, 30),
    st.one_of(st.none(), st.integers(1, 60)),
)
def test_hours_run_out_when_an_hour_by_hour_count_says_so(
    edges: list[int], now: int, limit: int, serviced: int | None
) -> None:
    edges = [one for one in edges if one < now]
    pairs = list(zip(edges[::2], [*edges[1::2], None], strict=False))
    use = [stay(first, last) for first, last in pairs]
    serviced = serviced if serviced is not None and serviced <= now else None
    happenings = [] if serviced is None else [happened(What.SERVICED, serviced)]
    begin = serviced or 0
    hours = [
        hour for hour in range(begin, now) if any(a <= hour and (b is None or hour < b) for a, b in pairs)
    ]  # in use from this hour to the next
    found = service_of(device(hours=limit), use, happenings, BEGIN + now * HOUR_MS)
    assert found.used_h == len(hours)
    if len(hours) >= limit:
        assert found.due_ms == BEGIN + (hours[limit - 1] + 1) * HOUR_MS
        assert found.is_due(BEGIN + now * HOUR_MS)
    elif found.due_ms is not None:
        assert found.due_ms >= BEGIN + now * HOUR_MS
    assert found.due_ms is not None or not hours
    assert used_ms(use, BEGIN, BEGIN + now * HOUR_MS) == HOUR_MS * sum(
        any(a <= hour and (b is None or hour < b) for a, b in pairs) for hour in range(now)
    )


def test_the_first_of_the_reasons_counts_and_service_begins_anew() -> None:
    now = BEGIN + 10 * DAY_MS
    thing = device(hours=24 * 20, days=30)
    half = [stay(24 * one, 24 * one + 12) for one in range(10)]
    found = service_of(thing, half, [], now)
    assert (found.reason, found.due_ms) == ("days", BEGIN + 30 * DAY_MS), "hours last until day 40 at this pace"
    whole = [stay(0, None)]
    found = service_of(thing, whole, [], now)
    assert (found.reason, found.due_ms, found.used_h) == ("hours", now + 10 * DAY_MS, 240)
    broken = [happened(What.FAULT, 100), happened(What.FAULT, 101)]
    found = service_of(thing, whole, broken, now)
    assert (found.reason, found.due_ms, found.faults) == ("fault", BEGIN + 100 * HOUR_MS, 2)
    found = service_of(thing, whole, [*broken, happened(What.SERVICED, 200)], now)
    assert (found.reason, found.used_h, found.faults) == ("hours", 40, 0)
    assert service_of(device(), whole, [], now).due_ms is None
    second = Related("r", "vent-1", Relation.ASSIGNED_TO, "t", BEGIN, BEGIN + 1000, "a")
    assert service_of(device(hours=500), [second], [], now).due_ms is None, "a date that no calendar has"


def test_the_rule_is_the_published_one() -> None:
    assert [suppressed(count) for count in range(14)] == [0, *["*"] * 7, *[10] * 5, 15]


@given(st.integers(0, 500), st.integers(0, 500))
def test_no_small_number_of_patients_is_told_nor_follows_from_what_is(count: int, beds: int) -> None:
    told = suppressed(count)
    assert (told == HIDDEN) is (1 <= count <= SMALL)
    if not isinstance(told, str):
        assert told % 5 == 0
        assert abs(told - count) <= 2
        alike = [other for other in range(501) if suppressed(other) == told]
        assert count == 0 or len(alike) >= 3
    free = remaining(beds, told)
    assert free == (HIDDEN if isinstance(told, str) else max(0, beds - told)), "by what is told, by nothing else"

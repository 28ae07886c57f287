"""When a thing is due: held against a count of hours one by one."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from hypothesis import example, given
from hypothesis import strategies as st

from twinward.things.maintenance import DAY_MS, HOUR_MS, service_of, used_ms
from twinward.things.models import Happening, Kind, Related, Relation, Thing, What
from twinward.things.suppression import HIDDEN, Count, remaining, suppressed, together

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


def test_the_rule_is_the_published_one_and_few_places_tell_nothing() -> None:
    assert [suppressed(count, 20) for count in range(14)] == [0, *["*"] * 7, *[10] * 5, 15]
    assert {suppressed(count, places) for places in range(1, 8) for count in range(places + 1)} == {HIDDEN}
    assert (remaining(9, HIDDEN), remaining(9, 10), remaining(12, 10)) == (HIDDEN, 0, 2)


@given(st.lists(st.integers(1, 10).flatmap(lambda most: st.tuples(st.integers(0, most), st.just(most))), max_size=3))
@example([(1, 1), (0, 9)])
@example([(7, 10), (7, 10), (4, 10)])
@example([(1, 1), (0, 1), (10, 10)])
def test_no_hidden_number_follows_from_all_that_is_told(parts: list[tuple[int, int]]) -> None:
    def said(counts: Iterable[int]) -> list[Count]:
        taken = list(zip(counts, (places for _, places in parts), strict=True))
        return [together(taken), *(suppressed(*one) for one in taken)]

    told = said(count for count, _ in parts)
    alike = [one for one in product(*(range(places + 1) for _, places in parts)) if said(one) == told]
    for place, shown in enumerate(told[1:]):
        could_be = {one[place] for one in alike}
        assert len(could_be) > 1 or shown == 0 or not isinstance(shown, str)
    assert told[0] == HIDDEN or abs(int(told[0]) - sum(count for count, _ in parts)) <= 2 * max(1, len(parts))


def test_many_parts_at_their_least_or_most_are_hidden_together() -> None:
    assert together([(1, 1)] * 8) == together([(1, 9)] * 12) == HIDDEN
    assert together([(1, 2)] * 8) == together([(2, 9)] * 5) == 10

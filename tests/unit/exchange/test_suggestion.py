"""What is suggested is the best there is, and a surge is survived better with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinward.exchange.errors import ExchangeInvalid
from twinward.exchange.models import ListingView, Signed, details_hash, resource_code, resource_word
from twinward.exchange.suggestion import suggest
from twinward.exchange.surge import Plan, Surge, Ward, simulate

HOSPITALS = ("north", "lake", "mercy")


def listing(number: int, kind: str, hospital: str, left: int, until_s: int = 1, resource: str = "ecmo") -> ListingView:
    return ListingView(number, kind, hospital, resource, left, left, until_s, stands=left > 0)


listings = st.lists(
    st.tuples(st.sampled_from(("offer", "request")), st.sampled_from(HOSPITALS), st.integers(0, 2), st.integers(1, 3)),
    max_size=5,
).map(lambda found: [listing(number, *one) for number, one in enumerate(found, 1)])
ways = st.fixed_dictionaries({(a, b): st.integers(0, 90) for a in HOSPITALS for b in HOSPITALS if a != b})


def every_plan(offers: Sequence[ListingView], needs: Sequence[ListingView]) -> Iterator[dict[tuple[int, int], int]]:
    """Every way to give whole units: slow, and obvious."""
    pairs = [(a, b) for a in offers for b in needs if a.hospital != b.hospital and a.stands and b.stands]

    def rest(at: int, plan: dict[tuple[int, int], int]) -> Iterator[dict[tuple[int, int], int]]:
        if at == len(pairs):
            yield dict(plan)
            return
        offer, need = pairs[at]
        given_away = sum(share for (one, _), share in plan.items() if one == offer.number)
        taken = sum(share for (_, one), share in plan.items() if one == need.number)
        for share in range(min(offer.left - given_away, need.left - taken) + 1):
            yield from rest(at + 1, {**plan, (offer.number, need.number): share})

    yield from rest(0, {})


@settings(max_examples=60)
@given(listings, ways)
def test_no_plan_is_better_than_the_one_suggested(
    found: list[ListingView], minutes: dict[tuple[str, str], int]
) -> None:
    by_number = {one.number: one for one in found}
    offers, needs = ([one for one in found if one.kind == kind] for kind in ("offer", "request"))
    ends = sorted({one.until_s for one in needs if one.stands}, reverse=True)

    def worth(plan: dict[tuple[int, int], int]) -> tuple[int, int, int]:
        units, urgency, way = 0, 0, 0
        for (offer, need), share in plan.items():
            units += share
            urgency += share * ends.index(by_number[need].until_s)
            way += share * minutes[by_number[offer].hospital, by_number[need].hospital]
        return units, urgency, -way

    made = suggest(found, lambda giver, receiver: minutes[giver, receiver])
    plan = {(one.offer, one.request): one.quantity for one in made}
    assert plan in [{pair: share for pair, share in one.items() if share} for one in every_plan(offers, needs)]
    assert worth(plan) == max(map(worth, every_plan(offers, needs)))


def test_nothing_goes_from_one_resource_to_another_or_home() -> None:
    found = [listing(1, "offer", "north", 2), listing(2, "request", "north", 2), listing(3, "request", "lake", 2)]
    assert suggest([found[0], replace(found[2], resource="dialysis")]) == []
    assert suggest(found[:2]) == []
    assert suggest([found[0], replace(found[2], stands=False)]) == []
    (one,) = suggest(found)
    assert (one.offer, one.request, one.giver, one.receiver, one.quantity, one.minutes) == (
        1,
        3,
        "north",
        "lake",
        2,
        60,
    )


PLAN = Plan(
    (Ward("north", 12, 1.0), Ward("lake", 12, 0.8), Ward("mercy", 12, 0.8)), Surge("north", 3.0, 5, 12), days=40
)


def test_the_same_patients_wait_less_where_hospitals_lend() -> None:
    alone = [simulate(PLAN, seed, lending=False) for seed in range(4)]
    lent = [simulate(PLAN, seed, lending=True) for seed in range(4)]
    assert all(one.sent == 0 for one in alone)
    assert all(one.sent > 0 for one in lent)
    waited = [sum(sum(run.waited.values()) for run in runs) for runs in (alone, lent)]
    assert waited[1] < waited[0] / 2
    assert simulate(PLAN, 0, lending=True) == lent[0]
    calm = replace(PLAN, surge=Surge("north", 1.0, 0, 0), wards=tuple(replace(w, arrivals=0.0) for w in PLAN.wards))
    assert simulate(calm, 0, lending=True).sent == 0


@pytest.mark.parametrize(
    "plan",
    [
        replace(PLAN, surge=replace(PLAN.surge, hospital="elsewhere")),
        replace(PLAN, wards=(PLAN.wards[0], PLAN.wards[0])),
        replace(PLAN, wards=(Ward("north", 0, 1.0),)),
        replace(PLAN, wards=(Ward("north", 1, float("nan")),)),
        replace(PLAN, days=0),
        replace(PLAN, stay_days=0.5),
        replace(PLAN, transit_days=-1),
    ],
)
def test_what_cannot_be_simulated_is_refused(plan: Plan) -> None:
    with pytest.raises(ExchangeInvalid):
        simulate(plan, 1, lending=True)


def test_codes_details_and_halves_have_one_form() -> None:
    assert resource_code(resource_word("bed-icu")) == "bed-icu"
    assert resource_code(bytes(range(1, 33))).startswith("0x")
    for wrong in ("", "Bed", "a" * 32, "-a", "a\n", "bett ä"):
        with pytest.raises(ExchangeInvalid):
            resource_word(wrong)
    assert details_hash("", b"") == bytes(32)
    assert details_hash("call 123", b"s" * 16) != details_hash("call 123", b"t" * 16)
    half = Signed(1, 2, "north", b"k" * 48, b"s" * 96)
    assert Signed.parse(half.shown()) == half
    for field, value in (
        ("transfer", True),
        ("signature", "00"),
        ("public_key", "zz"),
        ("hospital", None),
        ("hospital", "\ud800"),
    ):
        with pytest.raises(ExchangeInvalid):
            Signed.parse(half.shown() | {field: value})
    with pytest.raises(ExchangeInvalid):
        Signed.parse([half.shown()])

"""Attacks on what gated mode releases: differencing, trackers, trilateration by thresholds, asking again.

Each succeeds against a hospital without the release policy (``Unprotected``: every match is told, nothing is counted)
and fails against the policy. The attacker knows what it would know: its own queries, the answers, and for differencing
its victim's features from elsewhere. Figures are asserted, so that they cannot quietly change.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.integration.similarity.fixtures import EPOCH, House, schema_of
from twinward.access.interfaces import Principal
from twinward.core.vocabulary import Role
from twinward.protocol.messages import GatedQuery
from twinward.protocol.terms import Mode
from twinward.similarity.errors import BudgetExhausted, TooFast
from twinward_crypto.homomorphic.gated import encrypt_gated_query

D, LEVELS, PATIENTS, MINIMUM = 2, 128, 60, 3
SCHEMA = schema_of({"a": (0, 127), "b": (0, 127)})
ROWS = np.random.default_rng(41).integers(0, LEVELS, (PATIENTS, D))
UNLIMITED = 10**9


@dataclass
class Attacker:
    """A vendor that keeps count of what it asked."""

    house: House
    principal: Principal
    asked: int = 0

    def ball(self, centre: np.ndarray, weights: list[int] | None = None) -> Callable[[int], frozenset[str]]:
        """Squared radius -> the handles told."""
        engine = self.house.service._gated
        assert engine is not None
        epoch = self.house.service.cohort.epoch
        gate = engine.gate.public_bundle(binding=engine.binding)
        bundle = encrypt_gated_query(gate, centre.tolist(), weights).encode()

        def within(squared: int) -> frozenset[str]:
            self.asked += 1
            query = GatedQuery.model_construct(epoch=epoch, threshold_squared=max(0, squared), bundle=bundle)
            return frozenset(self.house.answers.answer_gated(self.principal, query).handles)

        return within

    def true_handle(self, row: int) -> str:
        return self.house.service.secrets.handle(self.principal.id, self.house.twins[row])


@pytest.fixture(params=[False, True], ids=["without the policy", "with it"])
def protected(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def house(tmp_path: Path, protected: bool) -> House:
    return House(tmp_path, SCHEMA, ROWS, modes=(Mode.GATED,), minimum_count=MINIMUM, protected=protected)


def attacker(house: House, number: int, queries: int = UNLIMITED) -> Attacker:
    principal = Principal(f"vendor-{number}", Role.VENDOR)
    house.budget.left[principal.id] = queries  # type: ignore[attr-defined]
    return Attacker(house, principal)


def squared(row: int, centre: np.ndarray) -> int:
    return int(((ROWS[row] - centre) ** 2).sum())


def test_differencing_names_a_known_patients_handle(house: House, protected: bool) -> None:
    """Whose features are known from elsewhere: two balls, the second one larger by exactly that patient."""
    centre, right, seen = np.array([63, 63]), 0, 0
    for number, victim in enumerate(range(0, PATIENTS, 3)):
        spy = attacker(house, number)
        within, reach = spy.ball(centre), squared(victim, centre)
        apart = within(reach) - within(reach - 1)
        seen += bool(apart)
        right += apart == {spy.true_handle(victim)}
    assert spy.asked == 2
    if protected:
        assert right == 0
    else:
        assert right == 17  # of 20; the others share their distance with somebody
        assert seen == 20


@pytest.mark.slow
def test_many_balls_that_meet_in_one_patient_do_not_tell_it_apart(house: House, protected: bool) -> None:
    """A tracker: intersect and subtract the answers to many balls; what is alone in a cell is singled out."""
    spy = attacker(house, 0)
    random = np.random.default_rng(7)
    answers = [spy.ball(random.integers(0, LEVELS, D))(int(random.integers(200, 6_000))) for _ in range(60)]
    cells: dict[tuple[bool, ...], set[str]] = {}
    for handle in frozenset[str]().union(*answers):
        cells.setdefault(tuple(handle in answer for answer in answers), set()).add(handle)
    alone = sum(len(cell) == 1 for cell in cells.values())
    if protected:
        assert alone == 0
        assert min(map(len, cells.values())) >= MINIMUM
    else:
        assert alone == 46  # of 60 patients


def located(spy: Attacker, handle: str) -> tuple[np.ndarray, int]:
    """Trilateration by thresholds: bisect the handle's distance to d + 1 centres, then solve."""
    centres = np.array([[0, 0], [127, 0], [0, 127]])
    distances = []
    for centre in centres:
        within = spy.ball(centre)
        low, high = -1, 2 * 127**2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if handle in within(middle) else (middle, high)
        distances.append(high)
    left = -2 * centres[1:]
    right = np.array(distances[1:]) - distances[0] - (centres[1:] ** 2).sum(axis=1)  # the first centre is the origin
    return np.rint(np.linalg.solve(left, right)), spy.asked


@pytest.mark.slow
def test_trilateration_by_thresholds_finds_a_patients_features(house: House, protected: bool) -> None:
    """Without a budget to stop it. Groups still hold: what is located is one of three handles, nobody knows which."""
    victims, exact, points = range(0, PATIENTS, 10), 0, {}
    for number, victim in enumerate(victims):
        spy = attacker(house, number)
        found, asked = located(spy, spy.true_handle(victim))
        exact += np.array_equal(found, ROWS[victim])
        points[victim] = found
    assert asked == 3 * 15  # 15 thresholds a centre
    if protected:
        off = [np.abs(points[victim] - ROWS[victim]).max() for victim in victims]
        assert exact <= len(victims) // MINIMUM
        assert np.median(off) >= 8  # levels of 128
    else:
        assert exact == len(victims)


def test_the_budget_ends_an_attack_long_before(tmp_path: Path) -> None:
    """The default allowance of 12 queries is spent before the first of three centres is bisected."""
    house = House(tmp_path, SCHEMA, ROWS, modes=(Mode.GATED,), protected=False)
    spy = attacker(house, 0, queries=12)
    with pytest.raises(BudgetExhausted) as refusal:
        located(spy, spy.true_handle(0))
    assert spy.asked == 13
    assert "0 queries left" in str(refusal.value)
    assert "2026-01-02 00:00 UTC" in refusal.value.hint


def test_asking_fast_is_refused_until_the_minute_is_over(tmp_path: Path) -> None:
    house = House(tmp_path, SCHEMA, ROWS, modes=(Mode.GATED,), requests_per_minute=5)
    spy = attacker(house, 0)
    within = spy.ball(np.array([1, 1]))
    left = house.budget.remaining(spy.principal.id, EPOCH)
    for _ in range(5):
        within(5_000)
    with pytest.raises(TooFast, match="more than 5 requests in a minute") as refusal:
        within(5_000)
    assert spy.asked == 6
    assert refusal.value.http_status == 429
    assert "seconds" in refusal.value.hint
    assert house.budget.remaining(spy.principal.id, EPOCH) == left - 5  # the refused one cost nothing


def test_asking_again_tells_nothing_new(tmp_path: Path) -> None:
    """No noise in gated answers, so nothing to average: thirty answers to one question are one answer."""
    house = House(tmp_path, SCHEMA, ROWS, modes=(Mode.GATED,))
    within = attacker(house, 0).ball(np.array([63, 63]))
    assert len({within(2_000) for _ in range(30)}) == 1


@pytest.mark.slow
def test_differencing_epochs_tells_nothing_of_who_came(house: House, protected: bool) -> None:
    """One patient joins between two epochs; whoever asks the same of both learns which balls that patient lies in."""
    centre, right = np.array([63, 63]), 0
    for number, joiner in enumerate(range(0, PATIENTS, 5)):
        twins, levels, facets = house.twins[:], house.levels, house.facets
        spy, answers = attacker(house, number), []
        radius = (squared(joiner, centre) + 800) if number % 2 else max(0, squared(joiner, centre) - 1)
        for epoch, rows in enumerate(([row for row in range(PATIENTS) if row != joiner], range(PATIENTS))):
            house.twins = [twins[row] for row in rows]
            house.levels, house.facets = levels[list(rows)], facets[list(rows)]
            house.answers = house.open(EPOCH + epoch)
            answers.append(len(spy.ball(centre)(radius)))
        right += (answers[1] - answers[0] == 1) == (number % 2 == 1)
        assert not protected or answers[0] == answers[1] > 0
    assert right == (6 if protected else 12)  # half of twelve is a coin


def test_a_vendor_cannot_begin_anew_with_the_next_epoch(tmp_path: Path) -> None:
    """Two balls that differ by one patient, asked in two epochs: the second is the first one's group again."""
    house = House(tmp_path, SCHEMA, ROWS, modes=(Mode.GATED,))
    centre, victim = np.array([63, 63]), 0
    reach, spy = squared(victim, centre), attacker(house, 0)
    before = spy.ball(centre)(reach - 1)
    house.answers = house.open(EPOCH + 1)
    after = spy.ball(centre)(reach)
    assert len(after) == len(before)
    assert spy.true_handle(victim) not in after
    house.drawer.content = None
    house.answers = house.open(EPOCH + 2)
    assert spy.true_handle(victim) in spy.ball(centre)(reach)


@pytest.mark.parametrize(
    ("epochs", "cells", "narrowest", "median", "widest"),
    [(1, 11, 2, 6, 11), pytest.param(10, 14, 0, 5, 10, marks=pytest.mark.slow)],
)
def test_what_honest_queries_still_tell(
    tmp_path: Path, epochs: int, cells: int, narrowest: int, median: float, widest: int
) -> None:
    """The bound of what is told, and how much that is: one feature at a time, by as many thresholds as are paid for.

    Twelve queries an epoch, every other feature weighted with 0, by a vendor that even knows who is behind which
    handle. It sorts 60 patients into cells of a few levels of 128: three or more always share one, and nothing tells
    them apart; but where three are alike it knows their level closely. More epochs hardly narrow it.
    """
    house = House(tmp_path, SCHEMA, ROWS, modes=(Mode.GATED,), minimum_count=MINIMUM)
    spy, asked = attacker(house, 0, queries=12 * epochs), 12 * epochs
    thresholds = [round(127 * (number + 1) / (asked + 1)) for number in range(asked)]
    answers = []
    for epoch in range(epochs):
        house.answers = house.open(EPOCH + epoch)
        for threshold in thresholds[epoch::epochs]:
            told = spy.ball(np.array([0, 0]), [1, 0])(threshold**2)
            answers.append({row for row in range(PATIENTS) if spy.true_handle(row) in told})
    found: dict[tuple[bool, ...], list[int]] = {}
    for row in set().union(*answers):
        found.setdefault(tuple(row in answer for answer in answers), []).append(row)
    assert min(map(len, found.values())) == MINIMUM
    spans = [int(np.ptp(ROWS[cell, 0])) for cell in found.values()]
    assert (len(found), min(spans), np.median(spans), max(spans)) == (cells, narrowest, median, widest)
    assert spy.asked == asked


def test_who_left_the_cohort_is_neither_decided_on_nor_told(tmp_path: Path) -> None:
    house = House(tmp_path, SCHEMA, ROWS, modes=(Mode.GATED,))
    centre, spy = np.array([63, 63]), attacker(house, 0)
    inside = [row for row in range(PATIENTS) if squared(row, centre) <= 2_000]
    assert len(spy.ball(centre)(2_000)) == len(inside)
    leaver, everybody = house.twins[inside[0]], (house.twins, house.levels, house.facets)
    house.levels, house.facets = (np.delete(one, inside[0], axis=0) for one in (house.levels, house.facets))
    house.twins = [twin for twin in house.twins if twin != leaver]
    house.answers = house.open(EPOCH + 1)
    events = len(house.trail.events)
    assert len(spy.ball(centre)(2_000)) == len(inside) - 1
    assert leaver not in {event.twin for event in house.trail.events[events:]}
    house.twins, house.levels, house.facets = everybody
    house.answers = house.open(EPOCH + 2)
    assert len(spy.ball(centre)(2_000)) == len(inside)  # back, and in its group: never new alone


def test_two_vendors_cannot_put_their_handles_together(tmp_path: Path) -> None:
    house = House(tmp_path, SCHEMA, ROWS, modes=(Mode.GATED,))
    told = [attacker(house, number).ball(np.array([63, 63]))(4_000) for number in range(2)]
    assert len(told[0]) == len(told[1]) > 0
    assert not told[0] & told[1]


def test_a_restart_does_not_let_a_vendor_begin_anew(tmp_path: Path) -> None:
    """What was told is kept in a drawer outside the process; without it the second ball would single one out."""
    house = House(tmp_path, SCHEMA, ROWS, modes=(Mode.GATED,))
    centre, victim = np.array([63, 63]), 0  # nobody else is exactly as far
    reach = squared(victim, centre)
    spy = attacker(house, 0)
    before = spy.ball(centre)(reach - 1)
    secrets = house.service.secrets
    for keeps in (True, False):
        if not keeps:
            house.drawer.content = None
        house.answers = house.open(secrets=secrets)
        after = spy.ball(centre)(reach)
        assert (after == before) is keeps
        if keeps:
            assert spy.true_handle(victim) not in after
    assert after - before == {spy.true_handle(victim)}


@pytest.mark.slow
def test_policies_differ_only_where_it_hurts(tmp_path: Path) -> None:
    """The price of protection: first answers are the same with and without it."""
    for number, (x, y) in enumerate(itertools.product((20, 63, 110), repeat=2)):
        told = []
        for protected in (True, False):
            folder = tmp_path / f"{number}-{protected}"
            folder.mkdir()
            house = House(folder, SCHEMA, ROWS, modes=(Mode.GATED,), protected=protected)
            spy = attacker(house, 0)
            handles = spy.ball(np.array([x, y]))(1_500)
            twins = {house.service.secrets.handle(spy.principal.id, twin): twin for twin in house.twins}
            told.append({twins[handle] for handle in handles})
        assert told[0] == (told[1] if len(told[1]) >= MINIMUM else set())

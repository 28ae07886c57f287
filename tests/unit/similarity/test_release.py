"""What leaves and what does not: minimum count, handles by consent, thresholds people understand, secrets kept."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward.client.question import Threshold
from twinward.core.errors import BadInput
from twinward.core.vocabulary import TwinId
from twinward.features.schema import CARDIOMETABOLIC, Feature, FeatureSchema
from twinward.protocol.terms import ModeTerms, Terms, binding_of
from twinward.similarity.cohort import Cohort, CohortSecrets
from twinward.similarity.errors import QueryRefused, SecretsUnreadable
from twinward.similarity.models import Match
from twinward.similarity.release.policy import MinimumCount
from twinward.similarity.service_policy import LEAKAGE, ServicePolicy

SCHEMA = FeatureSchema(
    name="two",
    levels=101,
    features=tuple(Feature(name=n, title=n, unit="1", low=0, high=100, default=50) for n in ("a", "b")),
)
OFFER = ServicePolicy()


def new_secrets(epoch: int) -> CohortSecrets:
    return CohortSecrets.generate(epoch, SCHEMA, OFFER.gated_plan(SCHEMA))


SECRETS = new_secrets(7)
TWINS = [TwinId(f"twin-{n}") for n in range(8)]


def matches(count: int) -> list[Match]:
    return [Match(twin, 10 * n) for n, twin in enumerate(TWINS[:count])]


def release(count: int, releasable: Sequence[TwinId] = tuple(TWINS), minimum: int = 3):
    policy = MinimumCount(minimum, SECRETS.handle)
    return policy.release(matches(count), vendor="acme", epoch=7, releasable=frozenset(releasable))


def test_none_one_and_two_look_alike() -> None:
    assert release(0) == release(1) == release(2)
    assert release(0).count is None
    assert release(0).handles == ()
    assert "fewer than 3" in release(0).withheld


def test_nobodys_consent_is_asked_where_nothing_would_be_told() -> None:
    policy = MinimumCount(3, SECRETS.handle)
    told = frozenset({frozenset(TWINS[:3])})
    assert policy.candidates(matches(2)) == frozenset()
    assert policy.candidates(matches(5), told) == frozenset(TWINS[:3])  # two new ones alone are not told
    assert policy.candidates(matches(6), told) == frozenset(TWINS[:6])


def test_exactly_the_minimum_is_enough() -> None:
    out = release(3)
    assert (out.count, len(out.handles)) == (3, 3)
    out = release(4, releasable=TWINS[:3])
    assert (out.count, len(out.handles)) == (3, 3)


def test_enough_matches_are_released_without_order_or_distance() -> None:
    out = release(4)
    assert out.count == 4
    assert list(out.handles) == sorted(SECRETS.handle("acme", twin) for twin in TWINS[:4])


def test_a_handle_needs_its_patients_consent() -> None:
    out = release(5, releasable=TWINS[:3])
    assert set(out.handles) == {SECRETS.handle("acme", twin) for twin in TWINS[:3]}
    assert out.count == 3  # whoever lets nothing out is not counted either
    assert out.withheld == release(5).withheld


def test_too_few_consents_withhold_every_handle() -> None:
    out = release(5, releasable=TWINS[:2])
    assert out.handles == ()
    assert out.withheld


def test_handles_differ_by_vendor_epoch_and_twin() -> None:
    other = new_secrets(8)
    seen = {s.handle(v, t) for s in (SECRETS, other) for v in ("acme", "acm", "e") for t in TWINS}
    assert len(seen) == 2 * 3 * len(TWINS)
    same_secret = CohortSecrets(9, SECRETS.handle_secret, SECRETS.row_secret, SECRETS.gate_key, SECRETS.matrix_key)
    assert same_secret.handle("acme", TWINS[0]) != SECRETS.handle("acme", TWINS[0])


def test_a_vendors_name_cannot_run_into_a_twins() -> None:
    assert SECRETS.handle("ab", TwinId("c")) != SECRETS.handle("a", TwinId("bc"))


class Source:
    def __init__(self, rows: list[tuple[TwinId, list[int]]]) -> None:
        self.rows = rows

    def consenting(self) -> list[tuple[TwinId, list[int], list[int], list[int]]]:
        return [(twin, row, row, []) for twin, row in self.rows]


def snapshot(rows: list[tuple[TwinId, list[int]]], secrets: CohortSecrets = SECRETS) -> Cohort:
    return Cohort.snapshot(Source(rows), hospital="h", schema=SCHEMA, epoch=secrets.epoch, secrets=secrets)


def test_rows_lie_in_an_order_that_tells_nothing() -> None:
    rows = [(TwinId(f"twin-{n:03}"), [n % 101, 0]) for n in range(60)]
    first, second = snapshot(rows), snapshot(rows[::-1])
    assert first.twins == second.twins
    assert list(first.twins) != sorted(first.twins)
    assert snapshot(rows, new_secrets(7)).twins != first.twins
    for twin, vector in rows:
        assert first.levels[first.twins.index(twin)].tolist() == vector


@pytest.mark.parametrize(
    "rows",
    [
        [(TWINS[0], [1, 2]), (TWINS[0], [1, 2])],
        [(TWINS[0], [1])],
        [(TWINS[0], [1, 101])],
        [(TWINS[0], [-1, 0])],
    ],
)
def test_a_cohort_that_does_not_fit_is_refused(rows: list[tuple[TwinId, list[int]]]) -> None:
    with pytest.raises(BadInput):
        snapshot(rows)


def test_no_consent_no_cohort() -> None:
    with pytest.raises(QueryRefused, match="no patient"):
        snapshot([])


def test_the_threshold_is_inclusive() -> None:
    cohort = snapshot([(TWINS[0], [0, 0]), (TWINS[1], [0, 1])])
    found = cohort.within(np.array([4, 5]), 4)
    assert [match.squared_distance for match in found] == [4]
    assert found[0].twin == cohort.twins[0]


def test_secrets_come_back_and_nothing_else_does() -> None:
    plan = OFFER.gated_plan(SCHEMA)
    data = SECRETS.dangerously_export()
    back = CohortSecrets.restore(data, plan)
    assert back.handle("acme", TWINS[0]) == SECRETS.handle("acme", TWINS[0])
    assert back.dangerously_export()[:77] == data[:77]
    for bad in (b"", data[:-1], data + b"\0", b"XXXX" + data[4:], data[:13] + b"\xff" + data[14:], data[:100]):
        with pytest.raises(SecretsUnreadable):
            CohortSecrets.restore(bad, plan)
    assert "secret" not in repr(SECRETS)
    assert SECRETS.handle_secret.hex() not in repr(SECRETS)
    for slip in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            slip(SECRETS)


@given(st.floats(0, 1), st.integers(0, 100), st.integers(0, 100))
def test_a_share_means_root_mean_square_of_range(share: float, a: int, b: int) -> None:
    """Levels are per cent here, so the rule can be said in plain numbers."""
    inside = (a * a + b * b) <= Threshold.share(share).to_squared(SCHEMA)
    rms = ((a * a + b * b) / 2) ** 0.5 / 100
    if abs(rms - share) > 1e-9:
        assert inside == (rms <= share)


def test_shares_that_meet_a_level_exactly_include_it() -> None:
    for percent in range(101):
        assert Threshold.share(percent / 100).to_squared(SCHEMA, [1, 0]) == percent**2


@pytest.mark.parametrize("bad", [-0.1, 1.5, float("nan"), True, "0.1"])
def test_a_share_is_between_zero_and_one(bad: float) -> None:
    with pytest.raises(BadInput):
        Threshold.share(bad)


@pytest.mark.parametrize("bad", [-1, 1.5, True])
def test_squared_levels_are_whole(bad: int) -> None:
    with pytest.raises(BadInput):
        Threshold.squared_levels(bad)


def test_an_empty_threshold_is_refused() -> None:
    with pytest.raises(BadInput, match="empty"):
        Threshold().to_squared(SCHEMA)


def test_bindings_differ_by_hospital_schema_and_epoch() -> None:
    seen = {binding_of(h, s, e) for h in ("a", "b") for s in (SCHEMA, CARDIOMETABOLIC) for e in (0, 1)}
    assert len(seen) == 8


def test_both_sides_derive_one_plan_from_the_terms() -> None:
    for offer in (
        ServicePolicy(modes=tuple(LEAKAGE)),
        ServicePolicy(modes=tuple(LEAKAGE), weighted=False, noise_width=1),
    ):
        terms = Terms(
            hospital="h",
            epoch=1,
            feature_schema=CARDIOMETABOLIC,
            modes=offer.terms(CARDIOMETABOLIC),
            minimum_count=3,
        )
        there = Terms.model_validate_json(terms.model_dump_json())
        assert there == terms
        assert there.binding() == terms.binding()
        for mode in there.modes[:2]:
            assert mode.plan(there.feature_schema).pack() == mode.plan(CARDIOMETABOLIC).pack()


def test_vendor_key_answers_stay_below_trilateration_whatever_a_hospital_sets() -> None:
    bounds = [
        ServicePolicy(vendor_key_queries=most).vendor_key_bound(CARDIOMETABOLIC) for most in (None, 3, 16, 17, 10**6)
    ]
    assert bounds == [16, 3, 16, 16, 16]


def test_unknown_rings_are_refused() -> None:
    with pytest.raises(BadInput):
        ModeTerms(mode="gated", profile="weak", leakage="").plan(SCHEMA)

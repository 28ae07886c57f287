"""What sums over changing groups tell of each hospital, held against numbers whose law is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward.federation.aggregation.groups import deal_groups
from twinward.federation.errors import StudyInvalid
from twinward.federation.privacy.accountant import multiplier_of, noise_spread, plan_for
from twinward.federation.privacy.dp_sum import noise_variance, sensitivity
from twinward.federation.study import StudyProtocol
from twinward.federation.suspicion.memberships import membership_matrix, tell_apart
from twinward.federation.suspicion.suspects import _size

NAMES = tuple(f"h{number}" for number in range(7))
FIELDS = {"epsilon": 1.0, "dropouts": 0}


def dealt(seed: int, rounds: int) -> np.ndarray:
    chance = np.random.default_rng(seed)
    rows = []
    for _ in range(rounds):
        order = chance.permutation(len(NAMES))
        rows += [[NAMES[index] for index in order[start::2]] for start in range(2)]
    return membership_matrix(rows, NAMES)


@given(st.lists(st.text("abcdef", min_size=1, max_size=4), min_size=4, max_size=30, unique=True), st.integers(2, 8))
def test_groups_are_a_partition_and_none_is_smaller_than_it_may_be(names: list[str], size: int) -> None:
    groups = deal_groups(names, size)
    assert sorted(name for group in groups for name in group) == sorted(names)
    assert min(map(len, groups)) >= min(size, len(names))
    assert len(groups) == max(1, len(names) // size)


def test_noise_and_means_are_found_and_their_errors_are_what_they_say() -> None:
    truth = np.array([1, 1, 1, 4, 1, 1, 50.0])
    chance, z, off = np.random.default_rng(4), [], []
    means = chance.normal(size=(7, 60))
    for repetition in range(60):
        members = dealt(repetition, 15)
        sums = members @ means + chance.normal(size=(30, 60)) * np.sqrt(members @ truth)[:, None]
        told = tell_apart(sums, members, 1.0)
        assert told.known.all()
        z.append((told.noise - truth) / told.noise_error)
        off.append((told.means - means) / np.sqrt(np.diag(told.covariance))[:, None])
    assert np.abs(np.mean(z, 0)).max() < 0.6  # of 60: an error of 0.13 each
    assert np.std(z) == pytest.approx(1, abs=0.2)
    assert np.std(off) == pytest.approx(1, abs=0.1)


def test_what_groups_do_not_tell_apart_is_said() -> None:
    members = membership_matrix([NAMES[:3], NAMES[3:6], NAMES[:3], NAMES[3:6], NAMES[6:]], NAMES)
    told = tell_apart(np.random.default_rng(0).normal(size=(5, 40)), members, 1.0)
    assert told.known.tolist() == [False] * 6 + [True]


def test_broken_sums_are_put_down_to_whom_they_have_in_common() -> None:
    members = dealt(3, 12)
    broken = (members[:, 2] + members[:, 5]) > 0
    scores = _size(members, broken)
    assert (scores > 0).tolist() == [index in (2, 5) for index in range(7)]
    alike = membership_matrix([("h0", "h1", "h2"), ("h3", "h4", "h5", "h6")], NAMES)
    assert (_size(alike, np.array([True, False])) > 0).sum() == 3, "of the very same sums all are suspect"
    assert not (_size(alike, np.array([False, False])) > 0).any()


def test_the_smallest_group_keeps_the_promise_by_its_honest_members_alone() -> None:
    study = StudyProtocol.for_dp_var("s", NAMES, group_size=3, rounds=20, **FIELDS)
    one = StudyProtocol.for_dp_var("s", NAMES, **FIELDS)
    share = noise_variance(multiplier_of(study), 1225, study.honest)
    assert study.honest == 3 - study.colluding
    assert share * study.honest >= (multiplier_of(study) * sensitivity(1225)) ** 2
    assert plan_for(study).epsilon == pytest.approx(plan_for(one).epsilon, rel=1e-5)
    assert plan_for(study).inverse_variance_micros == pytest.approx(plan_for(one).inverse_variance_micros, abs=1)
    # Twenty sums of the same, averaged, have the noise of one but for the smaller groups.
    louder = noise_spread(study, 1225) / np.sqrt(20) / noise_spread(one, 1225)
    assert louder == pytest.approx(np.sqrt((7 - 1) / (3 - 1)), rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"group_size": 2}, "two honest members"),
        ({"group_size": 4}, "two groups of 7"),
        ({"group_size": 3, "rounds": 6}, "7 rounds at least"),
        ({"group_size": 3, "dropouts": 1, "spare_rounds": 0}, "not sealed"),
        ({"group_size": 0, "spare_rounds": 0}, "rounds must be 1"),
    ],
)
def test_groups_that_hide_nobody_or_tell_nothing_are_no_protocol(changes: dict[str, int], why: str) -> None:
    with pytest.raises(StudyInvalid, match=why):
        StudyProtocol.for_dp_var("s", NAMES, **({"rounds": 20} | FIELDS | changes))


def test_protocols_without_groups_keep_their_fingerprints() -> None:
    assert b"group_size" not in StudyProtocol.for_dp_var("s", NAMES).canonical()

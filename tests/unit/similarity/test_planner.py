"""The planner's choice: within the limits, fewest bytes, and a reason for every plan it passed over."""

from __future__ import annotations

import pytest

from twinward_crypto.errors import ParameterError
from twinward_crypto.homomorphic.parameters import CIRCUIT_PRIVATE, FAST
from twinward_crypto.homomorphic.planner import Demand, choose, measure


def test_a_small_cohort_groups_features_and_a_large_one_does_not() -> None:
    """Uploads dominate few records, downloads many."""
    few = choose(Demand(rows=100, dimension=16, levels=128))
    many = choose(Demand(rows=200_000, dimension=16, levels=128))
    assert few.cost.made.profile is FAST  # a small ring wastes fewer bytes on a hundred records
    assert few.cost.made.grouping > many.cost.made.grouping == 1
    assert few.cost.upload < many.cost.upload
    assert "fewest bytes" in few.why[-1]


def test_a_thin_line_up_forces_grouping_and_says_so() -> None:
    free = choose(Demand(rows=200_000, dimension=16, levels=128))
    thin = choose(Demand(rows=200_000, dimension=16, levels=128, upload=free.cost.upload // 3))
    assert thin.cost.made.grouping > free.cost.made.grouping
    assert thin.cost.upload <= free.cost.upload // 3
    assert any("kB up" in reason and "grouping 1" in reason for reason in thin.why)


def test_sizes_are_those_of_real_bundles() -> None:
    one, three = (measure(choose(Demand(1, 4, 16)).cost.made, rows) for rows in (1, 3 * FAST.degree))
    assert three.download > 2.9 * one.download - 200
    assert abs(three.upload - one.upload) < 0.05 * one.upload  # compressed: differs by some bytes


def test_circuit_privacy_leaves_one_profile() -> None:
    assert choose(Demand(10, 4, 16, circuit_private=True)).cost.made.profile is CIRCUIT_PRIVATE


@pytest.mark.parametrize(
    ("limits", "part"),
    [({"latency": 1e-9}, "latency"), ({"upload": 100}, "upload"), ({"download": 100}, "download")],
)
def test_limits_nothing_can_keep_are_named(limits: dict[str, float], part: str) -> None:
    with pytest.raises(ParameterError, match="nearest") as refusal:
        choose(Demand(1000, 4, 16, **limits))  # type: ignore[arg-type]
    assert refusal.value.part == part


def test_limits_that_contradict_each_other_are_named() -> None:
    all_of_it = choose(Demand(200_000, 16, 128)).considered
    upload, download = min(cost.upload for cost in all_of_it), min(cost.download for cost in all_of_it)
    with pytest.raises(ParameterError, match="no plan keeps all") as refusal:
        choose(Demand(200_000, 16, 128, upload=upload + 2000, download=download + 200_000))
    assert refusal.value.part == "limits"


def test_a_schema_nothing_carries_is_refused_by_its_part() -> None:
    with pytest.raises(ParameterError) as refusal:
        choose(Demand(10, 64, 1024, max_weight=1024))
    assert refusal.value.part == "max_weight"
    with pytest.raises(ParameterError) as refusal:
        choose(Demand(0, 4, 16))
    assert refusal.value.part == "rows"

"""A query opens to the costs it encrypts, under its own key, and to nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.edwards25519 import seeded
from twinward_crypto.errors import MalformedBundle
from twinward_crypto.feasibility.group import ORDER
from twinward_crypto.feasibility.opening import require_costs
from twinward_crypto.feasibility.query import FeasibilityKey, FeasibilityQuery

BINDING = bytes(32)
COSTS = ((0, 1, 0), (2, 0), (0, 16, 255))
KEY = FeasibilityKey(random_bytes=seeded("opening"))
QUERY = KEY.query(COSTS, threshold=2, binding=BINDING)


def test_a_query_opens_to_what_it_encrypts() -> None:
    require_costs(QUERY, KEY.dangerously_export(), COSTS, 2)


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_it_opens_to_no_other_costs(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(COSTS) - 1))
    level = data.draw(st.integers(0, len(COSTS[place]) - 1))
    other = data.draw(st.integers(0, 300).filter(lambda cost: cost != COSTS[place][level]))
    costs = [list(some) for some in COSTS]
    costs[place][level] = other
    with pytest.raises(MalformedBundle):
        require_costs(QUERY, KEY.dangerously_export(), costs, 2)


@pytest.mark.parametrize(
    ("secret", "costs", "threshold"),
    [
        (FeasibilityKey().dangerously_export(), COSTS, 2),
        (bytes(32), COSTS, 2),
        ((int.from_bytes(KEY.dangerously_export(), "little") + ORDER).to_bytes(32, "little"), COSTS, 2),
        (KEY.dangerously_export()[:31], COSTS, 2),
        (KEY.dangerously_export(), COSTS, 1),
        (KEY.dangerously_export(), COSTS[:2], 2),
        (KEY.dangerously_export(), ((0, 1), (0, 2, 0), (0, 16, 255)), 2),
    ],
    ids=["another key", "zero", "not reduced", "short", "another threshold", "fewer features", "another shape"],
)
def test_it_opens_to_nothing_else(secret: bytes, costs: tuple[tuple[int, ...], ...], threshold: int) -> None:
    with pytest.raises(MalformedBundle):
        require_costs(QUERY, secret, costs, threshold)


def test_a_pair_of_another_queries_is_noticed() -> None:
    other = FeasibilityKey().query(COSTS, threshold=2, binding=BINDING)
    mixed = FeasibilityQuery(2, BINDING, QUERY.public, (other.pairs[0], *QUERY.pairs[1:]))
    with pytest.raises(MalformedBundle):
        require_costs(mixed, KEY.dangerously_export(), COSTS, 2)


def test_what_is_no_element_is_refused_by_name() -> None:
    one, two = QUERY.pairs[0][0]
    broken = FeasibilityQuery(2, BINDING, QUERY.public, (((one, bytes(32)), *QUERY.pairs[0][1:]), *QUERY.pairs[1:]))
    assert two != bytes(32)
    with pytest.raises(MalformedBundle, match="not an element"):
        require_costs(broken, KEY.dangerously_export(), COSTS, 2)

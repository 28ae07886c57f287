"""Filters by public facets: no filter and no difference of two means somebody, but fewer than the least."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from twinward.core.vocabulary import TwinId
from twinward.features.facets import Facet
from twinward.features.schema import Feature, FeatureSchema
from twinward.similarity.cohort import Cohort
from twinward.similarity.entry_filter import Bools, open_rows_where
from twinward.similarity.errors import QueryRefused

FACETS = (Facet(name="site", values=("north", "south")), Facet(name="year", values=("2024", "2025", "2026")))
FEATURE = Feature(name="a", title="a", unit="1", low=0, high=1, default=0)
SCHEMA = FeatureSchema(name="s", features=(FEATURE,), facets=FACETS)
FILTERS = [
    {name: value for name, value in zip(("site", "year"), pair, strict=True) if value}
    for pair in product(("", *FACETS[0].values), ("", *FACETS[1].values))
]


def cohort_of(facets: list[tuple[int, int]]) -> Cohort:
    twins = tuple(TwinId(str(row)) for row in range(len(facets)))
    numbers = np.zeros((len(facets), 1), dtype=np.int64)
    return Cohort("h", SCHEMA, 1, twins, numbers, numbers, np.array(facets, dtype=np.int64))


def meant(cohort: Cohort, where: dict[str, str], least: int) -> Bools | None:
    try:
        return open_rows_where(cohort, where, least)
    except QueryRefused:
        return None


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=60),
    st.integers(min_value=2, max_value=12),
)
def test_no_difference_of_filters_means_fewer_than_the_least(facets: list[tuple[int, int]], least: int) -> None:
    cohort = cohort_of(facets)
    sets = [found for where in FILTERS if (found := meant(cohort, where, least)) is not None]
    sizes = [int(rows.sum()) for rows in sets[1:]]
    sizes += [int((one & ~other).sum()) for one, other in combinations(sets, 2)]
    sizes += [int((other & ~one).sum()) for one, other in combinations(sets, 2)]
    assert all(size == 0 or size >= least for size in sizes)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=60))
def test_a_filter_means_only_rows_that_have_its_values(facets: list[tuple[int, int]]) -> None:
    cohort = cohort_of(facets)
    rows = meant(cohort, {"site": "south"}, 3)
    assert rows is None or {facets[row][0] for row in np.flatnonzero(rows)} == {1}

"""Every data set with numeric features, in every mode and kind of query, against brute force in the clear.

Two things are held: the answer is exactly what brute force over the quantised records gives, and it is what brute
force over the original values gives up to the stated bound, ``FeatureSchema.share_error``.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.integration.similarity.fixtures import House, schema_of
from twinward.access.interfaces import Principal
from twinward.client import Matches, Question
from twinward.core.vocabulary import Role
from twinward.features.schema import FeatureSchema
from twinward.protocol.terms import Mode

NEAREST = 7
NAMES = (
    "breastw",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("thyroid", "wdbc", "heart", "pima", "icu")),
)


def values_of(name: str, data: Path) -> np.ndarray:
    """``float64[patients, features]``, rows with gaps left out."""
    if name in ("thyroid", "wdbc", "breastw"):
        file = {"thyroid": "38_thyroid", "wdbc": "43_WDBC", "breastw": "4_breastw"}[name]
        found = np.load(data / "adbench" / f"{file}.npz")["X"].astype(float)
    elif name == "icu":
        stays = np.load(data / "icu-stays-2012.npz")
        with np.errstate(all="ignore"):
            means = np.ma.masked_invalid(stays["Xa"][::4]).mean(axis=1).filled(np.nan)
        found = np.column_stack([stays["Sa"][::4], means[:, [0, 1, 4, 5, 8, 9, 14, 15, 16]]]).astype(float)
    else:
        path = {"heart": "heart-cleveland/processed.cleveland.data", "pima": "medical-csv/pima-indians-diabetes.csv"}
        with (data / path[name]).open(newline="") as file:
            rows = [[float(cell) if cell != "?" else np.nan for cell in row] for row in csv.reader(file) if row]
        found = np.array(rows)[:, :-1]
    return found[np.isfinite(found).all(axis=1)]


@dataclass
class Case:
    house: House
    schema: FeatureSchema
    values: np.ndarray
    vendors: Iterator[int]

    def shares(self, query: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Root-mean-square differences as shares of the ranges, in the original values: no quantisation anywhere."""
        span = np.array([feature.high - feature.low for feature in self.schema.features])
        return np.sqrt((((self.values - query) / span) ** 2 * weights).sum(axis=1) / weights.sum())

    def ask(self, question: Question) -> tuple[Principal, Matches]:
        """As a vendor of its own: a second answer in an epoch would be rounded to groups."""
        principal = Principal(f"vendor-{next(self.vendors)}", Role.VENDOR)
        self.house.budget.left[principal.id] = 1  # type: ignore[attr-defined]
        with self.house.vendor(principal) as vendor:
            return principal, vendor.ask(question)


@pytest.fixture(scope="module", params=NAMES)
def case(request: pytest.FixtureRequest, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    values = values_of(request.param, shared_data)
    assert len(values) > 200
    low, high = values.min(axis=0), values.max(axis=0)
    high = np.where(high > low, high, low + 1)
    schema = schema_of({f"f{j}": (float(low[j]), float(high[j])) for j in range(values.shape[1])})
    levels = np.array([schema.quantise({f"f{j}": v for j, v in enumerate(row)}) for row in values.tolist()])
    house = House(tmp_path_factory.mktemp(request.param), schema, levels, vendor_key_weighted=True)
    return Case(house, schema, values, itertools.count())


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("kind", ["range", "nearest", "weighted", "weighted nearest"])
def test_answers_are_brute_forces(case: Case, mode: Mode, kind: str) -> None:
    random = np.random.default_rng(len(kind))
    schema, d = case.schema, case.schema.dimension
    span = case.values.max(axis=0) - case.values.min(axis=0)
    query = case.values[random.integers(len(case.values))] + random.normal(0, 0.01, d) * span
    query = np.clip(query, [f.low for f in schema.features], [f.high for f in schema.features])
    weights = np.ones(d, dtype=int)
    if "weighted" in kind:
        weights[random.permutation(d)[: d // 2]] = 2
        if mode is not Mode.MATRIX:
            weights[random.permutation(d)[: d // 4]] = 0
    shares = case.shares(query, weights)
    threshold = float(np.sort(shares)[40])
    nearest = NEAREST if "nearest" in kind else None
    asked = {f"f{j}": float(value) for j, value in enumerate(query) if weights[j]}
    given = {f"f{j}": int(weight) for j, weight in enumerate(weights) if weight} if "weighted" in kind else None
    question = Question(asked, mode, None if nearest else threshold, nearest, given)
    principal, told = case.ask(question)

    limit = question.limit().to_squared(schema, weights.tolist())
    levels = schema.quantise({f"f{j}": float(value) for j, value in enumerate(query)})
    expected = case.house.handles_within(levels, limit, weights.tolist(), nearest=nearest, vendor=principal.id)
    assert tuple(sorted(told.handles)) == expected
    assert told.count == len(expected) >= 3

    error = schema.share_error
    rows = {handle: row for row, handle in enumerate(map(handle_of(case, principal), case.house.twins))}
    found = {rows[handle] for handle in told.handles}
    reach = float(np.sort(shares)[NEAREST - 1]) + error if nearest else threshold
    assert all(shares[row] <= reach + error + 1e-9 for row in found)
    surely = np.flatnonzero(
        shares < (float(np.sort(shares)[NEAREST - 1]) - 2 * error if nearest else threshold - error)
    )
    assert set(surely.tolist()) <= found


def handle_of(case: Case, principal: Principal):  # type: ignore[no-untyped-def]
    return lambda twin: case.house.service.secrets.handle(principal.id, twin)


def test_a_quantised_distance_keeps_its_bound_and_reaches_near_it(case: Case) -> None:
    """|share of levels - share of values| <= 1 / (levels - 1), over thousands of pairs; half of it does occur."""
    random = np.random.default_rng(2)
    schema, levels = case.schema, case.house.levels
    worst = 0.0
    for row in random.integers(len(levels), size=20):
        weights = random.integers(0, 3, schema.dimension) + (np.arange(schema.dimension) == 0)
        true = case.shares(case.values[row], weights)
        seen = np.sqrt(((levels - levels[row]) ** 2 * weights).sum(axis=1) / weights.sum()) / (schema.levels - 1)
        worst = max(worst, float(np.abs(seen - true).max()))
    assert worst <= schema.share_error + 1e-12
    assert worst >= 0.2 * schema.share_error

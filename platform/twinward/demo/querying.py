"""Step 4: a vendor's encrypted queries over HTTP, each held against brute force in the clear."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinward.access.consent import Provision
from twinward.access.interfaces import AccessContext
from twinward.client import Matches, VendorClient
from twinward.core.vocabulary import Category, Purpose, Role, TwinId
from twinward.demo.accounts import OFFICER, VENDOR
from twinward.demo.counting import count_as_vendor
from twinward.demo.display import Display
from twinward.demo.result import Query
from twinward.demo.serving import served
from twinward.features.schema import FeatureSchema
from twinward.node import Node
from twinward.protocol.terms import Mode
from twinward.similarity.explainer import CountObservation, Observation

SIMILARITY_YES = Provision(
    effect="permit",
    roles=(Role.SYSTEM, Role.VENDOR),
    purposes=(Purpose.SIMILARITY,),
    categories=(Category.FEATURES,),
)
RESEARCH_YES = Provision(
    effect="permit", roles=(Role.RESEARCHER,), purposes=(Purpose.RESEARCH,), categories=(Category.MONITORING,)
)
ABSTAINS_EVERY = 6
"""Every sixth patient consents to nothing."""
NEAREST_SHARE = 0.15
"""The demo's threshold is set so that about this share of the cohort is near."""

_LEARNS: Mapping[Mode, str] = {
    Mode.GATED: "The scorer sees ciphertext only; the gate sees query and distances; the vendor, if enough, matches.",
    Mode.VENDOR_KEY: "The hospital sees neither query nor matches; the vendor sees blurred distances.",
    Mode.MATRIX: "The hospital sees the query; the cloud sees the tree's shape and path. Obfuscation-grade.",
}
_TITLES: Mapping[Mode, str] = {
    Mode.GATED: "gated: CKKS, query and index encrypted",
    Mode.VENDOR_KEY: "vendor-key: BFV, query encrypted",
    Mode.MATRIX: "matrix: encrypted partition tree",
}


@dataclass(frozen=True)
class Answered:
    """The queries, every distance as brute force finds it, and what the matrix query showed its cloud."""

    queries: tuple[Query, ...]
    distances: tuple[float, ...]
    observation: Observation
    count: CountObservation


@dataclass(frozen=True)
class _Truth:
    """What brute force in the clear says."""

    values: Mapping[str, float]
    levels: NDArray[np.int64]
    squared: NDArray[np.int64]
    """Per row of the cohort, in squared levels."""
    handles: tuple[str, ...]
    limit: int
    share: float
    """The threshold as a vendor gives it: a share of each feature's range."""


def give_consent(node: Node, twins: tuple[TwinId, ...]) -> int:
    """Most patients say yes to similarity search and research; the officer records it. Returns how many did."""
    willing = [twin for number, twin in enumerate(twins) if number % ABSTAINS_EVERY != ABSTAINS_EVERY - 1]
    node.access.set_consents(
        AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), [(twin, (SIMILARITY_YES, RESEARCH_YES)) for twin in willing]
    )
    return len(willing)


def query_as_vendor(node: Node, display: Display, token: str) -> Answered:
    """Ask in every mode, over HTTP, and check each answer."""
    display.begin("4 · a vendor's encrypted queries", len(Mode) + 1)
    node.consortium.grant_queries(VENDOR.id, node.settings.vendor_budget)
    node.consortium.grant_epsilon(node.settings.tenant, VENDOR.id, own_millis=1500, whole_millis=3000)
    node.refresh_cohort()
    truth = _brute_force(node)
    queries: list[Query] = []
    with served(node) as url, VendorClient(url, token) as vendor:
        asked: dict[Mode, Callable[[], Matches]] = {
            Mode.GATED: lambda: vendor.query_gated(truth.values, threshold=truth.share),
            Mode.VENDOR_KEY: lambda: vendor.query_vendor_key(truth.values, threshold=truth.share),
            Mode.MATRIX: lambda: vendor.query_matrix(truth.values, threshold=truth.share),
        }
        noise = next(terms.noise_width for terms in vendor.schema().modes if terms.mode is Mode.VENDOR_KEY)
        for mode, ask in asked.items():
            started = time.perf_counter()
            matches = ask()
            queries.append(_query(mode, matches, truth, noise, time.perf_counter() - started))
            display.advance()
        count = count_as_vendor(node, vendor)
        display.advance()
    right = sum(query.equals_brute_force for query in queries)
    low, high = max(0, count.noisy - count.half_width), max(0, count.noisy + count.half_width)
    eligible = f"{low} to {high} patients eligible (true: {count.truth})"
    display.finish(f"{right} of {len(queries)} modes agree with brute force; {eligible}")
    return Answered(
        tuple(queries),
        tuple(float(distance) for distance in np.sqrt(truth.squared)),
        node.similarity().observe_matrix(truth.levels, truth.limit),
        count,
    )


def _brute_force(node: Node) -> _Truth:
    """Take one cohort member's features as the query, in clinical units, and measure everybody's distance to it."""
    similarity = node.similarity()
    cohort, schema = similarity.cohort, similarity.cohort.schema
    levels = np.asarray(cohort.levels, dtype=np.int64)
    query = levels[len(levels) // 2]
    squared = ((levels - query) ** 2).sum(axis=1)
    limit = int(np.sort(squared)[max(3, int(len(squared) * NEAREST_SHARE))])
    # Half a level up keeps the share, once squared and floored again, on this very integer.
    share = float(np.sqrt((limit + 0.5) / schema.dimension) / (schema.levels - 1))
    handles = tuple(similarity.secrets.handle(VENDOR.id, twin) for twin in cohort.twins)
    return _Truth(_in_clinical_units(schema, query), query, squared, handles, limit, share)


def _in_clinical_units(schema: FeatureSchema, levels: NDArray[np.int64]) -> dict[str, float]:
    return {
        feature.name: feature.low + int(level) * schema.step(feature.name)
        for feature, level in zip(schema.features, levels, strict=True)
    }


def _query(mode: Mode, matches: Matches, truth: _Truth, noise: int, seconds: float) -> Query:
    expected = {handle for handle, squared in zip(truth.handles, truth.squared, strict=True) if squared <= truth.limit}
    note = ""
    if mode is Mode.VENDOR_KEY:
        # Blurred on purpose: right if every distance is off by the announced noise and nothing else.
        told = dict(zip(matches.handles, matches.distances, strict=True))
        by_handle = dict(zip(truth.handles, truth.squared, strict=True))
        right = bool(told) and all(0 <= distance - by_handle[handle] < noise for handle, distance in told.items())
        note = f"Distances carry 0 to {noise - 1} of noise, as agreed."
    else:
        right = set(matches.handles) == expected
    return Query(
        mode=mode.value,
        title=_TITLES[mode],
        cohort=len(truth.handles),
        dimension=len(truth.values),
        threshold=float(np.sqrt(truth.limit)),
        matched=matches.count if matches.count is not None else len(expected),
        released=len(matches.handles),
        withheld=matches.withheld,
        equals_brute_force=right,
        seconds=seconds,
        upload_bytes=matches.upload_bytes,
        download_bytes=matches.download_bytes,
        budget_left=matches.budget_left,
        learns=_LEARNS[mode],
        note=note,
    )

"""Similarity: encrypted scoring, the partition tree, and its encrypted counterpart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import faiss
import numpy as np
import tenseal
from numpy.typing import NDArray
from sklearn.neighbors import BallTree
from threadpoolctl import threadpool_limits

from tests.benchmarks.harness import Arm, Benchmark, Figure, Ratio, Row, Scale, Target, race, versus
from tests.kernels import plainly
from twinward_crypto.homomorphic.database import Database
from twinward_crypto.homomorphic.gated import GateKey, encrypt_gated_query, score_gated
from twinward_crypto.homomorphic.parameters import CIRCUIT_PRIVATE, FAST, plan, plan_gated
from twinward_crypto.homomorphic.query import QueryKey
from twinward_crypto.homomorphic.scoring import score
from twinward_crypto.matrix.index import build_index, key_for
from twinward_crypto.matrix.partition_tree import PartitionTree
from twinward_crypto.matrix.token import make_token

LEVELS = 128
SEED = 20260101
Levels = NDArray[np.int64]


def uniform(count: int, dimension: int) -> Levels:
    """Records of independent uniform levels: nothing about them helps."""
    return np.random.default_rng(SEED).integers(0, LEVELS, (count, dimension))


def clustered(count: int, dimension: int) -> Levels:
    """Fifty clusters with a spread of a twentieth of the range, as patients of one kind lie together."""
    random = np.random.default_rng(SEED)
    centres = random.random((50, dimension))
    points = centres[random.integers(0, 50, count)] + random.normal(0, 0.05, (count, dimension))
    return np.rint(np.clip(points, 0, 1) * (LEVELS - 1)).astype(np.int64)


def squared_distances(rows: NDArray[Any], query: NDArray[Any]) -> NDArray[Any]:
    """In the clear, by brute force."""
    distances: NDArray[Any] = ((rows - query) ** 2).sum(axis=1)
    return distances


class PlainScan:
    """Squared distances of plaintext features, one matrix-vector product: the bound that encryption is held against."""

    def __init__(self, rows: Levels) -> None:
        self._rows = rows.astype(np.float32)
        self._norms = (self._rows**2).sum(axis=1)

    def distances(self, query: Sequence[int]) -> NDArray[np.float32]:
        """``float32[rows]``, exact while sums stay below 2^24."""
        asked = np.array(query, dtype=np.float32)
        found: NDArray[np.float32] = self._norms - 2 * (self._rows @ asked) + asked @ asked
        return found


def tenseal_mm(rows: Levels, query: Sequence[int]) -> Callable[[], object]:
    """TenSEAL's encrypted vector times plaintext matrix: the inner products of as many records as its ring holds."""
    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 4096, coeff_mod_bit_sizes=[40, 20, 40])
    context.global_scale = 2**20
    context.generate_galois_keys()
    vector = tenseal.ckks_vector(context, [float(value) for value in query])
    matrix = rows.T.astype(float).tolist()
    return lambda: vector.mm(matrix)


def tenseal_dots(rows: Levels, query: Sequence[int]) -> Callable[[], object]:
    """TenSEAL's ciphertext times ciphertext, a record a vector."""
    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 60])
    context.global_scale = 2**40
    context.generate_galois_keys()
    asked = tenseal.ckks_vector(context, [float(value) for value in query])
    kept = [tenseal.ckks_vector(context, row.astype(float).tolist()) for row in rows]
    return lambda: [record.dot(asked) for record in kept]


def by_seal(do: Callable[[], object]) -> Callable[[], object]:
    """The same by SEAL's evaluator: no kernel is found meanwhile."""

    def plain() -> object:
        with plainly():
            return do()

    return plain


def require_equal(ours: NDArray[Any], theirs: NDArray[Any], what: str) -> None:
    """A fast wrong answer is no figure."""
    if not np.array_equal(ours, theirs):
        raise RuntimeError(f"{what}: not what brute force gives")


def scoring(scale: Scale) -> list[Row]:
    count, dimension = scale.pick(100_000, 20_000), scale.pick(32, 16)
    rows = uniform(count, dimension)
    query = rows[7].tolist()
    sample = rows[:2048]
    arms = [Arm("TenSEAL mm", tenseal_mm(sample, query), len(sample)), Arm("numpy scan", _scan(rows, query), count)]
    for name, profile in (("fast", FAST), ("circuit-private", CIRCUIT_PRIVATE)):
        made = plan(dimension, LEVELS, profile=profile)
        key, database = QueryKey.generate(made), Database.build(made, rows)
        asked = key.encrypt_query(query)
        found = key.decrypt_distances(asked, score(asked.bundle, database))
        require_equal(found, squared_distances(rows, np.array(query)), name)
        arms.append(Arm(name, lambda asked=asked, database=database: score(asked.bundle, database), count))
        if profile is FAST:
            with plainly():
                objects = Database.build(made, rows)
            arms.append(Arm("SEAL", by_seal(lambda asked=asked, objects=objects: score(asked.bundle, objects)), count))
    with threadpool_limits(1):
        samples = race(arms, scale.pick(7, 3))
    size = f"{count:,}×{dimension}, exact"
    smaller = "20k×16, not 100k×32" if scale.quick else ""
    much_faster = Target("≥200× TenSEAL mm", "ratio", "least", 200, smaller)
    common: dict[str, Any] = {"clock": "cpu"}
    per_record = common | {"unit": "µs/record", "scale": 1e6}
    whole = common | {"unit": "ms", "scale": 1e3 * count}
    in_time = Target("≤20 ms", "value", "most", 20, smaller)
    return [
        versus(f"BFV vendor-key fast, {size}", samples, "fast", "TenSEAL mm", target=much_faster, **per_record),
        versus(f"BFV fast, all of it, {size}", samples, "fast", "numpy scan", kind="times", target=in_time, **whole),
        versus(f"BFV fast by kernels, the same answer, {size}", samples, "fast", "SEAL", **per_record),
        versus(f"BFV circuit-private, {size}", samples, "circuit-private", "TenSEAL mm", **per_record),
        versus(f"BFV circuit-private, all of it, {size}", samples, "circuit-private", "fast", kind="times", **whole),
    ]


def _scan(rows: Levels, query: Sequence[int]) -> Callable[[], object]:
    scan = PlainScan(rows)
    return lambda: scan.distances(query)


def gated(scale: Scale) -> list[Row]:
    count, dimension = scale.pick(100_000, 10_000), scale.pick(32, 16)
    rows = uniform(count, dimension)
    query = rows[7].tolist()
    made = plan_gated(dimension, LEVELS)
    key = GateKey.generate(made)
    index = key.encrypt_index(rows)
    asked = encrypt_gated_query(key.public_bundle(), query)
    require_equal(
        key.open_distances(score_gated(asked, index)), squared_distances(rows, np.array(query)), made.profile.name
    )
    few = rows[: scale.pick(32, 8)]
    with plainly():
        objects = key.encrypt_index(rows)
    arms = [
        Arm("gated", lambda: score_gated(asked, index), count),
        Arm("SEAL", by_seal(lambda: score_gated(asked, objects)), count),
        Arm("TenSEAL ct·ct dot", tenseal_dots(few, query), len(few)),
    ]
    samples = race(arms, scale.pick(7, 3))
    smaller = "10k×16, not 100k×32" if scale.quick else ""
    target = Target("≤100 ms", "value", "most", 100, smaller)
    size = sum(len(part) for part in score_gated(asked, index).parts) / 1e6
    work = f"gated CKKS ct×ct ({made.profile.name}), {count:,}×{dimension}, exact after rounding"
    unit: dict[str, Any] = {"unit": f"ms a {count:,}", "scale": 1e3 * count}
    return [
        versus(work, samples, "gated", "TenSEAL ct·ct dot", clock="cpu", target=target, **unit),
        versus(work, samples, "gated", "SEAL", clock="cpu", **unit),
        Row(f"{work}: answer", Figure(size, "MB"), target=Target("≤5.5 MB", "value", "most", 5.5, smaller)),
    ]


def building(scale: Scale) -> list[Row]:
    count, dimension = scale.pick(100_000, 20_000), scale.pick(32, 16)
    rows, made = uniform(count, dimension), plan(dimension, LEVELS, profile=FAST)
    arms = [
        Arm("Database.build", lambda: Database.build(made, rows)),
        Arm("numpy copy and norms", lambda: PlainScan(rows)),
    ]
    with threadpool_limits(1):
        samples = race(arms, scale.pick(5, 3))
    target = Target("≤1 s", "value", "most", 1, "20k×16, not 100k×32" if scale.quick else "")
    work = f"build a vendor-key database, {count:,}×{dimension}"
    pair = ("Database.build", "numpy copy and norms")
    return [versus(work, samples, *pair, clock="cpu", unit="s", scale=1, kind="times", target=target)]


def large(scale: Scale) -> list[Row]:
    count, dimension = 1_000_000, 64
    rows, made = uniform(count, dimension).astype(np.int16), plan(dimension, LEVELS)
    key, database = QueryKey.generate(made), Database.build(made, rows)
    query = rows[7].tolist()
    asked = key.encrypt_query(query)
    flat = faiss.IndexFlatL2(dimension)
    flat.add(rows.astype(np.float32))
    wanted = rows[7:8].astype(np.float32)
    require_equal(
        key.decrypt_distances(asked, score(asked.bundle, database)),
        squared_distances(rows, rows[7].astype(np.int64)),
        "1M",
    )
    arms = [
        Arm("BFV", lambda: score(asked.bundle, database)),
        Arm("FAISS flat, 10 nearest", lambda: flat.search(wanted, 10)),
        Arm("numpy scan", _scan(rows, query)),
    ]
    faiss.omp_set_num_threads(1)
    with threadpool_limits(1):
        samples = race(arms, 5)
    target = Target("≤0.3 s", "value", "most", 0.3)
    work = f"1M×64 vendor-key ({made.profile.name}), one core, exact"
    common: dict[str, Any] = {"clock": "cpu", "unit": "s", "scale": 1, "kind": "times"}
    return [
        versus(work, samples, "BFV", "FAISS flat, 10 nearest", target=target, **common),
        versus(work, samples, "BFV", "numpy scan", **common),
    ]


def _queries(rows: Levels, count: int, selectivity: float) -> list[tuple[Levels, int]]:
    """Queries near records, each with the squared radius that ``selectivity`` of all records lie within."""
    random = np.random.default_rng(SEED + 1)
    wanted = max(1, int(selectivity * len(rows)))
    made = []
    for row in rows[random.integers(0, len(rows), count)]:
        query = np.clip(row + np.rint(random.normal(0, 1.3, len(row))).astype(np.int64), 0, LEVELS - 1)
        made.append((query, int(np.partition(squared_distances(rows, query), wanted - 1)[wanted - 1])))
    return made


def partition(scale: Scale) -> list[Row]:
    count = scale.pick(100_000, 20_000)
    rows = clustered(count, 16)
    vectors = rows.astype(np.float64)
    tree = PartitionTree.build(vectors)
    shares = []
    for query, radius in _queries(rows, scale.pick(50, 20), 1e-3):
        found = tree.search(vectors, query.astype(np.float64), radius)
        require_equal(found.rows, np.flatnonzero(squared_distances(rows, query) <= radius), "partition tree")
        shares.append((found.inner_tests + found.leaf_tests) / count)
    measured = Figure.of(shares, "% of a scan's tests", 100)
    target = Target("≤3%", "value", "most", 3, "20k, not 100k" if scale.quick else "")
    return [
        Row(
            f"partition tree, clustered {count:,}×16, selectivity 1e-3, identical to brute force",
            measured,
            Figure(100, "%"),
            f"linear scan, {count:,} tests",
            Ratio(measured.value / 100, "of"),
            target,
            {"shares": shares},
        )
    ]


def matrix(scale: Scale) -> list[Row]:
    count = scale.pick(100_000, 10_000)
    rows = clustered(count, 16)
    top = LEVELS - 1
    key = key_for(16, top)
    index = build_index(key, rows, top=top)
    ball, scan = BallTree(rows.astype(np.float64)), PlainScan(rows)
    asked = _queries(rows, scale.pick(50, 20), 1e-3)
    tokens = [make_token(key, query.tolist(), radius, top=top) for query, radius in asked]
    for token, (query, radius) in zip(tokens, asked, strict=True):
        positions = index.tree.search(token).positions
        require_equal(
            np.sort(index.rows[positions]), np.flatnonzero(squared_distances(rows, query) <= radius), "matrix index"
        )

    def ours() -> object:
        return [index.tree.search(token) for token in tokens]

    def balls() -> object:
        return [ball.query_radius(query[None].astype(float), np.sqrt(radius) + 1e-9) for query, radius in asked]

    def scans() -> object:
        return [np.flatnonzero(scan.distances(query.tolist()) <= radius) for query, radius in asked]

    def encrypted_scans() -> object:
        return [np.flatnonzero(index.tree.records @ token.flat <= 0) for token in tokens[:5]]

    arms = [
        Arm("matrix", ours, len(asked)),
        Arm("BallTree", balls, len(asked)),
        Arm("numpy scan", scans, len(asked)),
        Arm("encrypted linear scan", encrypted_scans, 5),
    ]
    with threadpool_limits(1):
        samples = race(arms, scale.pick(9, 3))
    target = Target("≤1.25× BallTree's time", "ratio", "most", 1.25, "10k, not 100k" if scale.quick else "")
    work = f"matrix query on an encrypted tree, clustered {count:,}×16, selectivity 1e-3, exact"
    common: dict[str, Any] = {"clock": "cpu", "unit": "ms", "scale": 1e3, "kind": "times"}
    return [
        versus(work, samples, "matrix", "BallTree", target=target, **common),
        versus(work, samples, "matrix", "numpy scan", **common),
        versus(work, samples, "matrix", "encrypted linear scan", **common | {"kind": "faster"}),
    ]


BENCHMARKS = (
    Benchmark(
        "similarity.bfv",
        f"one encrypted query against uniform records of {LEVELS} levels, one core, answers checked against brute"
        " force; TenSEAL's CKKS vector-matrix product on 2,048 of the records, per record",
        scoring,
    ),
    Benchmark(
        "similarity.gated",
        "index and query both encrypted, one core, answers checked; TenSEAL's encrypted dot product of single records,"
        " scaled up to as many",
        gated,
    ),
    Benchmark(
        "similarity.build", "packing and transforming levels for scoring, against a float32 copy with norms", building
    ),
    Benchmark(
        "similarity.large",
        "a million records of 64 features, one core, answers checked; FAISS's flat index finds the ten nearest in"
        " plaintext",
        large,
        in_quick=False,
    ),
    Benchmark(
        "similarity.tree",
        "tests made by range searches that hit one record in a thousand: 50 clusters of spread 0.05 (of the range)",
        partition,
    ),
    Benchmark(
        "similarity.matrix",
        "the same searches on the encrypted tree (token made beforehand), against scikit-learn's BallTree and a numpy"
        " scan in plaintext, and against testing every encrypted record; one core",
        matrix,
    ),
)

NOT_BUILT = (
    ("1M×64 on 16 processes ≤0.1 s (next)", "a machine with 16 cores is needed; similarity.served uses two processes"),
)

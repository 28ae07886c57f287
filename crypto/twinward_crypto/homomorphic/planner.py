"""Which ring, and how many features a ciphertext, for a cohort, a patience and a line: picked, with the reasons.

Every profile that carries the schema exactly is tried with every grouping. Sizes and times are not guessed: a query
is encrypted and one block scored here and now, and a cohort costs as many blocks as it needs. Groupings divide the
upload and multiply the download; larger rings cost more of both and carry more.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from twinward_crypto.errors import ParameterError
from twinward_crypto.homomorphic.database import Database
from twinward_crypto.homomorphic.parameters import (
    CIRCUIT_PRIVATE,
    FAST,
    MAX_GROUPING,
    MEDIUM,
    Plan,
    plan,
)
from twinward_crypto.homomorphic.query import QueryKey
from twinward_crypto.homomorphic.scoring import score
from twinward_crypto.homomorphic.wire import MAX_ROWS

UNLIMITED = 1 << 62


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked of a plan.

    Attributes:
        rows: records in the cohort.
        dimension, levels, max_weight, weighted, noise_width: the schema and the offer, as ``plan`` takes them.
        circuit_private: whether ciphertext noise must be drowned, which leaves one profile.
        latency: seconds one core may take to score a query.
        upload, download: bytes a query and an answer may have.
    """

    rows: int
    dimension: int
    levels: int
    max_weight: int = 1
    weighted: bool = False
    noise_width: int = 1
    circuit_private: bool = False
    latency: float = float("inf")
    upload: int = UNLIMITED
    download: int = UNLIMITED


@dataclass(frozen=True, slots=True)
class Cost:
    """What one query costs under a plan: seconds of one core, and bytes either way. Measured on this machine."""

    made: Plan
    seconds: float
    upload: int
    download: int

    def misses(self, demand: Demand) -> tuple[str, ...]:
        """Each limit it exceeds, in words."""
        return tuple(
            words
            for over, words in (
                (self.seconds > demand.latency, f"{self.seconds:.3g} s, {demand.latency:.3g} s allowed"),
                (self.upload > demand.upload, f"{_size(self.upload)} up, {_size(demand.upload)} allowed"),
                (self.download > demand.download, f"{_size(self.download)} down, {_size(demand.download)} allowed"),
            )
            if over
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """The plan that was picked, what it costs, everything that was considered, and why in sentences."""

    cost: Cost
    considered: tuple[Cost, ...]
    why: tuple[str, ...]


def choose(demand: Demand) -> Choice:
    """The plan within every limit whose bytes both ways are fewest; ties go to the faster one.

    Raises:
        ParameterError: no profile carries the schema (``part`` names what overflows), or none keeps within the limits
            (``part`` is ``latency``, ``upload``, ``download`` or ``limits``, and the message names the nearest).
    """
    if not 1 <= demand.rows <= MAX_ROWS:
        raise ParameterError(f"1 to {MAX_ROWS} records are expected", part="rows")
    considered = tuple(sorted(_costs(demand), key=lambda cost: (cost.upload + cost.download, cost.seconds)))
    fitting = [cost for cost in considered if not cost.misses(demand)]
    if not fitting:
        raise _nothing_fits(demand, considered)
    return Choice(fitting[0], considered, _reasons(demand, fitting[0], considered))


def measure(made: Plan, rows: int) -> Cost:
    """Encrypt a query and score one full block under a plan; a cohort of ``rows`` costs that many blocks."""
    key = QueryKey.generate(made)
    database = Database.build(made, np.zeros((made.block_rows, made.dimension), dtype=np.int64))
    weights = [1] * made.dimension if made.weighted else None
    query = key.encrypt_query([0] * made.dimension, weights).bundle
    score(query, database)
    began = time.process_time()
    answer = score(query, database)
    seconds = time.process_time() - began
    blocks = made.blocks(rows)
    frame = len(answer.encode()) - sum(map(len, answer.parts))
    return Cost(made, seconds * blocks, len(query.encode()), frame + blocks * max(map(len, answer.parts)))


def _costs(demand: Demand) -> Iterator[Cost]:
    refusal: ParameterError | None = None
    carried = False
    for profile in (CIRCUIT_PRIVATE,) if demand.circuit_private else (FAST, MEDIUM, CIRCUIT_PRIVATE):
        grouping = 1
        while grouping <= min(MAX_GROUPING, 2 * demand.dimension - 1):
            try:
                made = plan(
                    demand.dimension,
                    demand.levels,
                    demand.max_weight,
                    weighted=demand.weighted,
                    noise_width=demand.noise_width,
                    profile=profile,
                    grouping=grouping,
                )
            except ParameterError as error:
                refusal = error
                break
            carried = True
            yield measure(made, demand.rows)
            grouping *= 2
    if not carried and refusal is not None:
        raise refusal


def _nothing_fits(demand: Demand, considered: tuple[Cost, ...]) -> ParameterError:
    parts = {
        "latency": min(considered, key=lambda cost: cost.seconds),
        "upload": min(considered, key=lambda cost: cost.upload),
        "download": min(considered, key=lambda cost: cost.download),
    }
    limits = {"latency": demand.latency, "upload": demand.upload, "download": demand.download}
    least = {
        "latency": parts["latency"].seconds,
        "upload": parts["upload"].upload,
        "download": parts["download"].download,
    }
    hopeless = next((part for part in parts if least[part] > limits[part]), "")
    if hopeless:
        nearest = parts[hopeless]
        return ParameterError(
            f"no plan keeps it; the nearest: {_line(nearest)}: {nearest.misses(demand)[0]}", part=hopeless
        )
    nearest = min(considered, key=lambda cost: len(cost.misses(demand)))
    return ParameterError(
        f"no plan keeps all; the nearest: {_line(nearest)}: {'; '.join(nearest.misses(demand))}", part="limits"
    )


def _reasons(demand: Demand, chosen: Cost, considered: tuple[Cost, ...]) -> tuple[str, ...]:
    made = chosen.made
    reasons = [
        f"{made.explain()}; {made.grouping} {'feature' if made.grouping == 1 else 'features'} a ciphertext",
        f"{demand.rows:,} records: {_size(chosen.upload)} up, {_size(chosen.download)} down, "
        f"{chosen.seconds:.3g} s of one core (measured on one block of {made.block_rows:,})",
    ]
    for cost in considered:
        if cost is chosen:
            reasons.append("the fewest bytes both ways of what keeps every limit")
            break
        reasons.append(f"not {_line(cost)}: {'; '.join(cost.misses(demand))}")
    if demand.circuit_private:
        reasons.append("only circuit-private drowns what a ciphertext's noise tells")
    return tuple(reasons)


def _line(cost: Cost) -> str:
    return f"{cost.made.profile.name} with grouping {cost.made.grouping}"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1_000_000 else f"{count / 1000:.0f} kB"

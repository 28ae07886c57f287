"""A cohort cut into shards, each scored by whoever holds it, through one code path: this process, several, or Ray's.

SEAL's Python face holds the interpreter's lock, so more cores mean more processes. What a worker is given is a file
of prepared blocks (``twinward_crypto.homomorphic.block_file``) and a span of them. A vendor-key cohort is plaintext
features in another form: its file is anonymous memory and never a disk's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from twinward_crypto.homomorphic.database import Database
from twinward_crypto.homomorphic.gated import EncryptedIndex, score_gated
from twinward_crypto.homomorphic.parameters import Plan
from twinward_crypto.homomorphic.scoring import score
from twinward_crypto.homomorphic.wire import Bundle

Noise = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Blinding:
    """What is added to a vendor-key answer, a row each: noise, and which rows say nothing."""

    noise: Noise = field(repr=False)
    hidden: Bools = field(repr=False)

    def of(self, rows: slice) -> Blinding:
        """The part of it that a shard's rows need."""
        return Blinding(self.noise[rows], self.hidden[rows])


@dataclass(frozen=True, slots=True)
class PreparedCohort:
    """A file of prepared blocks and what it takes to open it.

    Attributes:
        path: the file; for another machine, the file's place there.
        plan, binding, rows: what it holds.
        key: the file's own key, by which changes to it are noticed.
    """

    path: Path
    plan: Plan
    binding: bytes
    rows: int
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Span:
    """Blocks ``first .. last - 1`` of a cohort."""

    first: int
    last: int

    def rows(self, plan: Plan) -> slice:
        """The rows these blocks hold."""
        return slice(self.first * plan.block_rows, self.last * plan.block_rows)


class ShardWorker:
    """One shard, opened and scored. The same class runs in this process, in another one, and as a Ray actor."""

    def __init__(self, prepared: PreparedCohort, span: Span) -> None:
        kind: type[Database] | type[EncryptedIndex] = (
            Database if prepared.plan.profile.scheme == "bfv" else EncryptedIndex
        )
        cohort = kind.map(prepared.path, prepared.plan, binding=prepared.binding, key=prepared.key)
        self._shard = cohort.shard(span.first, span.last)

    def score(self, query: Bundle, blinding: Blinding | None = None) -> tuple[bytes, ...]:
        """The shard's part of the answer. Raises ``MalformedBundle``."""
        return score_shard(self._shard, query, blinding)


class Scorer(Protocol):
    """Scores a whole cohort, however it is held."""

    def score(self, query: Bundle, blinding: Blinding | None = None) -> Bundle:
        """Every row's encrypted distance. Raises ``MalformedBundle`` or ``ScoringUnavailable``."""
        ...

    def close(self) -> None:
        """Give back processes and memory."""
        ...


class InProcessScorer:
    """The whole cohort as one shard, in this process."""

    def __init__(self, cohort: Database | EncryptedIndex) -> None:
        self._cohort = cohort

    def score(self, query: Bundle, blinding: Blinding | None = None) -> Bundle:
        """Every row's encrypted distance. Raises ``MalformedBundle``."""
        return merged(query, self._cohort.rows, [score_shard(self._cohort, query, blinding)])

    def close(self) -> None:
        """Nothing to give back."""


def score_shard(shard: Database | EncryptedIndex, query: Bundle, blinding: Blinding | None) -> tuple[bytes, ...]:
    """The encrypted distances of a shard's rows."""
    if isinstance(shard, EncryptedIndex):
        return score_gated(query, shard).parts
    noise, hidden = (blinding.noise, blinding.hidden) if blinding else (None, None)
    return score(query, shard, noise=noise, hidden=hidden).parts


def merged(query: Bundle, rows: int, answers: Sequence[tuple[bytes, ...]]) -> Bundle:
    """The shards' answers, in order, as the one bundle an undivided cohort would have given."""
    return replace(query, kind=query.kind.answer, rows=rows, parts=tuple(part for answer in answers for part in answer))


def spans(plan: Plan, rows: int, workers: int) -> list[Span]:
    """Cut a cohort into at most ``workers`` spans of equally many blocks."""
    blocks = plan.blocks(rows)
    edges = [blocks * k // min(workers, blocks) for k in range(min(workers, blocks) + 1)]
    return [Span(a, b) for a, b in pairwise(edges)]


def fan_out(count: int, ask: Callable[[int], tuple[bytes, ...]]) -> list[tuple[bytes, ...]]:
    """``ask(0) .. ask(count - 1)`` side by side; the first failure is raised once all have ended."""
    answers: list[tuple[bytes, ...]] = [()] * count
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            answers[number] = ask(number)
        except BaseException as failure:  # noqa: BLE001 - handed over to the caller's thread
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return answers

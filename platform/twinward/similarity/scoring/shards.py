"""A cohort cut into shards, each scored by whoever holds it, through one code path: processes here, or Ray's.

SEAL's Python face holds the interpreter's lock, so more cores mean more processes. What a worker is given is a file
of prepared blocks (``twinward_crypto.homomorphic.block_file``) and a span of them. A vendor-key cohort is plaintext
features in another form: its file is anonymous memory and never a disk's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from twinward.similarity.errors import ScoringUnavailable
from twinward.similarity.scoring.child import PATIENCE_S, Child
from twinward_crypto.errors import MalformedBundle
from twinward_crypto.homomorphic.database import Database
from twinward_crypto.homomorphic.gated import EncryptedIndex, score_gated
from twinward_crypto.homomorphic.parameters import Plan
from twinward_crypto.homomorphic.scoring import score
from twinward_crypto.homomorphic.wire import Bundle, decode

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
        lasting: it is anonymous memory that nobody else may write to, and not a file on a disk.
    """

    path: Path
    plan: Plan
    binding: bytes
    rows: int
    key: bytes = field(repr=False)
    lasting: bool = False

    def map(self) -> Database | EncryptedIndex:
        """The cohort, as its plan says. Raises ``MalformedBundle``."""
        if self.plan.profile.scheme == "bfv":
            return Database.map(self.path, self.plan, binding=self.binding, key=self.key)
        return EncryptedIndex.map(self.path, self.plan, binding=self.binding, key=self.key, lasting=self.lasting)


@dataclass(frozen=True, slots=True)
class Span:
    """Blocks ``first .. last - 1`` of a cohort."""

    first: int
    last: int

    def rows(self, plan: Plan, of: int) -> slice:
        """The rows that these blocks of a cohort of so many rows hold."""
        return slice(self.first * plan.block_rows, min(of, self.last * plan.block_rows))


class ShardWorker:
    """One shard, opened and scored. The same class runs in a process of this machine and in a Ray actor."""

    def __init__(self, prepared: PreparedCohort, span: Span) -> None:
        self._shard = prepared.map().shard(span.first, span.last)
        for _ in self._shard.blocks:
            pass  # loaded, so that the first query waits for none, and no changed one is put down to a query

    def answer(self, *question: object) -> bytes:
        """As ``child.Worker``: the encoded answer to (query, blinding). Raises ``MalformedBundle``."""
        query, blinding = question
        if not isinstance(query, Bundle) or not isinstance(blinding, Blinding | None):
            raise MalformedBundle("a query and its blinding are expected")
        return self.score(query, blinding).encode()

    def score(self, query: Bundle, blinding: Blinding | None = None) -> Bundle:
        """The shard's part of the answer. Raises ``MalformedBundle``."""
        if isinstance(self._shard, EncryptedIndex):
            return score_gated(query, self._shard)
        noise, hidden = (blinding.noise, blinding.hidden) if blinding else (None, None)
        return score(query, self._shard, noise=noise, hidden=hidden)


class Scorer(Protocol):
    """Scores a whole cohort, however it is held."""

    def score(self, query: Bundle, blinding: Blinding | None = None) -> Bundle:
        """Every row's encrypted distance. Raises ``MalformedBundle``, ``QueryMalformed`` or ``ScoringUnavailable``."""
        ...

    def close(self) -> None:
        """Give back processes and memory."""
        ...


def checked(query: Bundle, answer: bytes, rows: int) -> tuple[bytes, ...]:
    """The parts of a shard's answer about so many rows, read like a stranger's. Raises ``ScoringUnavailable``."""
    try:
        found = decode(answer, kind=query.kind.answer, plan=query.plan, binding=query.binding)
    except MalformedBundle as error:
        raise ScoringUnavailable("a process that scores gave no answer") from error
    if found.rows != rows or found.weighted != query.weighted:
        raise ScoringUnavailable("a process that scores answered something else")
    return found.parts


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


class ProcessScorer:
    """One process for each shard, each with its blocks loaded.

    Args:
        prepared: the cohort's file; it must stay open as long as this lives.
        workers: how many processes, at most one a block.
        held: closed with this: whatever keeps the file alive.
        patience_s: how long one query may take.
    """

    def __init__(
        self,
        prepared: PreparedCohort,
        workers: int,
        held: ExitStack | None = None,
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._prepared, self._held = prepared, held or ExitStack()
        self._spans = spans(prepared.plan, prepared.rows, workers)
        self._children = [Child(ShardWorker, prepared, span, patience_s=patience_s) for span in self._spans]

    @property
    def pids(self) -> list[int]:
        """The processes that score, in shard order; without those that have to be started again."""
        return [pid for child in self._children if (pid := child.pid) is not None]

    def score(self, query: Bundle, blinding: Blinding | None = None) -> Bundle:
        """Every row's encrypted distance.

        Raises:
            MalformedBundle: the query is no query of this cohort.
            QueryMalformed: it crashed a process, or takes too long.
            ScoringUnavailable: a shard's process died again and again.
        """

        def ask(number: int) -> tuple[bytes, ...]:
            rows = self._spans[number].rows(self._prepared.plan, self._prepared.rows)
            answer = self._children[number].ask(query, blinding.of(rows) if blinding else None)
            return checked(query, answer, rows.stop - rows.start)

        return merged(query, self._prepared.rows, fan_out(len(self._children), ask))

    def close(self) -> None:
        """End the processes."""
        for child in self._children:
            child.close()
        self._held.close()

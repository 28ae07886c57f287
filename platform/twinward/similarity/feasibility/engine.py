"""Counts in processes of this machine or on a Ray cluster: rows to slots, slots to an answer. No policy, no log here.

Every process makes the query's tables for itself and then slots in pieces, so that a large cohort is no question that
takes too long. Where the hospital scores on a Ray cluster, its actors make the slots; a vendor's bytes are looked at by
a process of this machine first, in either case.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from twinward.similarity.errors import QueryMalformed, ScoringUnavailable
from twinward.similarity.feasibility.worker import CountingWorker
from twinward.similarity.scoring.child import Child
from twinward.similarity.scoring.shards import fan_out
from twinward_crypto.errors import MalformedBundle
from twinward_crypto.feasibility.answer import Indices, Layout
from twinward_crypto.feasibility.kernel_answer import tables_for
from twinward_crypto.feasibility.noise import GeometricNoise
from twinward_crypto.feasibility.query import MAX_THRESHOLD, SLOT_BYTES, Answer, FeasibilityKey, FeasibilityQuery

MOST_SLOTS: Final = 1 << 19
"""Of one answer, unless one slot a row is more: minutes of two cores."""
SLOTS_AT_ONCE: Final = 4096
"""Of one question to a process: some seconds."""
_TRIES, _SLOTS, _ADDITIONS = 8, 32, 8
"""Of what a count's time is told from."""
_HINT: Final = "make the question with the twinward client"


class Counter(Protocol):
    """Who makes slots: a ``Child`` of this machine, or an actor of a cluster."""

    def ask(self, *question: object) -> bytes:
        """As ``CountingWorker.answer``. Raises ``MalformedBundle``, ``ScoringUnavailable``."""
        ...

    def close(self) -> None:
        """End it. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """A question whose every element was checked: its bytes, and how its answer is laid out."""

    data: bytes = field(repr=False)
    layout: Layout


class FeasibilityEngine:
    """Counts for one epoch.

    Args:
        levels: of each feature that criteria are about.
        binding: what queries and answers carry.
        capacity: rows that an answer has room for, the same for the whole epoch.
        workers: how many processes or actors; they are started with the first question.
        ray_address: of the Ray cluster that counts, empty for one on this machine; None counts in processes.
    """

    def __init__(
        self, levels: tuple[int, ...], binding: bytes, capacity: int, workers: int, ray_address: str | None = None
    ) -> None:
        self.levels, self.binding, self.capacity = levels, binding, capacity
        self._workers, self._ray_address = max(1, workers), ray_address
        self._children: list[Counter] = []
        self._checking: Child | None = None
        self._starting = threading.Lock()

    def close(self) -> None:
        """End the processes. Idempotent."""
        with self._starting:
            children, self._children = self._children, []
            checking, self._checking = self._checking, None
        for child in children:
            child.close()
        if checking is not None:
            checking.close()

    def check(self, data: bytes) -> Asked:
        """Look at a query and nothing else. Raises ``QueryMalformed``, ``ScoringUnavailable``."""
        try:
            query = FeasibilityQuery.decode(data, levels=self.levels, binding=self.binding)
            if query.threshold > self.most_slots:
                raise MalformedBundle(f"at most {self.most_slots} slots a row are answered about so large a cohort")
            layout = self._layout(query.threshold)
            self._checker().ask(data, self.binding, layout)
        except MalformedBundle as error:
            raise QueryMalformed(str(error), hint=_HINT) from None
        return Asked(data, layout)

    def count(self, rows: NDArray[np.int64], asked: Asked, noise: GeometricNoise) -> bytes:
        """The answer: noise is drawn here, and leaves as dummies alone. Raises ``ScoringUnavailable``."""
        drawn = noise.draw()
        slots = asked.layout.slots(
            asked.layout.rows(rows),
            capacity=self.capacity,
            matching=noise.bound + drawn,
            never=noise.bound - drawn,
        )
        return Answer(self.binding, self._made(asked, slots)).encode()

    def slots(self, threshold: int, noise: GeometricNoise) -> int:
        """How many slots an answer has."""
        return self.capacity * threshold + 2 * noise.bound

    @property
    def pids(self) -> list[int]:
        """The processes of this machine that check and count, as far as they run."""
        with self._starting:
            held = dict.fromkeys((self._checking, *self._children))
        return [child.pid for child in held if isinstance(child, Child) and child.pid is not None]

    @property
    def most_slots(self) -> int:
        """How many slots a row a question may need."""
        return max(1, min(MAX_THRESHOLD, MOST_SLOTS // self.capacity))

    def seconds(self) -> tuple[int, ...]:
        """How long a count takes, about, by slots a row from 1 on: from what operations take here, rounded up."""
        addition, slot = _measured()
        found = []
        for threshold in range(1, MAX_THRESHOLD + 1):
            share = -(-self.capacity * threshold // self._workers)
            spent = self._layout(threshold).additions(share) * 2 * addition + share * slot
            found.append(max(1, round(spent + 0.5)))
        return tuple(found)

    def _layout(self, threshold: int) -> Layout:
        return Layout.plan(self.levels, threshold, -(-self.capacity * threshold // self._workers))

    def _checker(self) -> Child:
        """The process of this machine that looks at strangers' bytes."""
        with self._starting:
            if self._checking is None:
                self._checking = Child(CountingWorker)
            return self._checking

    def _counters(self) -> list[Counter]:
        """Who makes slots: here the checking process and others beside it, or a cluster's actors."""
        checker = self._checker()
        with self._starting:
            if not self._children and self._ray_address is not None:
                from twinward.similarity.feasibility.ray_counters import RayCounting

                self._children = [RayCounting(self._ray_address) for _ in range(self._workers)]
            elif not self._children:
                self._children = [checker, *(Child(CountingWorker) for _ in range(self._workers - 1))]
            return self._children

    def _made(self, asked: Asked, slots: Indices) -> bytes:
        children = self._counters()
        shares = np.array_split(slots, len(children))

        def ask(number: int) -> tuple[bytes, ...]:
            pieces = [shares[number][at : at + SLOTS_AT_ONCE] for at in range(0, len(shares[number]), SLOTS_AT_ONCE)]
            return tuple(self._piece(children[number], asked, piece) for piece in pieces)

        try:
            return b"".join(piece for share in fan_out(len(children), ask) for piece in share)
        except MalformedBundle as error:  # it was checked: what goes wrong now is the hospital's own fault
            raise ScoringUnavailable("a process that counts gave no answer") from error

    def _piece(self, child: Counter, asked: Asked, piece: Indices) -> bytes:
        made = child.ask(asked.data, self.binding, asked.layout, piece.astype("<i4").tobytes())
        if len(made) != len(piece) * SLOT_BYTES:
            raise ScoringUnavailable("a process that counts answered something else")
        return made


@lru_cache(maxsize=1)
def _measured() -> tuple[float, float]:
    """Seconds of an addition, and of what a slot costs beside its additions, by whatever makes slots here."""
    alone, with_more = _of_a_slot(1), _of_a_slot(1 + _ADDITIONS)
    return max(0.0, with_more - alone) / (2 * _ADDITIONS), alone


def _of_a_slot(tables: int) -> float:
    """Seconds of a slot that is the sum of so many pairs: the best of some tries, for others run too."""
    query = FeasibilityKey().query([[0, 1]] * tables, binding=bytes(32))
    made = tables_for(query, Layout((2,) * tables, 1, tuple((one,) for one in range(tables))))
    slots = np.zeros((_SLOTS, tables), np.int32)
    return min(_spent(lambda: made.slots(slots)) for _ in range(_TRIES)) / _SLOTS


def _spent(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def workers_here(wanted: int) -> int:
    """As many processes as are wanted and there are cores."""
    return max(1, min(wanted, os.cpu_count() or 1))

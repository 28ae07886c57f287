"""Shards in processes of this machine: a query that ends one fails alone (``child``)."""

from __future__ import annotations

from contextlib import ExitStack

from twinward.similarity.child import PATIENCE_S, Child
from twinward.similarity.shards import Blinding, PreparedCohort, ShardWorker, checked, fan_out, merged, spans
from twinward_crypto.homomorphic.wire import Bundle


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

"""Shards in processes of this machine. One that dies is started again and asked again; a query survives it."""

from __future__ import annotations

import multiprocessing
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from twinward.similarity.errors import ScoringUnavailable
from twinward.similarity.shards import Blinding, PreparedCohort, ShardWorker, Span, fan_out, merged, spans
from twinward_crypto.errors import CryptoError
from twinward_crypto.homomorphic.wire import Bundle

ATTEMPTS = 3
"""How often one shard is asked one query before the query fails."""

_SPAWN = multiprocessing.get_context("spawn")
_CHILDREN = threading.Lock()
"""Starting a process polls every other child, which must not meet a thread that is waiting for one of them."""


class ProcessScorer:
    """One process for each shard, each with its blocks loaded.

    Args:
        prepared: the cohort's file; it must stay open as long as this lives.
        workers: how many processes.
        held: closed with this: whatever keeps the file alive.
    """

    def __init__(self, prepared: PreparedCohort, workers: int, held: ExitStack | None = None) -> None:
        self._prepared, self._held = prepared, held or ExitStack()
        self._shards = [_Shard(prepared, span) for span in spans(prepared.plan, prepared.rows, workers)]

    @property
    def pids(self) -> list[int]:
        """The processes that score, in shard order."""
        return [shard.process.pid or 0 for shard in self._shards if shard.process]

    def score(self, query: Bundle, blinding: Blinding | None = None) -> Bundle:
        """Every row's encrypted distance.

        Raises:
            MalformedBundle: the query is no query of this cohort.
            ScoringUnavailable: a shard's process died again and again.
        """
        plan = self._prepared.plan
        parts = [blinding.of(shard.span.rows(plan)) if blinding else None for shard in self._shards]
        answers = fan_out(len(self._shards), lambda k: self._shards[k].ask(query, parts[k]))
        return merged(query, self._prepared.rows, answers)

    def close(self) -> None:
        """End the processes."""
        for shard in self._shards:
            shard.stop()
        self._held.close()


@dataclass(eq=False)
class _Shard:
    prepared: PreparedCohort
    span: Span
    process: BaseProcess | None = None
    _line: Connection | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        self._start()

    def ask(self, query: Bundle, blinding: Blinding | None) -> tuple[bytes, ...]:
        with self._lock:
            for _ in range(ATTEMPTS):
                try:
                    if self._line is None:
                        self._start()
                    return self._exchange(query, blinding)
                except (EOFError, OSError):
                    self.stop()
        raise ScoringUnavailable("a process that scores keeps dying")

    def stop(self) -> None:
        """End the process, if there is one. Idempotent."""
        if self._line is not None:
            self._line.close()
            self._line = None
        if self.process is not None:
            with _CHILDREN:
                self.process.kill()
                self.process.join()
                self.process.close()
            self.process = None

    def _start(self) -> None:
        self._line, theirs = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=_serve, args=(theirs, self.prepared, self.span), daemon=True)
        with _CHILDREN:
            self.process.start()
        theirs.close()

    def _exchange(self, query: Bundle, blinding: Blinding | None) -> tuple[bytes, ...]:
        line = self._line
        if line is None:
            raise EOFError
        line.send((query, blinding))
        answer = line.recv()
        if isinstance(answer, CryptoError):
            raise answer
        parts: tuple[bytes, ...] = answer
        return parts


def _serve(line: Connection, prepared: PreparedCohort, span: Span) -> None:
    """The process: answer until the other end hangs up, or is gone."""
    try:
        worker = ShardWorker(prepared, span)
    except CryptoError:
        return  # the file is gone or altered: whoever asks will find nobody there
    while True:
        try:
            query, blinding = line.recv()
        except EOFError:
            return
        try:
            answer: object = worker.score(query, blinding)
        except CryptoError as error:
            answer = error
        line.send(answer)

"""Shards as Ray actors, on as many machines as the hospital's cluster has. An actor that dies is made again elsewhere.

What leaves this process is sealed: Ray keeps large objects in shared memory and may spill them to disks, and a
vendor-key shard is plaintext features in another form. So each shard travels under AES-256-GCM (NIST SP 800-38D) with
a key made for it alone, which goes to its actor beside it. Between machines, turn on Ray's TLS (``RAY_USE_TLS``):
whoever may submit tasks to the cluster is trusted like the hospital itself.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from twinward.core.child_processes import without_working_directory
from twinward.similarity.errors import ScoringUnavailable
from twinward.similarity.scoring.shards import Blinding, PreparedCohort, ShardWorker, Span, checked, merged
from twinward_crypto.errors import CryptoError
from twinward_crypto.homomorphic.block_file import memory_file
from twinward_crypto.homomorphic.wire import Bundle

RETRIES = 3
"""How often a query is asked again of a shard whose actor died."""

_CLIENT = "ray://"  # a driver that runs beside the cluster's head: nothing of this machine's folders is told to it
_NONCE = bytes(12)  # each key seals one shard, once


@dataclass(frozen=True, slots=True)
class SealedShard:
    """A file of prepared blocks on its way to another machine, and how to open it."""

    prepared: PreparedCohort
    key: bytes = field(repr=False)
    sealed: bytes = field(repr=False)

    @classmethod
    def seal(cls, prepared: PreparedCohort) -> SealedShard:
        """Read a prepared file and seal it under a key of its own."""
        key = AESGCM.generate_key(256)
        return cls(prepared, key, AESGCM(key).encrypt(_NONCE, prepared.path.read_bytes(), prepared.binding))


class RayShard:
    """The actor: a shard opened from its sealed bytes into memory of its own machine."""

    def __init__(self, prepared: PreparedCohort, key: bytes, sealed: bytes) -> None:
        self._held = ExitStack()
        path, file = self._held.enter_context(memory_file("twinward-shard"))
        file.write(AESGCM(key).decrypt(_NONCE, sealed, prepared.binding))
        file.flush()
        self._worker = ShardWorker(replace(prepared, path=path), Span(0, prepared.plan.blocks(prepared.rows)))

    def score(self, query: Bundle, blinding: Blinding | None) -> bytes | CryptoError:
        """The shard's part of the answer, encoded, or what is wrong with the query."""
        try:
            return self._worker.answer(query, blinding)
        except CryptoError as error:
            return error

    def pid(self) -> int:
        """The process it runs in."""
        return os.getpid()


class RayScorer:
    """One actor for each shard.

    Args:
        shards: in row order, all of one plan and binding.
        address: the cluster's, as ``ray.init`` takes it; empty starts one on this machine.
    """

    def __init__(self, shards: Sequence[SealedShard], address: str = "") -> None:
        self._ray = connected(address)
        try:
            actor = self._ray.remote(RayShard).options(max_restarts=-1, max_task_retries=RETRIES)
            self._sealed = [self._ray.put(shard.sealed) for shard in shards]  # kept: an actor made again reads it again
            self._actors = [
                actor.remote(shard.prepared, shard.key, sealed)
                for shard, sealed in zip(shards, self._sealed, strict=True)
            ]
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ScoringUnavailable(
                "the Ray cluster does not answer", hint="check its address, or ray start"
            ) from error
        self._rows = [shard.prepared.rows for shard in shards]

    @property
    def pids(self) -> list[int]:
        """The processes that score, in shard order."""
        found: list[int] = self._ray.get([actor.pid.remote() for actor in self._actors])
        return found

    def score(self, query: Bundle, blinding: Blinding | None = None) -> Bundle:
        """Every row's encrypted distance.

        Raises:
            MalformedBundle: the query is no query of this cohort.
            ScoringUnavailable: an actor died and could not be made again.
        """
        asked = self._ray.put(query)
        pending, start = [], 0
        for actor, rows in zip(self._actors, self._rows, strict=True):
            part = blinding.of(slice(start, start + rows)) if blinding else None
            pending.append(actor.score.remote(asked, part))
            start += rows
        try:
            answers: list[bytes | CryptoError] = self._ray.get(pending)
        except self._ray.exceptions.RayError as error:
            raise ScoringUnavailable("the cluster lost a shard and could not make it again") from error
        parts = []
        for answer, rows in zip(answers, self._rows, strict=True):
            if isinstance(answer, CryptoError):
                raise answer
            parts.append(checked(query, answer, rows))
        return merged(query, start, parts)

    def close(self) -> None:
        """End the actors, and the cluster if it was started here and nobody else uses it. Idempotent."""
        actors, self._actors = self._actors, []
        for actor in actors:
            self._ray.kill(actor)
        if actors:
            released(self._ray)


def connected(address: str) -> Any:
    """Ray, started or joined for one more user of this process: each gives it back with ``released``.

    Raises ``ScoringUnavailable``.
    """
    ray = _ray()
    with _session.lock:
        if not ray.is_initialized():
            try:
                with without_working_directory():
                    ray.init(
                        address=address or None,
                        include_dashboard=False,
                        log_to_driver=False,
                        job_config=None if address.startswith(_CLIENT) else _without_folder(ray),
                    )
            except Exception as error:  # a start that takes too long is a plain Exception of Ray's
                raise ScoringUnavailable(
                    "the Ray cluster does not answer", hint="check its address, or ray start"
                ) from error
            _session.is_ours, _session.users = True, 0
        _session.users += 1
    return ray


def _without_folder(ray: Any) -> Any:
    """What a cluster is told of this process, without the folder it was started in.

    Ray would have its workers look for modules there first, and whoever may write to it would run code in them. A job
    that brings a folder of its own is not asked for that one: this one says that it does, and brings none.
    """

    class WithoutFolder(ray.job_config.JobConfig):  # type: ignore[misc]
        def _runtime_env_has_working_dir(self) -> bool:
            return True

    return WithoutFolder()


def released(ray: Any) -> None:
    """Give Ray back; the last user ends what was started here."""
    with _session.lock:
        _session.users -= 1
        if _session.users <= 0 and _session.is_ours and ray.is_initialized():
            _session.is_ours = False
            ray.shutdown()


@dataclass(slots=True)
class _Session:
    """This process's part in a cluster: who still uses it, and whether it was started or joined here."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0
    is_ours: bool = False


_session = _Session()


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report its use to its makers
    try:
        import ray
    except ImportError as error:
        raise ScoringUnavailable("Ray is not installed", hint="pip install twinward[cluster]") from error
    return ray

"""Counts on a Ray cluster: actors that run ``CountingWorker``, each with a key of its own.

What travels to an actor is the query, which anybody may see, and which entries make each slot: the latter are patients'
levels in another form. Ray keeps large objects in shared memory and may spill them to disks, so they travel under
AES-256-GCM (NIST SP 800-38D), the query and its layout as associated data, with nonces that count. What comes back is
encrypted under the vendor's key. An actor that dies is made again elsewhere, with the same key, and asked again.
"""

from __future__ import annotations

import hashlib
import itertools
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from twinward.similarity.errors import ScoringUnavailable
from twinward.similarity.feasibility.worker import CountingWorker
from twinward.similarity.scoring.ray_shards import RETRIES, connected, released
from twinward_crypto.errors import CryptoError, MalformedBundle
from twinward_crypto.feasibility.answer import Layout

_NONCE_BYTES: Final = 12


class RayCounter:
    """The actor."""

    def __init__(self, key: bytes) -> None:
        self._key, self._worker = AESGCM(key), CountingWorker()

    def answer(self, data: bytes, binding: bytes, layout: Layout, nonce: bytes, sealed: bytes) -> bytes | CryptoError:
        """As ``CountingWorker.answer``, or what is wrong with the question."""
        try:
            indices = self._key.decrypt(nonce, sealed, about(data, binding, layout))
            return self._worker.answer(data, binding, layout, indices)
        except InvalidTag:
            return MalformedBundle("indices that nobody here sealed")
        except CryptoError as error:
            return error


class RayCounting:
    """One actor as ``FeasibilityEngine`` asks it.

    Args:
        address: the cluster's, as ``ray.init`` takes it; empty starts one on this machine.
    """

    def __init__(self, address: str = "") -> None:
        self._key = AESGCM.generate_key(256)
        self._numbers = itertools.count(1)
        self._ray = connected(address)
        try:
            actor = self._ray.remote(RayCounter).options(max_restarts=-1, max_task_retries=RETRIES)
            self._actor: Any = actor.remote(self._key)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ScoringUnavailable("the Ray cluster makes no actor") from error

    def ask(self, *question: object) -> bytes:
        """The slots of ``(query, binding, layout, indices)``. Raises ``MalformedBundle``, ``ScoringUnavailable``."""
        data, binding, layout, indices = question
        if not (isinstance(data, bytes) and isinstance(binding, bytes) and isinstance(indices, bytes)):
            raise MalformedBundle("a query and indices are expected")
        if not isinstance(layout, Layout):
            raise MalformedBundle("a layout is expected")
        nonce = next(self._numbers).to_bytes(_NONCE_BYTES, "big")
        sealed = AESGCM(self._key).encrypt(nonce, indices, about(data, binding, layout))
        try:
            answer: bytes | CryptoError = self._ray.get(self._actor.answer.remote(data, binding, layout, nonce, sealed))
        except self._ray.exceptions.RayError as error:
            raise ScoringUnavailable("the cluster lost an actor and could not make it again") from error
        if isinstance(answer, CryptoError):
            raise answer
        return answer

    def close(self) -> None:
        """End the actor, and the cluster if it was started here and nobody else uses it. Idempotent."""
        actor, self._actor = self._actor, None
        if actor is not None:
            self._ray.kill(actor)
            released(self._ray)


def about(data: bytes, binding: bytes, layout: Layout) -> bytes:
    """What sealed indices are bound to."""
    return (
        hashlib.sha256(b"twinward/ray-counting/1\x00" + binding + hashlib.sha256(data).digest()).digest()
        + repr(layout).encode()
    )

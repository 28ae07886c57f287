"""How a hospital scores its cohorts: in this process, in several, or on a Ray cluster. One code path, same answers."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import BinaryIO

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from twinward.errors import BadInput
from twinward.similarity.process_shards import ProcessScorer
from twinward.similarity.ray_shards import RayScorer, SealedShard
from twinward.similarity.shards import InProcessScorer, PreparedCohort, Scorer, spans
from twinward_crypto.errors import CryptoError
from twinward_crypto.homomorphic.block_file import memory_file
from twinward_crypto.homomorphic.database import Database, Levels
from twinward_crypto.homomorphic.gated import EncryptedIndex, GateKey
from twinward_crypto.homomorphic.parameters import Plan

Write = Callable[[BinaryIO, Levels, bytes], None]
"""Prepare some rows into a file, under the file's key."""


class Engine(StrEnum):
    """Who scores."""

    IN_PROCESS = "in-process"
    PROCESSES = "processes"
    RAY = "ray"


@dataclass(frozen=True, slots=True)
class Scoring:
    """A hospital's choice.

    Attributes:
        engine: who scores.
        workers: processes or actors; each cohort is cut into at most as many shards.
        ray_address: the cluster's; empty starts one on this machine.
        folder: where encrypted (gated) indexes are kept between starts; None keeps none.
    """

    engine: Engine = Engine.IN_PROCESS
    workers: int = 2
    ray_address: str = ""
    folder: Path | None = None

    @classmethod
    def parse(cls, text: str, folder: Path) -> Scoring:
        """``in-process`` (or nothing), ``processes:4``, ``ray:8`` or ``ray:8@ADDRESS``. Raises ``BadInput``."""
        found = re.fullmatch(r"(in-process|)|(processes|ray):([1-9]\d{0,3})(?:@(\S+))?", text)
        if found is None or (found[4] and found[2] != Engine.RAY):
            hint = 'write "in-process", "processes:4", "ray:8" or "ray:8@ray://host:10001"'
            raise BadInput("setting scoring: it names no engine", hint=hint)
        if found[2] is None:
            return cls()
        return cls(Engine(found[2]), int(found[3]), found[4] or "", folder)

    def vendor_key(self, plan: Plan, levels: Levels, *, binding: bytes) -> Scorer:
        """A scorer of plaintext features under vendors' keys. Nothing of it touches a disk."""
        if self.engine is Engine.IN_PROCESS:
            return InProcessScorer(Database.build(plan, levels, binding=binding))
        return self._sharded(
            plan, levels, binding, lambda file, rows, key: Database.write(file, plan, rows, binding=binding, key=key)
        )

    def gated(self, gate: GateKey, levels: Levels, *, binding: bytes) -> Scorer:
        """A scorer of an index encrypted under the gate's key."""
        write = partial(_write_index, gate, binding)
        if self.folder is not None and self.engine is not Engine.RAY:
            return self._kept(gate, levels, binding, write)
        if self.engine is Engine.IN_PROCESS:
            return InProcessScorer(gate.encrypt_index(levels, binding=binding))
        return self._sharded(gate.plan, levels, binding, write)

    def _sharded(self, plan: Plan, levels: Levels, binding: bytes, write: Write) -> Scorer:
        if self.engine is Engine.RAY:
            shards = []
            for span in spans(plan, len(levels), self.workers):
                with memory_file("twinward-cohort") as (path, file):
                    rows = levels[span.rows(plan)]
                    prepared = PreparedCohort(path, plan, binding, len(rows), secrets.token_bytes(32))
                    write(file, rows, prepared.key)
                    shards.append(SealedShard.seal(prepared))
            return RayScorer(shards, self.ray_address)
        with ExitStack() as holding:
            path, file = holding.enter_context(memory_file("twinward-cohort"))
            prepared = PreparedCohort(path, plan, binding, len(levels), secrets.token_bytes(32))
            write(file, levels, prepared.key)
            return ProcessScorer(prepared, self.workers, holding.pop_all())

    def _kept(self, gate: GateKey, levels: Levels, binding: bytes, write: Write) -> Scorer:
        """From the file an earlier start left, if it is of this very cohort; otherwise it is written now."""
        folder = self.folder or Path()
        key = HKDF(SHA256(), 32, salt=hashlib.sha256(levels.tobytes()).digest(), info=b"twinward/block-file").derive(
            gate.dangerously_export_secret()
        )
        path = folder / f"{hashlib.sha256(b'name' + key).hexdigest()[:32]}.blocks"
        prepared = PreparedCohort(path, gate.plan, binding, len(levels), key)
        if not _opens(prepared):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for stale in folder.glob("*.blocks*"):
                stale.unlink()
            _write_atomically(path, lambda file: write(file, levels, key))
        if self.engine is Engine.PROCESSES:
            return ProcessScorer(prepared, self.workers)
        return InProcessScorer(EncryptedIndex.map(path, gate.plan, binding=binding, key=key))


def _write_index(gate: GateKey, binding: bytes, file: BinaryIO, levels: Levels, key: bytes) -> None:
    gate.write_index(file, levels, binding=binding, key=key)


def _opens(prepared: PreparedCohort) -> bool:
    try:
        EncryptedIndex.map(prepared.path, prepared.plan, binding=prepared.binding, key=prepared.key)
    except CryptoError:
        return False
    return True


def _write_atomically(path: Path, write: Callable[[BinaryIO], None]) -> None:
    part = path.with_suffix(".blocks.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        write(file)
        os.fsync(file.fileno())
    part.replace(path)

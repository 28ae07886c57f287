"""How a hospital scores its cohorts: in processes of this machine, or on a Ray cluster. One code path, same answers.

Never in the process that serves: native code computes with numbers a stranger chose, and may die of them (``child``).

Reading the choice loads no engine: a node looks at its setting when it starts, and scores when somebody asks.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from twinward.core.errors import BadInput
from twinward.core.private_files import replacing
from twinward_crypto.errors import CryptoError

if TYPE_CHECKING:
    from twinward.similarity.scoring.shards import PreparedCohort, Scorer
    from twinward_crypto.homomorphic.database import Levels
    from twinward_crypto.homomorphic.gated import GateKey
    from twinward_crypto.homomorphic.parameters import Plan

DEFAULT_WORKERS = 4

Write: TypeAlias = "Callable[[BinaryIO, Levels, bytes], None]"
"""Prepare some rows into a file, under the file's key."""


_SUFFIX = ".blocks"


class Engine(StrEnum):
    """Who scores."""

    PROCESSES = "processes"
    RAY = "ray"


@dataclass(frozen=True, slots=True)
class Scoring:
    """A hospital's choice.

    Attributes:
        engine: who scores.
        workers: processes or actors; each cohort is cut into at most as many shards. By default one a core, up to
            ``DEFAULT_WORKERS``.
        ray_address: the cluster's; empty starts one on this machine.
        folder: where encrypted (gated) indexes are kept between starts; None keeps none.
    """

    engine: Engine = Engine.PROCESSES
    workers: int = field(default_factory=lambda: min(DEFAULT_WORKERS, os.cpu_count() or 1))
    ray_address: str = ""
    folder: Path | None = None

    @classmethod
    def parse(cls, text: str, folder: Path) -> Scoring:
        """``processes:4``, ``ray:8`` or ``ray:8@ADDRESS``; nothing for the default. Raises ``BadInput``.

        ``in-process``, which homes made earlier may say, is the default too: nothing scores in the node's own process.
        """
        found = re.fullmatch(r"(in-process|)|(processes|ray):([1-9]\d{0,3})(?:@(\S+))?", text)
        if found is None or (found[4] and found[2] != Engine.RAY):
            hint = 'write "processes:4", "ray:8" or "ray:8@ray://host:10001"'
            raise BadInput("setting scoring: it names no engine", hint=hint)
        if found[2] is None:
            return cls()
        return cls(Engine(found[2]), int(found[3]), found[4] or "", folder)

    def is_kept(self) -> bool:
        """Whether what should be kept between starts is there."""
        return self.folder is None or self.engine is Engine.RAY or any(self.folder.glob("*" + _SUFFIX))

    def vendor_key(self, plan: Plan, levels: Levels, *, binding: bytes) -> Scorer:
        """A scorer of plaintext features under vendors' keys. Nothing of it touches a disk."""
        from twinward_crypto.homomorphic.database import Database

        return self._sharded(
            plan, levels, binding, lambda file, rows, key: Database.write(file, plan, rows, binding=binding, key=key)
        )

    def gated(self, gate: GateKey, levels: Levels, *, binding: bytes) -> Scorer:
        """A scorer of an index encrypted under the gate's key."""
        write = partial(_write_index, gate, binding)
        if self.folder is not None and self.engine is not Engine.RAY:
            return self._kept(gate, levels, binding, write)
        return self._sharded(gate.plan, levels, binding, write)

    def _sharded(self, plan: Plan, levels: Levels, binding: bytes, write: Write) -> Scorer:
        from twinward.similarity.scoring.ray_shards import RayScorer, SealedShard
        from twinward.similarity.scoring.shards import PreparedCohort, ProcessScorer, spans
        from twinward_crypto.homomorphic.block_file import memory_file

        if self.engine is Engine.RAY:
            shards = []
            for span in spans(plan, len(levels), self.workers):
                with memory_file("twinward-cohort") as (path, file):
                    rows = levels[span.rows(plan, len(levels))]
                    prepared = PreparedCohort(path, plan, binding, len(rows), secrets.token_bytes(32))
                    write(file, rows, prepared.key)
                    shards.append(SealedShard.seal(prepared))
            return RayScorer(shards, self.ray_address)
        with ExitStack() as holding:
            path, file = holding.enter_context(memory_file("twinward-cohort"))
            prepared = PreparedCohort(path, plan, binding, len(levels), secrets.token_bytes(32), lasting=True)
            write(file, levels, prepared.key)
            return ProcessScorer(prepared, self.workers, holding.pop_all())

    def _kept(self, gate: GateKey, levels: Levels, binding: bytes, write: Write) -> Scorer:
        """From the file an earlier start left, if it is of this very cohort; otherwise it is written now."""
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        from twinward.similarity.scoring.shards import PreparedCohort, ProcessScorer

        folder = self.folder or Path()
        key = HKDF(SHA256(), 32, salt=hashlib.sha256(levels.tobytes()).digest(), info=b"twinward/block-file").derive(
            gate.dangerously_export_secret()
        )
        path = folder / f"{hashlib.sha256(b'name' + key).hexdigest()[:32]}{_SUFFIX}"
        prepared = PreparedCohort(path, gate.plan, binding, len(levels), key)
        if not _opens(prepared):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for stale in folder.glob(f"*{_SUFFIX}*"):
                stale.unlink(missing_ok=True)
            _write_atomically(path, lambda file: write(file, levels, key))
        return ProcessScorer(prepared, self.workers)


def forget_kept(folder: Path) -> None:
    """Delete the indexes kept in a folder: whoever has one open goes on, and the next start writes one anew."""
    for path in folder.glob("*" + _SUFFIX) if folder.is_dir() else ():
        path.unlink(missing_ok=True)


def _write_index(gate: GateKey, binding: bytes, file: BinaryIO, levels: Levels, key: bytes) -> None:
    gate.write_index(file, levels, binding=binding, key=key)


def _opens(prepared: PreparedCohort) -> bool:
    try:
        prepared.map()
    except CryptoError:
        return False
    return True


def _write_atomically(path: Path, write: Callable[[BinaryIO], None]) -> None:
    with replacing(path) as file:
        write(file)

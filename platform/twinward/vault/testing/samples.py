"""Rows and segments that a store cannot tell from sealed ones."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from uuid import UUID

from twinward.core.ids import uuid7
from twinward.core.vocabulary import RecordId, TwinId
from twinward.vault.models import SealedBlock, SealedRow, SealedSegment

ANNA, BERN = TwinId("0198-anna"), TwinId("0198-bern")
LABS, VITALS, NOTES = b"L" * 16, b"V" * 16, b"N" * 16


def tag(name: str) -> bytes:
    """A blind tag of a name, as a store sees it."""
    return sha256(name.encode()).digest()[:16]


def row(
    name: str, version: int = 1, twin: TwinId = ANNA, category: bytes = LABS, tags: tuple[bytes, ...] = ()
) -> SealedRow:
    """A row that a store cannot tell from a sealed one."""
    return SealedRow(
        record_id=RecordId(name),
        version=version,
        twin=twin,
        category_tag=category,
        type_tag=b"T" * 64,
        generation=1,
        previous_hash=b"" if version == 1 else sha256(f"{name}{version - 1}".encode()).digest(),
        committed_at_ms=1_767_225_600_000 + version,
        sealed=f"sealed {name} {version}".encode() * 20,
        tags=tags,
    )


def segment(
    size: int,
    twin: TwinId = ANNA,
    category: bytes = LABS,
    tags: Sequence[tuple[bytes, int]] = (),
    members: Sequence[tuple[str, int]] = (),
) -> SealedSegment:
    """A segment of new records; with ``members`` (ids and versions) one of those."""
    column = b"".join(
        UUID(name).bytes + version.to_bytes(4, "big") + (1_767_225_600_000 + version).to_bytes(8, "big")
        for name, version in members
    )
    return SealedSegment(
        segment_id=f"{uuid7(1_767_225_600_000)[:-2]}00",
        twin=twin,
        category_tag=category,
        generation=1,
        size=size,
        committed_at_ms=1_767_225_600_000,
        type_tags=(b"T" * 64,),
        members=column,
        fingerprints=b"m" * 8 * size,
        sealed=b"sealed segment" * 20,
        tags=tags,
    )


def block(name: str, twin: TwinId = ANNA, category: bytes = LABS) -> SealedBlock:
    """A block of a search index that a store cannot tell from a sealed one."""
    return SealedBlock(name, twin, category, 1, f"sealed {name}".encode() * 9)

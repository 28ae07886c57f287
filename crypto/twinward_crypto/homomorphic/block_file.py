"""Blocks of SEAL objects in one memory-mapped file: made once, opened at once, shared by every process that scores.

An encrypted index may lie on disk: it is ciphertext. A vendor-key database is plaintext features in another form, so
its file must be anonymous memory (``memory_file``), never a disk's.

File (integers little-endian)::

    offset  size       field
    0       4          magic "TWBF"
    4       2          version: 1 where parts are SEAL objects, 2 where they are limbs (``limbs``)
    6       2          parts per block, p
    8       32         plan (``Plan.pack``)
    40      32         binding
    72      4          rows
    76      4          blocks, b
    80      40 b       of each block: 8 bytes of offset and a 32-byte HMAC-SHA256, keyed by the file's maker, over
                       bytes 0..79, the block's number (8 bytes) and its bytes
    ...     ...        blocks; each p times: 4 bytes of length, then a SEAL object, uncompressed, or raw numbers

A block is checked before SEAL sees it: who can change the file can make scoring fail, not answer wrongly.
"""

from __future__ import annotations

import hmac
import mmap
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

from twinward_crypto.errors import MalformedBundle
from twinward_crypto.homomorphic.parameters import Plan
from twinward_crypto.homomorphic.wire import BINDING_BYTES, MAX_ROWS

_HEAD = struct.Struct("<4sHH32s32sII")
_ENTRY = struct.Struct("<Q32s")
_LENGTH = struct.Struct("<I")
_MAGIC = b"TWBF"
OBJECTS, LIMBS = 1, 2


@dataclass(frozen=True, slots=True)
class BlockFile:
    """A mapped file. Blocks are cut out of the mapping when asked for; nothing is copied before."""

    rows: int
    parts: int
    version: int
    offsets: tuple[int, ...] = field(repr=False)
    tags: tuple[bytes, ...] = field(repr=False)
    head: bytes = field(repr=False)
    content: Any = field(repr=False)
    key: bytes = field(repr=False)

    @classmethod
    def map(cls, path: Path, *, plan: Plan, binding: bytes, key: bytes) -> BlockFile:
        """Open a file that must be of this plan and binding.

        Raises:
            MalformedBundle: it is not such a file, or it is cut short.
        """
        try:
            with path.open("rb") as file:
                content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise MalformedBundle("the file of prepared blocks cannot be opened: prepare the cohort anew") from error
        if len(content) < _HEAD.size:
            raise MalformedBundle("not a file of prepared blocks")
        head = content[: _HEAD.size]
        magic, version, parts, packed, bound, rows, count = _HEAD.unpack(head)
        if magic != _MAGIC or version not in (OBJECTS, LIMBS) or not parts:
            raise MalformedBundle("not a file of prepared blocks")
        if packed != plan.pack() or bound != binding:
            raise MalformedBundle("prepared for another cohort: prepare it anew")
        table = _HEAD.size + _ENTRY.size * count
        if not 1 <= rows <= MAX_ROWS or count != plan.blocks(rows) or table > len(content):
            raise MalformedBundle("not a file of prepared blocks")
        entries = list(_ENTRY.iter_unpack(content[_HEAD.size : table]))
        offsets = (*(offset for offset, _ in entries), len(content))
        if offsets[0] != table or any(a > b for a, b in pairwise(offsets)):
            raise MalformedBundle("not a file of prepared blocks")
        return cls(rows, parts, version, offsets, tuple(tag for _, tag in entries), head, content, key)

    def __len__(self) -> int:
        return len(self.tags)

    def _let_go(self, number: int) -> None:
        """The mapping's pages of a block that was copied: nobody reads them again, and they would be held twice."""
        start = -(-self.offsets[number] // mmap.PAGESIZE) * mmap.PAGESIZE
        length = self.offsets[number + 1] // mmap.PAGESIZE * mmap.PAGESIZE - start
        if length > 0 and hasattr(mmap, "MADV_DONTNEED"):
            self.content.madvise(mmap.MADV_DONTNEED, start, length)

    def block(self, number: int, *, copied: bool = True) -> list[Any]:
        """The parts of one block, bytes. Raises ``MalformedBundle`` where a bit of it changed.

        Not ``copied`` they are views of the mapping, shared by all who map it: for files that nobody can change.
        """
        view = memoryview(self.content)[self.offsets[number] : self.offsets[number + 1]]
        data = bytes(view) if copied else view
        if not hmac.compare_digest(self.tags[number], _tag(self.key, self.head, number, data)):
            raise MalformedBundle("a prepared block was changed: prepare the cohort anew")
        if copied:
            self._let_go(number)
        parts, offset = [], 0
        for _ in range(self.parts):
            (length,) = _LENGTH.unpack_from(data, offset)
            parts.append(data[offset + _LENGTH.size : offset + _LENGTH.size + length])
            offset += _LENGTH.size + length
        return parts


def write_blocks(
    file: BinaryIO,
    blocks: Iterable[Sequence[bytes]],
    *,
    plan: Plan,
    binding: bytes,
    rows: int,
    parts: int,
    key: bytes,
    version: int = OBJECTS,
) -> None:
    """Write a file of prepared blocks, one block in memory at a time."""
    if len(binding) != BINDING_BYTES:
        raise ValueError(f"a binding has {BINDING_BYTES} bytes")
    count = plan.blocks(rows)
    head = _HEAD.pack(_MAGIC, version, parts, plan.pack(), binding, rows, count)
    file.write(head + bytes(_ENTRY.size * count))
    entries = []
    for number, block in enumerate(blocks):
        data = b"".join(piece for part in block for piece in (_LENGTH.pack(len(part)), part))
        entries.append(_ENTRY.pack(file.tell(), _tag(key, head, number, data)))
        file.write(data)
    file.seek(len(head))
    file.write(b"".join(entries))
    file.flush()


@contextmanager
def memory_file(name: str) -> Iterator[tuple[Path, BinaryIO]]:
    """An anonymous file in memory, and the path by which other processes of this user open it while it is held."""
    with os.fdopen(os.memfd_create(name, os.MFD_CLOEXEC), "w+b") as file:
        yield Path(f"/proc/{os.getpid()}/fd/{file.fileno()}"), file


class MappedBlocks(Sequence[Any]):
    """Blocks that are read from a file when they are scored; at most ``resident`` of them stay loaded."""

    def __init__(
        self,
        file: BlockFile,
        read: Callable[[list[Any]], Any],
        resident: int,
        *,
        copied: bool = True,
        span: range | None = None,
    ):
        self._file, self._read, self._resident, self._copied = file, read, resident, copied
        self._span = span if span is not None else range(len(file))
        self._kept: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self._span)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return MappedBlocks(self._file, self._read, self._resident, copied=self._copied, span=self._span[place])
        number = self._span[place]
        if (kept := self._kept.get(number)) is not None:
            return kept
        made = self._read(self._file.block(number, copied=self._copied))
        if len(self._kept) < self._resident:
            self._kept[number] = made
        return made


def _tag(key: bytes, head: bytes, number: int, data: bytes | memoryview) -> bytes:
    made = hmac.new(key, head + number.to_bytes(8, "little"), "sha256")
    made.update(data)
    return made.digest()

"""What is inside a segment's envelope, before padding (schema ``twinward/segment/1``): zstd of a MessagePack array.

index  field
0      committed_at_ms: of every member, or one for all
1      ids: 16 bytes each, or none where they follow from the segment's
2      versions: of every member, or none where all are 1
3      types: each once
4      kinds: one byte a member, an index into types
5      previous: the hash that each member's version is chained to, or none where all are first versions
6      hashes: what a later version is chained to, where that is the hash of an envelope the member once had
7      references: of each member, joined by U+0000
8      contents: exact bytes

Compression is inside the seal, and only ever sees one patient's records of one category: what one patient's file
compresses to says nothing about another's. The padded length still tells roughly how alike a patient's own are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import msgspec
import zstandard

from twinward.vault.errors import MalformedRecord, RecordDamaged
from twinward.vault.interfaces import MAX_CONTENT_BYTES, MAX_REFERENCE_BYTES, MAX_REFERENCES
from twinward.vault.models import MAX_MEMBERS

SCHEMA = "twinward/segment/1"
RECORD_TYPE = "Segment"
"""What stands in a segment's context where a record's type would."""

MAX_SEGMENT_BYTES = 48 * 1024 * 1024
"""Of everything inside, before compression: below what one envelope holds."""

_LEVEL = 3
_SEPARATOR = "\x00"
_MAX_TYPES = 256


class Inside(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """The columns of a segment."""

    committed_at_ms: list[int]
    ids: list[bytes]
    versions: list[int]
    types: list[str]
    kinds: bytes
    previous: list[bytes]
    hashes: list[bytes]
    references: list[str]
    contents: list[bytes]


@dataclass(frozen=True, slots=True)
class OpenMember:
    """One version out of an opened segment. ``hash`` is empty where it never had an envelope of its own."""

    committed_at_ms: int
    record_type: str
    references: tuple[str, ...]
    content: bytes
    previous_hash: bytes
    hash: bytes


def joined(references: tuple[str, ...]) -> str:
    """A member's references as one string. Raises ``MalformedRecord`` for one beyond its bound."""
    text = _SEPARATOR.join(references)
    plain = text.isascii() and len(text) <= MAX_REFERENCE_BYTES and text.count(_SEPARATOR) == len(references) - 1
    if not plain or not all(references) or len(references) > MAX_REFERENCES:
        _check(references)
    return text


def _check(references: tuple[str, ...]) -> None:
    if not 1 <= len(references) <= MAX_REFERENCES:
        raise MalformedRecord(f"a record in a segment has 1 to {MAX_REFERENCES} references")
    for one in references:
        if not 1 <= len(one.encode("utf-8", "surrogatepass")) <= MAX_REFERENCE_BYTES or _SEPARATOR in one:
            raise MalformedRecord(f"a reference has 1 to {MAX_REFERENCE_BYTES} bytes and no NUL")


def pack(inside: Inside) -> bytes:
    """The bytes to pad and seal.

    Raises:
        MalformedRecord: a part beyond its bound, or text that is not Unicode.
    """
    if not 1 <= len(inside.contents) <= MAX_MEMBERS or len(inside.types) > _MAX_TYPES:
        raise MalformedRecord(f"a segment holds 1 to {MAX_MEMBERS} records")
    if max(map(len, inside.contents)) > MAX_CONTENT_BYTES:
        raise MalformedRecord(f"a record holds at most {MAX_CONTENT_BYTES} bytes", hint="store it in parts")
    try:
        plain = msgspec.msgpack.encode(inside)
    except UnicodeEncodeError:
        raise MalformedRecord("a reference is not Unicode text: it holds a lone surrogate") from None
    if len(plain) > MAX_SEGMENT_BYTES:
        raise MalformedRecord(f"a segment holds at most {MAX_SEGMENT_BYTES} bytes", hint="seal fewer records together")
    return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=False).compress(plain)


def unpack(packed: bytes, size: int) -> Inside:
    """Parse what ``pack`` wrote for a segment of ``size`` members. Raises ``RecordDamaged``."""
    try:
        if not 0 <= zstandard.frame_content_size(packed) <= MAX_SEGMENT_BYTES:
            raise _damaged()
        plain = zstandard.ZstdDecompressor().decompress(packed, max_output_size=MAX_SEGMENT_BYTES)
        inside = msgspec.msgpack.decode(plain, type=Inside)
    except (zstandard.ZstdError, msgspec.MsgspecError, UnicodeDecodeError):
        raise _damaged() from None
    for column, lengths in (
        (inside.committed_at_ms, (1, size)),
        (inside.ids, (0, size)),
        (inside.versions, (0, size)),
        (inside.kinds, (size,)),
        (inside.previous, (0, size)),
        (inside.hashes, (0, size)),
        (inside.references, (size,)),
        (inside.contents, (size,)),
    ):
        if len(column) not in lengths:
            raise _damaged()
    if max(inside.kinds, default=0) >= len(inside.types):
        raise _damaged()
    return inside


class OpenMembers(Sequence[OpenMember]):
    """The members of an opened segment, in the order of positions, each made when it is asked for."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside

    def __len__(self) -> int:
        return len(self._inside.contents)

    @overload
    def __getitem__(self, position: int) -> OpenMember: ...

    @overload
    def __getitem__(self, position: slice) -> Sequence[OpenMember]: ...

    def __getitem__(self, position: int | slice) -> OpenMember | Sequence[OpenMember]:
        """The member at a position."""
        if isinstance(position, slice):
            return [self[one] for one in range(*position.indices(len(self)))]
        inside = self._inside
        references = inside.references[position]
        return OpenMember(
            inside.committed_at_ms[0 if len(inside.committed_at_ms) == 1 else position],
            inside.types[inside.kinds[position]],
            tuple(references.split(_SEPARATOR)) if references else (),
            inside.contents[position],
            inside.previous[position] if inside.previous else b"",
            inside.hashes[position] if inside.hashes else b"",
        )


def _damaged() -> RecordDamaged:
    return RecordDamaged("a segment opened, but its inside is not of a known layout")

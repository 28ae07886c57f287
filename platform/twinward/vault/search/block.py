"""What is inside a block's envelope, before padding (schema ``twinward/search-block/1``): zstd of a MessagePack array.

index  field
0      ids: of each record
1      versions: of each
2      words: word to the positions of the records that it is true of, 2 bytes each
3      moments: name to three columns: positions 2 bytes each, begins and ends 8 bytes each, signed, ms

Numbers are little-endian. Compression is inside the seal, and only ever sees one patient's records of one category.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence, Set
from typing import Any

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from twinward.core.vocabulary import Category
from twinward.vault.errors import RecordDamaged
from twinward.vault.keys.twin_keys import TwinKeys
from twinward.vault.models import SealedBlock
from twinward.vault.search.facets import Bounds, Facets, Rank, Wanted
from twinward_crypto.envelope import generation_of, open_sealed, seal
from twinward_crypto.errors import OpenError, ParameterError
from twinward_crypto.keys import TenantId
from twinward_crypto.padding import pad, unpad
from twinward_crypto.record_context import RecordContext

SCHEMA = "twinward/search-block/1"
RECORD_TYPE = "SearchBlock"
"""What stands in a block's context where a record's type would."""

MOST = 2048
"""Records of one block. What a block costs beside its records is paid less often; a change seals one block anew."""

_MAX_BYTES = 16 * 1024 * 1024
_LEVEL = 3

Mask = NDArray[np.bool_]
"""Of each record of a block, in its order, whether it is meant."""

Entry = tuple[str, int, Facets]
"""Record id, version, and what that version is searched by."""


class Block(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What up to ``MOST`` records of one twin and category are searched by, column by column."""

    ids: list[str]
    versions: list[int]
    words: dict[str, bytes]
    moments: dict[str, tuple[bytes, bytes, bytes]]

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Block:
        """A block of entries."""
        words: dict[str, array[int]] = {}
        moments: dict[str, tuple[array[int], array[int], array[int]]] = {}
        for position, (_, _, facets) in enumerate(entries):
            for word in facets.words:
                words.setdefault(word, array("H")).append(position)
            for name, begin, end in facets.moments:
                columns = moments.setdefault(name, (array("H"), array("q"), array("q")))
                for column, value in zip(columns, (position, begin, end), strict=True):
                    column.append(value)
        return cls(
            [record_id for record_id, _, _ in entries],
            [version for _, version, _ in entries],
            {word: _bytes(positions) for word, positions in words.items()},
            {name: (_bytes(some), _bytes(begins), _bytes(ends)) for name, (some, begins, ends) in moments.items()},
        )

    def entries(self) -> Iterator[Entry]:
        """What it was made of."""
        words: list[list[str]] = [[] for _ in self.ids]
        moments: list[list[tuple[str, int, int]]] = [[] for _ in self.ids]
        for word, positions in self.words.items():
            for position in _column("H", positions):
                words[position].append(word)
        for name in self.moments:
            for position, begin, end in self._moments(name):
                moments[position].append((name, begin, end))
        for record_id, version, some, of_time in zip(self.ids, self.versions, words, moments, strict=True):
            yield record_id, version, Facets(tuple(some), tuple(of_time))

    def heads(self, left_out: Set[str]) -> str:
        """Its records but some, each with its version, as ``IndexState`` says those of heads."""
        if self.versions.count(1) == len(self.ids) and left_out.isdisjoint(self.ids):
            return " 1 ".join(self.ids) + " 1 "
        pairs = zip(self.ids, self.versions, strict=True)
        return "".join(f"{record_id} {version} " for record_id, version in pairs if record_id not in left_out)

    def matches(self, wanted: Wanted) -> Mask:
        """Which of the records may match."""
        found = np.ones(len(self.ids), np.bool_)
        for group in wanted.words:
            some = np.zeros_like(found)
            for word in group:
                some[_column("H", self.words.get(word, b""))] = True
            found &= some
        for bounds in wanted.bounds:
            within = np.zeros_like(found)
            for one in bounds:
                within[self._within(one)] = True
            found &= within
        return found

    def ranks(self, wanted: Wanted, chosen: Mask) -> Iterator[Rank]:
        """Where these records stand in the order asked for, in that order. One with several moments of the order's
        name comes as often: the first time is its own.

        Sorted are numbers, not ranks: thousands of tuples a block would be the garbage collector's work.
        """
        ids = self.ids
        if wanted.order is None:
            yield from ((0, 0, 0, ids[position]) for position in np.flatnonzero(chosen))
            return
        name, descending = wanted.order
        places, begins, ends = self._columns(name)
        rows = np.flatnonzero(chosen[places])
        # Rows come by record id, and sorting is stable. Inverted and not negated: the lowest number has no negative.
        keys = (~begins[rows], ~ends[rows]) if descending else (ends[rows], begins[rows])
        rows = rows[np.lexsort(keys)]
        columns = (column[rows].tolist() for column in (begins, ends, places))
        if descending:
            yield from ((0, -end, -begin, ids[place]) for begin, end, place in zip(*columns, strict=True))
        else:
            yield from ((0, begin, end, ids[place]) for begin, end, place in zip(*columns, strict=True))
        others = chosen.copy()
        others[places] = False
        yield from ((1, 0, 0, ids[position]) for position in np.flatnonzero(others))

    def _within(self, bounds: Bounds) -> NDArray[Any]:
        places, begins, ends = self._columns(bounds.name)
        begins_there = (bounds.begins_from <= begins) & (begins <= bounds.begins_until)
        return places[begins_there & (bounds.ends_from <= ends) & (ends <= bounds.ends_until)]

    def _moments(self, name: str) -> Iterable[tuple[int, int, int]]:
        return zip(*(column.tolist() for column in self._columns(name)), strict=True)

    def _columns(self, name: str) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        places, begins, ends = self.moments.get(name, (b"", b"", b""))
        return _column("H", places), _column("q", begins), _column("q", ends)


class BlockSealer:
    """Seals and opens one tenant's blocks of one edition of facets."""

    def __init__(self, tenant: TenantId, edition: str) -> None:
        self._tenant = tenant
        self._schema = f"{SCHEMA}:{edition}"

    def seal(self, block_id: str, block: Block, category: Category, keys: TwinKeys) -> SealedBlock:
        """A block under the key of its category, bound to its id, twin, category and edition."""
        packed = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=False).compress(msgspec.msgpack.encode(block))
        place = self._context(block_id, category, keys)
        sealed = seal(keys.category_key(category), pad(packed), place, generation=keys.generation)
        return SealedBlock(block_id, keys.twin, keys.category_tag(category), keys.generation, sealed)

    def open(self, sealed: SealedBlock, category: Category, keys: TwinKeys) -> Block:
        """The block. Raises ``RecordDamaged`` where it is none, of another place, or of another edition."""
        try:
            if generation_of(sealed.sealed) != sealed.generation:
                raise OpenError
            place = self._context(sealed.block_id, category, keys)
            packed = unpad(open_sealed(keys.category_key(category), sealed.sealed, place))
            if not 0 <= zstandard.frame_content_size(packed) <= _MAX_BYTES:
                raise OpenError
            plain = zstandard.ZstdDecompressor().decompress(packed, max_output_size=_MAX_BYTES)
            block = msgspec.msgpack.decode(plain, type=Block)
        except (OpenError, ParameterError, zstandard.ZstdError, msgspec.MsgspecError, UnicodeDecodeError):
            raise RecordDamaged("a block of the search index does not open in its place") from None
        if not 0 < len(block.ids) == len(block.versions) <= MOST:
            raise RecordDamaged("a block of the search index opened, but its inside is not of a known layout")
        return block

    def _context(self, block_id: str, category: Category, keys: TwinKeys) -> bytes:
        return RecordContext(
            tenant=self._tenant,
            twin=keys.twin,
            record_type=RECORD_TYPE,
            record_id=block_id,
            version=1,
            previous_hash=b"",
            category=category.value,
            schema=self._schema,
        ).encode()


def _bytes(numbers: array[int]) -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _column(kind: str, numbers: bytes) -> NDArray[Any]:
    return np.frombuffer(numbers, f"<{kind}")

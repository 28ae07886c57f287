"""Tree nodes in the layout of c2sp.org/tlog-tiles, pure: no storage.

A *tile* of height 8 holds up to 256 hashes of one level: tile level L holds nodes of tree level 8 L. The nodes in
between are worked out from the hashes below them, so storage keeps 1.004 hashes per leaf instead of 2, and a tile that
is full never changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

from twinward_ledger.merkle import HASH_BYTES, level_above

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
TILE_BYTES = TILE_WIDTH * HASH_BYTES

_TILES_KEPT = 128

TileId = tuple[int, int]
"""Tile level and index."""

TileReader = Callable[[TileId], bytes]
"""Gives a tile's bytes, whole or partial; empty bytes for one that does not exist."""


def fold(hashes: list[bytes]) -> bytes:
    """The root over a power of two of hashes."""
    while len(hashes) > 1:
        hashes = level_above(hashes)
    return hashes[0]


def split(tile: bytes | bytearray) -> list[bytes]:
    """A tile's hashes, one by one."""
    return [bytes(tile[i : i + HASH_BYTES]) for i in range(0, len(tile), HASH_BYTES)]


def node(level: int, index: int, read: TileReader) -> bytes | None:
    """A tree node out of its tile; None where the subtree is not complete or not there."""
    tile_level, height = divmod(level, TILE_HEIGHT)
    first = index << height
    tile = read((tile_level, first // TILE_WIDTH))
    start = first % TILE_WIDTH * HASH_BYTES
    part = tile[start : start + (HASH_BYTES << height)]
    return fold(split(part)) if len(part) == HASH_BYTES << height else None


class TileNodes:
    """Tree nodes for many proofs of one tree: each tile is read once and folded once, the last few are kept.

    Proofs of rising indices ask for each tile in one go, so few are enough, however large the log.
    """

    def __init__(self, read: TileReader) -> None:
        self._read = read
        self._folded = lru_cache(maxsize=_TILES_KEPT)(self._fold)

    def node(self, level: int, index: int) -> bytes | None:
        """A tree node; None where the subtree is not complete or not there."""
        tile_level, height = divmod(level, TILE_HEIGHT)
        tile, place = divmod(index, TILE_WIDTH >> height)
        row = self._folded((tile_level, tile))[height]
        return row[place] if place < len(row) else None

    def _fold(self, tile: TileId) -> list[list[bytes]]:
        rows = [split(self._read(tile))]
        for _ in range(1, TILE_HEIGHT):
            rows.append(level_above(rows[-1]))
        return rows


class RightEdge:
    """The tiles at the right edge of a growing tree: all that appending needs to know.

    Row L holds the hashes of the newest, not yet full tile of tile level L.
    """

    def __init__(self, size: int = 0) -> None:
        self.size = size
        self._rows: list[bytearray] = []

    @classmethod
    def load(cls, size: int, read: TileReader) -> RightEdge | None:
        """The edge of a stored tree of ``size`` leaves; None if a tile it needs is missing or cut short."""
        edge, count = cls(size), size
        while count:
            width = count % TILE_WIDTH
            row = read((len(edge._rows), count // TILE_WIDTH)) if width else b""
            if len(row) < width * HASH_BYTES:
                return None
            edge._rows.append(bytearray(row[: width * HASH_BYTES]))
            count //= TILE_WIDTH
        return edge

    def extend(self, hashes: Iterable[bytes]) -> dict[TileId, bytes]:
        """Add leaf hashes; return every tile that changed, to be stored."""
        incoming, level, changed, count = b"".join(hashes), 0, {}, self.size
        self.size += len(incoming) // HASH_BYTES
        while incoming:
            if level == len(self._rows):
                self._rows.append(bytearray())
            row, tile_index, carried = self._rows[level] + incoming, count // TILE_WIDTH, []
            while len(row) >= TILE_BYTES:
                full, row = bytes(row[:TILE_BYTES]), row[TILE_BYTES:]
                changed[level, tile_index] = full
                carried.append(fold(split(full)))
                tile_index += 1
            if row:
                changed[level, tile_index] = bytes(row)
            self._rows[level] = row
            incoming, level, count = b"".join(carried), level + 1, count // TILE_WIDTH
        return changed

"""What the completeness map asks of its storage: transactions over patients, pages, tags and the newest head.

A page is 256 subtrees side by side and the tree over them, as storage keeps it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from twinward_ledger.completeness.map import EMPTY, MapHead, MapNode, Subject, join
from twinward_ledger.errors import LogCorrupt

PAGE_WIDTH: Final = 256
_PLACE: Final = struct.Struct(">HB32sQ")


class Page:
    """256 subtrees side by side and the tree over them. What was put in is hashed when the root is asked for.

    Nodes lie in a heap: 1 is the page's root, 256 to 511 are its places. Those that were read from storage stay bytes
    until somebody looks at them: an update of one patient looks at a few of 511.
    """

    __slots__ = ("_dirty", "_heap")

    def __init__(self) -> None:
        self._heap: list[MapNode | bytes] = [EMPTY] * (2 * PAGE_WIDTH)
        self._dirty: set[int] = set()

    def put(self, place: int, node: MapNode) -> None:
        """Set one of the subtrees."""
        self._heap[PAGE_WIDTH + place] = node
        self._dirty.add((PAGE_WIDTH + place) >> 1)

    def root(self) -> MapNode:
        """The tree over all of them."""
        level = self._dirty
        while level:
            for place in level:
                self._heap[place] = join(self._node(2 * place), self._node(2 * place + 1))
            level = {place >> 1 for place in level if place > 1}
        self._dirty = set()
        return self._node(1)

    def node(self, depth: int, place: int) -> MapNode:
        """The subtree at a depth (0 to 8) below the page's root; hashed as of the last ``root``."""
        return self._node((1 << depth) + place)

    def encode(self) -> bytes:
        """Every node that is not empty: u16 place in the heap ‖ u8 leaves ‖ hash ‖ u64 sum."""
        self.root()
        parts = (
            node if isinstance(node, bytes) else _PLACE.pack(place, node.leaves, node.hash, node.total)
            for place, node in enumerate(self._heap)
            if isinstance(node, bytes) or node.leaves
        )
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes) -> Page:
        """Read ``encode`` back. Raises ``LogCorrupt``."""
        page, heap_size = cls(), 2 * PAGE_WIDTH
        for start in range(0, len(data), _PLACE.size):
            record = data[start : start + _PLACE.size]
            place = int.from_bytes(record[:2])
            if len(record) < _PLACE.size or not 0 < place < heap_size:
                raise LogCorrupt("a page of the completeness map is damaged; verify the log", first_bad_index=None)
            page._heap[place] = record
        return page

    def _node(self, place: int) -> MapNode:
        node = self._heap[place]
        if isinstance(node, bytes):
            _, leaves, hash_, total = _PLACE.unpack(node)
            node = self._heap[place] = MapNode(hash_, total, leaves)
        return node


@dataclass(frozen=True, slots=True)
class LoggedHead:
    """The newest head that went into the log, and its index there."""

    head: MapHead
    index: int


class MapView(Protocol):
    """One transaction on a map's storage."""

    def head(self) -> LoggedHead | None:
        """The newest head; None for a map that was never published."""
        ...

    def subjects(self, labels: Sequence[bytes]) -> dict[bytes, Subject]:
        """Those of the labels that are in the map."""
        ...

    def buckets(self, prefixes: Sequence[bytes]) -> dict[bytes, list[Subject]]:
        """The patients under each two-byte prefix, by ascending label."""
        ...

    def first_within(self, low: bytes, high: bytes) -> Subject | None:
        """The patient of the smallest label from ``low`` to ``high``."""
        ...

    def every(self) -> list[Subject]:
        """All patients, by ascending label."""
        ...

    def pages(self, numbers: Sequence[int]) -> dict[int, Page]:
        """Those of the pages that are kept."""
        ...

    def tags(self) -> Mapping[bytes, bytes]:
        """Every blind-index tag under which the log keeps a patient's rows, with the patient's label."""
        ...

    def put_subjects(self, subjects: Iterable[Subject]) -> None:
        """Keep patients."""
        ...

    def put_pages(self, pages: Mapping[int, Page]) -> None:
        """Keep pages."""
        ...

    def put_tags(self, tags: Mapping[bytes, bytes]) -> None:
        """Keep which label stands under which tag. A tag's label never changes."""
        ...

    def put_head(self, head: LoggedHead) -> None:
        """Keep the newest head."""
        ...


class MapStore(Protocol):
    """Durable storage of one log's map. Raises ``LogUnavailable`` for whatever goes wrong in a backend.

    All of it can be made again from the log: losing it costs the next publication a pass over the log, nothing more.
    """

    def transaction(self) -> AbstractContextManager[MapView]:
        """One transaction at a time, over all processes: kept whole at the end, or not at all if it raises."""
        ...

    def close(self) -> None:
        """Give back every file and connection."""
        ...

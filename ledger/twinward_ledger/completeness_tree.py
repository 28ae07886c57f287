"""The completeness map over storage: updated for the patients that were touched, proven for one.

The tree is cut at depths 8 and 16. A *page* is the complete binary tree between two cuts, 256 places wide: the top
page over the first byte of a label, and a page for each first byte over the second. Below depth 16 lie *buckets*: the
patients whose labels share two bytes, in order. An update reads the touched buckets and their pages, and hashes only
what lies on the way up: at most 16 joins and a bucket for each touched patient, fewer the more are touched at once.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from twinward_ledger.completeness import (
    EMPTY,
    LABEL_BYTES,
    MapHead,
    MapNode,
    MapProof,
    Neighbour,
    PathNode,
    Subject,
    bit,
    entry_hash,
    join,
)
from twinward_ledger.errors import LogCorrupt
from twinward_ledger.merkle import EMPTY_ROOT

PAGE_WIDTH = 256
TOP = 256
"""The number of the top page; the others go by their label's first byte."""
_BUCKET_DEPTH = 16
_PLACE = struct.Struct(">HB32sQ")


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
                raise LogCorrupt("a page of the completeness map is damaged; run fsck", first_bad_index=None)
            page._heap[place] = record
        return page

    def _node(self, place: int) -> MapNode:
        node = self._heap[place]
        if isinstance(node, bytes):
            _, leaves, hash_, total = _PLACE.unpack(node)
            node = self._heap[place] = MapNode(hash_, total, leaves)
        return node


class MapTree:
    """The map within one transaction."""

    def __init__(self, view: MapView) -> None:
        self._view = view

    def extend(self, rows: Iterable[tuple[bytes, int, bytes]]) -> MapNode:
        """Add rows of the log in their order, each as label, index and leaf hash; give the map's new root.

        Costs O(touched patients · log2 of all patients) hashes and one more for each row.
        """
        entries: defaultdict[bytes, list[bytes]] = defaultdict(list)
        for label, index, leaf_hash in rows:
            entries[label].append(entry_hash(index, leaf_hash))
        known = self._view.subjects(list(entries))
        changed = [known.get(label, Subject(label)).extended(new) for label, new in entries.items()]
        self._view.put_subjects(changed)
        return self._rehash({subject.label for subject in changed})

    def root(self) -> MapNode:
        """The map as it is."""
        top = self._view.pages([TOP]).get(TOP)
        return top.root() if top else EMPTY

    def rebuilt(self) -> MapNode:
        """The map made anew from every patient's sub-log. Raises ``LogCorrupt`` if a kept page is another."""
        memory, subjects = MemoryMap(), self._view.every()
        memory.put_subjects(subjects)
        root = MapTree(memory)._rehash({one.label for one in subjects})
        kept, made, none = self._view.pages(range(TOP + 1)), memory.pages(range(TOP + 1)), Page()
        for number in range(TOP + 1):
            if kept.get(number, none).encode() != made.get(number, none).encode():
                raise LogCorrupt(f"page {number} of the completeness map is not what was logged", first_bad_index=None)
        return root

    def prove(self, label: bytes) -> MapProof:
        """What leads from a label to the root, whether it is in the map or not."""
        node, siblings = self._descend(label)
        prefix = len(siblings)
        path: tuple[PathNode, ...] = tuple((one.hash, one.total) for one in reversed(siblings))
        if not node.leaves:
            return MapProof(0, EMPTY_ROOT, path)
        found = self._view.first_within(*_range(label, prefix))
        if found is None or found.node != node:
            raise LogCorrupt("the completeness map does not fit its own rows; run fsck", first_bad_index=None)
        if found.label == label:
            return MapProof(found.count, found.root, path)
        return MapProof(0, EMPTY_ROOT, path, Neighbour(found.label, found.root, found.count))

    def _rehash(self, labels: set[bytes]) -> MapNode:
        buckets = self._view.buckets(sorted({label[:2] for label in labels}))
        numbers = sorted({label[0] for label in labels})
        pages = self._view.pages([TOP, *numbers])
        for number in (TOP, *numbers):
            pages.setdefault(number, Page())
        for prefix, subjects in buckets.items():
            pages[prefix[0]].put(prefix[1], _subtree(subjects, _BUCKET_DEPTH))
        for number in numbers:
            pages[TOP].put(number, pages[number].root())
        root = pages[TOP].root()
        self._view.put_pages(pages)
        return root

    def _descend(self, label: bytes) -> tuple[MapNode, list[MapNode]]:
        """The node at which a label's path ends, and the siblings on the way, topmost first."""
        siblings: list[MapNode] = []
        pages = self._view.pages([TOP, label[0]])
        node = EMPTY
        for number, byte in ((TOP, label[0]), (label[0], label[1])):
            page = pages.get(number)
            if page is None:
                return EMPTY, siblings
            node = page.root()
            for depth in range(1, 9):
                if node.leaves < 2:
                    return node, siblings
                place = byte >> (8 - depth)
                siblings.append(page.node(depth, place ^ 1))
                node = page.node(depth, place)
        subjects = self._view.buckets([label[:2]]).get(label[:2], [])
        while node.leaves > 1:
            depth = len(siblings)
            side = bit(label, depth)
            siblings.append(_subtree([one for one in subjects if bit(one.label, depth) != side], depth + 1))
            subjects = [one for one in subjects if bit(one.label, depth) == side]
            node = _subtree(subjects, depth + 1)
        return node, siblings


def _subtree(subjects: Sequence[Subject], depth: int) -> MapNode:
    """The map over patients who share ``depth`` bits, by ascending label."""
    if len(subjects) < 2:
        return subjects[0].node if subjects else EMPTY
    split = sum(1 for one in subjects if not bit(one.label, depth))
    return join(_subtree(subjects[:split], depth + 1), _subtree(subjects[split:], depth + 1))


def _range(label: bytes, bits: int) -> tuple[bytes, bytes]:
    """The smallest and the largest label that share so many bits with one."""
    rest = 8 * LABEL_BYTES - bits
    low = int.from_bytes(label) >> rest << rest
    return low.to_bytes(LABEL_BYTES), (low | ((1 << rest) - 1)).to_bytes(LABEL_BYTES)


@dataclass
class MemoryMap:
    """A map that is gone when the process ends: what fsck builds, and what tests hold the durable ones against."""

    _subjects: dict[bytes, Subject] = field(default_factory=dict)
    _members: defaultdict[bytes, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    _pages: dict[int, Page] = field(default_factory=dict)
    _tags: dict[bytes, bytes] = field(default_factory=dict)
    _head: LoggedHead | None = None

    @contextmanager
    def transaction(self) -> Iterator[MapView]:
        """The map itself; nothing is undone if the block raises."""
        yield self

    def close(self) -> None:
        """Nothing to give back."""

    def head(self) -> LoggedHead | None:
        """The newest head."""
        return self._head

    def subjects(self, labels: Sequence[bytes]) -> dict[bytes, Subject]:
        """Those of the labels that are in the map."""
        return {label: self._subjects[label] for label in labels if label in self._subjects}

    def buckets(self, prefixes: Sequence[bytes]) -> dict[bytes, list[Subject]]:
        """The patients under each prefix."""
        return {prefix: [self._subjects[label] for label in sorted(self._members[prefix])] for prefix in prefixes}

    def first_within(self, low: bytes, high: bytes) -> Subject | None:
        """The first patient in a range; looks at all of them."""
        return min((one for one in self._subjects.values() if low <= one.label <= high), key=_label_of, default=None)

    def every(self) -> list[Subject]:
        """All patients."""
        return [self._subjects[label] for label in sorted(self._subjects)]

    def pages(self, numbers: Sequence[int]) -> dict[int, Page]:
        """Those of the pages that are kept."""
        return {number: self._pages[number] for number in numbers if number in self._pages}

    def tags(self) -> Mapping[bytes, bytes]:
        """Every tag's label."""
        return self._tags

    def put_subjects(self, subjects: Iterable[Subject]) -> None:
        """Keep patients."""
        for one in subjects:
            self._subjects[one.label] = one
            self._members[one.label[:2]].add(one.label)

    def put_pages(self, pages: Mapping[int, Page]) -> None:
        """Keep pages."""
        self._pages.update(pages)

    def put_tags(self, tags: Mapping[bytes, bytes]) -> None:
        """Keep tags."""
        self._tags.update(tags)

    def put_head(self, head: LoggedHead) -> None:
        """Keep the newest head."""
        self._head = head


def _label_of(subject: Subject) -> bytes:
    return subject.label

"""The completeness map over storage: updated for the patients that were touched, proven for one.

The tree is cut at depths 8 and 16. A *page* is the complete binary tree between two cuts, 256 places wide: the top
page over the first byte of a label, and a page for each first byte over the second. Below depth 16 lie *buckets*: the
patients whose labels share two bytes, in order. An update reads the touched buckets and their pages, and hashes only
what lies on the way up: at most 16 joins and a bucket for each touched patient, fewer the more are touched at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from twinward_ledger.completeness.interfaces import MapView, Page
from twinward_ledger.completeness.map import (
    EMPTY,
    LABEL_BYTES,
    MapNode,
    MapProof,
    Neighbour,
    PathNode,
    Subject,
    bit,
    entry_hash,
    join,
)
from twinward_ledger.completeness.memory import MemoryMap
from twinward_ledger.errors import LogCorrupt
from twinward_ledger.merkle import EMPTY_ROOT

TOP = 256
"""The number of the top page; the others go by their label's first byte."""
_BUCKET_DEPTH = 16


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
            raise LogCorrupt("the completeness map does not fit its own rows; verify the log", first_bad_index=None)
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

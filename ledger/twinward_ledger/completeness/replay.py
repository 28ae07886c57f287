"""The completeness map grown window by window over patients who are known beforehand: what fsck rebuilds.

``MapTree`` works on storage, reads little of it, and is what this is held against in tests. Here everything lies in
lists by number, so that what remains is the hashing: a patient's number is the place of the label among all, ascending.
The tree over all labels is laid out once: an inner node between each two neighbours, as deep as the bits that they
share. Patients without rows yet are empty leaves, and a node above one leaf only *is* that leaf (``map.join``), so each
root is that of the map over the patients who have rows by then.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise

from twinward_ledger.completeness.map import EMPTY_HASH, LABEL_BITS, MAP_LEAF_PREFIX, MAP_NODE_PREFIX, bit
from twinward_ledger.merkle import HASH_BYTES, LEAF_PREFIX, NODE_PREFIX

_ROW = struct.Struct(">1sQ")
_SUM = struct.Struct(">Q")
_EMPTY = EMPTY_HASH + _SUM.pack(0)
_NOWHERE = -1


class MapReplay:
    """The map over ``labels`` (ascending, no two alike), empty at first."""

    def __init__(self, labels: Sequence[bytes]) -> None:
        self._labels = labels
        self._counts = [0] * len(labels)
        self._frontiers: list[list[bytes]] = [[] for _ in labels]
        self._touched: set[int] = set()
        self._shape = _Shape.over(labels)
        # Hash and sum of each node as they go into the one above it; nothing for a node without rows.
        self._nodes = [b""] * len(self._shape.parents)
        self._branched = bytearray(len(self._shape.parents))  # whether there are two leaves below or more

    def extend(self, rows: Iterable[tuple[int, int, bytes]]) -> None:
        """Add rows of the log in their order: the patient's number, the index, the leaf hash."""
        counts, frontiers, touched = self._counts, self._frontiers, self._touched
        for number, index, leaf_hash in rows:
            node = sha256(_ROW.pack(LEAF_PREFIX, index) + leaf_hash).digest()  # ``map.entry_hash``
            frontier, width = frontiers[number], counts[number]
            counts[number] = width + 1
            while width & 1:
                node = sha256(NODE_PREFIX + frontier.pop() + node).digest()
                width >>= 1
            frontier.append(node)
            touched.add(number)

    def root(self) -> bytes:
        """The map's root hash over all rows so far (32 bytes)."""
        nodes, parents, depths = self._nodes, self._shape.parents, self._shape.depths
        waiting: defaultdict[int, set[int]] = defaultdict(set)
        for number in self._touched:
            nodes[number] = self._leaf(number)
            waiting[depths[parents[number]]].add(parents[number])
        self._touched = set()
        for depth in range(LABEL_BITS, -1, -1):  # a node is deeper than those above it: each is hashed once
            for node in waiting.pop(depth, ()):
                nodes[node] = self._joined(node)
                waiting[depths[parents[node]]].add(parents[node])
        return nodes[self._shape.top][:HASH_BYTES] if nodes[self._shape.top] else EMPTY_HASH

    def _leaf(self, number: int) -> bytes:
        frontier, count = self._frontiers[number], _SUM.pack(self._counts[number])
        root = frontier[-1]
        for left in frontier[-2::-1]:
            root = sha256(NODE_PREFIX + left + root).digest()
        return sha256(MAP_LEAF_PREFIX + self._labels[number] + root + count).digest() + count

    def _joined(self, node: int) -> bytes:
        shape, nodes, branched = self._shape, self._nodes, self._branched
        one, other = shape.lefts[node], shape.rights[node]
        left, right = nodes[one], nodes[other]
        if not ((left and right) or branched[one] or branched[other]):
            return left or right
        branched[node] = 1
        total = _SUM.pack(int.from_bytes(left[HASH_BYTES:]) + int.from_bytes(right[HASH_BYTES:]))
        value = sha256(MAP_NODE_PREFIX + (left or _EMPTY) + (right or _EMPTY)).digest() + total
        label = self._labels[node - len(self._labels)]
        for depth in range(shape.depths[node] - 1, shape.depths[shape.parents[node]], -1):  # beside nobody, on the way
            pair = _EMPTY + value if bit(label, depth) else value + _EMPTY
            value = sha256(MAP_NODE_PREFIX + pair).digest() + total
        return value


@dataclass(frozen=True, slots=True)
class _Shape:
    """A binary tree over labels, by node: the labels first, then the inner nodes, then nobody, who is the top's parent.

    Attributes:
        parents, lefts, rights: which nodes stand above and below. Leaves have nobody below.
        depths: how many bits all labels below share; -1 of nobody.
        top: the node above all; nobody where there is no label.
    """

    parents: list[int]
    lefts: list[int]
    rights: list[int]
    depths: list[int]
    top: int

    @classmethod
    def over(cls, labels: Sequence[bytes]) -> _Shape:
        """Lay it out: a Cartesian tree over the bits shared by neighbours, from left to right with a stack."""
        count = len(labels)
        nobody = max(0, 2 * count - 1)
        parents, lefts, rights = ([nobody] * (nobody + 1) for _ in range(3))
        depths = [LABEL_BITS] * count + [_shared(*pair) for pair in pairwise(labels)] + [_NOWHERE]
        spine: list[int] = []
        for leaf in range(count):
            below = leaf
            node = count + leaf if leaf + 1 < count else nobody
            while spine and depths[spine[-1]] > depths[node]:
                above = spine.pop()
                rights[above], parents[below] = below, above
                below = above
            if node != nobody:
                lefts[node], parents[below] = below, node
                spine.append(node)
        top = next((node for node in range(nobody) if parents[node] == nobody), nobody)
        return cls(parents, lefts, rights, depths, top)


def _shared(one: bytes, other: bytes) -> int:
    """How many leading bits two labels share."""
    return LABEL_BITS - (int.from_bytes(one) ^ int.from_bytes(other)).bit_length()

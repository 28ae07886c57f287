"""Deriving every root of the completeness map again from the stored leaves: the part of fsck that knows the map.

From the leaves alone (anybody who holds the log): each head is the one its leaf commits to; heads never cover less
than the one before; the label key is the same for ever; and a head counts exactly the leaves about a patient that it
covers. With the blind-index tags too (the hospital): each row is put into its patient's sub-log again, and the root
of every head is built anew. A row that was given to another patient, or to none, gives another root.
"""

from __future__ import annotations

import hmac
from array import array
from collections.abc import Mapping, Sequence

from twinward_ledger.completeness.map import MapHead
from twinward_ledger.completeness.memory import MemoryMap
from twinward_ledger.completeness.tree import MapTree
from twinward_ledger.errors import InvalidProof, LogCorrupt, MalformedLeaf
from twinward_ledger.formats.leaf import Leaf, LeafKind
from twinward_ledger.log.store import LogStore
from twinward_ledger.merkle import MAX_SIZE

_NOBODY = -1
_KIND_OFFSET = 1

Row = tuple[int, bytes]
"""Index and leaf hash."""


class CompletenessScan:
    """The map rebuilt while fsck passes over the leaves.

    Args:
        store: the log; heads lie in the bodies of their entries.
        tags: every tag's label, as the map's storage keeps them; None checks what leaves alone can tell.
    """

    def __init__(self, store: LogStore, tags: Mapping[bytes, bytes] | None) -> None:
        self.heads = 0
        self.covered = 0
        self.total = 0
        self._store = store
        self._newest: MapHead | None = None
        self._waiting: list[Row] = []
        self._labels = sorted(set(tags.values())) if tags is not None else []
        self._owner = _owners(store, tags, self._labels) if tags is not None else None
        self._tree = MapTree(MemoryMap())

    @property
    def patients(self) -> int:
        """How many labels there are."""
        return len(self._labels)

    def take(self, start: int, leaves: Sequence[bytes], hashes: Sequence[bytes]) -> None:
        """Look at the leaves from ``start`` on. Raises ``LogCorrupt`` at a head that is not what they give."""
        for index, leaf in enumerate(leaves, start):
            kind = leaf[_KIND_OFFSET] if len(leaf) > _KIND_OFFSET else 0
            if kind == LeafKind.ACCESS:
                self._waiting.append((index, hashes[index - start]))
            elif kind == LeafKind.COMPLETENESS:
                self._take_head(index, leaf)

    def _take_head(self, index: int, leaf: bytes) -> None:
        head = self._opened(index, leaf)
        before = self._newest
        if head.through > index or (before is not None and head.through < before.through):
            raise LogCorrupt(f"the completeness map at {index} covers entries out of order", first_bad_index=index)
        if before is not None and head.key_commitment != before.key_commitment:
            raise LogCorrupt(f"the completeness map at {index} is under another label key", first_bad_index=index)
        rows = [row for row in self._waiting if row[0] < head.through]
        self._waiting = self._waiting[len(rows) :]
        self.total += len(rows)
        if head.total != self.total:
            raise LogCorrupt(
                f"the completeness map at {index} counts {head.total} rows about patients, the log has {self.total}",
                first_bad_index=index,
            )
        self._compare(index, head, rows)
        self.heads += 1
        self.covered = head.through
        self._newest = head

    def _opened(self, index: int, leaf: bytes) -> MapHead:
        try:
            head = MapHead.decode(self._store.entry(index).body)
            head.require(Leaf.decode(leaf))
        except (MalformedLeaf, InvalidProof) as error:
            raise LogCorrupt(
                f"the completeness map at {index} is not what its leaf commits to", first_bad_index=index
            ) from error
        return head

    def _compare(self, index: int, head: MapHead, rows: Sequence[Row]) -> None:
        if self._owner is None:
            return
        nobodys = next((row for row, _ in rows if self._owner[row] == _NOBODY), None)
        if nobodys is not None:
            raise LogCorrupt(f"row {nobodys} is about a patient, and in nobody's sub-log", first_bad_index=nobodys)
        root = self._tree.extend((self._labels[self._owner[row]], row, leaf_hash) for row, leaf_hash in rows)
        if not hmac.compare_digest(root.hash, head.root):
            raise LogCorrupt(
                f"rows {self.covered}..{head.through - 1} do not give the completeness map that was logged at {index}: "
                "one of them stands in another patient's sub-log",
                first_bad_index=self.covered,
            )


def _owners(store: LogStore, tags: Mapping[bytes, bytes], labels: Sequence[bytes]) -> array[int]:
    """For every row of the log the number of its patient's label."""
    number_of = {label: number for number, label in enumerate(labels)}
    owner = array("l", [_NOBODY]) * store.size()
    for tag, label in tags.items():
        number = number_of[label]
        for index in store.find(tag, limit=MAX_SIZE):
            if index < len(owner):
                owner[index] = number
    return owner

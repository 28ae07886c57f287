"""Deriving every root of the completeness map again from the stored leaves: the part of fsck that knows the map.

From the leaves alone (anybody who holds the log): each head is the one its leaf commits to; heads never cover less
than the one before; the label key is the same for ever; and a head counts exactly the leaves about a patient that it
covers. With the blind-index tags too (the hospital): each row is put into its patient's sub-log again, and the root
of every head is built anew. A row that was given to another patient, or to none, gives another root.

**Heads that were checked before** need not be rebuilt one by one. A root fixes every row below it and whose it is. So
where the heads up to one are byte for byte those of an earlier check (``CheckedHeads``, a chain of SHA-256 over them)
and the last of them is the root of the rows as they are now, the rows are those of the earlier check, and so is what
came of it. The earlier ones are then passed over: the map is built once, not once a head.
"""

from __future__ import annotations

import hashlib
import hmac
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from twinward_ledger.completeness.map import MapHead
from twinward_ledger.completeness.replay import MapReplay
from twinward_ledger.errors import InvalidProof, LogCorrupt, MalformedLeaf
from twinward_ledger.formats.leaf import Leaf, LeafKind
from twinward_ledger.log.store import LogStore
from twinward_ledger.merkle import MAX_SIZE

_NOBODY = -1
_KIND = slice(1, 2)
_ACCESS, _COMPLETENESS = bytes([LeafKind.ACCESS]), bytes([LeafKind.COMPLETENESS])

Row = tuple[int, bytes]
"""Index and leaf hash."""


@dataclass(frozen=True, slots=True)
class CheckedHeads:
    """Heads that were held against the rows: how many from the first one on, and the chain of SHA-256 over them.

    Only worth what its holder can vouch for: whoever alters a log would alter this too, so it is not kept beside it.
    """

    count: int = 0
    chain: bytes = bytes(32)

    def then(self, head: MapHead) -> CheckedHeads:
        """With one more."""
        return CheckedHeads(self.count + 1, hashlib.sha256(self.chain + head.encode()).digest())


NOTHING_CHECKED: Final = CheckedHeads()


class CompletenessScan:
    """The map rebuilt while fsck passes over the leaves.

    Args:
        store: the log; heads lie in the bodies of their entries.
        tags: every tag's label, as the map's storage keeps them; None checks what leaves alone can tell.
        known: heads of this log that an earlier check held against its rows.
    """

    def __init__(
        self, store: LogStore, tags: Mapping[bytes, bytes] | None, known: CheckedHeads = NOTHING_CHECKED
    ) -> None:
        self.seen = CheckedHeads()
        self.covered = 0
        self.total = 0
        self._store = store
        self._newest: MapHead | None = None
        self._waiting: list[Row] = []
        self._labels = sorted(set(tags.values())) if tags is not None else []
        self._owner = _owners(store, tags, self._labels) if tags is not None else None
        self._known = known
        self._map = MapReplay(self._labels)

    @property
    def heads(self) -> int:
        """How many heads there were."""
        return self.seen.count

    def finish(self) -> None:
        """Raise ``LogCorrupt`` where there are fewer heads than were checked before."""
        if self.seen.count < self._known.count:
            raise LogCorrupt("heads of the completeness map that were checked before are gone", first_bad_index=None)

    def take(self, start: int, leaves: Sequence[bytes], hashes: Sequence[bytes]) -> None:
        """Look at the leaves from ``start`` on. Raises ``LogCorrupt`` at a head that is not what they give."""
        for index, leaf in enumerate(leaves, start):
            kind = leaf[_KIND]
            if kind == _ACCESS:
                self._waiting.append((index, hashes[index - start]))
            elif kind == _COMPLETENESS:
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
        self.seen = self.seen.then(head)
        self._compare(index, head, rows)
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
        self._map.extend((self._owner[row], row, leaf_hash) for row, leaf_hash in rows)
        if self.seen.count < self._known.count:
            return
        if self.seen.count == self._known.count and self.seen != self._known:
            raise LogCorrupt("heads of the completeness map are other than were checked before", first_bad_index=None)
        if not hmac.compare_digest(self._map.root(), head.root):
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

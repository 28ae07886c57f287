"""Re-derive every root from the stored leaves, and name the first leaf that is not what was signed.

What can be known, and from what:

1. **Every leaf is hashed again**, in blocks of 256, and each block's root is compared with the stored one, and with
   what the block's stored leaf hashes give. Where they differ, those say which leaf: the first whose own hash differs.
   A deleted leaf shifts all after it, a swap moves two, so the first difference is the place of the deed. This needs
   no signature.
2. If someone rewrote the stored hashes too, up to some level, the difference shows one level higher: the report then
   names the block in which it must lie.
3. If every stored hash was rewritten to fit, the file agrees with itself; only **signed checkpoints** contradict it.
   Each one kept (and each the caller adds, from witnesses or an auditor's last visit) is compared with the root of
   its size. The bad leaf lies between the last size that fits and the first that does not: the report names that
   range. A checkpoint every minute makes it a minute's events.
4. Entries beyond the last checkpoint are held together by the stored hashes only. Nobody has signed them yet.

5. **The completeness map** is built again in the same pass and compared with every head of it that was logged; see
   ``map_check.py``. A row that was moved to another patient's sub-log lies among those a head newly covers.

``LogCorrupt.first_bad_index`` is the leaf itself in case 1 and the first leaf of the range in cases 2 and 3; the
message says which. In case 1 the stored hash may be what was changed, not the leaf: either way the log is not what it
was there.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from twinward_crypto.errors import InvalidSignature
from twinward_ledger import merkle
from twinward_ledger.errors import LogCorrupt, MalformedCheckpoint, NoSuchEntry
from twinward_ledger.formats.checkpoint import Checkpoint
from twinward_ledger.formats.key_history import KeyHistory
from twinward_ledger.formats.note import VerifierKey
from twinward_ledger.log.map_check import NOTHING_CHECKED, CheckedHeads, CompletenessScan
from twinward_ledger.log.store import LogStore

BLOCK_LEVEL = 8
BLOCK_LEAVES = 1 << BLOCK_LEVEL


@dataclass(frozen=True, slots=True)
class FsckReport:
    """A log that is what was signed.

    Attributes:
        size: entries checked.
        root: the root over all of them.
        signed_size: how many of them the newest checkpoint covers.
        checkpoints: how many signed checkpoints were compared.
        map_heads: how many roots of the completeness map were compared.
        map_covered: how many entries the newest of them covers.
        map_checked: what the next check of the same log may pass over; nothing where there were no ``tags``.
    """

    size: int
    root: bytes
    signed_size: int
    checkpoints: int
    map_heads: int = 0
    map_covered: int = 0
    map_checked: CheckedHeads = NOTHING_CHECKED


def fsck(
    store: LogStore,
    log: VerifierKey | KeyHistory,
    notes: Iterable[bytes] = (),
    *,
    tags: Mapping[bytes, bytes] | None = None,
    known: CheckedHeads = NOTHING_CHECKED,
    told: Callable[[int, int], None] = lambda _done, _size: None,
) -> FsckReport:
    """Check a store against its own hashes, its own checkpoints and any further ``notes`` the log once signed.

    ``tags`` says which patient's label stands under which tag; without it the completeness map's roots are held
    against the number of rows only. ``known`` is what an earlier check of this log reported as ``map_checked``: roots
    up to there are not built again one by one. Where the log does not agree with it, check once more without. ``told``
    hears how many of how many leaves are hashed.

    Raises:
        LogCorrupt: something differs; ``first_bad_index`` says where.
        LogUnavailable: the store cannot be read.
    """
    size = store.size()
    signed = _signed(store, log if isinstance(log, KeyHistory) else KeyHistory(log), notes)
    scan, maps = _Scan(store, signed), CompletenessScan(store, tags, known)
    leaves = store.leaves(0, size)
    while block := list(islice(leaves, BLOCK_LEAVES)):
        start, hashes = scan.size, merkle.leaf_hashes(block)
        scan.take(hashes)
        maps.take(start, block, hashes)
        told(scan.size, size)
    maps.finish()
    if scan.size != size:
        raise LogCorrupt(f"leaf {scan.size} is missing", first_bad_index=scan.size)
    if list(store.leaves(size, size + 1)) and store.size() == size:
        raise LogCorrupt(f"a leaf at {size}, beyond the log's end", first_bad_index=size)
    if signed and signed[-1].size > size:
        newest = signed[-1].size
        raise LogCorrupt(f"the log is cut off: {size} entries, {newest} were signed", first_bad_index=size)
    root = scan.root()
    if not hmac.compare_digest(root, _stored_root(store, size)):
        raise LogCorrupt("the stored hashes do not give the leaves' root", first_bad_index=scan.last_good)
    checked = maps.seen if tags is not None else NOTHING_CHECKED
    return FsckReport(size, root, signed[-1].size if signed else 0, len(signed), maps.heads, maps.covered, checked)


class _Scan:
    """The tree rebuilt block by block: its complete subtrees from left to right, and how far checkpoints agree."""

    def __init__(self, store: LogStore, signed: list[Checkpoint]) -> None:
        self.size = 0
        self.last_good = 0
        self._store = store
        self._due = signed[::-1]
        self._peaks: list[tuple[int, bytes]] = []

    def take(self, block: list[bytes]) -> None:
        """Compare a block with the stored hashes and with the checkpoints whose size lies in it, then add it."""
        node = merkle.reader_over(block)
        whole = len(block) == BLOCK_LEAVES
        differs = self._differs(len(block), node)
        if differs:
            self._name_the_leaf(block)
        while self._due and self._due[-1].size <= self.size + len(block):
            self._compare_checkpoint(self._due.pop(), node)
        if differs:
            self._name_the_block(len(block))
        if whole:
            self._push(node(BLOCK_LEVEL, 0))
        else:
            for level, index in _peaks_of(len(block)):
                self._peaks.append((level, node(level, index)))
        self.size += len(block)

    def root(self) -> bytes:
        """The root over everything taken."""
        return _fold([value for _, value in self._peaks]) if self._peaks else merkle.EMPTY_ROOT

    def _differs(self, width: int, node: merkle.NodeReader) -> bool:
        """Whether the stored subtrees over this block are other than the leaves'.

        Storage keeps every eighth level: a whole block's root is a hash of its own, above the leaf hashes. Its halves
        are folded out of the leaf hashes, so that one of those cannot be wrong under a root that is right.
        """
        halves = [(BLOCK_LEVEL - 1, 0), (BLOCK_LEVEL - 1, 1)] if width == BLOCK_LEAVES else []
        return any(
            self._stored(level, (self.size >> level) + index) != node(level, index)
            for level, index in [*_peaks_of(width), *halves]
        )

    def _name_the_leaf(self, block: list[bytes]) -> None:
        for index, computed in enumerate(block, self.size):
            if self._stored(0, index) != computed:
                raise LogCorrupt(f"leaf {index} is not the one whose hash was stored", first_bad_index=index)

    def _name_the_block(self, width: int) -> None:
        first, last = max(self.size, self.last_good), self.size + width - 1
        raise LogCorrupt(
            f"a leaf in {first}..{last} was changed together with its own stored hash: the block's root differs",
            first_bad_index=first,
        )

    def _compare_checkpoint(self, checkpoint: Checkpoint, node: merkle.NodeReader) -> None:
        inside = checkpoint.size - self.size
        tail = [node(level, index) for level, index in _peaks_of(inside)]
        hashes = [value for _, value in self._peaks] + tail
        root = _fold(hashes) if hashes else merkle.EMPTY_ROOT
        if not hmac.compare_digest(root, checkpoint.root):
            raise LogCorrupt(
                f"leaves {self.last_good}..{checkpoint.size - 1} were rewritten together with their hashes: "
                f"they do not give the root that was signed for size {checkpoint.size}",
                first_bad_index=self.last_good,
            )
        self.last_good = checkpoint.size

    def _push(self, value: bytes) -> None:
        level = BLOCK_LEVEL
        while self._peaks and self._peaks[-1][0] == level:
            value = merkle.node_hash(self._peaks.pop()[1], value)
            level += 1
        self._peaks.append((level, value))

    def _stored(self, level: int, index: int) -> bytes | None:
        try:
            return self._store.node(level, index)
        except NoSuchEntry:
            return None


def _peaks_of(width: int) -> list[tuple[int, int]]:
    """The complete subtrees (level, index) of which a tree of ``width`` leaves is made, left to right."""
    peaks, start = [], 0
    while start < width:
        level = (width - start).bit_length() - 1
        peaks.append((level, start >> level))
        start += 1 << level
    return peaks


def _fold(hashes: list[bytes]) -> bytes:
    result = hashes[-1]
    for left in reversed(hashes[:-1]):
        result = merkle.node_hash(left, result)
    return result


def _signed(store: LogStore, log: KeyHistory, notes: Iterable[bytes]) -> list[Checkpoint]:
    """Every checkpoint to hold the leaves against, by ascending size; all must be the log's own."""
    found = []
    for size, note in store.checkpoints():
        try:
            checkpoint, _ = log.open(note)
        except (MalformedCheckpoint, InvalidSignature) as error:
            raise LogCorrupt(f"the checkpoint kept for size {size} is not this log's", first_bad_index=None) from error
        if checkpoint.size != size:
            raise LogCorrupt(f"the checkpoint kept for size {size} is of another size", first_bad_index=None)
        found.append(checkpoint)
    found.extend(log.open(note)[0] for note in notes)
    return sorted(set(found), key=lambda checkpoint: checkpoint.size)  # the same may be kept in several places


def _stored_root(store: LogStore, size: int) -> bytes:
    try:
        return merkle.root_at(size, store.node)
    except NoSuchEntry:
        return b""

"""RFC 6962 Merkle trees over SHA-256 (RFC 9162 section 2.1), pure: no storage, no clock.

Everything here takes **leaf hashes** (``leaf_hash`` of the leaf's bytes), never leaf bytes: stores keep hashes,
proofs speak of hashes, and one place only adds the domain-separation prefix.

Trees are read through a *node reader*, ``node(level, index)``: the hash of the complete subtree of ``2**level``
leaves that starts at leaf ``index * 2**level``. Complete subtrees never change once written, so a root or a proof
for any past size needs O(log n) reads and no leaf. The functions on plain sequences build such a reader in memory.

Verifiers raise ``InvalidProof`` for everything that is not exactly one valid proof: hashes of wrong length, nodes
missing or left over, size 0, an index outside the tree, roots that differ. They never return a value.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Sequence

from twinward_ledger.errors import InvalidProof

HASH_BYTES = 32
"""Length of every hash in the tree."""

LEAF_PREFIX = b"\x00"
"""RFC 6962 section 2.1: keeps a leaf from being passed off as an inner node."""

NODE_PREFIX = b"\x01"
"""RFC 6962 section 2.1."""

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of the tree without leaves (RFC 6962 section 2.1)."""

MAX_SIZE = 2**63 - 1
"""Largest tree size accepted; keeps every size inside SQLite's and Solidity's integers."""

NodeReader = Callable[[int, int], bytes]


def leaf_hash(data: bytes) -> bytes:
    """The hash under which a leaf's exact bytes stand in the tree (32 bytes)."""
    return hashlib.sha256(LEAF_PREFIX + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node (32 bytes)."""
    return hashlib.sha256(NODE_PREFIX + left + right).digest()


def leaf_hashes(leaves: Iterable[bytes]) -> list[bytes]:
    """``leaf_hash`` of each: a fifth of the time goes into the calls where many are hashed."""
    sha256 = hashlib.sha256
    return [sha256(LEAF_PREFIX + leaf).digest() for leaf in leaves]


def level_above(hashes: Iterable[bytes]) -> list[bytes]:
    """``node_hash`` of each two neighbours; a last one without a neighbour has none."""
    sha256, each = hashlib.sha256, iter(hashes)
    return [sha256(NODE_PREFIX + left + right).digest() for left, right in zip(each, each, strict=False)]


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """The root over all leaf hashes; ``EMPTY_ROOT`` over none."""
    return root_at(len(leaf_hashes), reader_over(leaf_hashes))


def inclusion_proof(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of a leaf, sibling first (RFC 6962 section 2.1.1). Raises ``InvalidProof`` for a bad index."""
    return inclusion_path(index, len(leaf_hashes), reader_over(leaf_hashes))


def consistency_proof(leaf_hashes: Sequence[bytes], size1: int, size2: int) -> list[bytes]:
    """The proof that the first ``size1`` leaves are a prefix of the first ``size2`` (RFC 6962 section 2.1.2).

    Raises:
        InvalidProof: unless ``0 < size1 <= size2 <= len(leaf_hashes)``.
    """
    if size2 > len(leaf_hashes):
        raise InvalidProof(f"no consistency proof to size {size2}: there are {len(leaf_hashes)} leaves")
    return consistency_path(size1, size2, reader_over(leaf_hashes[:size2]))


def reader_over(leaf_hashes: Sequence[bytes]) -> NodeReader:
    """A node reader over hashes held in memory; inner levels are computed once, on first use."""
    levels: list[Sequence[bytes]] = [leaf_hashes]

    def node(level: int, index: int) -> bytes:
        while len(levels) <= level:
            levels.append(level_above(levels[-1]))
        return levels[level][index]

    return node


def root_at(size: int, node: NodeReader) -> bytes:
    """The root of the tree's first ``size`` leaves, from O(log size) complete subtrees."""
    return subtree_root(0, size, node) if size else EMPTY_ROOT


def subtree_root(start: int, stop: int, node: NodeReader) -> bytes:
    """The hash over leaves ``start <= i < stop``, where ``start`` is a multiple of the next power of two of the width.

    Such a range is a row of complete subtrees, largest first (one per set bit of its width), folded from the right.
    """
    width, hashes = stop - start, []
    while width:
        level = width.bit_length() - 1
        hashes.append(node(level, start >> level))
        start += 1 << level
        width -= 1 << level
    result = hashes.pop()
    while hashes:
        result = node_hash(hashes.pop(), result)
    return result


def inclusion_path(index: int, size: int, node: NodeReader) -> list[bytes]:
    """The audit path of leaf ``index`` in the tree of ``size`` leaves, sibling first (RFC 6962 section 2.1.1)."""
    if not 0 <= index < size:
        raise InvalidProof(f"no inclusion proof: index {index} is not in a tree of {size}")
    path, start, stop = [], 0, size
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            path.append(subtree_root(middle, stop, node))
            stop = middle
        else:
            path.append(subtree_root(start, middle, node))
            start = middle
    return path[::-1]


def consistency_path(size1: int, size2: int, node: NodeReader) -> list[bytes]:
    """The consistency proof from ``size1`` to ``size2`` (RFC 6962 section 2.1.2, ``SUBPROOF`` unrolled)."""
    if not 0 < size1 <= size2:
        raise InvalidProof(f"no consistency proof from size {size1} to {size2}")
    path, start, stop = [], 0, size2
    while stop != size1:
        middle = start + _split(stop - start)
        if size1 <= middle:
            path.append(subtree_root(middle, stop, node))
            stop = middle
        else:
            path.append(subtree_root(start, middle, node))
            start = middle
    if start:  # otherwise the verifier already holds this subtree: it is the old root
        path.append(subtree_root(start, stop, node))
    return path[::-1]


def _split(width: int) -> int:
    """The largest power of two smaller than ``width`` (RFC 6962's k)."""
    return 1 << (width - 1).bit_length() - 1


def verify_inclusion(index: int, size: int, leaf_hash: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Check that ``leaf_hash`` stands at ``index`` in the tree of ``size`` leaves (RFC 9162 section 2.1.3.2).

    Raises:
        InvalidProof: the proof is malformed or leads to another root.
    """
    _require_size(size)
    if not _is_int(index) or not 0 <= index < size:
        raise InvalidProof("index is not inside the tree")
    _require_hashes([leaf_hash, root, *proof])
    fn, sn, result = index, size - 1, leaf_hash
    for sibling in proof:
        if sn == 0:
            raise InvalidProof("the proof has more nodes than the path")
        if fn & 1 or fn == sn:
            result = node_hash(sibling, result)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            result = node_hash(result, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise InvalidProof("the proof has fewer nodes than the path")
    _require_same(result, root, "the proof leads to another root")


def verify_consistency(size1: int, size2: int, proof: Sequence[bytes], root1: bytes, root2: bytes) -> None:
    """Check that the tree of ``size2`` leaves extends the tree of ``size1`` (RFC 9162 section 2.1.4.2).

    Equal sizes want equal roots and an empty proof. Size 0 is refused: every tree extends the empty one, so such a
    proof would say nothing.

    Raises:
        InvalidProof: the proof is malformed or leads to other roots.
    """
    _require_size(size1)
    _require_size(size2)
    if size1 > size2:
        raise InvalidProof("the first tree is larger than the second")
    _require_hashes([root1, root2, *proof])
    if size1 == size2:
        if proof:
            raise InvalidProof("trees of one size want an empty proof")
        _require_same(root1, root2, "two roots for one size")
        return
    if not proof:
        raise InvalidProof("the proof is empty")
    nodes = list(proof)
    if size1 & (size1 - 1) == 0:  # a complete tree is a node of the larger one: RFC 9162 leaves it out of the proof
        nodes.insert(0, root1)
    fn, sn = size1 - 1, size2 - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first = second = nodes[0]
    for node in nodes[1:]:
        if sn == 0:
            raise InvalidProof("the proof has more nodes than the path")
        if fn & 1 or fn == sn:
            first, second = node_hash(node, first), node_hash(node, second)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            second = node_hash(second, node)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise InvalidProof("the proof has fewer nodes than the path")
    _require_same(first, root1, "the proof leads to another first root")
    _require_same(second, root2, "the proof leads to another second root")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _require_size(size: int) -> None:
    if not _is_int(size) or not 0 < size <= MAX_SIZE:
        raise InvalidProof("tree size is not a positive integer below 2**63")


def _require_hashes(hashes: Sequence[bytes]) -> None:
    if any(not isinstance(value, bytes) or len(value) != HASH_BYTES for value in hashes):
        raise InvalidProof(f"every hash is {HASH_BYTES} bytes")


def _require_same(computed: bytes, expected: bytes, message: str) -> None:
    if not hmac.compare_digest(computed, expected):
        raise InvalidProof(message)

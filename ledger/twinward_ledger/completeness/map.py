"""The completeness map: what lets an export prove that *no row was left out*. Pure: no storage, no clock.

Every leaf about one patient (``LeafKind.ACCESS``) belongs to that patient's **sub-log**, an RFC 6962 tree over
``u64 index ‖ leaf hash`` in the order of the log. The **map** takes a patient's label to (sub-log root, count):

    label = HMAC-SHA256(label key, lp("twinward/completeness-label/1") ‖ lp(origin) ‖ lp(subject))

It is a sparse Merkle tree over the 256 bits of the label (Dahlberg, Pulls and Peeters 2016), compacted so that a
subtree with one leaf *is* that leaf (the Jellyfish Merkle tree of Gao, Hu and Wu 2021): log2(patients) hashes an
update, not 256. Every inner node also commits to the counts below it (a Merkle sum tree), so the root fixes how many
rows all patients have together.

    leaf   SHA-256(0x02 ‖ label 32 ‖ sub-log root 32 ‖ u64 count), sum = count, which is at least 1
    inner  SHA-256(0x03 ‖ left 32 ‖ u64 left sum ‖ right 32 ‖ u64 right sum), sum = left sum + right sum
    empty  32 zero bytes, sum 0

The root goes into the log itself, as a ``MapHead`` under a leaf of its own kind. What follows from a proof and what
does not is written in ``SPEC.md``, "What a completeness proof proves".
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from twinward_crypto.kdf import length_prefixed, require_key
from twinward_ledger import merkle
from twinward_ledger.errors import InvalidProof, MalformedLeaf
from twinward_ledger.formats.leaf import Leaf, LeafKind

LABEL_BYTES = 32
LABEL_BITS = 256
MAP_LEAF_PREFIX = b"\x02"
MAP_NODE_PREFIX = b"\x03"
EMPTY_HASH = bytes(merkle.HASH_BYTES)
MAX_SUBJECT_BYTES = 64
LABEL_DOMAIN = b"twinward/completeness-label/1"
KEY_DOMAIN = b"twinward/completeness-key/1"
HEAD_DOMAIN = b"twinward/completeness-head/1"

_HEAD = struct.Struct(">BQQ32s32s")
_LEAF = struct.Struct(">32s32sQ")
_NODE = struct.Struct(">32sQ32sQ")
_INDEXED = struct.Struct(">Q32s")
_VERSION = 1


class MapNode(NamedTuple):
    """A subtree of the map: its hash (32 bytes), the counts below it, and 0, 1 or 2 for no, one or more leaves."""

    hash: bytes
    total: int
    leaves: int


EMPTY = MapNode(EMPTY_HASH, 0, 0)

PathNode = tuple[bytes, int]
"""A sibling on a path: hash and sum."""


def key_commitment(key: bytes) -> bytes:
    """What pins a log's label key in every head (32 bytes); the key itself is shown to whoever gets an export."""
    require_key(key)
    return hashlib.sha256(KEY_DOMAIN + key).digest()


def subject_label(key: bytes, origin: str, subject: str) -> bytes:
    """Where a patient stands in the map (32 bytes). Raises ``InvalidProof`` for a name that is no subject's."""
    require_key(key)
    name = subject.encode("utf-8", "surrogatepass")
    if not 0 < len(name) <= MAX_SUBJECT_BYTES:
        raise InvalidProof(f"a subject's name is 1 to {MAX_SUBJECT_BYTES} bytes")
    return hmac.digest(key, length_prefixed(LABEL_DOMAIN, origin.encode(), name), "sha256")


def entry_hash(index: int, leaf_hash: bytes) -> bytes:
    """How a row of the log stands in its patient's sub-log (32 bytes)."""
    return merkle.leaf_hash(_INDEXED.pack(index, leaf_hash))


def leaf_node(label: bytes, root: bytes, count: int) -> MapNode:
    """A patient's leaf in the map."""
    return MapNode(hashlib.sha256(MAP_LEAF_PREFIX + _LEAF.pack(label, root, count)).digest(), count, 1)


def join(left: MapNode, right: MapNode) -> MapNode:
    """The subtree over two: nothing, the one leaf there is, or an inner node."""
    leaves = left.leaves + right.leaves
    if leaves < 2:
        return left if left.leaves else right
    data = MAP_NODE_PREFIX + _NODE.pack(left.hash, left.total, right.hash, right.total)
    return MapNode(hashlib.sha256(data).digest(), left.total + right.total, 2)


def bit(label: bytes, depth: int) -> int:
    """The label's bit that decides at a depth, the most significant first."""
    return label[depth >> 3] >> (7 - (depth & 7)) & 1


@dataclass(frozen=True, slots=True)
class Subject:
    """One patient's sub-log: how many rows, and the complete subtrees that they make, largest first."""

    label: bytes
    count: int = 0
    frontier: tuple[bytes, ...] = ()

    def extended(self, entries: Sequence[bytes]) -> Subject:
        """The sub-log with further ``entry_hash``es at its end."""
        count, frontier = self.count, list(self.frontier)
        for node in entries:
            width = count
            while width & 1:
                node = merkle.node_hash(frontier.pop(), node)
                width >>= 1
            frontier.append(node)
            count += 1
        return Subject(self.label, count, tuple(frontier))

    @property
    def root(self) -> bytes:
        """The RFC 6962 root over its rows."""
        if not self.frontier:
            return merkle.EMPTY_ROOT
        result = self.frontier[-1]
        for left in reversed(self.frontier[:-1]):
            result = merkle.node_hash(left, result)
        return result

    @property
    def node(self) -> MapNode:
        """Its leaf in the map."""
        return leaf_node(self.label, self.root, self.count) if self.count else EMPTY


@dataclass(frozen=True, slots=True)
class MapHead:
    """A root of the map, as the log holds it. 81 bytes:

    ======  =====  ==========================================================
    offset  bytes  field
    ======  =====  ==========================================================
    0       1      version, ``0x01``
    1       8      through: the map covers the log's entries below this index
    9       8      total: rows of all patients together
    17      32     the map's root
    49      32     ``key_commitment`` of the label key
    ======  =====  ==========================================================

    The leaf's commitment is ``SHA-256("twinward/completeness-head/1" ‖ head)``; the head is the entry's body.
    """

    through: int
    total: int
    root: bytes
    key_commitment: bytes

    def encode(self) -> bytes:
        """Its 81 bytes."""
        return _HEAD.pack(_VERSION, self.through, self.total, self.root, self.key_commitment)

    @classmethod
    def decode(cls, data: bytes) -> MapHead:
        """Read it back. Raises ``MalformedLeaf``."""
        if len(data) != _HEAD.size or data[0] != _VERSION:
            raise MalformedLeaf("not a head of the completeness map, version 1")
        _, through, total, root, commitment = _HEAD.unpack(data)
        if not 0 <= total <= through <= merkle.MAX_SIZE:
            raise MalformedLeaf("a head of the completeness map that counts more rows than the log has")
        return cls(through, total, root, commitment)

    def leaf(self, at_ms: int) -> Leaf:
        """The leaf under which it goes into the log."""
        return Leaf.at(at_ms, LeafKind.COMPLETENESS, self._commitment())

    def require(self, leaf: Leaf) -> None:
        """Raise ``InvalidProof`` unless this is the head that a leaf commits to."""
        if leaf.kind is not LeafKind.COMPLETENESS or not hmac.compare_digest(leaf.commitment, self._commitment()):
            raise InvalidProof("the completeness map's root is not the one the log holds")

    def _commitment(self) -> bytes:
        return hashlib.sha256(HEAD_DOMAIN + self.encode()).digest()


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another patient's leaf: what stands in the map where an absent one would."""

    label: bytes
    root: bytes
    count: int


@dataclass(frozen=True, slots=True)
class MapProof:
    """What leads from one label to the map's root.

    Attributes:
        count: rows of the patient; 0 for one who is not in the map.
        root: the sub-log's root; ``EMPTY_ROOT`` for no rows.
        path: the siblings, deepest first; their number is the depth at which the path ends.
        neighbour: for an absent patient whose place another one's leaf holds, that leaf.
    """

    count: int
    root: bytes
    path: tuple[PathNode, ...]
    neighbour: Neighbour | None = None


def verify_map_proof(head: MapHead, label: bytes, proof: MapProof) -> None:
    """Check that the map with this head gives this label exactly this root and count, or nothing at all.

    A path ends at one node only, so no map can prove two different things of one label.

    Raises:
        InvalidProof: the proof is malformed or leads to another root or sum.
    """
    if len(label) != LABEL_BYTES or len(proof.path) > LABEL_BITS:
        raise InvalidProof("a map proof of a wrong length")
    depth, node = len(proof.path), _terminal(label, proof)
    if node.leaves and proof.path and proof.path[0][0] == EMPTY_HASH:
        raise InvalidProof("a leaf of the completeness map stands deeper than it must")
    result, total = node.hash, node.total
    for level, (sibling, below) in enumerate(proof.path, 1):
        if len(sibling) != merkle.HASH_BYTES or not 0 <= below <= merkle.MAX_SIZE:
            raise InvalidProof("a malformed sibling in a map proof")
        if (sibling == EMPTY_HASH) != (below == 0):
            raise InvalidProof("a sibling in a map proof whose sum does not fit")
        pair = (sibling, below, result, total) if bit(label, depth - level) else (result, total, sibling, below)
        result = hashlib.sha256(MAP_NODE_PREFIX + _NODE.pack(*pair)).digest()
        total += below
        if total > merkle.MAX_SIZE:
            raise InvalidProof("the counts of the completeness map overflow")
    if total != head.total:
        raise InvalidProof(f"the map's path sums up to {total} rows, its head counts {head.total}")
    if not hmac.compare_digest(result, head.root):
        raise InvalidProof("the path does not lead to the map's root: this is not the patient's entry in the map")


def _terminal(label: bytes, proof: MapProof) -> MapNode:
    if not 0 <= proof.count <= merkle.MAX_SIZE or len(proof.root) != merkle.HASH_BYTES:
        raise InvalidProof("a malformed count or root in a map proof")
    if proof.count:
        if proof.neighbour is not None:
            raise InvalidProof("a patient who is in the map needs no neighbour")
        return leaf_node(label, proof.root, proof.count)
    if proof.root != merkle.EMPTY_ROOT:
        raise InvalidProof("no rows have one root only")
    other = proof.neighbour
    if other is None:
        return EMPTY
    if (
        len(other.label) != LABEL_BYTES
        or len(other.root) != merkle.HASH_BYTES
        or not 0 < other.count <= merkle.MAX_SIZE
    ):
        raise InvalidProof("a malformed neighbour in a map proof")
    shared = all(bit(label, depth) == bit(other.label, depth) for depth in range(len(proof.path)))
    if other.label == label or not shared:
        raise InvalidProof("the neighbour does not stand where the patient would")
    return leaf_node(other.label, other.root, other.count)

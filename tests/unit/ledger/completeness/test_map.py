"""The completeness map against a textbook one, and its proofs against everything that is not exactly one."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinward_crypto.errors import MalformedKey
from twinward_ledger import merkle
from twinward_ledger.completeness.map import (
    EMPTY_HASH,
    MapHead,
    MapProof,
    Neighbour,
    Subject,
    entry_hash,
    join,
    key_commitment,
    leaf_node,
    subject_label,
    verify_map_proof,
)
from twinward_ledger.completeness.memory import MemoryMap
from twinward_ledger.completeness.replay import MapReplay
from twinward_ledger.completeness.tree import MapTree
from twinward_ledger.errors import InvalidProof, LogCorrupt, MalformedLeaf
from twinward_ledger.formats.leaf import Leaf, LeafKind
from twinward_ledger.standalone.twinward_verify import Refused, neighbour_node

KEY = bytes(range(32))
Rows = list[tuple[bytes, int, bytes]]


def naive_map(counted: Mapping[bytes, tuple[bytes, int]], depth: int = 0) -> tuple[bytes, int]:
    """The map straight from its definition, over label → (sub-log root, count)."""
    if not counted:
        return bytes(32), 0
    if len(counted) == 1:
        ((label, (root, count)),) = counted.items()
        return hashlib.sha256(b"\x02" + label + root + struct.pack(">Q", count)).digest(), count
    sides = []
    for side in "01":
        below = {one: value for one, value in counted.items() if f"{int.from_bytes(one):0256b}"[depth] == side}
        sides.append(naive_map(below, depth + 1))
    (left, left_sum), (right, right_sum) = sides
    data = b"\x03" + left + struct.pack(">Q", left_sum) + right + struct.pack(">Q", right_sum)
    return hashlib.sha256(data).digest(), left_sum + right_sum


def naive_of(rows: Rows) -> dict[bytes, tuple[bytes, int]]:
    entries: dict[bytes, list[bytes]] = {}
    for label, index, leaf_hash in rows:
        data = struct.pack(">Q", index) + leaf_hash
        entries.setdefault(label, []).append(hashlib.sha256(b"\0" + data).digest())
    return {label: (merkle.root(hashes), len(hashes)) for label, hashes in entries.items()}


def label(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


def rows_of(numbers: Sequence[int]) -> Rows:
    return [(label(number), index, merkle.leaf_hash(b"%d" % index)) for index, number in enumerate(numbers)]


def head_of(tree: MapTree) -> MapHead:
    root = tree.root()
    return MapHead(1000, root.total, root.hash, key_commitment(KEY))


labels = st.one_of(
    st.binary(min_size=32, max_size=32),
    st.integers(0, 255).map(lambda n: bytes(31) + bytes([n])),  # far down: they share 248 bits
    st.integers(0, 3).map(lambda n: bytes([7, n]) + bytes(30)),  # around the cuts at depths 8 and 16
    st.integers(0, 7).map(lambda n: bytes([7, 7, n << 5]) + bytes(29)),
)


@pytest.mark.slow
@given(st.lists(st.lists(labels, max_size=12), max_size=5), labels)
@settings(max_examples=40)
def test_every_map_is_the_textbook_one_and_proves_every_label(batches: list[list[bytes]], absent: bytes) -> None:
    tree, rows = MapTree(MemoryMap()), []
    for batch in batches:
        new = [(one, len(rows) + n, merkle.leaf_hash(one + bytes([n]))) for n, one in enumerate(batch)]
        rows += new
        root = tree.extend(new)
        assert (root.hash, root.total) == naive_map(naive_of(rows))
    head, expected = head_of(tree), naive_of(rows)
    for one in {*expected, absent}:
        proof = tree.prove(one)
        assert (proof.root, proof.count) == expected.get(one, (merkle.EMPTY_ROOT, 0))
        verify_map_proof(head, one, proof)


@given(st.lists(st.lists(labels, max_size=12), max_size=5), st.sets(labels, max_size=5))
@settings(max_examples=25)
def test_a_replayed_map_has_the_roots_of_the_stored_one(batches: list[list[bytes]], unseen: set[bytes]) -> None:
    known = sorted({one for batch in batches for one in batch} | unseen)
    tree, replay, index = MapTree(MemoryMap()), MapReplay(known), 0
    assert replay.root() == EMPTY_HASH
    for batch in batches:
        rows = [(one, index + n, merkle.leaf_hash(one + bytes([n]))) for n, one in enumerate(batch)]
        index += len(batch)
        replay.extend((known.index(one), row, leaf_hash) for one, row, leaf_hash in rows)
        assert replay.root() == tree.extend(rows).hash


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=70))
def test_a_sub_log_is_rfc_6962s(hashes: list[bytes]) -> None:
    subject = Subject(KEY)
    for number in range(0, len(hashes), 7):
        subject = subject.extended(hashes[number : number + 7])
    assert (subject.root, subject.count) == (merkle.root(hashes), len(hashes))


def test_the_bytes_are_those_of_the_specification() -> None:
    tree = MapTree(MemoryMap())
    assert (tree.root().hash, tree.root().total) == (EMPTY_HASH, 0)
    assert entry_hash(5, KEY) == hashlib.sha256(b"\0" + struct.pack(">Q", 5) + KEY).digest()
    assert len(MapHead(9, 3, KEY, KEY).encode()) == 81


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tree() -> MapTree:
    made = MapTree(MemoryMap())
    made.extend(rows_of([n % 40 for n in range(200)]))
    return made


def mutations(proof: MapProof) -> list[MapProof]:
    found = [
        replace(proof, count=proof.count + 1),
        replace(proof, count=max(0, proof.count - 1)) if proof.count else replace(proof, count=2**64),
        replace(proof, root=bytes(32)),
        replace(proof, path=proof.path[:-1]),
        replace(proof, path=proof.path[1:]),
        replace(proof, path=(*proof.path, (EMPTY_HASH, 0))),
        replace(proof, path=((EMPTY_HASH, 0), *proof.path)),
        replace(proof, path=proof.path * 100),
        replace(proof, path=proof.path[::-1]),
        replace(proof, count=0, root=merkle.EMPTY_ROOT) if proof.count else replace(proof, count=1, root=bytes(32)),
    ]
    for place, (hash_, total) in enumerate(proof.path):
        for other in (
            (hash_[:-1], total),
            (bytes(32), total),
            (hash_, total + 1),
            (hash_, 2**63),
            (hash_, -1),
            (hash_, 0),
        ):
            found.append(replace(proof, path=(*proof.path[:place], other, *proof.path[place + 1 :])))
    if proof.neighbour:
        near = proof.neighbour
        found += [
            replace(proof, neighbour=None),
            replace(proof, neighbour=replace(near, count=near.count + 1)),
            replace(proof, neighbour=replace(near, count=0)),
            replace(proof, neighbour=replace(near, root=bytes(32))),
            replace(proof, neighbour=replace(near, label=bytes(32))),
            replace(proof, neighbour=replace(near, label=b"short")),
        ]
    return found


def test_a_neighbour_proves_nobody_absent_but_where_the_patient_would_stand() -> None:
    """A log that builds its map with leaves in wrong places could deny any patient: each root here is consistent."""
    absent, near = bytes([0b10100000]) + bytes(31), bytes([0b11000000]) + bytes(31)
    elsewhere = bytes([0b01000000]) + bytes(31)
    left = leaf_node(bytes(32), bytes([1]) * 32, 2)
    for stands, right in ((True, near), (False, elsewhere)):
        other = leaf_node(right, bytes([2]) * 32, 3)
        root = join(left, other)
        head = MapHead(1000, root.total, root.hash, key_commitment(KEY))
        path = ((left.hash, left.total),)
        proof = MapProof(0, merkle.EMPTY_ROOT, path, Neighbour(right, bytes([2]) * 32, 3))
        if stands:
            verify_map_proof(head, absent, proof)
            continue
        with pytest.raises(InvalidProof, match="does not stand where"):
            verify_map_proof(head, absent, proof)
        with pytest.raises(Refused, match="does not stand there"):
            neighbour_node(_told(proof), f"{int.from_bytes(absent):0256b}", len(path))


def _told(proof: MapProof) -> dict[str, object]:
    """A neighbour as a report tells it."""
    near = proof.neighbour
    assert near is not None
    return {
        "label": base64.b64encode(near.label).decode(),
        "root": base64.b64encode(near.root).decode(),
        "count": str(near.count),
    }


@pytest.mark.parametrize("number", [0, 7, 39, 41, 42, 43, 44, 45, 46])
def test_a_proof_is_refused_for_each_thing_that_is_wrong(tree: MapTree, number: int) -> None:
    head, proof = head_of(tree), tree.prove(label(number))
    verify_map_proof(head, label(number), proof)
    for bad in mutations(proof):
        if bad != proof:
            with pytest.raises(InvalidProof):
                verify_map_proof(head, label(number), bad)
    for other in (replace(head, root=bytes(32)), replace(head, total=head.total + 1)):
        with pytest.raises(InvalidProof):
            verify_map_proof(other, label(number), proof)
    for wrong in (label(number + 1), b"", label(number) + b"x"):
        with pytest.raises(InvalidProof):
            verify_map_proof(head, wrong, proof)


def test_presence_and_absence_are_never_both_proven(tree: MapTree) -> None:
    """Somebody who is in the map cannot be shown as absent: not with any other label's proof."""
    head = head_of(tree)
    for number in range(80):
        proof = tree.prove(label(number))
        for victim in range(40):
            if victim != number:
                with pytest.raises(InvalidProof):
                    verify_map_proof(head, label(victim), proof)


def test_a_leaf_deeper_than_it_must_stand_is_refused() -> None:
    tree = MapTree(MemoryMap())
    tree.extend(rows_of([1]))
    proof = tree.prove(label(1))
    assert proof.path == ()
    with pytest.raises(InvalidProof, match="deeper"):
        verify_map_proof(head_of(tree), label(1), replace(proof, path=((EMPTY_HASH, 0),)))


def test_heads_are_read_strictly() -> None:
    head = MapHead(9, 3, KEY, bytes(32))
    assert MapHead.decode(head.encode()) == head
    head.require(head.leaf(0))
    for bad in (
        b"",
        head.encode()[:-1],
        head.encode() + b"x",
        b"\2" + head.encode()[1:],
        MapHead(3, 9, KEY, KEY).encode(),
    ):
        with pytest.raises(MalformedLeaf):
            MapHead.decode(bad)
    for leaf in (Leaf.at(0, LeafKind.COMPLETENESS, bytes(32)), replace(head.leaf(0), kind=LeafKind.ACCESS)):
        with pytest.raises(InvalidProof):
            head.require(leaf)


def test_labels_bind_key_log_and_subject() -> None:
    one = subject_label(KEY, "log", "anna")
    assert (
        len(
            {
                one,
                subject_label(KEY, "log", "bert"),
                subject_label(KEY, "gol", "anna"),
                subject_label(bytes(32), "log", "anna"),
            }
        )
        == 4
    )
    assert subject_label(KEY, "loga", "nna") != one
    for bad in ("", "x" * 65):
        with pytest.raises(InvalidProof):
            subject_label(KEY, "log", bad)
    with pytest.raises(MalformedKey):
        subject_label(b"short", "log", "anna")


def test_a_map_whose_rows_do_not_fit_it_says_so() -> None:
    store = MemoryMap()
    MapTree(store).extend(rows_of([1, 2, 3]))
    store.put_subjects([Subject(label(2), 9, (KEY, KEY))])
    with pytest.raises(LogCorrupt):
        MapTree(store).prove(label(2))


def test_the_vectors() -> None:
    told = json.loads((Path(__file__).parents[3] / "vectors" / "ledger" / "formats.json").read_text())["completeness"]
    head = MapHead.decode(bytes.fromhex(told["head"]))
    head.require(Leaf.decode(bytes.fromhex(told["head_leaf"])))
    rows = [(bytes.fromhex(one), index, bytes.fromhex(hash_)) for one, index, hash_ in told["rows"]]
    assert (head.root, head.total) == naive_map(naive_of(rows))
    for name, proof in told["proofs"].items():
        at = subject_label(bytes.fromhex(told["label_key"]), "st-anna.example/access", name)
        assert at.hex() == told["labels"][name]
        near = proof["neighbour"]
        read = MapProof(
            proof["count"],
            bytes.fromhex(proof["root"]),
            tuple((bytes.fromhex(hash_), total) for hash_, total in proof["path"]),
            Neighbour(bytes.fromhex(near[0]), bytes.fromhex(near[1]), near[2]) if near else None,
        )
        verify_map_proof(head, at, read)

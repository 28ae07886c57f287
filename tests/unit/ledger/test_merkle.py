"""RFC 6962 trees against the published Certificate Transparency vectors and every malformed proof we could think of."""

from __future__ import annotations

import pytest

from twinward_ledger import merkle
from twinward_ledger.errors import InvalidProof

# The eight leaves and roots of certificate-transparency-go's merkletree tests (also RFC 6962's reference code).
LEAVES = [bytes.fromhex(h) for h in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
HASHES = [merkle.leaf_hash(leaf) for leaf in LEAVES]
ROOT = {size: merkle.root(HASHES[:size]) for size in range(1, 9)}
PATH_0 = merkle.inclusion_proof(HASHES, 0)
FROM_6 = merkle.consistency_proof(HASHES, 6, 8)
FROM_2 = merkle.consistency_proof(HASHES, 2, 8)
FROM_4 = merkle.consistency_proof(HASHES, 4, 8)


def test_empty_tree_is_the_hash_of_nothing() -> None:
    assert merkle.root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("size", range(1, 9))
def test_published_roots(size: int) -> None:
    assert merkle.root(HASHES[:size]).hex() == ROOTS[size - 1]


def test_a_leaf_is_not_a_node() -> None:
    left, right = HASHES[:2]
    assert merkle.leaf_hash(left + right) != merkle.node_hash(left, right)


def test_published_inclusion_path() -> None:
    assert [h.hex() for h in merkle.inclusion_proof(HASHES, 0)] == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]


def test_published_consistency_path() -> None:
    assert [h.hex() for h in merkle.consistency_proof(HASHES, 6, 8)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


@pytest.mark.parametrize(
    ("index", "size", "leaf", "proof", "root"),
    [
        pytest.param(0, 0, HASHES[0], [], merkle.EMPTY_ROOT, id="empty tree"),
        pytest.param(8, 8, HASHES[0], PATH_0, ROOT[8], id="index = size"),
        pytest.param(-1, 8, HASHES[7], merkle.inclusion_proof(HASHES, 7), ROOT[8], id="negative index"),
        pytest.param(True, 8, HASHES[1], merkle.inclusion_proof(HASHES, 1), ROOT[8], id="a bool index"),
        pytest.param(0, 8, HASHES[0], [], ROOT[8], id="empty proof"),
        pytest.param(0, 8, HASHES[0], PATH_0[:-1], ROOT[8], id="truncated"),
        pytest.param(0, 8, HASHES[0], PATH_0[:-1], ROOT[4], id="truncated, to an inner node offered as the root"),
        pytest.param(0, 8, HASHES[0], [], HASHES[0], id="empty, to the leaf offered as the root"),
        pytest.param(0, 8, HASHES[0], [*PATH_0, b"\0" * 32], ROOT[8], id="extra"),
        pytest.param(0, 1, HASHES[0], [HASHES[0]], HASHES[0], id="a node for a tree of one"),
        pytest.param(0, 8, HASHES[0][:31], PATH_0, ROOT[8], id="short leaf hash"),
        pytest.param(0, 8, HASHES[0], [b"", *PATH_0[1:]], ROOT[8], id="empty node"),
        pytest.param(0, 8, HASHES[0], PATH_0, ROOT[8][:31], id="short root"),
        pytest.param(0, 2**64, HASHES[0], [HASHES[0]] * 64, HASHES[0], id="size beyond 2**63"),
        pytest.param(0, 8, HASHES[1], PATH_0, ROOT[8], id="another leaf"),
        pytest.param(1, 8, HASHES[0], PATH_0, ROOT[8], id="another index"),
    ],
)
def test_malformed_inclusion_is_refused(index: int, size: int, leaf: bytes, proof: list[bytes], root: bytes) -> None:
    with pytest.raises(InvalidProof):
        merkle.verify_inclusion(index, size, leaf, proof, root)


@pytest.mark.parametrize(
    ("size1", "size2", "proof", "root1", "root2"),
    [
        pytest.param(0, 8, [], merkle.EMPTY_ROOT, ROOT[8], id="from size 0"),
        pytest.param(0, 0, [], merkle.EMPTY_ROOT, merkle.EMPTY_ROOT, id="both empty"),
        pytest.param(8, 6, FROM_6, ROOT[8], ROOT[6], id="shrinking"),
        pytest.param(8, 8, [], ROOT[8], b"\1" * 32, id="same size, another root"),
        pytest.param(8, 8, [HASHES[0]], ROOT[8], ROOT[8], id="same size, a proof"),
        pytest.param(6, 8, [], ROOT[6], ROOT[8], id="empty"),
        pytest.param(4, 8, [], ROOT[4], ROOT[8], id="empty for a power of two"),
        pytest.param(6, 8, FROM_6[:-1], ROOT[6], ROOT[8], id="truncated"),
        pytest.param(2, 8, FROM_2[:-1], ROOT[2], ROOT[4], id="truncated, to an inner node offered as the second root"),
        pytest.param(6, 8, [*FROM_6, b"\0" * 32], ROOT[6], ROOT[8], id="extra"),
        pytest.param(6, 8, FROM_6, ROOT[5], ROOT[8], id="another first root"),
        pytest.param(6, 8, FROM_6, ROOT[6], ROOT[7], id="another second root"),
        pytest.param(4, 8, [ROOT[4], *FROM_4], ROOT[4], ROOT[8], id="the old root repeated"),
    ],
)
def test_malformed_consistency_is_refused(
    size1: int, size2: int, proof: list[bytes], root1: bytes, root2: bytes
) -> None:
    with pytest.raises(InvalidProof):
        merkle.verify_consistency(size1, size2, proof, root1, root2)


@pytest.mark.parametrize("index", [-1, 8, 100])
def test_no_proof_is_made_for_an_index_outside(index: int) -> None:
    with pytest.raises(InvalidProof):
        merkle.inclusion_proof(HASHES, index)


@pytest.mark.parametrize(("size1", "size2"), [(0, 8), (5, 4), (4, 9), (-1, 3)])
def test_no_consistency_proof_is_made_for_impossible_sizes(size1: int, size2: int) -> None:
    with pytest.raises(InvalidProof):
        merkle.consistency_proof(HASHES, size1, size2)

"""The tree against a textbook RFC 6962, written straight from the RFC's recursions, and against mutated proofs."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward_ledger import merkle
from twinward_ledger.errors import InvalidProof

HASHES = [merkle.leaf_hash(n.to_bytes(4, "big")) for n in range(300)]
sizes = st.integers(min_value=1, max_value=len(HASHES))


# --- the oracle: RFC 6962 section 2.1, as it stands there -------------------------------------------------------------
def textbook_root(d: list[bytes]) -> bytes:
    if len(d) == 1:
        return d[0]
    k = largest_power_below(len(d))
    return hashlib.sha256(b"\x01" + textbook_root(d[:k]) + textbook_root(d[k:])).digest()


def textbook_path(m: int, d: list[bytes]) -> list[bytes]:
    if len(d) == 1:
        return []
    k = largest_power_below(len(d))
    if m < k:
        return [*textbook_path(m, d[:k]), textbook_root(d[k:])]
    return [*textbook_path(m - k, d[k:]), textbook_root(d[:k])]


def textbook_subproof(m: int, d: list[bytes], b: bool) -> list[bytes]:
    if m == len(d):
        return [] if b else [textbook_root(d)]
    k = largest_power_below(len(d))
    if m <= k:
        return [*textbook_subproof(m, d[:k], b), textbook_root(d[k:])]
    return [*textbook_subproof(m - k, d[k:], False), textbook_root(d[:k])]


def largest_power_below(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


@given(sizes)
def test_root_is_the_textbooks(size: int) -> None:
    assert merkle.root(HASHES[:size]) == textbook_root(HASHES[:size])


@given(sizes, st.data())
def test_inclusion_is_the_textbooks_and_verifies(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(HASHES[:size], index)
    assert proof == textbook_path(index, HASHES[:size])
    merkle.verify_inclusion(index, size, HASHES[index], proof, merkle.root(HASHES[:size]))


@given(sizes, sizes)
def test_consistency_is_the_textbooks_and_verifies(one: int, other: int) -> None:
    size1, size2 = sorted((one, other))
    proof = merkle.consistency_proof(HASHES, size1, size2)
    assert proof == textbook_subproof(size1, HASHES[:size2], True)
    merkle.verify_consistency(size1, size2, proof, merkle.root(HASHES[:size1]), merkle.root(HASHES[:size2]))


@given(sizes)
def test_proofs_come_from_complete_subtrees_alone(size: int) -> None:
    """A reader that only holds subtrees complete at ``size`` is enough for every proof at that size."""
    plain = merkle.reader_over(HASHES[:size])

    def strict(level: int, index: int) -> bytes:
        assert (index + 1) << level <= size
        return plain(level, index)

    assert merkle.root_at(size, strict) == textbook_root(HASHES[:size])
    for index in {0, size // 2, size - 1}:
        merkle.inclusion_path(index, size, strict)
    for earlier in {1, (size + 1) // 2, size}:
        merkle.consistency_path(earlier, size, strict)


def mutations(data: st.DataObject, proof: list[bytes]) -> list[bytes]:
    """Anything but the proof itself."""
    changed = list(proof)
    kind = data.draw(st.sampled_from(["flip", "drop", "insert", "swap", "length"]))
    at = data.draw(st.integers(0, max(0, len(changed) - 1)))
    if kind == "insert" or not changed:
        changed.insert(at, data.draw(st.sampled_from(HASHES)))
    elif kind == "flip":
        bit = data.draw(st.integers(0, 255))
        value = bytearray(changed[at])
        value[bit // 8] ^= 1 << bit % 8
        changed[at] = bytes(value)
    elif kind == "drop":
        del changed[at]
    elif kind == "swap" and len(changed) > 1:
        changed[at - 1], changed[at] = changed[at], changed[at - 1]
    else:
        changed[at] = changed[at][: data.draw(st.integers(0, 31))]
    return changed


@given(sizes, st.data())
def test_a_mutated_inclusion_proof_is_refused(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(HASHES[:size], index)
    with pytest.raises(InvalidProof):
        merkle.verify_inclusion(index, size, HASHES[index], mutations(data, proof), merkle.root(HASHES[:size]))


@given(sizes, sizes, st.data())
def test_a_mutated_consistency_proof_is_refused(one: int, other: int, data: st.DataObject) -> None:
    size1, size2 = sorted((one, other))
    proof = mutations(data, merkle.consistency_proof(HASHES, size1, size2))
    with pytest.raises(InvalidProof):
        merkle.verify_consistency(size1, size2, proof, merkle.root(HASHES[:size1]), merkle.root(HASHES[:size2]))


@given(sizes, st.data())
def test_a_rewritten_leaf_breaks_consistency(size: int, data: st.DataObject) -> None:
    size2 = data.draw(st.integers(size, len(HASHES)))
    victim = data.draw(st.integers(0, size - 1))
    rewritten = [*HASHES[:victim], merkle.leaf_hash(b"rewritten"), *HASHES[victim + 1 :]]
    proof = merkle.consistency_proof(rewritten, size, size2)
    with pytest.raises(InvalidProof):
        merkle.verify_consistency(size, size2, proof, merkle.root(HASHES[:size]), merkle.root(rewritten[:size2]))


anything: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.binary(max_size=40), st.text(max_size=5)
)


@given(anything, anything, anything, st.lists(anything, max_size=5), anything)
def test_nonsense_is_an_invalid_proof_and_nothing_else(a: Any, b: Any, c: Any, proof: list[Any], d: Any) -> None:
    with pytest.raises(InvalidProof):
        merkle.verify_inclusion(a, b, c, proof, d)
    with pytest.raises(InvalidProof):
        merkle.verify_consistency(a, b, proof, c, d)

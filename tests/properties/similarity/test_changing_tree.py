"""An outsourced tree that changes answers what brute force answers, after any insertions, deletions and rebuilds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from twinward_crypto.errors import MalformedBundle, ParameterError
from twinward_crypto.matrix.encrypted_tree import NO_RECORD, EncryptedTree
from twinward_crypto.matrix.index import OutsourcedIndex, build_index, key_for
from twinward_crypto.matrix.token import make_token

D, TOP, LEAF = 2, 7, 3
LEVELS = st.lists(st.integers(0, TOP), min_size=D, max_size=D)


class ChangingTree(RuleBasedStateMachine):
    """Rows are plain dictionary entries beside the index; a second holder follows by patches alone."""

    @initialize(rows=st.lists(LEVELS, min_size=1, max_size=8))
    def build(self, rows: list[list[int]]) -> None:
        self.key = key_for(D, TOP)
        self.kept = dict(enumerate(rows))
        self.next = len(rows)
        self.index = build_index(self.key, np.array(rows), top=TOP, leaf_size=LEAF)
        self.copy = copied(self.index)

    @rule(levels=LEVELS)
    def insert(self, levels: list[int]) -> None:
        self.copy.apply(self.index.insert(self.next, levels))
        self.kept[self.next] = levels
        self.next += 1

    @rule(levels=LEVELS, count=st.integers(5, 12))
    def insert_the_same_again_and_again(self, levels: list[int], count: int) -> None:
        for _ in range(count):
            self.insert(levels)

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(sorted(self.kept)))
        self.copy.apply(self.index.delete(row))
        del self.kept[row]

    @precondition(lambda self: self.kept)
    @rule()
    def rebuild(self) -> None:
        self.key = key_for(D, TOP)
        self.index = self.index.rebuild(self.key, binding=bytes(32))
        self.copy = copied(self.index)
        assert not self.index.worn

    @rule(query=LEVELS, radius=st.integers(0, 3 * TOP * TOP))
    def search(self, query: list[int], radius: int) -> None:
        token = make_token(self.key, query, radius, top=TOP)
        expected = sorted(row for row, levels in self.kept.items() if distance(levels, query) <= radius)
        for tree in (self.index.tree, self.copy):
            assert sorted(self.index.rows[tree.search(token).positions].tolist()) == expected

    @invariant()
    def shape_holds(self) -> None:
        if hasattr(self, "index"):
            held = self.index.tree.leaves[self.index.tree.leaves != NO_RECORD]
            assert len(held) == len(set(held.tolist())) == len(self.kept) == len(self.index)


def distance(one: list[int], other: list[int]) -> int:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def copied(index: OutsourcedIndex) -> EncryptedTree:
    tree = index.tree
    return EncryptedTree(
        size=tree.size,
        binding=tree.binding,
        inner=tree.inner.copy(),
        children=tree.children.copy(),
        leaves=tree.leaves.copy(),
        records=tree.records.copy(),
        root=tree.root,
    )


ChangingTree.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestChangingTree = ChangingTree.TestCase


def test_a_deleted_record_is_erased_and_half_the_records_make_a_tree_worn() -> None:
    index = build_index(key_for(D, TOP), np.array([[k % 8, k // 8] for k in range(40)]), top=TOP, leaf_size=LEAF)
    position = int(np.flatnonzero(index.rows == 5)[0])
    index.delete(5)
    assert not index.tree.records[position].any()
    assert not index.worn
    for row in range(6, 27):
        index.delete(row)
    assert index.worn


def test_what_cannot_be_changed_is_refused_and_changes_nothing() -> None:
    index = build_index(key_for(D, TOP), np.array([[1, 2], [3, 4]]), top=TOP)
    for change, part in (
        (lambda: index.insert(0, [1, 2]), "row"),
        (lambda: index.insert(2, [1, 8]), "levels"),
        (lambda: index.insert(2, [1]), "dimension"),
        (lambda: index.delete(9), "row"),
    ):
        with pytest.raises(ParameterError) as refusal:
            change()
        assert refusal.value.part == part
    assert len(index) == 2
    assert index.tree.revision == 0


def test_changes_come_in_order_each_once() -> None:
    index = build_index(key_for(D, TOP), np.array([[1, 2], [3, 4]]), top=TOP)
    behind = copied(index)
    first, second = index.insert(2, [5, 5]), index.insert(3, [6, 6])
    with pytest.raises(MalformedBundle, match="1 comes next"):
        behind.apply(second)
    behind.apply(first)
    with pytest.raises(MalformedBundle, match="2 comes next"):
        behind.apply(first)
    assert len(behind.records) == 3

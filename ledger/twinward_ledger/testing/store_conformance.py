"""The suite every log store passes. A store's test subclasses it and gives ``open_store``."""

# ruff: noqa: S101 - pytest tests that ship with the package
from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from twinward_ledger import merkle
from twinward_ledger.errors import KeyReplaced, LogUnavailable, MalformedLeaf, NoSuchEntry, Rollback
from twinward_ledger.log.store import MAX_BODY_BYTES, MAX_LEAF_BYTES, MAX_TAGS, Entry, KeyChange, LogStore

TAG_A, TAG_B = b"a" * 16, b"b" * 16


def numbered(count: int, start: int = 0) -> list[Entry]:
    """Distinct entries; every third carries ``TAG_A``."""
    return [
        Entry(b"leaf %d" % n, b"body %d" % n, (TAG_A, TAG_B) if n % 3 == 0 else (TAG_B,))
        for n in range(start, start + count)
    ]


def expected_root(count: int) -> bytes:
    """The root over the first ``count`` numbered entries, from plain RFC 6962."""
    return merkle.root([merkle.leaf_hash(entry.leaf) for entry in numbered(count)])


class LogStoreConformance:
    """What ``store.LogStore`` promises, as tests."""

    @pytest.fixture
    def open_store(self) -> Callable[[], LogStore]:
        """Opens the same storage each time it is called; subclasses give it."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, open_store: Callable[[], LogStore]) -> LogStore:
        """An empty store."""
        return open_store()

    def test_an_empty_log_has_the_empty_root(self, store: LogStore) -> None:
        """Nothing in it, nothing to ask."""
        assert (store.size(), store.root(), store.checkpoint()) == (0, merkle.EMPTY_ROOT, None)
        assert list(store.leaves(0, 10)) == []
        assert store.find(TAG_A) == []
        assert store.append([]) == range(0)

    def test_indices_follow_one_another(self, store: LogStore) -> None:
        """Each append says where its entries went."""
        assert store.append(numbered(3)) == range(3)
        assert store.append(numbered(2, 3)) == range(3, 5)
        assert store.append([]) == range(5, 5)
        assert store.size() == 5

    @pytest.mark.parametrize("sizes", [[1, 1, 1], [255, 1, 1], [256], [257, 255, 600], [1000, 1]])
    def test_the_root_is_rfc_6962s(self, store: LogStore, sizes: list[int]) -> None:
        """However appends are cut, over the edges of tiles too."""
        total = 0
        for count in sizes:
            store.append(numbered(count, total))
            total += count
            assert store.root() == expected_root(total)

    def test_every_complete_node_and_no_other(self, store: LogStore) -> None:
        """Nodes are the tree's; an incomplete or absent one is refused."""
        store.append(numbered(600))
        plain = merkle.reader_over([merkle.leaf_hash(entry.leaf) for entry in numbered(600)])
        for level in range(10):
            complete = 600 >> level
            for index in {0, complete // 2, complete - 1}:
                assert store.node(level, index) == plain(level, index)
            with pytest.raises(NoSuchEntry):
                store.node(level, complete)
        assert len(store.tile((0, 2))) == (600 - 512) * 32
        assert store.tile((1, 0)) == plain(8, 0) + plain(8, 1)
        assert store.tile((0, 3)) == store.tile((2, 0)) == b""
        for level, index in [(-1, 0), (0, -1), (64, 0), (63, 0), (10, 0), (0, 2**70)]:
            with pytest.raises(NoSuchEntry):
                store.node(level, index)

    def test_entries_come_back_byte_for_byte(self, store: LogStore) -> None:
        """Zeros, emptiness and the largest sizes too."""
        odd = [
            Entry(b"\0", b"", ()),
            Entry(b"\xff" * MAX_LEAF_BYTES, b"\0" * MAX_BODY_BYTES, tuple(bytes([n]) * 16 for n in range(MAX_TAGS))),
            *numbered(2),
        ]
        store.append(odd)
        assert [store.entry(index) for index in range(4)] == odd
        assert store.entries(0, 4) == odd
        assert store.entries(2, 99) == odd[2:]
        assert store.entries(-1, 1) == odd[:1]
        assert store.entries(4, 9) == store.entries(3, 2) == []
        assert store.picked([0, 2, 3]) == [odd[0], *odd[2:]]
        assert store.picked([]) == []
        assert list(store.leaves(0, 4)) == [entry.leaf for entry in odd]
        assert list(store.leaves(1, 2)) == [odd[1].leaf]
        assert list(store.leaves(3, 99)) == [odd[3].leaf]

    @pytest.mark.parametrize("index", [-1, 3, 2**70])
    def test_an_index_outside_is_refused(self, store: LogStore, index: int) -> None:
        """Neither read nor erased."""
        store.append(numbered(3))
        with pytest.raises(NoSuchEntry):
            store.entry(index)
        with pytest.raises(NoSuchEntry):
            store.picked([0, index])
        with pytest.raises(NoSuchEntry):
            store.erase_body(index)

    @pytest.mark.parametrize(
        "bad",
        [
            Entry(b"", b""),
            Entry(b"x" * (MAX_LEAF_BYTES + 1), b""),
            Entry(b"x", b"x" * (MAX_BODY_BYTES + 1)),
            Entry(b"x", b"", (b"short",)),
            Entry(b"x", b"", (TAG_A,) * (MAX_TAGS + 1)),
        ],
        ids=["empty leaf", "long leaf", "long body", "short tag", "many tags"],
    )
    def test_one_bad_entry_and_none_is_written(self, store: LogStore, bad: Entry) -> None:
        """All or none."""
        with pytest.raises(MalformedLeaf):
            store.append([*numbered(2), bad])
        assert (store.size(), store.root()) == (0, merkle.EMPTY_ROOT)

    def test_tags_find_newest_first(self, store: LogStore) -> None:
        """Paged by ``before``; a tag that is repeated in an entry counts once."""
        store.append(numbered(10))
        store.append([Entry(b"x", b"", (TAG_A, TAG_A))])
        assert store.find(TAG_A) == [10, 9, 6, 3, 0]
        assert store.find(TAG_A, before=9, limit=2) == [6, 3]
        assert store.find(TAG_A, before=0) == []
        assert store.find(TAG_A, limit=0) == []
        assert store.find(b"c" * 16) == []

    def test_erasing_a_body_leaves_the_tree(self, store: LogStore) -> None:
        """The leaf, the tags and the root stand; erasing twice is harmless."""
        store.append(numbered(4))
        before = store.root()
        store.erase_body(3)
        store.erase_body(3)
        assert store.entry(3) == Entry(b"leaf 3", b"", (TAG_A, TAG_B))
        assert store.entry(2).body == b"body 2"
        assert store.root() == before
        assert store.find(TAG_A) == [3, 0]

    def test_checkpoints_never_go_back(self, store: LogStore) -> None:
        """The newest is given; a smaller one, or one of entries that are not there, is refused."""
        store.append(numbered(8))
        store.save_checkpoint(0, b"zero")
        store.save_checkpoint(5, b"five")
        store.save_checkpoint(5, b"five, cosigned")
        for size in (4, 9, -1):
            with pytest.raises(Rollback):
                store.save_checkpoint(size, b"no")
        assert store.checkpoint() == b"five, cosigned"
        assert store.checkpoints() == [(0, b"zero"), (5, b"five, cosigned")]

    def test_a_change_of_the_key_is_kept_with_its_checkpoint_or_not_at_all(
        self, open_store: Callable[[], LogStore]
    ) -> None:
        """And from then on nothing of a signer that does not know it, in whatever process."""
        store, other = open_store(), open_store()
        assert store.key_changes() == []
        store.append(numbered(5))
        store.save_checkpoint(3, b"three", key_changes=0)
        first, second = KeyChange(1, 5, "one", b"both"), KeyChange(2, 5, "two", b"three keys")
        for bad, error in (
            (KeyChange(2, 5, "one", b"both"), KeyReplaced),
            (KeyChange(1, 2, "one", b"both"), Rollback),
            (KeyChange(1, 6, "one", b"both"), Rollback),
        ):
            with pytest.raises(error):
                store.change_key(bad)
        assert (store.key_changes(), store.checkpoint()) == ([], b"three")
        store.change_key(first)
        for one in (store, other):
            with pytest.raises(KeyReplaced):
                one.change_key(first)
            for known in (0, 2):
                with pytest.raises(KeyReplaced):
                    one.save_checkpoint(5, b"stale", key_changes=known)
            assert (one.key_changes(), one.checkpoint()) == ([first], b"both")
        other.save_checkpoint(5, b"both, cosigned", key_changes=1)
        other.change_key(second)
        again = open_store()
        assert (again.key_changes(), again.checkpoint()) == ([first, second], b"three keys")
        for one in (store, other, again):
            one.close()

    def test_everything_is_there_after_reopening(self, open_store: Callable[[], LogStore]) -> None:
        """Storage outlives the object, and appending goes on where it stopped."""
        first = open_store()
        first.append(numbered(300))
        first.save_checkpoint(300, b"note")
        first.close()
        first.close()
        second = open_store()
        assert (second.size(), second.root(), second.checkpoint()) == (300, expected_root(300), b"note")
        assert second.append(numbered(300, 300)) == range(300, 600)
        assert second.root() == expected_root(600)
        second.close()

    def test_two_openers_append_to_one_log(self, open_store: Callable[[], LogStore]) -> None:
        """Each sees what the other wrote before it writes."""
        one, other = open_store(), open_store()
        for start in range(0, 12, 4):
            assert one.append(numbered(2, start)) == range(start, start + 2)
            assert other.append(numbered(2, start + 2)) == range(start + 2, start + 4)
        assert one.root() == other.root() == expected_root(12)
        one.close()
        other.close()

    def test_threads_append_side_by_side(self, store: LogStore) -> None:
        """Every caller gets indices of its own, and each entry stands where its caller was told."""
        told: dict[int, bytes] = {}

        def work(worker: int) -> None:
            for turn in range(10):
                leaves = [b"%d/%d/%d" % (worker, turn, n) for n in range(3)]
                told.update(zip(store.append([Entry(leaf, b"") for leaf in leaves]), leaves, strict=True))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(told) == list(range(240))
        assert list(store.leaves(0, 240)) == [told[index] for index in range(240)]
        assert store.root() == merkle.root([merkle.leaf_hash(told[index]) for index in range(240)])

    def test_openers_append_side_by_side(self, open_store: Callable[[], LogStore]) -> None:
        """As processes would that share one log: nobody's entries are lost, refused or put where another's are."""
        stores = [open_store() for _ in range(3)]
        told: dict[int, bytes] = {}

        def work(worker: int) -> None:
            for turn in range(10):
                leaves = [b"%d/%d/%d" % (worker, turn, n) for n in range(3)]
                told.update(zip(stores[worker].append([Entry(leaf, b"") for leaf in leaves]), leaves, strict=True))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(told) == list(range(90))
        assert list(stores[0].leaves(0, 90)) == [told[index] for index in range(90)]
        assert stores[0].root() == merkle.root([merkle.leaf_hash(told[index]) for index in range(90)])
        for store in stores:
            store.close()

    def test_a_closed_store_is_unavailable(self, store: LogStore) -> None:
        """Never a backend's own error."""
        store.append(numbered(1))
        store.close()
        for use in (
            lambda: store.append(numbered(1)),
            store.size,
            store.root,
            lambda: store.node(0, 0),
            lambda: store.tile((0, 0)),
            lambda: store.entry(0),
            lambda: store.picked([0]),
            lambda: list(store.leaves(0, 1)),
            lambda: store.find(TAG_A),
            lambda: store.erase_body(0),
            lambda: store.save_checkpoint(1, b"n"),
            store.checkpoint,
            store.checkpoints,
            store.key_changes,
            lambda: store.change_key(KeyChange(1, 1, "key", b"n")),
        ):
            with pytest.raises(LogUnavailable):
                use()

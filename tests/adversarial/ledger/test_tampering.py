"""Someone with write access to the log's file, at every level of skill. ``fsck`` names where they were."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinward_crypto.errors import InvalidSignature
from twinward_ledger import merkle
from twinward_ledger.errors import LogCorrupt
from twinward_ledger.formats.checkpoint import Checkpoint, sign_checkpoint
from twinward_ledger.formats.note import NoteSigner
from twinward_ledger.log import tiles
from twinward_ledger.log.fsck import fsck
from twinward_ledger.log.log import Log
from twinward_ledger.log.store import Entry
from twinward_ledger.stores.sqlite import SqliteLogStore

SIGNER = NoteSigner("st-anna.example/access", bytes(range(32)))
SIZE, SIGNED = 1000, (10, 300, 700, 990)


@dataclass
class Tampered:
    """A copy of the log, open to anything."""

    path: Path

    def sql(self, statement: str, *parameters: object) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(statement, parameters)

    def leaves(self) -> list[bytes]:
        with closing(sqlite3.connect(self.path)) as connection:
            return [row[0] for row in connection.execute("SELECT leaf FROM leaves ORDER BY idx")]

    def rewrite(self, leaves: Sequence[bytes], *, up_to_level: int = 9) -> None:
        """The skilled deed: other leaves, and every stored hash made to fit them, up to a tile level."""
        self.sql("DELETE FROM leaves")
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.executemany("INSERT INTO leaves VALUES (?, ?)", enumerate(leaves))
            connection.execute("UPDATE head SET size = ?", (len(leaves),))
            changed = tiles.RightEdge().extend(map(merkle.leaf_hash, leaves))
            for (level, index), row in changed.items():
                if level < up_to_level:
                    connection.execute("INSERT OR REPLACE INTO tiles VALUES (?, ?)", (level << 56 | index, row))

    def check(self, notes: Sequence[bytes] = ()) -> LogCorrupt | None:
        store = SqliteLogStore(self.path, read_only=True)
        try:
            fsck(store, SIGNER.key, notes)
        except LogCorrupt as error:
            return error
        finally:
            store.close()
        return None


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 1,000 entries with checkpoints at some sizes, the newest ten entries unsigned."""
    path = tmp_path_factory.mktemp("log") / "log.db"
    log = Log(SqliteLogStore(path), SIGNER)
    for size in (*SIGNED, SIZE):
        start = log.store.size()
        log.append([Entry(b"leaf %d" % n, b"body %d" % n) for n in range(start, size)])
        if size != SIZE:
            log.checkpoint()
    log.store.close()
    return path


@pytest.fixture
def copy(honest: Path, tmp_path: Path) -> Tampered:
    return Tampered(Path(shutil.copy(honest, tmp_path / "copy.db")))


def test_an_honest_log_passes(copy: Tampered) -> None:
    store = SqliteLogStore(copy.path, read_only=True)
    report = fsck(store, SIGNER.key)
    assert (report.size, report.signed_size, report.checkpoints) == (SIZE, 990, 4)
    assert report.root == merkle.root([merkle.leaf_hash(b"leaf %d" % n) for n in range(SIZE)])
    store.close()


def test_an_empty_log_passes(tmp_path: Path) -> None:
    store = SqliteLogStore(tmp_path / "log.db")
    assert fsck(store, SIGNER.key).size == 0
    Log(store, SIGNER).checkpoint()
    assert fsck(store, SIGNER.key).checkpoints == 1
    store.close()


@pytest.mark.parametrize("index", [0, 1, 255, 256, 511, 767, 768, 989, 990, 999])
def test_a_changed_leaf_is_named(copy: Tampered, index: int) -> None:
    copy.sql("UPDATE leaves SET leaf = ? WHERE idx = ?", b"changed", index)
    assert named(copy) == index


@pytest.mark.parametrize("index", [0, 255, 256, 700, 999])
def test_a_deleted_leaf_is_named(copy: Tampered, index: int) -> None:
    copy.sql("DELETE FROM leaves WHERE idx = ?", index)
    assert named(copy) == index


@pytest.mark.parametrize("index", [0, 255, 256, 700, 998])
def test_a_leaf_deleted_and_the_gap_closed_is_named(copy: Tampered, index: int) -> None:
    leaves = copy.leaves()
    del leaves[index]
    copy.rewrite(leaves, up_to_level=0)
    assert named(copy) == index


@pytest.mark.parametrize(("one", "other"), [(0, 999), (3, 4), (255, 256), (300, 800)])
def test_swapped_leaves_are_named_by_the_first(copy: Tampered, one: int, other: int) -> None:
    leaves = copy.leaves()
    leaves[one], leaves[other] = leaves[other], leaves[one]
    copy.rewrite(leaves, up_to_level=0)
    assert named(copy) == one


def test_an_inserted_leaf_is_named(copy: Tampered) -> None:
    leaves = copy.leaves()
    leaves.insert(400, b"inserted")
    copy.rewrite(leaves, up_to_level=0)
    assert named(copy) == 400


@pytest.mark.parametrize("size", [0, 1, 256, 500, 989])
def test_a_truncated_log_is_caught(copy: Tampered, size: int) -> None:
    copy.sql("DELETE FROM leaves WHERE idx >= ?", size)
    assert named(copy) == size
    copy.sql("UPDATE head SET size = ?", size)
    assert named(copy) == size


def test_a_leaf_appended_behind_the_end_is_named(copy: Tampered) -> None:
    copy.sql("INSERT INTO leaves VALUES (?, ?)", SIZE, b"appended")
    assert named(copy) == SIZE
    copy.sql("UPDATE head SET size = ?", SIZE + 1)
    assert named(copy) == SIZE


@pytest.mark.parametrize("index", [0, 255, 300, 767])
def test_a_leaf_changed_with_its_own_hash_is_found_in_its_block(copy: Tampered, index: int) -> None:
    """The hash beside it was changed too, the one above was not."""
    leaves = copy.leaves()
    leaves[index] = b"changed"
    copy.rewrite(leaves, up_to_level=1)
    found = named(copy)
    assert found <= index < found + 256


@pytest.mark.parametrize("index", [0, 9, 10, 299, 300, 699, 700, 989])
def test_every_stored_hash_changed_too_and_the_signature_still_tells(copy: Tampered, index: int) -> None:
    """Between two checkpoints of which one still fits: as exact as the checkpoints are dense."""
    leaves = copy.leaves()
    leaves[index] = b"changed"
    copy.rewrite(leaves)
    bounds = [0, *SIGNED]
    expected = max(bound for bound in bounds if bound <= index)
    assert named(copy) == expected


def test_an_older_note_from_a_witness_narrows_it_down(copy: Tampered) -> None:
    leaves = copy.leaves()
    leaves[500] = b"changed"
    copy.rewrite(leaves)
    hashes = [merkle.leaf_hash(b"leaf %d" % n) for n in range(SIZE)]
    notes = [
        sign_checkpoint(Checkpoint(SIGNER.key.name, size, merkle.root(hashes[:size])), SIGNER).encode()
        for size in (499, 502)
    ]
    error = copy.check(notes)
    assert error is not None
    assert error.first_bad_index == 499


def test_dropped_checkpoints_do_not_help_against_a_witnesss_note(copy: Tampered) -> None:
    with closing(sqlite3.connect(copy.path)) as connection:
        note = connection.execute("SELECT note FROM checkpoints WHERE size = 990").fetchone()[0]
    leaves = copy.leaves()
    copy.rewrite(leaves[:500])
    copy.sql("DELETE FROM checkpoints")
    assert copy.check() is None  # nothing in the file contradicts it any more
    error = copy.check([bytes(note)])
    assert error is not None
    assert error.first_bad_index == 500


def test_a_rewritten_checkpoint_is_not_the_logs(copy: Tampered) -> None:
    forged = sign_checkpoint(Checkpoint("x", 990, bytes(32)), NoteSigner("x", bytes(32))).encode()
    copy.sql("UPDATE checkpoints SET note = ? WHERE size = 990", forged)
    assert copy.check() is not None
    copy.sql("DELETE FROM checkpoints")
    with pytest.raises(InvalidSignature):
        copy.check([forged])


def test_a_checkpoint_filed_under_another_size_is_caught(copy: Tampered) -> None:
    copy.sql("UPDATE checkpoints SET size = 989 WHERE size = 990")
    assert copy.check() is not None


@pytest.mark.parametrize(
    "statement", ["DELETE FROM tiles", "UPDATE tiles SET hashes = x''", "DELETE FROM tiles WHERE id > 4"]
)
def test_damaged_hashes_are_caught(copy: Tampered, statement: str) -> None:
    copy.sql(statement)
    assert copy.check() is not None


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def flip_in(copy: Tampered, table: str, column: str, key: str, row: int, bit: int) -> None:
    with closing(sqlite3.connect(copy.path)) as connection, connection:
        content = connection.execute(f"SELECT {column} FROM {table} WHERE {key} = ?", (row,)).fetchone()[0]
        bit %= 8 * len(content)
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (flipped(content, bit), row))


@settings(max_examples=40)
@given(index=st.integers(0, SIZE - 1), bit=st.integers(0, 1 << 12))
def test_a_bit_flipped_in_a_leaf_names_it(
    honest: Path, tmp_path_factory: pytest.TempPathFactory, index: int, bit: int
) -> None:
    copy = Tampered(Path(shutil.copy(honest, tmp_path_factory.mktemp("leaf") / "copy.db")))
    flip_in(copy, "leaves", "leaf", "idx", index, bit)
    assert named(copy) == index


@settings(max_examples=40)
@given(index=st.integers(0, SIZE - 1), bit=st.integers(0, 255))
def test_a_bit_flipped_in_a_stored_leaf_hash_names_its_leaf(
    honest: Path, tmp_path_factory: pytest.TempPathFactory, index: int, bit: int
) -> None:
    """Leaves and roots are sound, and still every proof that needs this hash would be wrong."""
    copy = Tampered(Path(shutil.copy(honest, tmp_path_factory.mktemp("hash") / "copy.db")))
    tile, place = divmod(index, tiles.TILE_WIDTH)
    flip_in(copy, "tiles", "hashes", "id", tile, 256 * place + bit)
    assert named(copy) == index


@pytest.mark.parametrize("bit", [0, 1, 100, 255])
@pytest.mark.parametrize("block", range(SIZE // tiles.TILE_WIDTH))
def test_a_bit_flipped_in_a_hash_higher_up_names_the_block_below_it(copy: Tampered, block: int, bit: int) -> None:
    flip_in(copy, "tiles", "hashes", "id", 1 << 56, 256 * block + bit)
    # From the last checkpoint that fits within the block, or from the block's own beginning.
    fitting = [size for size in SIGNED if 0 <= size - block * tiles.TILE_WIDTH <= tiles.TILE_WIDTH]
    assert named(copy) == max([block * tiles.TILE_WIDTH, *fitting])


@settings(max_examples=60)
@given(size=st.sampled_from(SIGNED), bit=st.integers(0, 1 << 12))
def test_a_bit_flipped_in_a_checkpoint_is_caught(
    honest: Path, tmp_path_factory: pytest.TempPathFactory, size: int, bit: int
) -> None:
    copy = Tampered(Path(shutil.copy(honest, tmp_path_factory.mktemp("note") / "copy.db")))
    flip_in(copy, "checkpoints", "note", "size", size, bit)
    error = copy.check()
    assert error is not None
    assert error.first_bad_index is None  # no entry is other than it was
    assert str(size) in str(error)


@pytest.mark.parametrize("bit", range(12))
def test_a_bit_flipped_in_the_size_names_where_the_log_should_end(copy: Tampered, bit: int) -> None:
    copy.sql("UPDATE head SET size = ?", SIZE ^ 1 << bit)
    assert named(copy) == min(SIZE, SIZE ^ 1 << bit)


def test_a_missing_head_is_caught(copy: Tampered) -> None:
    copy.sql("DELETE FROM head")
    assert copy.check() is not None


Deed = Callable[[list[bytes], int, int], None]


@settings(max_examples=40)
@given(st.data())
def test_any_deed_on_any_leaves_is_caught(
    honest: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Among signed entries, whatever is done to leaves and however far hashes are adjusted, it is found."""
    copy = Tampered(Path(shutil.copy(honest, tmp_path_factory.mktemp("deed") / "copy.db")))
    leaves = copy.leaves()
    first = data.draw(st.integers(0, 989))
    match data.draw(st.sampled_from(["change", "delete", "insert", "swap", "truncate"])):
        case "change":
            leaves[first] += b"!"
        case "delete":
            del leaves[first]
        case "insert":
            leaves.insert(first, b"inserted")
        case "swap":
            second = data.draw(st.integers(first + 1, SIZE - 1))
            leaves[first], leaves[second] = leaves[second], leaves[first]
        case _:
            del leaves[first:]
    copy.rewrite(leaves, up_to_level=data.draw(st.integers(0, 3)))
    assert named(copy) <= first


def named(copy: Tampered) -> int:
    error = copy.check()
    assert error is not None
    assert error.first_bad_index is not None
    return error.first_bad_index

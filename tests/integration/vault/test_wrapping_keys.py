"""Keys between the KEK and twins' keys: what a rotation moves, and that none shelters what was shredded."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.first_kek import with_first_kek
from tests.integration.vault.conftest import TENANT
from twinward.core.clock import FixedClock
from twinward.core.ids import new_twin_id
from twinward.core.vocabulary import Category, TwinId
from twinward.vault.errors import RecordDamaged, TwinNotFound, TwinShredded
from twinward.vault.keys import rotation, wrapping_keys
from twinward.vault.keys.keyring import Keyring
from twinward.vault.keys.twin_keys import CACHE_TTL_MS
from twinward_crypto import hierarchy
from twinward_crypto.envelope import open_sealed
from twinward_crypto.errors import KeyProviderError, OpenError
from twinward_crypto.keys import KekId, WrappedKey
from twinward_crypto.testing.memory_provider import MemoryKeyProvider

FEW = 3
"""Twins under one wrapping key, here."""


class Counting(MemoryKeyProvider):
    """Counts keys that it is asked to rewrap and to unwrap."""

    rewrapped = unwrapped = 0

    def unwrap(self, key: KekId, wrapped: bytes, context: bytes) -> bytes:
        self.unwrapped += 1
        return super().unwrap(key, wrapped, context)

    def rewrap_many(self, source: KekId, target: KekId, keys: Sequence[WrappedKey]) -> list[bytes]:
        self.rewrapped += len(keys)
        return super().rewrap_many(source, target, keys)


class Ring:
    """A keyring in a file, what a thief copies of it, and what the thief then opens."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "keyring.db"
        self.clock = FixedClock()
        self.provider = with_first_kek(Counting())
        self.keyring = Keyring(self.path, self.provider, TENANT, self.clock)

    def make(self, many: int) -> list[TwinId]:
        twins = [new_twin_id(self.clock.now_ms()) for _ in range(many)]
        self.keyring.create_all(twins)
        return twins

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(sql).fetchall()

    def write(self, sql: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(sql)

    def wrapping(self) -> dict[int, tuple[int, bytes]]:
        """Number → KEK version, wrapped."""
        found = self.rows("SELECT number, kek_version, wrapped FROM wrapping_key")
        return {number: (version, wrapped) for number, version, wrapped in found}  # type: ignore[misc]

    def stolen(self) -> list[tuple[TwinId, int, int, bytes]]:
        """Twins' wrapped keys: twin, generation, wrapping key, bytes."""
        return self.rows("SELECT twin, generation, wrapping_key, wrapped FROM wrapped_twin_key")  # type: ignore[return-value]

    def opened(self, copies: Sequence[dict[int, tuple[int, bytes]]]) -> dict[int, list[bytes]]:
        """Wrapping keys that the key service still opens out of copies of the table."""
        found: dict[int, list[bytes]] = {}
        for copy in copies:
            for number, (version, wrapped) in copy.items():
                try:
                    key = self.provider.unwrap(
                        KekId(TENANT, version), wrapped, hierarchy.wrapping_context(TENANT, number)
                    )
                except KeyProviderError:
                    continue
                found.setdefault(number, []).append(key)
        return found


@pytest.fixture
def ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ring]:
    monkeypatch.setattr(wrapping_keys, "TWINS_PER_WRAPPING_KEY", FEW)
    made = Ring(tmp_path)
    yield made
    made.keyring.close()


def test_a_rotation_rewraps_wrapping_keys_alone(ring: Ring) -> None:
    ring.make(8)
    before = ring.stolen()
    assert ring.keyring.rotation_plan().keys == 8
    seen: list[tuple[int, int]] = []
    assert ring.keyring.rotate(lambda *said: seen.append(said)) == 2
    assert ring.keyring.retire() == [1]
    assert (ring.provider.rewrapped, seen) == (3, [(8, 8)])
    assert ring.stolen() == before
    assert ring.keyring.census().wrapped == {2: 8}


def test_what_is_made_after_a_rotation_is_under_a_new_wrapping_key(ring: Ring) -> None:
    (first,) = ring.make(1)
    ring.make(1)
    ring.keyring.rotate()
    (late,) = ring.make(1)
    under = {twin: number for twin, _, number, _ in ring.stolen()}
    assert under[first] != under[late]
    assert len(set(under.values())) == 2


@pytest.mark.parametrize("categories", [(), (Category.LABS,)])
def test_a_shredding_renews_what_wrapped_the_key(ring: Ring, categories: tuple[Category, ...]) -> None:
    twins = ring.make(5)
    before, numbers = {twin: (number, wrapped) for twin, _, number, wrapped in ring.stolen()}, set(ring.wrapping())
    audit = {twin: ring.keyring.audit_key(twin) for twin in twins}
    ring.keyring.shred(twins[0], categories)
    after = {twin: (number, wrapped) for twin, _, number, wrapped in ring.stolen()}
    gone = numbers - set(ring.wrapping())
    assert gone == {before[twins[0]][0]}
    neighbours = {twin for twin, (number, _) in before.items() if number in gone}
    assert all((before[twin] != after.get(twin)) == (twin in neighbours) for twin in twins)
    ring.clock.advance(CACHE_TTL_MS)
    assert all(ring.keyring.audit_key(twin) == audit[twin] for twin in twins[1:])


def test_old_copies_and_everything_that_is_kept_do_not_open_what_was_shredded(ring: Ring) -> None:
    """Erasures, rotations, renewals and new patients in any order; the thief copies the keyring at every step."""
    for seed in range(6):
        chance = random.Random(seed)
        living = {twin: ring.keyring.audit_key(twin) for twin in ring.make(7)}
        tables, keys = [ring.wrapping()], {(twin, generation): (n, w) for twin, generation, n, w in ring.stolen()}
        shredded: list[TwinId] = []
        for _ in range(14):
            step = chance.choice(["make", "rotate", "renew", "shred", "category", "retire"])
            if step == "make":
                living |= {twin: ring.keyring.audit_key(twin) for twin in ring.make(chance.randrange(1, 5))}
            elif step in ("rotate", "renew"):
                ring.keyring.rotate(renew=step == "renew")
            elif step == "retire":
                ring.keyring.retire()
            elif living:
                twin = chance.choice(sorted(living))
                ring.keyring.shred(twin, [Category.LABS] if step == "category" else [])
                if step == "shred":
                    shredded.append(twin)
                    living.pop(twin)
            tables.append(ring.wrapping())
            keys |= {(twin, generation): (number, sealed) for twin, generation, number, sealed in ring.stolen()}
        ring.keyring.rotate(beyond=max(one.kek_version for one in ring.keyring.unfinished()) if shredded else 0)
        ring.keyring.retire()
        opened = ring.opened([*tables, ring.wrapping()])
        standing = {(twin, generation) for twin, generation, _, _ in ring.stolen()}
        for (twin, generation), (number, sealed) in keys.items():
            if (twin, generation) in standing:
                continue
            place = hierarchy.inner_contexts(TENANT, number)(twin, generation)
            for key in opened.get(number, []):
                with pytest.raises(OpenError):
                    open_sealed(key, sealed, place)
            assert number not in opened, "a wrapping key of a shredded key is still to be had"
        ring.clock.advance(CACHE_TTL_MS)
        assert all(ring.keyring.audit_key(twin) == key for twin, key in living.items())
        for twin in shredded:
            with pytest.raises(TwinShredded):
                ring.keyring.audit_key(twin)


def test_a_renewal_leaves_nothing_under_wrapping_keys_of_before(ring: Ring) -> None:
    twins = ring.make(7)
    audit = [ring.keyring.audit_key(twin) for twin in twins]
    leaked = ring.opened([ring.wrapping()])
    ring.keyring.rotate(renew=True)
    assert not leaked.keys() & ring.wrapping().keys()
    for twin, generation, number, sealed in ring.stolen():
        for key in (key for some in leaked.values() for key in some):
            with pytest.raises(OpenError):
                open_sealed(key, sealed, hierarchy.inner_contexts(TENANT, number)(twin, generation))
    ring.clock.advance(CACHE_TTL_MS)
    assert [ring.keyring.audit_key(twin) for twin in twins] == audit


def test_a_neighbour_that_does_not_open_stops_an_erasure_before_anything_is_gone(ring: Ring) -> None:
    first, second, third = ring.make(3)
    with closing(sqlite3.connect(ring.path)) as connection, connection:
        connection.execute("UPDATE wrapped_twin_key SET wrapped = zeroblob(112) WHERE twin = ?", (second,))
    with pytest.raises(RecordDamaged, match=second):
        ring.keyring.shred(first)
    assert ring.keyring.unfinished() == []
    for twin in (first, third):
        assert ring.keyring.audit_key(twin)


@pytest.mark.parametrize("named", [0, 2])
def test_a_row_that_names_another_wrapping_key_does_not_keep_its_own_from_being_renewed(ring: Ring, named: int) -> None:
    """Whoever writes the database puts the row back afterwards: its wrapping key must not have been carried on."""
    ring.make(FEW + 1)
    doomed, _, own, _ = next(one for one in ring.stolen() if one[2] == 1)
    ring.write(f"UPDATE wrapped_twin_key SET wrapping_key = {named}, kek_version = 1 WHERE twin = '{doomed}'")
    ring.keyring.shred(doomed)
    ring.keyring.rotate()
    ring.keyring.retire()
    assert own not in ring.opened([ring.wrapping()])
    assert ring.keyring.census().wrapped == {2: FEW}


def test_many_keys_are_fetched_with_one_call_a_wrapping_key(ring: Ring) -> None:
    twins = ring.make(8)
    gone, broken, *others = twins
    ring.keyring.shred(gone)
    with closing(sqlite3.connect(ring.path)) as connection, connection:
        connection.execute("UPDATE wrapped_twin_key SET wrapped = zeroblob(112) WHERE twin = ?", (broken,))
    unknown, expected = new_twin_id(1), new_twin_id(2)
    ring.keyring.reserve([expected])
    ring.clock.advance(CACHE_TTL_MS)
    ring.provider.unwrapped = 0
    ring.keyring.fetch([*twins, unknown, expected])
    assert ring.provider.unwrapped == 3
    assert len({ring.keyring.keys(twin).audit_key() for twin in others}) == 6
    assert ring.provider.unwrapped == 3
    refused = {gone: TwinShredded, broken: RecordDamaged, unknown: TwinNotFound, expected: TwinNotFound}
    for twin, error in refused.items():
        with pytest.raises(error):
            ring.keyring.keys(twin)
    under = {twin: number for twin, _, number, _ in ring.stolen()}
    last = next(twin for twin in others if under[twin] != under[broken])
    ring.keyring.shred(last)
    with pytest.raises(TwinShredded):
        ring.keyring.keys(last)


def test_altered_wrapping_keys_are_noticed(ring: Ring) -> None:
    ring.make(4)
    twin = next(twin for twin, _, number, _ in ring.stolen() if number == 1)
    for statement in (
        "UPDATE wrapping_key SET wrapped = zeroblob(112)",
        "UPDATE wrapping_key SET wrapped = (SELECT wrapped FROM wrapping_key WHERE number = 2)",
        "UPDATE wrapping_key SET kek_version = 'text'",
        "DELETE FROM wrapping_key",
    ):
        with closing(sqlite3.connect(ring.path)) as connection, connection:
            connection.execute("CREATE TABLE kept AS SELECT * FROM wrapping_key")
            connection.execute(statement)
        ring.clock.advance(CACHE_TTL_MS)
        with pytest.raises(RecordDamaged):
            ring.keyring.keys(twin)
        with pytest.raises(RecordDamaged):
            ring.keyring.shred(twin)
        with closing(sqlite3.connect(ring.path)) as connection, connection:
            connection.execute("DELETE FROM wrapping_key")
            connection.execute("INSERT INTO wrapping_key SELECT * FROM kept")
            connection.execute("DROP TABLE kept")
    assert ring.keyring.keys(twin)


def test_an_interrupted_move_of_older_keys_goes_on(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that a KEK wraps itself, as before there were wrapping keys: stopped in the midst, then moved to the end."""
    monkeypatch.setattr(rotation, "FIRST_BATCH", 2)
    monkeypatch.setattr(rotation, "LARGEST_BATCH", 2)
    twins = [TwinId(f"0198-{number}") for number in range(7)]
    with closing(sqlite3.connect(ring.path)) as connection, connection:
        for twin in twins:
            place = hierarchy.wrap_context(TENANT, twin, 1)
            wrapped = ring.provider.wrap(KekId(TENANT, 1), bytes(twin[-1:], "ascii") * 32, place)
            connection.execute("INSERT INTO wrapped_twin_key VALUES (?, 1, 1, 1, ?, NULL, 0)", (twin, wrapped))

    class Stopped(Exception):
        pass

    def stop(done: int, _total: int) -> None:
        if done == 4:
            raise Stopped

    with pytest.raises(Stopped):
        ring.keyring.rotate(stop)
    assert ring.keyring.census().wrapped == {1: 3, 2: 4}
    assert ring.keyring.retire() == []
    ring.keyring.shred(twins[0])
    ring.keyring.shred(twins[6])
    assert ring.keyring.rotate(beyond=2) == 3
    assert ring.keyring.retire() == [1, 2]
    for twin in twins[1:6]:
        assert ring.keyring.audit_key(twin) == hierarchy.audit_key(bytes(twin[-1:], "ascii") * 32)
    numbers = [number for _, _, number, _ in ring.stolen()]
    assert 0 not in numbers
    assert max(map(numbers.count, numbers)) <= FEW

"""Sealed rows: their bytes on disk, and what somebody who writes to the database can make of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, text, update

from twinward.access.accounts import NobodysKeys
from twinward.audit.queries import AccessQuery
from twinward.audit.saved_filters import SAVED_FILTERS, SavedFilterRow, SavedFilters
from twinward.core.errors import StoreAltered, Unavailable
from twinward.fhir.subscriptions.store import Kept, SubscriptionRow, SubscriptionStore
from twinward_crypto.envelope import open_sealed
from twinward_crypto.kdf import derive, length_prefixed
from twinward_ledger.storage import open_database, table_of

ROWS = table_of(SavedFilterRow)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SavedFilters]:
    made = SavedFilters(tmp_path / "saved_filters.db", NobodysKeys())
    made.keep("olga", "nights", AccessQuery.of({}))
    yield made
    made.close()


def test_a_row_is_what_earlier_releases_wrote(store: SavedFilters, tmp_path: Path) -> None:
    database = open_database(f"sqlite:{tmp_path / 'saved_filters.db'}", SAVED_FILTERS)
    with database.reading() as db:
        row = db.execute(select(ROWS)).one()
    database.close()
    key = derive(bytes(32), b"twinward/saved-filter-store/1", b"")
    place = b"twinward/saved-filter/1\x00" + length_prefixed(row.id.encode(), row.owner)
    assert b'"name":"nights"' in open_sealed(key, row.sealed, place)
    assert row.owner == NobodysKeys().tag("saved-filter-owner", "olga") == store.owner("olga")


@pytest.mark.parametrize(
    "change",
    [
        "id = 'another'",
        "sealed = x''",
        "sealed = 'text'",
        "sealed = 7",
        "sealed = substr(sealed, 1, length(sealed) - 1)",
        "id = id || char(0)",
        "id = CAST(id AS BLOB)",
    ],
)
def test_a_row_that_was_changed_or_moved_does_not_open(store: SavedFilters, tmp_path: Path, change: str) -> None:
    database = open_database(f"sqlite:{tmp_path / 'saved_filters.db'}", SAVED_FILTERS)
    with database.writing() as db:
        db.execute(text(f"UPDATE saved_filter SET {change}"))
    with pytest.raises(StoreAltered, match="this node did not write"):
        store.of("olga")
    with database.writing() as db:
        db.execute(update(ROWS).values(owner=store.owner("otto")))
    assert store.of("olga") == []
    with pytest.raises(StoreAltered):
        store.of("otto")
    database.close()


def test_a_number_a_row_is_bound_to_cannot_be_counted_on(tmp_path: Path) -> None:
    store = SubscriptionStore(tmp_path / "subscriptions.db", NobodysKeys())
    store.add(Kept("s1", "dr-lee", 1, "{}", 1, 0, (0, "", 0)))  # type: ignore[arg-type]
    found = store.find("s1")
    assert found is not None
    assert store.replace(found, found.kept)
    database = open_database(f"sqlite:{tmp_path / 'subscriptions.db'}", store.schema)
    with database.reading() as db:
        row = db.execute(select(table_of(SubscriptionRow))).one()
    key = derive(bytes(32), b"twinward/subscription-store/1", b"")
    place = b"twinward/subscription/1\x00" + length_prefixed(b"s1", row.owner, bytes(7) + b"\x02")
    assert b'"account":"dr-lee"' in open_sealed(key, row.sealed, place), "as earlier releases wrote it"
    for planted in ("1", "3", "'2'", "2.0", "-2"):
        with database.writing() as db:
            db.execute(text(f"UPDATE subscription SET revision = {planted}"))
        if planted in ("'2'", "2.0"):  # what SQLite makes a 2 of
            assert store.find("s1") is not None
        else:
            with pytest.raises(StoreAltered):
                store.find("s1")
    database.close()
    store.close()
    with pytest.raises(Unavailable, match="closed"):
        store.find("s1")

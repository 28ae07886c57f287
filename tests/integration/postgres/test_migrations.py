"""Every store's schema goes up, down and up again on both backends, and is then the one that its models declare."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Engine, Integer, MetaData, Table, create_engine, inspect, text

from tests.postgres import Postgres
from twinward.access.tables import ACCOUNTS, CONSENTS, POLICIES, SIGN_INS
from twinward.audit.saved_filters import SAVED_FILTERS
from twinward.core.vocabulary import RecordId
from twinward.federation.aggregation.answered_rounds import ANSWERS
from twinward.federation.study_journal import JOURNAL
from twinward.fhir.subscriptions.store import SUBSCRIPTIONS
from twinward.live.storage.tables import LIVE
from twinward.outbreak.period_store import OUTBREAK_PERIODS
from twinward.things.storage.tables import THINGS
from twinward.vault.errors import VaultUnavailable
from twinward.vault.storage.record_store import open_record_store
from twinward.vault.storage.schemas import KEYRING, RECORDS
from twinward.vault.testing.samples import row
from twinward_ledger.chains._tables import CHAIN
from twinward_ledger.errors import LogUnavailable
from twinward_ledger.storage import Schema, migrations, open_database
from twinward_ledger.storage.sqlite import SqliteFile
from twinward_ledger.stores import open_store
from twinward_ledger.stores.completeness import open_map_store
from twinward_ledger.stores.server_tables import LOG_ON_SERVER, MAP_ON_SERVER
from twinward_ledger.stores.tables import ANCHORS, LOG_FILE, MAP_FILE, WITNESS_MEMORY, WITNESS_STATE

ON_BOTH = (
    RECORDS,
    KEYRING,
    ACCOUNTS,
    CONSENTS,
    ANSWERS,
    JOURNAL,
    ANCHORS,
    WITNESS_MEMORY,
    WITNESS_STATE,
    SUBSCRIPTIONS,
    SIGN_INS,
    SAVED_FILTERS,
    POLICIES,
    LIVE,
    THINGS,
    OUTBREAK_PERIODS,
)
IN_FILES = (LOG_FILE, MAP_FILE, CHAIN)
"""On a server the log and its map have tables of their own, made for COPY; a chain is on none."""
ON_SERVERS = (LOG_ON_SERVER, MAP_ON_SERVER)
KEPT_FOR_GOOD = (WITNESS_STATE, LOG_FILE, LOG_ON_SERVER)
SCHEMAS = pytest.mark.parametrize("schema", [*ON_BOTH, *IN_FILES], ids=lambda schema: schema.name)
BOTH = pytest.mark.parametrize("schema", [*ON_BOTH, *ON_SERVERS], ids=lambda schema: schema.revisions.name)


def engine_of(uri: str) -> Engine:
    return create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(uri))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        made = create_engine(f"sqlite:///{tmp_path / 'migrated.db'}")
    else:
        server: Postgres = request.getfixturevalue("postgres")
        made = engine_of(server.database())
    yield made
    made.dispose()


def differences(engine: Engine, schema: Schema, metadata: MetaData | None = None) -> list[object]:
    """What autogenerate would write into a new revision."""
    table = schema.version_table
    with engine.begin() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": table, "compare_type": True})
        found: list[object] = compare_metadata(
            context, metadata or schema.tables(server=engine.dialect.name != "sqlite")
        )
        return found


@BOTH
def test_up_down_and_up_again(engine: Engine, schema: Schema) -> None:
    with engine.begin() as connection:
        assert migrations.revision(connection, schema) == migrations.NOTHING
        migrations.upgrade(connection, schema, "head")
        assert migrations.revision(connection, schema) == schema.newest
    assert differences(engine, schema) == []
    if schema in KEPT_FOR_GOOD:
        with pytest.raises(ValueError, match="never forgets"), engine.begin() as connection:
            migrations.downgrade(connection, schema, migrations.NOTHING)
        return
    with engine.begin() as connection:
        migrations.downgrade(connection, schema, migrations.NOTHING)
        assert set(inspect(connection).get_table_names()) == {schema.version_table}
        assert migrations.revision(connection, schema) == migrations.NOTHING
    with engine.begin() as connection:
        migrations.bring_up_to_date(connection, schema)
        migrations.bring_up_to_date(connection, schema)
    assert differences(engine, schema) == []


def test_a_difference_would_be_seen(engine: Engine) -> None:
    with engine.begin() as connection:
        migrations.upgrade(connection, RECORDS, "head")
    grown = MetaData()
    for table in RECORDS.tables(server=False).tables.values():
        table.to_metadata(grown)
    Table("record_head", grown, Column("added", Integer), extend_existing=True)
    assert "added" in str(differences(engine, RECORDS, grown))


def test_every_store_can_share_a_database(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":  # there each has a file of its own
        return
    with engine.begin() as connection:
        for schema in (*ON_BOTH, *ON_SERVERS):
            migrations.bring_up_to_date(connection, schema)
        migrations.downgrade(connection, KEYRING, migrations.NOTHING)
        assert migrations.revision(connection, RECORDS) == RECORDS.newest
        assert {"record_head", "record_tag", "sealed_record"} <= set(inspect(connection).get_table_names())


OF_EARLIER_RELEASES = (
    "CREATE TABLE log_head (id int PRIMARY KEY CHECK (id = 1), size bigint NOT NULL, schema_version int NOT NULL)",
    "CREATE TABLE log_leaves (idx bigint PRIMARY KEY, leaf bytea NOT NULL)",
    "CREATE TABLE log_bodies (idx bigint PRIMARY KEY, body bytea NOT NULL, tags bytea NOT NULL)",
    "CREATE TABLE log_tags (tag bytea NOT NULL, idx bigint NOT NULL, PRIMARY KEY (tag, idx))",
    "CREATE TABLE log_tiles (id bigint PRIMARY KEY, hashes bytea NOT NULL)",
    "CREATE TABLE log_checkpoints (size bigint PRIMARY KEY, note bytea NOT NULL)",
    "INSERT INTO log_head VALUES (1, 1, 1)",
    "INSERT INTO log_leaves VALUES (0, 'leaf')",
    "CREATE TABLE map_head (id int PRIMARY KEY CHECK (id = 1), head bytea NOT NULL, idx bigint NOT NULL, "
    "schema_version int NOT NULL)",
    "CREATE TABLE map_subjects (label bytea PRIMARY KEY, count bigint NOT NULL, frontier bytea NOT NULL)",
    "CREATE TABLE map_pages (number int PRIMARY KEY, places bytea NOT NULL)",
    "CREATE TABLE map_tags (tag bytea PRIMARY KEY, label bytea NOT NULL)",
    "INSERT INTO map_tags VALUES ('tag', 'label')",
)
"""As releases laid them that knew no revisions of these."""


@pytest.mark.slow
@pytest.mark.parametrize("key_changes", [False, True])
def test_a_log_that_was_laid_without_revisions_is_taken_as_it_is(postgres: Postgres, key_changes: bool) -> None:
    uri = postgres.database()
    with psycopg.connect(uri) as connection:
        for statement in OF_EARLIER_RELEASES:
            connection.execute(statement)
        if key_changes:
            connection.execute(
                "CREATE TABLE log_key_changes (number bigint PRIMARY KEY, size bigint NOT NULL, "
                "key text NOT NULL, note bytea NOT NULL)"
            )
            connection.execute("INSERT INTO log_key_changes VALUES (1, 1, 'key', 'note')")
    for _ in range(2):
        store, kept = open_store(uri), open_map_store(uri)
        assert (store.size(), list(store.leaves(0, 1)), len(store.key_changes())) == (1, [b"leaf"], int(key_changes))
        with kept.transaction() as view:
            assert view.tags() == {b"tag": b"label"}
        store.close()
        kept.close()
    engine = engine_of(uri)
    for schema in ON_SERVERS:
        found = [
            one for one in differences(engine, schema) if not (isinstance(one, tuple) and one[0] == "remove_table")
        ]
        assert found == [], "but for the tables of the other"
        with engine.begin() as connection:
            assert migrations.revision(connection, schema) == schema.newest
    engine.dispose()


@pytest.mark.slow
@pytest.mark.parametrize("schema", ON_SERVERS, ids=lambda schema: schema.name)
def test_a_log_of_a_newer_release_is_refused(postgres: Postgres, schema: Schema) -> None:
    uri = postgres.database()
    open_store(uri).close()
    open_map_store(uri).close()
    with psycopg.connect(uri) as connection:
        connection.execute(f"UPDATE {schema.version_table} SET version_num = '0099'")
    opener = open_store if schema is LOG_ON_SERVER else open_map_store
    with pytest.raises(LogUnavailable, match="revision 0099"):
        opener(uri)


@SCHEMAS
def test_versions_are_the_numbers_of_revisions(schema: Schema) -> None:
    with create_engine("sqlite://").connect() as connection:
        scripts = ScriptDirectory.from_config(migrations.config(connection, schema))
    revisions = [script.revision for script in scripts.walk_revisions()]
    assert revisions == [f"{number:04d}" for number in range(schema.version, 0, -1)]
    assert scripts.get_current_head() == schema.newest


@SCHEMAS
def test_a_sqlite_file_is_what_its_revisions_make(tmp_path: Path, schema: Schema) -> None:
    """New files are laid from the models and stamped with the number; that must come to the same."""
    SqliteFile(tmp_path / "laid.db", schema).close()
    migrated = create_engine(f"sqlite:///{tmp_path / 'migrated.db'}")
    with migrated.begin() as connection:
        migrations.upgrade(connection, schema, "head")
    migrated.dispose()

    def shape(name: str) -> dict[str, object]:
        with sqlite3.connect(tmp_path / name) as connection:
            names = sorted(schema.tables(server=False).tables)
            columns = {table: connection.execute(f"PRAGMA table_xinfo({table})").fetchall() for table in names}
            listed = connection.execute("PRAGMA table_list").fetchall()
            rowid = {entry[1]: entry[4] for entry in listed if entry[1] in names}
            indices = connection.execute(
                "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name"
            ).fetchall()
            keys = {table: connection.execute(f"PRAGMA foreign_key_list({table})").fetchall() for table in names}
            version = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.close()
        if name == "laid.db":
            assert version == schema.version
        return {"columns": columns, "without rowid": rowid, "indices": indices, "keys": keys}

    assert shape("laid.db") == shape("migrated.db")


@pytest.mark.slow
def test_opening_lays_the_tables_once_and_keeps_what_is_there(postgres: Postgres) -> None:
    uri = postgres.database()
    store = open_record_store(uri)
    store.put([row("a")])
    store.close()
    open_database(uri, KEYRING).close()
    again = open_record_store(uri)
    assert again.latest(RecordId("a")) == row("a")
    again.close()


@pytest.mark.slow
@pytest.mark.parametrize("theirs", ["0099", f"{int(RECORDS.newest) + 1:04d}", "4a1c0ffee000"])
def test_a_revision_that_is_not_ours_is_refused_and_left_alone(postgres: Postgres, theirs: str) -> None:
    uri = postgres.database()
    open_record_store(uri).close()
    engine = engine_of(uri)
    with engine.begin() as connection:
        connection.execute(text("UPDATE records_schema_version SET version_num = :theirs"), {"theirs": theirs})
    with pytest.raises(VaultUnavailable, match=f"revision {theirs}"):
        open_record_store(uri)
    with engine.begin() as connection:
        assert migrations.revision(connection, RECORDS) == theirs
    engine.dispose()


@pytest.mark.slow
def test_a_database_that_holds_something_else_is_refused_and_nothing_is_laid(postgres: Postgres) -> None:
    uri = postgres.database()
    engine = engine_of(uri)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE record_tag (somebodys int)"))
    with pytest.raises(VaultUnavailable, match="already exists"):
        open_record_store(uri)
    with engine.begin() as connection:
        assert inspect(connection).get_table_names() == ["record_tag"]
    engine.dispose()


@pytest.mark.slow
def test_of_many_who_open_an_empty_database_one_lays_the_tables(postgres: Postgres) -> None:
    uri = postgres.database()
    openers = (open_record_store, open_store, lambda uri: open_database(uri, KEYRING))
    with ThreadPoolExecutor(9) as pool:
        for opened in pool.map(lambda number: openers[number % 3](uri), range(9)):
            opened.close()


def test_rows_from_before_segments_stay_and_segments_are_not_dropped(engine: Engine) -> None:
    """0002 both ways: up over rows that are there, down again without segments, refused with them."""
    with engine.begin() as connection:
        migrations.upgrade(connection, RECORDS, "0001")
        connection.execute(text("INSERT INTO record_head VALUES ('a', 1, 't', :tag)"), {"tag": b"L" * 16})
        values = {"tag": b"L" * 16, "type": b"T" * 64, "none": b"", "sealed": b"sealed"}
        row = "INSERT INTO sealed_record VALUES ('a', 1, 't', :tag, :type, 1, :none, 7, :none, :sealed)"
        connection.execute(text(row), values)
        migrations.bring_up_to_date(connection, RECORDS)
        assert connection.execute(text("SELECT sealed, mark FROM sealed_record")).one() == (b"sealed", None)
        migrations.downgrade(connection, RECORDS, "0001")
        assert not inspect(connection).has_table("segment")
        assert connection.execute(text("SELECT count(*) FROM sealed_record")).scalar_one() == 1
        migrations.bring_up_to_date(connection, RECORDS)
        segment = "INSERT INTO segment VALUES (1, 's', 't', :tag, 1, 1, 7, :type, :none, :none, :sealed)"
        connection.execute(text(segment), values)
    with pytest.raises(ValueError, match="segments hold records"), engine.begin() as connection:
        migrations.downgrade(connection, RECORDS, "0001")
    with engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM segment")).scalar_one() == 1

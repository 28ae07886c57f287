"""What PostgreSQL brings that SQLite has not: a server that must be durable, passwords, several writers, restarts."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from tests.command_line import PROGRAM
from tests.integration.postgres.fixtures import House, build
from tests.postgres import GUARDED, Postgres, running_postgres
from twinward.access.interfaces import AccessContext, AccessRequest, Principal
from twinward.core.config import Settings
from twinward.core.errors import BadInput, Conflict, TwinwardError
from twinward.core.vocabulary import Action, Category, Purpose, RecordId, Role, TwinId
from twinward.fhir.bulk.synthetic_patients import generate_cohort
from twinward.node import SYSTEM, create_node, open_node
from twinward.node.tables import lay
from twinward.things.interactions import Report
from twinward.things.models import Kind, Relation, What
from twinward.things.service import New
from twinward.vault.errors import MalformedRecord, TwinExists, TwinShredded, VaultUnavailable, VersionConflict
from twinward.vault.storage.postgres_records import PostgresRecordStore
from twinward.vault.storage.record_store import open_record_store
from twinward.vault.storage.schemas import KEYRING
from twinward.vault.testing.samples import row, tag
from twinward_ledger import merkle
from twinward_ledger.errors import LedgerError, LogUnavailable
from twinward_ledger.log.store import Entry, KeyChange
from twinward_ledger.storage import open_database
from twinward_ledger.storage.postgres_address import PostgresAddress
from twinward_ledger.stores import open_store
from twinward_ledger.stores.completeness_postgres import PostgresMapStore
from twinward_ledger.stores.postgres import PostgresLogStore

PASSWORD = "a-password-nobody-may-see"

ROOT = Path(__file__).parents[3]
CLINICIAN = Principal("dr-lee", Role.CLINICIAN)

needs_server = pytest.mark.slow


# --- addresses -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "uri",
    [
        f"postgresql://u:{PASSWORD}@host/db",
        f"postgresql://u@host/db?password={PASSWORD}",
        f"postgres://u:{PASSWORD}%ZZ@host/db",
        f"mysql://u:{PASSWORD}@host/db",
        f"{PASSWORD}",
        "postgresql://u@host",
        "sqlite:",
        "",
    ],
)
def test_a_uri_that_cannot_be_used_is_refused_without_being_repeated(uri: str) -> None:
    for opened, kind in (
        (lambda: open_store(uri), LogUnavailable),
        (lambda: open_record_store(uri), VaultUnavailable),
        (lambda: open_database(uri, KEYRING), VaultUnavailable),
    ):
        with pytest.raises(kind) as refusal:
            opened()
        assert PASSWORD not in str(refusal.value) + repr(refusal.value)


@pytest.mark.parametrize("setting", ["records", "keyring", "log"])
@pytest.mark.parametrize("uri", [f"postgresql://u:{PASSWORD}@h/db", f"postgresql://u@h/db?password={PASSWORD}"])
def test_a_setting_never_carries_a_password(tmp_path: Path, setting: str, uri: str) -> None:
    with pytest.raises(BadInput, match="PGPASSFILE") as refusal:
        Settings.load(tmp_path, **{setting: uri})
    assert PASSWORD not in str(refusal.value)


@pytest.mark.parametrize(
    ("uri", "mode"),
    [
        ("postgresql://u@db.example/x", "verify-full"),
        ("postgresql://u@db.example/x?sslmode=require", "require"),
        ("postgresql://u@localhost/x", None),
        ("postgresql://u@%2Frun%2Fpg/x", None),
    ],
)
def test_another_machine_is_reached_over_verified_tls(uri: str, mode: str | None) -> None:
    assert PostgresAddress(uri)._parts.get("sslmode") == mode


def test_nobody_there_is_unavailable() -> None:
    uri = "postgresql://u@127.0.0.1:9/none"
    with pytest.raises(LogUnavailable, match=r"127\.0\.0\.1"):
        open_store(uri)
    with pytest.raises(VaultUnavailable, match=r"127\.0\.0\.1"):
        open_record_store(uri)


@needs_server
def test_the_password_comes_from_a_passfile(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name = postgres.database().rpartition("/")[2]
    with psycopg.connect(postgres.uri(name), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {GUARDED} LOGIN PASSWORD '{PASSWORD}'")  # type: ignore[call-overload]
        connection.execute(f"GRANT ALL ON SCHEMA public TO {GUARDED}")  # type: ignore[call-overload]
    uri = postgres.guarded_uri(name)
    passfile = tmp_path / "passfile"
    passfile.write_text(f"*:*:*:{GUARDED}:not-{PASSWORD}\n")
    passfile.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passfile))
    refusals: list[TwinwardError | LedgerError] = []
    for opened in (open_store, open_record_store):
        with pytest.raises((LogUnavailable, VaultUnavailable)) as refusal:
            opened(uri)
        refusals.append(refusal.value)
    passfile.write_text(f"*:*:*:{GUARDED}:{PASSWORD}\n")
    log = open_store(uri)
    store = open_record_store(uri)
    assert log.append([Entry(b"leaf", b"")]) == range(1)
    store.put([row("a")])
    store.close()
    log.close()
    assert PASSWORD not in caplog.text + "".join(map(repr, refusals)) + "".join(map(str, refusals))


# --- durability ------------------------------------------------------------------------------------------------------
@needs_server
def test_every_session_commits_durably(postgres: Postgres) -> None:
    """Even where the operator has made asynchronous commit the database's default."""
    uri = postgres.database()
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {uri.rpartition('/')[2]} SET synchronous_commit = off")  # type: ignore[call-overload]
    store = PostgresRecordStore(uri)
    log = PostgresLogStore(uri)
    with store._file.writing() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
    with log._writer.transaction() as cursor:
        assert cursor.execute("SHOW synchronous_commit").fetchone() == ("on",)
    store.close()
    log.close()


@needs_server
def test_a_server_that_does_not_sync_is_refused() -> None:
    with running_postgres(fsync="off") as server:
        uri = server.database()
        with pytest.raises(LogUnavailable, match="fsync"):
            open_store(uri)
        with pytest.raises(VaultUnavailable, match="fsync"):
            open_record_store(uri)


@needs_server
def test_a_restarted_server_is_found_again() -> None:
    with running_postgres() as server:
        uri = server.database()
        store, log = open_record_store(uri), open_store(uri)
        store.put([row("a")])
        log.append([Entry(b"one", b"")])
        server.stop()
        for use in (lambda: store.put([row("b")]), lambda: store.latest(RecordId("a"))):
            with pytest.raises(VaultUnavailable):
                use()
        for use in (lambda: log.append([Entry(b"two", b"")]), log.size):
            with pytest.raises(LogUnavailable):
                use()
        server.start()
        store.put([row("b")])
        assert store.count() == 2
        assert log.size() == 1
        assert log.append([Entry(b"two", b"")]) == range(1, 2)
        server.stop()
        server.start()
        assert log.append([Entry(b"three", b"")]) == range(2, 3)  # the very first call after a restart
        assert store.latest(RecordId("b")) == row("b")
        store.close()
        log.close()


# --- records ---------------------------------------------------------------------------------------------------------
@needs_server
def test_what_a_column_cannot_hold_is_a_malformed_record(postgres: Postgres) -> None:
    store = PostgresRecordStore(postgres.database())
    for wrong in (row("nul\0"), replace(row("a"), record_id=RecordId("lone \udc80")), row("a", twin=TwinId("\0"))):
        with pytest.raises(MalformedRecord):
            store.put([row("good"), wrong])
    for wrong_id in ("nul\0", "lone \udc80"):
        with pytest.raises(MalformedRecord):
            store.latest(RecordId(wrong_id))
    assert store.count() == 0
    store.close()


@needs_server
def test_a_servers_error_is_translated_and_shows_no_row(postgres: Postgres) -> None:
    uri = postgres.database()
    store = PostgresRecordStore(uri)
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("ALTER TABLE sealed_record ADD CHECK (record_id <> 'secret-id')")
    with pytest.raises(VaultUnavailable) as caught:
        store.put([row("secret-id", tags=(tag("x"),))])
    assert "secret-id" not in str(caught.value)
    assert "violates check constraint" in str(caught.value)
    assert caught.value.__suppress_context__
    assert store.latest(RecordId("secret-id")) is None
    assert store.find(tag("x")) == []
    store.close()


@needs_server
def test_writers_in_opposite_orders_never_lock_each_other_out(postgres: Postgres) -> None:
    """Each put moves the same ten records: every round, one wins and the rest conflict, and none is a deadlock."""
    store = PostgresRecordStore(postgres.database())
    names = [f"r{number}" for number in range(10)]
    store.put([row(name) for name in names])
    outcomes: list[str] = []

    def write(worker: int, version: int) -> None:
        order = names if worker % 2 else names[::-1]
        try:
            store.put([*(row(name, version) for name in order), row(f"new-{version}-{worker}")])
            outcomes.append("won")
        except VersionConflict:
            outcomes.append("lost")

    for version in range(2, 12):
        threads = [threading.Thread(target=write, args=(worker, version)) for worker in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(outcomes) == ["lost"] * 50 + ["won"] * 10
    assert store.count() == 10 + 10 * 11
    store.close()


@needs_server
def test_lists_have_one_order_whatever_the_databases_language(postgres: Postgres) -> None:
    """In a language's own order ``B`` follows ``a``, and a hyphen may not count."""
    store = PostgresRecordStore(postgres.database())
    names = ["b", "B", "a-c", "ab", "Ä"]
    store.put([row(name, tags=(tag("x"),)) for name in names])
    assert store.find(tag("x")) == sorted(names)
    with store._file.reading() as connection:
        found = connection.exec_driver_sql(
            "SELECT DISTINCT collation_name FROM information_schema.columns WHERE column_name IN ('record_id', 'twin')"
            " AND table_schema = 'public'"
        )
        assert found.scalars().all() == ["C"]
    store.close()


# --- keys ------------------------------------------------------------------------------------------------------------
@pytest.fixture
def house(postgres: Postgres, tmp_path: Path) -> House:
    return build(tmp_path / "keys", postgres.database(), postgres.database(), postgres.database())


@needs_server
def test_the_keyring_creates_rotates_and_shreds(house: House) -> None:
    anna, bern = house.twin(), house.twin()
    house.write(anna, b"one")
    (kept,) = house.write(bern, b"two")
    with pytest.raises(TwinExists):
        house.keyring.create(anna)
    assert house.keyring.rotate() == 2
    house.keyring.shred(anna)
    assert house.keyring.retire() == [1]
    with pytest.raises(TwinShredded):
        house.write(anna, b"three")
    assert house.vault.read(house.permit(bern), kept.record_id).content == b"two"
    census = house.keyring.census()
    assert (census.shredded, census.keks, dict(census.wrapped)) == ({anna}, (2,), {2: 1})
    house.close()


@needs_server
def test_one_twin_is_made_once_by_many(house: House) -> None:
    made: list[int] = []

    def create(worker: int) -> None:
        try:
            house.keyring.create(TwinId("0198-anna"))
            made.append(worker)
        except TwinExists:
            pass

    threads = [threading.Thread(target=create, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert house.keyring.count() == 1
    house.close()


# --- the log ---------------------------------------------------------------------------------------------------------
@needs_server
def test_a_read_only_log_reads_and_cannot_write(postgres: Postgres) -> None:
    uri = postgres.database()
    with pytest.raises(LogUnavailable):
        PostgresLogStore(uri, read_only=True)
    writing = PostgresLogStore(uri)
    writing.append([Entry(b"leaf", b"body")])
    reading = PostgresLogStore(uri, read_only=True)
    assert (reading.size(), reading.root(), reading.entry(0)) == (1, writing.root(), Entry(b"leaf", b"body"))
    for use in (
        lambda: reading.append([Entry(b"x", b"")]),
        lambda: reading.erase_body(0),
        lambda: reading.save_checkpoint(1, b"note"),
    ):
        with pytest.raises(LogUnavailable, match="read-only"):
            use()
    assert writing.size() == 1
    reading.close()
    writing.close()


@needs_server
def test_what_failed_halfway_leaves_no_trace_in_the_tree(postgres: Postgres) -> None:
    """The tree's edge is kept in memory: a failed append must not leave it where another's append then fits."""
    uri = postgres.database()
    one, other = PostgresLogStore(uri), PostgresLogStore(uri)
    one.append([Entry(b"a", b""), Entry(b"b", b"")])
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("ALTER TABLE log_head ADD CONSTRAINT full_up CHECK (size < 4)")
        with pytest.raises(LogUnavailable, match="full_up"):
            one.append([Entry(b"lost", b""), Entry(b"lost too", b"")])
        connection.execute("ALTER TABLE log_head DROP CONSTRAINT full_up")
    assert one.size() == 2
    assert other.append([Entry(b"c", b""), Entry(b"d", b"")]) == range(2, 4)
    assert one.append([Entry(b"e", b"")]) == range(4, 5)
    assert list(one.leaves(0, 9)) == [b"a", b"b", b"c", b"d", b"e"]
    assert one.root() == merkle.root([merkle.leaf_hash(leaf) for leaf in (b"a", b"b", b"c", b"d", b"e")])
    one.close()
    other.close()


@needs_server
def test_another_versions_log_is_refused(postgres: Postgres) -> None:
    uri = postgres.database()
    PostgresLogStore(uri).close()
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("UPDATE log_head SET schema_version = 99")
    with pytest.raises(LogUnavailable, match="version"):
        PostgresLogStore(uri)


def test_a_log_of_an_earlier_release_has_one_key_until_its_owner_makes_the_table(postgres: Postgres) -> None:
    uri = postgres.database()
    PostgresLogStore(uri).close()
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(MAKE_NODE_ROLE)
        connection.execute("DROP TABLE log_key_changes, log_schema_version")
        connection.execute("GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO twinward_node")
    node = PostgresLogStore(uri.replace("twinward@", "twinward_node@"))
    node.append([Entry(b"one", b"")])
    node.save_checkpoint(1, b"note", key_changes=0)
    change = KeyChange(1, 1, "key", b"note of both keys")
    assert node.key_changes() == []
    with pytest.raises(LogUnavailable, match="node tables"):
        node.change_key(change)
    owner = PostgresLogStore(uri)
    owner.change_key(change)
    with pytest.raises(LogUnavailable, match="open it again"):
        node.save_checkpoint(1, b"stale", key_changes=0)
    assert (owner.key_changes(), owner.checkpoint()) == ([change], b"note of both keys")
    for store in (node, owner):
        store.close()


MAKE_NODE_ROLE = "DO $$ BEGIN CREATE ROLE twinward_node LOGIN; EXCEPTION WHEN duplicate_object THEN END $$"


def sql_of_the_page() -> list[str]:
    """What the operator's page gives to type: making accounts and databases, then the grants in each of these."""
    page = (ROOT / "platform" / "docs" / "postgresql.md").read_text()
    blocks = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 5
    return blocks


@needs_server
def test_the_page_makes_a_node_in_four_databases_under_its_own_account(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    making, *grants = sql_of_the_page()
    with psycopg.connect(postgres.uri("postgres"), autocommit=True) as connection:
        connection.execute(MAKE_NODE_ROLE)
        for statement in making.splitlines():
            if statement != "CREATE ROLE twinward_node LOGIN;":  # other tests made it
                connection.execute(statement)  # type: ignore[call-overload]  # as above
    databases = {"records": "records", "keyring": "keyring", "log": "access_log", "state": "state"}
    for name, database in databases.items():
        uri = postgres.uri(database).replace("twinward@", "twinward_node@")
        monkeypatch.setenv(f"TWINWARD_{name.upper()}", uri)
    home = tmp_path / "home"
    for arguments in (("tables", "--owner", "twinward_owner"), ("tables", "--owner", "twinward_owner")):
        done = CliRunner().invoke(PROGRAM, ["node", *arguments, "--home", str(home)])
        assert done.exit_code == 0, done.output
    for database, granted in zip(databases.values(), grants, strict=True):
        with psycopg.connect(postgres.uri(database).replace("twinward@", "twinward_owner@")) as connection:
            connection.execute(granted)  # type: ignore[call-overload]  # as above
    done = CliRunner().invoke(PROGRAM, ["node", "init", "--home", str(home)])
    assert done.exit_code == 0, done.output
    settings = (home / "twinward.toml").read_text()
    assert settings.count("twinward_node@") == 4
    assert "twinward_owner" not in settings
    with open_node(home) as node:
        filing = AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT)
        node.twins.ingest_all(filing, generate_cohort(1, 1))
        twin = node.twins.all()[-1]
        for name, kind in (("bed-1", Kind.BED), ("saline", Kind.STOCK)):
            node.things.add(filing, New(name, kind, name))
        node.things.relations.relate(filing, "bed-1", Relation.ASSIGNED_TO, twin)
        for report in (Report(What.FILLED, None, 5), Report(What.USED, twin, 2)):
            node.things.interactions.record(filing, "saline", report)
        assert node.things.show(filing, "saline").thing.level == 3
        node.keyring.shred(twin)
        assert node.things.forget_erased() == 2
        assert node.things.relations.end(filing, "bed-1", Relation.ASSIGNED_TO).target == "erased"
        assert node.audit.checkpoint_and_anchor().problem == ""


@needs_server
def test_a_nodes_account_adds_and_cannot_rewrite(postgres: Postgres) -> None:
    """The grants of the operator's page are enough for every use, and leave no way to alter what was written."""
    uri = postgres.database()
    open_record_store(uri).close()
    open_database(uri, KEYRING).close()
    open_store(uri).close()
    lay(uri, ["state"])
    PostgresMapStore(uri).close()
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(MAKE_NODE_ROLE)
        connection.execute("".join(sql_of_the_page()[1:]))  # type: ignore[call-overload]  # the page is no literal
    mine = uri.replace("twinward@", "twinward_node@")
    store, log, keyring = open_record_store(mine), open_store(mine), open_database(mine, KEYRING)
    store.put([row("a", tags=(tag("x"),))])
    store.put([row("a", 2, tags=(tag("y"),))])
    log.append([Entry(bytes([number]), b"body", (bytes(16),)) for number in range(1, 4)])
    log.append([Entry(b"four", b"body")])
    log.erase_body(1)
    log.save_checkpoint(4, b"note")
    log.save_checkpoint(4, b"note, cosigned")
    log.change_key(KeyChange(1, 4, "key", b"note of both keys"))
    with keyring.writing() as connection:
        for statement in (
            "INSERT INTO wrapped_twin_key VALUES ('t', 1, 1, false, 'x')",
            "INSERT INTO wrapping_key VALUES (1, 1, false, 'x')",
            "UPDATE wrapping_key SET kek_version = 2, closed = true",
            "DELETE FROM wrapping_key",
            "UPDATE wrapped_twin_key SET kek_version = 2, created = true",
            "INSERT INTO shredded_twin VALUES ('u', 1)",
            "DELETE FROM wrapped_twin_key",
        ):
            connection.exec_driver_sql(statement)
    for each in (store, log, keyring):
        each.close()
    with psycopg.connect(mine, autocommit=True) as connection:
        for statement in (
            "UPDATE log_leaves SET leaf = ''",
            "DELETE FROM log_leaves",
            "DELETE FROM log_checkpoints",
            "DELETE FROM log_key_changes",
            "UPDATE log_key_changes SET key = ''",
            "TRUNCATE log_tiles",
            "UPDATE sealed_record SET sealed = ''",
            "UPDATE segment SET sealed = ''",
            "DELETE FROM erasure",
            "UPDATE account_change SET digest = ''",
            "DELETE FROM consent_change",
            "UPDATE consent SET sealed = ''",
            "DELETE FROM account_record",
            "DELETE FROM shredded_twin",
            "UPDATE records_schema_version SET version_num = '0000'",
            "CREATE TABLE public.more (x int)",
            "DROP TABLE log_head",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


@needs_server
def test_a_node_lives_with_no_more_than_the_pages_grants(postgres: Postgres, tmp_path: Path) -> None:
    """Imports, compaction, completeness maps, erasure and rotation, as the account that owns nothing."""
    uri, home = postgres.database(), tmp_path / "home"
    create_node(Settings.load(home, records=uri, keyring=uri, log=uri, state=uri)).close()
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(MAKE_NODE_ROLE)
        connection.execute("".join(sql_of_the_page()[1:]))  # type: ignore[call-overload]  # as above
    toml = home / "twinward.toml"
    toml.write_text(toml.read_text().replace("twinward@", "twinward_node@"))
    with open_node(home) as node:
        assert "twinward_node@" in node.settings.records
        receipts = [
            node.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), one) for one in generate_cohort(2, 1)
        ]
        node.twins.ingest_all(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), generate_cohort(2, 2))
        node.compactor.run()
        assert node.audit.checkpoint_and_anchor().problem == ""
        officer = Principal("olga", Role.OFFICER, "Olga Officer")
        node.erasures.order([AccessRequest(officer, Action.SHRED, Purpose.PATIENT_REQUEST, receipts[0].twin)])
        assert node.erasures.finish()
        assert receipts[0].twin not in node.store.twins()
        node.audit.verify(deep=True)


# --- the node --------------------------------------------------------------------------------------------------------
@needs_server
def test_a_node_lives_on_postgres(postgres: Postgres, tmp_path: Path) -> None:
    home = tmp_path / "home"
    places = {name: postgres.database() for name in ("records", "keyring", "log", "state")}
    node = create_node(Settings.load(home, **places))
    receipts = node.twins.ingest_all(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), generate_cohort(2, 1))
    assert node.audit.checkpoint_and_anchor().problem == ""
    twins, size = node.store.twins(), node.log.store.size()
    node.close()
    assert not {"vault.db", "keyring.db", "log.db"} & {path.name for path in home.iterdir()}
    with open_node(home) as again:
        assert again.settings.records == places["records"]
        assert again.store.twins() == twins
        assert again.log.store.size() == size > 0
        again.audit.verify(deep=True)
        records = again.twins.read(
            AccessContext(CLINICIAN, Purpose.TREATMENT), receipts[0].twin, [Category.LABS, Category.VITALS]
        )
        assert records
    with pytest.raises(Conflict, match="another node"):
        create_node(Settings.load(tmp_path / "second", records=places["records"]))
    assert list((tmp_path / "second").iterdir()) == []


@needs_server
def test_permits_open_what_was_sealed_before(house: House) -> None:
    twin = house.twin()
    written = house.write(twin, b"1.10", b"2")
    opened = house.vault.read_twin(house.permit(twin, Action.READ))
    assert sorted(record.content for record in opened) == [b"1.10", b"2"]
    assert {record.record_id for record in opened} == {record.record_id for record in written}
    house.close()

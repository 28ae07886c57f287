"""A node on a real PostgreSQL server: backed up while it is written to, restored into empty databases."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.integration.backup.site import (
    CLINICIAN,
    asked,
    build,
    everything,
    kept,
    require_same_after_restore,
)
from tests.postgres import Postgres
from twinward.access.interfaces import AccessContext
from twinward.backup import create
from twinward.backup.errors import SourceLost
from twinward.core.vocabulary import Purpose
from twinward.node import open_node

pytestmark = pytest.mark.slow
ROLES = ("records", "keyring", "log", "state")


@pytest.mark.parametrize("together", [False, True], ids=["three databases", "one database"])
def test_a_node_on_a_server_under_writes_is_restored_into_empty_databases(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, together: bool
) -> None:
    def databases() -> dict[str, str]:
        return dict.fromkeys(ROLES, postgres.database()) if together else {role: postgres.database() for role in ROLES}

    site = build(tmp_path / "node", **databases())
    to, fresh = tmp_path / "live.twbackup", tmp_path / "fresh"
    written: list[int] = []
    stop = threading.Event()
    with site.opened() as node:

        def write() -> None:
            while not stop.is_set():
                value = {"value": len(written)}
                node.twins.targets.change(
                    AccessContext(CLINICIAN, Purpose.TREATMENT),
                    site.twins[len(written) % 3],
                    {"bmi": lambda _, made=value: made},
                )
                written.append(len(written))

        writer = threading.Thread(target=write)
        writer.start()
        while len(written) < 3:
            time.sleep(0.01)
        surely = len(written)
        made = site.asked("node", "backup", to)
        stop.set()
        writer.join()
        live = everything(node)
    assert made["log_size"] > 0

    for role, uri in databases().items():
        monkeypatch.setenv(f"TWINWARD_{role.upper()}", uri)
    restore = ("node", "restore", to, "--keys-from", site.home)
    assert not asked(*restore, "--home", fresh, "--dry-run")["done"]
    assert asked(*restore, "--home", fresh)["done"]
    with open_node(fresh) as node:
        assert node.audit.verify(deep=True).size == made["log_size"]
        found = everything(node)
        assert surely <= sum(node.twins.states.outline(twin).version("bmi") for twin in site.twins) <= len(written)
        assert all(live[one] == content for one, content in found.items() if one in live)
    asked("node", "activate", "--yes", "--home", fresh)
    with open_node(fresh) as node:
        node.audit.checkpoint_and_anchor()
    error = asked(*restore, "--home", tmp_path / "again", code=4)["error"]
    assert error["kind"] == "InTheWay"
    for word in site.plain:
        assert word not in to.read_bytes()


def test_nothing_run_on_a_drill_in_a_new_shell_reaches_production(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    production = {role: postgres.database() for role in ROLES}
    site = build(tmp_path / "node", **production)
    to, drill = tmp_path / "monday.twbackup", tmp_path / "drill"
    site.asked("node", "backup", to)
    for role in ROLES:
        monkeypatch.setenv(f"TWINWARD_{role.upper()}", postgres.database())
    assert asked("node", "restore", to, "--keys-from", site.home, "--home", drill)["done"]
    for role in ROLES:  # the next command is typed in another shell
        monkeypatch.delenv(f"TWINWARD_{role.upper()}")
    before = [rows(uri) for uri in production.values()]
    aim = ("twin", "set-target", site.twins[0], "bmi", "--as", "dr-lee", "--value", "22", "--home", drill)
    size = asked("node", "status", "--home", drill)["log"]["size"]
    assert asked(*aim)["done"]
    assert asked("node", "status", "--home", drill)["log"]["size"] > size
    assert [rows(uri) for uri in production.values()] == before
    monkeypatch.setenv("TWINWARD_KEYRING", production["keyring"])  # a shell in which production was worked on
    assert asked(*aim, code=4)["error"]["kind"] == "NotAtWork"
    assert [rows(uri) for uri in production.values()] == before


def rows(uri: str) -> dict[str, list[tuple[object, ...]]]:
    """Everything in a database."""
    with psycopg.connect(uri) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1").fetchall()
        every = [sql.SQL("SELECT * FROM {} ORDER BY 1, 2").format(sql.Identifier(name)) for (name,) in tables]
        one = [sql.SQL("SELECT * FROM {}").format(sql.Identifier(name)) for (name,) in tables]
        found = {}
        for (name,), sorted_, plain in zip(tables, every, one, strict=True):
            wide = connection.execute(plain).description or []
            found[name] = connection.execute(sorted_ if len(wide) > 1 else plain).fetchall()
        return found


def test_what_stands_in_segments_opens_is_found_and_compacted_on_after_a_restore(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = build(tmp_path / "node", **{role: postgres.database() for role in ROLES})
    to, fresh = tmp_path / "compacted.twbackup", tmp_path / "fresh"
    assert site.asked("node", "compact")["segments"] >= len(site.twins)
    with site.opened() as node:
        before = kept(node)
    assert len(before.in_segments) > 60
    site.asked("node", "backup", to)
    for role in ROLES:
        monkeypatch.setenv(f"TWINWARD_{role.upper()}", postgres.database())
    assert asked("node", "restore", to, "--home", fresh, "--keys-from", site.home)["done"]
    require_same_after_restore(before, fresh)


@pytest.mark.parametrize("cuts", [1, 4], ids=["once", "each time"])
def test_a_backup_whose_connection_breaks_begins_anew_by_itself(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuts: int
) -> None:
    monkeypatch.setattr(create, "_BEGUN_ANEW_AFTER_S", (0.0, 0.0, 0.0))
    site = build(tmp_path / "node", records=postgres.database())
    to, seen = tmp_path / "cut.twbackup", list[str]()
    with site.opened() as node:
        database = node.settings.records.rsplit("/", 1)[1]

        def cut(what: str, done: int, _total: int) -> None:
            seen.append(what)
            if what.startswith("pg/records/") and done == 1 and sum(one.startswith("begins") for one in seen) < cuts:
                with psycopg.connect(postgres.uri("postgres"), autocommit=True) as connection:
                    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
                    connection.execute(kill, (database,))

        if cuts > 3:
            with pytest.raises(SourceLost):
                create.make_backup(node.settings, node.identity, node.clock, to, cut)
            assert [one.name for one in tmp_path.iterdir()] == ["node"]
            return
        made = create.make_backup(node.settings, node.identity, node.clock, to, cut)
    assert sum(one.startswith("begins anew") for one in seen) == cuts
    monkeypatch.setenv("TWINWARD_RECORDS", postgres.database())
    fresh = tmp_path / "fresh"
    answer = asked("node", "restore", to, "--home", fresh, "--keys-from", site.home)
    assert answer["log_size"] == made.manifest.log_size


@pytest.mark.parametrize(
    "busy", ["record_head IN ACCESS EXCLUSIVE MODE", "segment IN ROW EXCLUSIVE MODE"], ids=["rows", "segments alone"]
)
def test_a_server_that_does_not_answer_leaves_no_backup(postgres: Postgres, tmp_path: Path, busy: str) -> None:
    site = build(tmp_path / "node", records=postgres.database())
    name = f"test_{sum(1 for _ in tmp_path.iterdir())}"
    with site.opened() as node:
        with psycopg.connect(postgres.uri(node.settings.records.rsplit("/", 1)[1])) as holder:
            holder.execute(sql.SQL("LOCK TABLE {}").format(sql.SQL(busy)))
            error = site.asked("node", "backup", tmp_path / name, code=7)["error"]
        assert error["kind"] == "CannotFreeze"
    assert not (tmp_path / name).exists()
    assert not list(tmp_path.glob(f"*{name}*"))

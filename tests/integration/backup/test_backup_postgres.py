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
from twinward.node import open_node
from twinward.vocabulary import Purpose

pytestmark = pytest.mark.slow
ROLES = ("records", "keyring", "log")


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
                    CLINICIAN,
                    Purpose.TREATMENT,
                    site.twins[len(written) % 3],
                    {"bmi": lambda _, made=value: made},  # type: ignore[misc]  # a default binds it here
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
        node.audit.checkpoint_and_anchor()
    error = asked(*restore, "--home", tmp_path / "again", code=4)["error"]
    assert error["kind"] == "InTheWay"
    for word in site.plain:
        assert word not in to.read_bytes()


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

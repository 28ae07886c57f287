"""A home that lives in files, moved to a server: nothing is lost, nothing is doubled, and a killed move goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from tests.command_line import PROGRAM
from tests.postgres import Postgres
from twinward.access.consent import Provision
from twinward.access.interfaces import AccessContext, Principal
from twinward.backup import relocation
from twinward.core.config import Settings
from twinward.core.vocabulary import Category, Purpose, Role
from twinward.fhir.bulk.synthetic_patients import generate_cohort
from twinward.node import SYSTEM, create_node, open_node

OFFICER = Principal("olga", Role.OFFICER, "Olga Officer")
CLINICIAN = Principal("dr-lee", Role.CLINICIAN)
RECORDS = AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT)
ROLES = ("records", "keyring", "log", "state")
PASSWORD = "correct horse battery staple"


def moved(home: Path, places: dict[str, str], *more: str) -> Result:
    named = [word for role, uri in places.items() for word in (f"--{role}", uri)]
    return CliRunner().invoke(PROGRAM, ["node", "move", *named, "--yes", "--json", "--home", str(home), *more])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Rows, a segment, a shredded twin, a consent, an account, a changed log key, anchors."""
    home = tmp_path / "home"
    node = create_node(Settings.load(home))
    first, *_ = [node.twins.ingest(RECORDS, one) for one in generate_cohort(2, 1)]
    node.twins.ingest_all(RECORDS, generate_cohort(3, 2))
    node.accounts.add_person(OFFICER, PASSWORD)
    provision = Provision(effect="permit", purposes=(Purpose.RESEARCH,))
    node.access.set_consent(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), first.twin, (provision,))
    assert node.audit.checkpoint_and_anchor().problem == ""
    node.compactor.run()
    node.close()
    changed = CliRunner().invoke(PROGRAM, ["keys", "rotate-log", "--as", "olga", "--yes", "--home", str(home)])
    assert changed.exit_code == 0, changed.output
    return home


def seen(home: Path) -> dict[str, Any]:
    """What a node shows of itself."""
    with open_node(home) as node:
        node.audit.verify(deep=True)
        twins = node.store.twins()
        permit = AccessContext(CLINICIAN, Purpose.TREATMENT)
        records = [
            sorted(record.content for record in node.twins.read(permit, twin, [Category.LABS, Category.VITALS]))
            for twin in node.twins.all()
        ]
        return {
            "twins": twins,
            "records": records,
            "checkpoints": node.log.store.checkpoints(),
            "changes": node.log.store.key_changes(),
            "accounts": [one.principal() for one in node.accounts.records()],
            "consents": [node.access.consent_of(twin) for twin in twins],
            "anchored": node.anchors.largest(),
        }


def place(postgres: Postgres) -> dict[str, str]:
    return {role: postgres.database() for role in ROLES}


def test_what_cannot_be_moved_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    assert moved(tmp_path, {"log": "postgresql://u@h/db"}).exit_code == 3
    create_node(Settings.load(tmp_path / "home")).close()
    assert moved(tmp_path / "home", {}).exit_code == 2
    for uri in ("sqlite:other.db", "mysql://u@h/db", "postgresql"):
        assert moved(tmp_path / "home", {"log": uri}).exit_code == 2
    asked = moved(tmp_path / "home", {"log": "postgresql://u@127.0.0.1:9/none"}, "--dry-run")
    assert json.loads(asked.stdout)["files"] == ["log.db"]
    assert moved(tmp_path / "home", {"log": "postgresql://u@127.0.0.1:9/none"}).exit_code == 7
    code = (
        "import pathlib, sys; from twinward.node.home import serving\n"
        "with serving(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    held = [sys.executable, "-c", code, str(tmp_path / "home")]
    with subprocess.Popen(held, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "held\n"
        assert moved(tmp_path / "home", {"log": "postgresql://u@127.0.0.1:9/none"}).exit_code == 4
    with open_node(tmp_path / "home") as node:
        assert node.settings.log == ""


@pytest.mark.slow
def test_a_moved_home_is_the_same_node(home: Path, postgres: Postgres) -> None:
    places = place(postgres)
    before = seen(home)
    done = moved(home, places)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["roles"] == list(ROLES)
    assert {"vault.db", "keyring.db", "log.db", "accounts.db", "consents.db"}.isdisjoint(
        path.name for path in home.iterdir()
    )
    after = seen(home)
    assert {name: after[name] for name in before} == before
    with open_node(home) as node:
        assert node.settings.databases == places
        node.twins.ingest(RECORDS, next(iter(generate_cohort(1, 9))))
        assert node.audit.checkpoint_and_anchor().problem == ""
        node.audit.verify(deep=True)
    assert moved(home, places).exit_code == 4


@pytest.mark.slow
def test_a_file_that_is_open_elsewhere_is_not_moved_and_a_moved_one_takes_no_change(
    home: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = place(postgres)
    code = (
        "import sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1]); db.execute('SELECT count(*) FROM account_record').fetchone()\n"
        "print('open', flush=True); sys.stdin.readline()\n"
        "db.execute('DELETE FROM account_record'); db.commit()"
    )
    command = [sys.executable, "-c", code, str(home / "accounts.db")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "open\n"
        refused = moved(home, {"state": places["state"]})
        assert (refused.exit_code, "accounts.db is in use" in refused.output) == (4, True), refused.output
        monkeypatch.setattr(relocation, "is_in_use", lambda _: False)  # it opened the file right after we looked
        assert moved(home, {"state": places["state"]}).exit_code == 0
        assert "it was moved to a server" in reader.communicate("\n", timeout=30)[1]
    with open_node(home) as node:
        assert [one.id for one in node.accounts.records()] == ["olga"]


@pytest.mark.slow
def test_a_database_that_holds_something_else_is_refused_and_nothing_is_moved(home: Path, postgres: Postgres) -> None:
    others = place(postgres)
    other = create_node(Settings.load(home.parent / "other", **others))
    other.twins.ingest(RECORDS, next(iter(generate_cohort(1, 5))))
    other.accounts.add_person(replace(OFFICER, id="otto"), PASSWORD)
    other.close()
    before = seen(home)
    for role in ROLES:
        refused = moved(home, {role: others[role]})
        assert refused.exit_code == 4, (role, refused.output)
        assert "something else" in refused.output or "another log" in refused.output
    assert {name: one for name, one in seen(home).items() if name in before} == before


@pytest.mark.slow
def test_what_comes_back_otherwise_is_refused(home: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    def all_but_one(there: Any, table: Any, here: Any, model: Any, *more: Any) -> None:
        copy(there, table, here, model, *more)
        here.execute(model.delete().where(next(iter(model.primary_key)) == here.execute(model.select()).first()[0]))

    copy = relocation._copy_rows
    monkeypatch.setattr(relocation, "_copy_rows", all_but_one)
    assert moved(home, {"keyring": postgres.database()}).exit_code == 8
    assert (home / "keyring.db").exists()


@pytest.mark.slow
def test_a_killed_move_goes_on(home: Path, postgres: Postgres) -> None:
    places = place(postgres)
    before = seen(home)
    named = [word for role, uri in places.items() for word in (f"--{role}", uri)]
    command = [sys.executable, "-m", "twinward", "node", "move", *named, "--yes", "--home", str(home)]
    killed = 0
    for delay_s in (0.4, 0.8, 1.2, 1.6, 2.0, 2.4):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay_s)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.wait()
        if (home / "log.db.moved").exists():
            break
        assert {name: one for name, one in seen(home).items() if name in before} == before
    assert killed
    if not (home / "log.db.moved").exists():
        deadline = time.monotonic() + 30  # the server notices late that whoever held its locks is gone
        while (done := moved(home, places)).exit_code == 7 and time.monotonic() < deadline:
            time.sleep(0.5)
        assert done.exit_code in (0, 4), done.output
    assert {name: one for name, one in seen(home).items() if name in before} == before
    with psycopg.connect(places["log"]) as connection:
        assert (
            connection.execute("SELECT count(*) FROM log_leaves").fetchone()
            == connection.execute("SELECT size FROM log_head").fetchone()
        )

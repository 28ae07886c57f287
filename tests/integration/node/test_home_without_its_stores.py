"""A home whose records, keyring or log are gone, empty, older or another node's is not opened, and none is made anew.

With a file that was lost, a volume that was not mounted or a variable from another shell a node once began an empty
one, said that all was well, and sealed what came next under new keys, or logged it where nobody looks.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.cli.conftest import run
from tests.kept_homes import founded
from twinward.core.config import FILE_NAME
from twinward.node import open_node

COMMANDS = (
    ("node", "status"),
    ("node", "serve", "--port", "0"),
    ("node", "add-system", "ward", "--role", "clinician"),
    ("twin", "list"),
    ("twin", "import", "more.ndjson"),
    ("audit", "verify", "--deep"),
    ("audit", "checkpoint"),
)
FILES = {"records": "vault.db", "keyring": "keyring.db", "log": "log.db"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node with one patient and an anchored log."""
    folder = tmp_path_factory.mktemp("stores")
    home = folder / "node"
    founded(home).close()
    (folder / "one.ndjson").write_text('{"resourceType": "Patient", "id": "a"}\n')
    assert run("twin", "import", str(folder / "one.ndjson"), "--home", str(home)).exit_code == 0
    with open_node(home) as node:
        node.audit.checkpoint_and_anchor()
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it; the working folder is beside it."""
    shutil.copytree(made, tmp_path / "node")
    monkeypatch.chdir(tmp_path)
    Path("more.ndjson").write_text('{"resourceType": "Patient", "id": "b"}\n')
    return tmp_path / "node"


def refusal(home: Path, *command: str, code: int = 7) -> dict[str, str]:
    done = run(*command, "--home", str(home), *(() if command[1] == "serve" else ("--json",)))
    assert done.exit_code == code, (command, done.output)
    return {} if command[1] == "serve" else json.loads(done.output)["error"]


def content(folder: Path) -> dict[Path, bytes]:
    kept = (one for one in folder.rglob("*") if one.is_file() and not one.name.endswith((".lock", "-shm", "-wal")))
    return {one: one.read_bytes() for one in kept}


def changed(database: Path, *statements: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize("name", FILES)
def test_a_database_that_is_gone_is_not_made_anew(home: Path, name: str) -> None:
    (home / FILES[name]).rename("aside")
    before = content(home)
    for command in COMMANDS if name == "keyring" else COMMANDS[:1]:
        told = refusal(home, *command)
        assert not told or (told["kind"], FILES[name] in told["message"]) == ("StoresNotOwn", True)
    assert content(home) == before
    Path("aside").rename(home / FILES[name])
    assert run("twin", "list", "--home", str(home)).exit_code == 0


@pytest.mark.parametrize("name", FILES)
def test_what_a_shell_names_is_not_taken_for_the_homes_own(
    home: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(home / FILES[name], "elsewhere.db")  # a drill's: the same node's, and sound
    monkeypatch.setenv(f"TWINWARD_{name.upper()}", f"sqlite:{Path('elsewhere.db').absolute()}")
    before = content(home.parent)
    told = refusal(home, "twin", "import", "more.ndjson")
    assert told["kind"] == "StoresNotOwn"
    assert f"TWINWARD_{name.upper()} names another database" in told["message"]
    assert content(home.parent) == before
    monkeypatch.setenv(f"TWINWARD_{name.upper()}", f"sqlite:{home / FILES[name]}")
    assert run("twin", "list", "--home", str(home)).exit_code == 0


def test_accounts_and_consents_are_not_looked_for_where_a_shell_says(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = "postgresql://node@127.0.0.1:1/state?connect_timeout=1"
    monkeypatch.setenv("TWINWARD_STATE", there)
    told = refusal(home, "node", "status")
    assert (told["kind"], "TWINWARD_STATE names another database" in told["message"]) == ("StoresNotOwn", True)
    (home / FILE_NAME).write_text((home / FILE_NAME).read_text() + f'state = "{there}"\n')
    assert "Connection refused" in refusal(home, "node", "status")["message"]
    monkeypatch.setenv("TWINWARD_STATE", "")  # as if it were in the home
    assert refusal(home, "node", "status")["kind"] == "StoresNotOwn"


def test_the_account_alone_may_be_another_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / FILE_NAME).write_text(
        (home / FILE_NAME).read_text() + 'records = "postgresql://node@127.0.0.1:1/records"\n'
    )
    monkeypatch.setenv("TWINWARD_RECORDS", "postgresql://backup@127.0.0.1:1/records?connect_timeout=1")
    assert "Connection refused" in refusal(home, "node", "status")["message"]
    for other in ("postgresql://node@127.0.0.1:1/drill", "postgresql://node@127.0.0.1:2/records"):
        monkeypatch.setenv("TWINWARD_RECORDS", other)
        assert refusal(home, "node", "status")["kind"] == "StoresNotOwn"


EMPTIED: dict[str, Callable[[Path], None]] = {
    "keyring": lambda home: changed(home / "keyring.db", "DELETE FROM wrapped_twin_key"),
    "log": lambda home: changed(
        home / "log.db", *(f"DELETE FROM {one}" for one in ("leaves", "bodies", "tiles", "checkpoints", "postings")),
        "UPDATE head SET size = 0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EMPTIED)
def test_an_empty_one_is_another_one(home: Path, name: str) -> None:
    """On a server a database is there, and may be the wrong one."""
    EMPTIED[name](home)
    (home / "anchors.db").unlink()  # which would say so by itself
    told = refusal(home, "node", "status")
    assert (told["kind"], "is empty" in told["message"]) == ("StoresNotOwn", True)


def test_a_keyring_from_before_the_last_retirement_is_another_one(home: Path) -> None:
    """New patients' keys in it would be gone with the right one put back."""
    shutil.copy(home / "keyring.db", "older.db")
    assert run("keys", "rotate", "--retire", "--yes", "--home", str(home)).exit_code == 0
    (home / "keyring.db").rename("newest.db")
    shutil.copy("older.db", home / "keyring.db")
    told = refusal(home, "twin", "import", "more.ndjson")
    assert (told["kind"], "KEK 1, which was destroyed" in told["message"]) == ("StoresNotOwn", True)
    shutil.copy("newest.db", home / "keyring.db")
    assert run("twin", "import", "more.ndjson", "--home", str(home)).exit_code == 0


def test_a_log_that_was_cut_is_told_at_once_and_by_verify(home: Path, made: Path) -> None:
    with open_node(home) as node:
        size = node.log.store.size()
        changed(
            home / "log.db",
            *(f"DELETE FROM {one} WHERE idx >= {size - 1}" for one in ("leaves", "bodies")),
            "DELETE FROM checkpoints",
            f"UPDATE head SET size = {size - 1}",
        )
        fault = node.log_check.run().fault
    assert "cut off" in fault
    told = refusal(home, "node", "status", code=8)
    assert (told["kind"], str(size) in told["message"]) == ("LogTampered", True)
    with open_node(made) as node:
        assert node.log_check.run().fault == ""


def test_another_log_of_the_same_key_is_told(home: Path) -> None:
    changed(home / "log.db", "UPDATE tiles SET hashes = zeroblob(length(hashes))")
    assert refusal(home, "node", "status", code=8)["kind"] == "LogTampered"


def test_a_new_home_that_nothing_happened_in_opens(tmp_path: Path) -> None:
    founded(tmp_path / "node").close()
    with open_node(tmp_path / "node") as node:
        node.heartbeat()
        node.audit.checkpoint_and_anchor()
    with open_node(tmp_path / "node") as node:
        assert node.store.count() == 0


def test_verify_says_what_is_sound_before_it_names_the_store_that_is_not(home: Path) -> None:
    assert run("node", "add-system", "ward", "--role", "clinician", "--home", str(home)).exit_code == 0
    changed(home / "accounts.db", "INSERT INTO account_record VALUES ('mallory', '{}')")
    done = run("audit", "verify", "--deep", "--home", str(home))
    assert done.exit_code == 8, done.output
    assert done.stdout.startswith("sound: ")
    assert "1 signed checkpoint agrees" in done.stdout, "kept by the log and with its anchor, it is one"
    assert "the accounts store was altered" in done.stderr
    assert "put the newest accounts.db back" in done.stderr


def test_an_altered_record_ends_with_the_exit_code_of_what_was_altered(home: Path) -> None:
    changed(home / "vault.db", "UPDATE segment SET sealed = x'00'", "UPDATE sealed_record SET sealed = x'00'")
    assert run("node", "add-system", "ward", "--role", "clinician", "--home", str(home)).exit_code == 0
    (twin,) = json.loads(run("twin", "list", "--json", "--home", str(home)).output)["twins"]
    told = refusal(home, "twin", "show", twin, "--as", "ward", "--category", "demographics", code=8)
    assert told["kind"] == "RecordDamaged"
    assert told["hint"]


def test_an_account_that_stood_there_before_the_first_is_not_taken_for_an_earlier_releases(home: Path) -> None:
    changed(home / "accounts.db", "INSERT INTO account_record VALUES ('mallory', '{}')")
    for command in (("account", "list"), ("audit", "verify")):
        assert refusal(home, *command, code=8)["kind"] == "StoreAltered"

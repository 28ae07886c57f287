"""Whoever can write ``accounts.db`` becomes nobody, brings back nothing that was taken away, makes nobody disappear."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.cli.conftest import PASSWORD, run
from twinward.access import passwords
from twinward.access.account_events import AT_THE_MACHINE
from twinward.access.errors import SignInRefused
from twinward.access.interfaces import Principal
from twinward.audit.events.codec import decode
from twinward.core.clock import FixedClock
from twinward.core.config import FILE_NAME, Settings
from twinward.core.errors import StoreAltered, Unavailable
from twinward.core.vocabulary import Role
from twinward.node import Node, create_node, open_node

OLD_FORM = (
    "CREATE TABLE account (id TEXT PRIMARY KEY, role TEXT NOT NULL, name TEXT NOT NULL, unit TEXT NOT NULL,"
    " password TEXT NOT NULL DEFAULT '', token_hash BLOB NOT NULL DEFAULT x'', visited_size INTEGER NOT NULL"
    " DEFAULT 0, visited_at_ms INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID"
)
MALLORY = "twk_mallory_guessed-by-nobody-else"


@dataclass(frozen=True)
class Home:
    """A node's home with an officer, a clinician's token and one that was revoked since ``before`` was copied."""

    path: Path
    before: Path
    token: str
    revoked: str

    @property
    def accounts(self) -> Path:
        return self.path / "accounts.db"

    def put_back(self) -> None:
        self.take_away()
        shutil.copyfile(self.before, self.accounts)

    def take_away(self) -> None:
        for one in self.path.glob("accounts.db*"):
            one.unlink()

    def sql(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.accounts, isolation_level=None)) as file:
            for one in statements:
                file.execute(one)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Home:
    path = tmp_path_factory.mktemp("vouched") / "node"
    before = path.with_name("before.db")
    node = create_node(Settings(home=path), clock=FixedClock())
    node.accounts.add_person(Principal("olga", Role.OFFICER), PASSWORD)
    token = node.accounts.add_system(Principal("dr-lee", Role.CLINICIAN))
    number, revoked = node.account_desk.new_token("dr-lee", AT_THE_MACHINE)
    node.close()
    shutil.copyfile(path / "accounts.db", before)
    with open_node(path) as again:
        again.account_desk.revoke_token("dr-lee", number, AT_THE_MACHINE)
    return Home(path, before, token, revoked)


@pytest.fixture
def home(made: Home, tmp_path: Path) -> Home:
    shutil.copytree(made.path, tmp_path / "node")
    return Home(tmp_path / "node", made.before, made.token, made.revoked)


@pytest.fixture
def node(home: Home) -> Iterator[Node]:
    with open_node(home.path) as opened:
        yield opened


def planted(name: str, role: str, token: str) -> str:
    digest = hashlib.sha256(token.rpartition("_")[2].encode()).hexdigest()
    tokens = f'[{{"number":1,"sha256":"{digest}"}}]'
    return f"""INSERT INTO account_record VALUES ('{name}', '{{"id":"{name}","role":"{role}","tokens":{tokens}}}')"""


def test_a_row_with_ones_own_token_is_no_account(home: Home, node: Node) -> None:
    assert node.accounts.by_token(home.token).id == "dr-lee"
    home.sql(planted("mallory", "clinician", MALLORY))
    with pytest.raises(SignInRefused):
        node.accounts.by_token(MALLORY)
    assert [one.id for one in node.accounts.records()] == ["dr-lee", "olga"]
    with open_node(home.path) as again, pytest.raises(SignInRefused):
        again.accounts.by_token(MALLORY)
    assert node.accounts.by_token(home.token).id == "dr-lee"


REPLACED = "UPDATE account_record SET record = json_set(record, {}) WHERE id = 'dr-lee'"


@pytest.mark.parametrize(
    "statement",
    [
        REPLACED.format("'$.role', 'officer'"),
        REPLACED.format("'$.role', 'node'"),
        REPLACED.format("'$.tokens[1].revoked', json('false')"),
        REPLACED.format("'$.generation', 2"),
        REPLACED.format("'$.name', 'Dr. Lee, chief'"),
        "UPDATE account_record SET record = 'nonsense' WHERE id = 'dr-lee'",
        "UPDATE account_record SET record = x'00' WHERE id = 'dr-lee'",
        "UPDATE account_record SET record = (SELECT record FROM account_record WHERE id = 'olga') WHERE id = 'dr-lee'",
        "DELETE FROM account_record WHERE id = 'dr-lee'",
        "DELETE FROM change WHERE seq = (SELECT max(seq) FROM change)",
        "DELETE FROM change",
        "DROP TABLE change",
        "UPDATE change SET digest = x'00' WHERE subject = 'dr-lee'",
        "INSERT INTO change SELECT max(seq) + 1, 'mallory', digest, mac FROM change",
    ],
)
def test_an_altered_row_or_chain_lets_nobody_in(home: Home, statement: str) -> None:
    with open_node(home.path) as seen:  # a process that has seen it as it was may go by that, and by nothing else
        assert seen.accounts.by_token(home.token)
        home.sql(statement)
        with suppress(Unavailable):
            assert seen.accounts.by_token(home.token) == Principal("dr-lee", Role.CLINICIAN)
        with pytest.raises((SignInRefused, Unavailable)):
            seen.accounts.by_token(home.revoked)
    with open_node(home.path) as node:
        for token in (home.token, home.revoked):
            with pytest.raises(StoreAltered):
                node.accounts.by_token(token)


def test_an_older_file_brings_no_token_back(home: Home) -> None:
    home.put_back()
    with open_node(home.path) as node:
        for ask in (
            lambda: node.accounts.by_token(home.revoked),
            lambda: node.accounts.by_token(home.token),
            lambda: node.sign_ins.by_password("olga", PASSWORD),
            lambda: node.accounts.named("olga"),
            lambda: node.accounts.add_system(Principal("mallory", Role.CLINICIAN)),
        ):
            with pytest.raises(StoreAltered, match="older copy"):
                ask()
    told = run("account", "list", "--home", str(home.path))
    assert told.exit_code == 8
    assert "backup" in told.stderr


def test_an_older_file_under_a_running_node_is_noticed(home: Home, node: Node) -> None:
    assert node.accounts.by_token(home.token)
    session = node.sign_ins.by_password("olga", PASSWORD)
    home.put_back()
    for ask in (lambda: node.accounts.by_token(home.revoked), lambda: node.sign_ins.session(session)):
        with pytest.raises(StoreAltered):
            ask()


@pytest.mark.parametrize("how", ["gone", "empty", "old form", "old form beside"])
def test_a_file_that_was_begun_anew_is_no_new_node(home: Home, how: str) -> None:
    row = f"INSERT INTO account VALUES ('mallory', 'officer', '', '', '', x'{hashlib.sha256(b'x').hexdigest()}', 0, 0)"
    if how != "old form beside":
        home.take_away()
    if how == "empty":
        home.accounts.touch()
    elif how.startswith("old form"):
        home.sql(OLD_FORM, row)
    with open_node(home.path) as node:
        if how == "old form beside":  # the chain is there: what stands beside it is nobody's
            assert node.accounts.by_token(home.token)
            with pytest.raises(SignInRefused):
                node.accounts.by_token("twk_mallory_x")
            return
        for ask in (
            lambda: node.accounts.by_token("twk_mallory_x"),
            lambda: node.accounts.by_token(home.token),
            lambda: node.accounts.add_person(Principal("mallory", Role.OFFICER), PASSWORD),
        ):
            with pytest.raises(StoreAltered):
                ask()


@pytest.mark.parametrize("bodies", ["kept", "taken away"])
def test_a_chain_stripped_together_with_the_logs_index_is_not_begun_anew(home: Home, bodies: str) -> None:
    """The index is a file like any other; what the log's entries say, whoever writes the home cannot write."""
    home.sql("DROP TABLE change", planted("mallory", "clinician", MALLORY))
    with closing(sqlite3.connect(home.path / "log.db", isolation_level=None)) as log:
        assert log.execute("DELETE FROM postings").rowcount
        if bodies == "taken away":
            log.execute("UPDATE bodies SET body = x''")
    with open_node(home.path) as node:
        for token in (MALLORY, home.token):
            with pytest.raises(StoreAltered):
                node.accounts.by_token(token)


@pytest.mark.parametrize(
    "statement",
    [planted("mallory", "clinician", MALLORY), REPLACED.format("'$.role', 'officer'"), "DROP TABLE change"],
)
def test_verifying_the_log_says_that_accounts_were_altered(home: Home, statement: str) -> None:
    assert "accounts: " in run("audit", "verify", "--home", str(home.path)).stdout
    home.sql(statement)
    for how in ([], ["--deep"]):
        told = run("audit", "verify", *how, "--home", str(home.path))
        assert (told.exit_code, "the accounts store was altered" in told.stderr) == (8, True), told.output


def test_a_home_of_an_earlier_release_is_taken_over_once_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "node"
    create_node(Settings(home=path)).close()
    older = Home(path, tmp_path / "before.db", "twk_dr-lee_s3cret", "")
    older.take_away()
    older.sql(OLD_FORM)
    with closing(sqlite3.connect(older.accounts)) as file:
        insert = "INSERT INTO account VALUES (?, ?, ?, '', ?, ?, 3, 5)"
        file.execute(insert, ("olga", "officer", "Olga Officer", passwords.stretch(PASSWORD), b""))
        file.execute(insert, ("dr-lee", "clinician", "Dr. Lee", "", hashlib.sha256(b"s3cret").digest()))
        file.commit()
    shutil.copyfile(older.accounts, older.before)
    with (
        open_node(path) as node,
        pytest.raises(StoreAltered),
    ):  # this home's release vouched for accounts from the first
        node.accounts.by_token(older.token)
    older.put_back()
    settings = path / FILE_NAME
    lines = settings.read_text().splitlines(keepends=True)
    settings.write_text("".join(line for line in lines if not line.startswith("log_key")))  # an earlier one's did not
    with open_node(path) as node:
        assert node.accounts.by_token(older.token).name == "Dr. Lee"
        assert node.sign_ins.session(node.sign_ins.by_password("olga", PASSWORD)).principal.name == "Olga Officer"
        assert node.accounts.visit("olga", 4) == (3, 5)
        assert len([one for one in told(node) if "dr-lee (clinician), olga (officer)" in one]) == 1
    with open_node(path) as node:
        assert node.accounts.by_token(older.token)
        assert len([one for one in told(node) if "dr-lee (clinician), olga (officer)" in one]) == 1
    older.put_back()  # what was taken over once is not taken over again
    with open_node(path) as node, pytest.raises(StoreAltered):
        node.accounts.by_token(older.token)


def told(node: Node) -> list[str]:
    """The details of every event of the log."""
    found = []
    for index in range(node.log.store.size()):
        _, opening = node.audit.sealer.open(index, node.log.store.entry(index))
        if opening is not None:
            found.append(repr(decode(opening.event, node.log.origin).detail))
    return found

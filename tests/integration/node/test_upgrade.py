"""A home made before every store had revisions opens here, is upgraded in place, and holds what it held.

``tests/vectors/homes`` says how it was made. Time stands in it, and in the clock that it is opened with.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.read_only import read_only
from twinward.access.accounts import SignInRefused
from twinward.access.interfaces import AccessContext, AccessRequest, Principal
from twinward.access.tables import ACCOUNTS, CONSENTS, AccountRow
from twinward.core.clock import FixedClock
from twinward.core.errors import Unavailable
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId
from twinward.federation.aggregation.answered_rounds import AnsweredRounds
from twinward.node import Node, open_node
from twinward.node.study_source import MEMORY_FILE
from twinward.vault.models import Member
from twinward.vault.storage.schemas import KEYRING, RECORDS
from twinward_ledger.chains._tables import CHAIN
from twinward_ledger.errors import LedgerError
from twinward_ledger.storage import table_of
from twinward_ledger.storage.sqlite import SqliteFile, stamp
from twinward_ledger.stores.tables import ANCHORS, LOG_FILE, MAP_FILE, WITNESS_MEMORY, WITNESS_STATE
from twinward_ledger.stores.witness_state import WitnessState

ARCHIVE = Path(__file__).parents[2] / "vectors" / "homes" / "before_revisions.tar.xz"
CLINICIAN = Principal("dr-kim", Role.CLINICIAN, "Dr. Kim")
STUDY = bytes(range(32))


@dataclass
class OldHome:
    """The home, unpacked, and what was true of it when it was made."""

    path: Path
    told: dict[str, Any]

    @contextmanager
    def opened(self) -> Iterator[Node]:
        with open_node(self.path, clock=FixedClock(self.told["clock_ms"] + 1000)) as node:
            yield node


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OldHome:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="fully_trusted")
    path = tmp_path / "home"
    told = json.loads((path / "told.json").read_text())
    passphrase = tmp_path / "passphrase"
    passphrase.touch(0o600)
    passphrase.write_text(told["passphrase"])
    monkeypatch.setenv("TWINWARD_PASSPHRASE_FILE", str(passphrase))
    return OldHome(path, told)


def test_what_was_there_is_read_back(home: OldHome) -> None:
    told = home.told
    for _ in range(2):  # the second time nothing is left to upgrade
        with home.opened() as node:
            require_held(node, told)
            require_sealed(node, told)
    for name, size in told["witnesses"].items():
        hospital = name.split("/")[1]
        folder = home.path if hospital == node.settings.tenant else home.path / "peers" / hospital
        state = WitnessState(folder / "witness.db")
        newest = state.newest(node.log.origin)
        assert newest is not None
        assert newest[0] >= size
        state.close()
    rounds = AnsweredRounds(home.path / MEMORY_FILE)
    newest_round = rounds.newest(STUDY)
    assert newest_round is not None
    assert (newest_round.number, newest_round.masked) == (2, b"masked 2")
    rounds.close()


def test_the_upgraded_home_verifies_and_works_on(home: OldHome) -> None:
    told = home.told
    with home.opened() as node:
        node.audit.verify(deep=True)
        assert node.verify_stores()["consents"] > 0
        twin = TwinId(told["twins"][2])
        made = {"value": 31}
        node.twins.targets.change(AccessContext(CLINICIAN, Purpose.TREATMENT), twin, {"bmi": lambda _: made})
        node.accounts.add_person(Principal("nora", Role.OFFICER, "Nora"), "nine geese over water")
        node.audit.checkpoint_and_anchor()
        size = node.log.store.size()
    with home.opened() as node:
        newest = node.audit.anchorer.journal.newest()
        assert newest is not None
        assert newest[1].statement.size == size > told["log_size"]
        assert [one.id for one in node.accounts.records()] == sorted([*told["accounts"], "nora"])
        node.audit.verify(deep=True)


def require_held(node: Node, told: dict[str, Any]) -> None:
    """Accounts, consents and anchors as they were."""
    assert [one.id for one in node.accounts.records()] == told["accounts"]
    assert node.sign_ins.session(node.sign_ins.by_password("olga", told["password"])).principal.role is Role.OFFICER
    assert node.accounts.by_token(told["tokens"]["dr-kim"]).id == "dr-kim"
    with pytest.raises(SignInRefused):
        node.accounts.by_token(told["tokens"]["dr-kim"].replace("dr-kim", "dr-lee"))
    assert ("dr-kim", 1) in node.accounts.used()
    found = {twin: node.consents.current(TwinId(twin)).version for twin in told["consents"]}
    assert found == told["consents"]
    notes = node.audit.anchorer.journal.notes()
    newest = node.audit.anchorer.journal.newest()
    assert len(notes) >= 2
    assert newest is not None
    assert newest[1].statement.size == told["anchored"]


def require_sealed(node: Node, told: dict[str, Any]) -> None:
    """Records in rows and in segments as they were; what was shredded stays shredded."""
    assert node.store.count() == told["rows"]
    twins = [TwinId(twin) for twin in told["twins"]]
    assert sum(isinstance(one, Member) for twin in twins for one in node.store.of_twin(twin)) == told["members"]
    assert node.keyring.census().shredded == {told["shredded"]["whole"]}
    request = AccessRequest(
        CLINICIAN, Action.READ, Purpose.EMERGENCY, twins[0], frozenset(Category), "restore drill, read everything"
    )
    assert len(list(node.vault.read_twin(node.access.decide(request)))) > 10


FILES = {
    "accounts.db": ACCOUNTS,
    "anchors.db": ANCHORS,
    "chain.db": CHAIN,
    "consents.db": CONSENTS,
    "keyring.db": KEYRING,
    "log.completeness.db": MAP_FILE,
    "log.db": LOG_FILE,
    "vault.db": RECORDS,
    "witness.db": WITNESS_STATE,
    "witnesses.db": WITNESS_MEMORY,
}


def test_every_file_is_numbered_once_it_was_opened(home: OldHome) -> None:
    assert stamps(home)["accounts.db"] == stamps(home)["witnesses.db"] == (0, 0)
    with home.opened() as node:
        _ = (node.accounts, node.consents, node.audit.anchorer, node.audit.completeness, node.store)
    assert stamps(home) == {name: (schema.application_id, schema.version) for name, schema in FILES.items()}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_a_newer_twinward_upgraded_is_refused_by_name(home: OldHome, name: str) -> None:
    with closing(sqlite3.connect(home.path / name)) as db:
        db.execute(f"PRAGMA application_id = {FILES[name].application_id}")
        db.execute("PRAGMA user_version = 99")
    before = (home.path / name).read_bytes()
    with pytest.raises((Unavailable, LedgerError), match=f"{name} is at revision 0099"), home.opened() as node:
        _ = (node.accounts, node.consents, node.audit.anchorer, node.audit.completeness, node.store)
    assert (home.path / name).read_bytes() == before


def test_old_stores_that_cannot_be_written_are_read_as_they_lie(home: OldHome, tmp_path: Path) -> None:
    with read_only(home.path, tmp_path / "read-only") as folder:
        file = SqliteFile(folder / "accounts.db", ACCOUNTS)
        with file.reading() as db:
            names = sorted(db.execute(select(table_of(AccountRow).c.id)).scalars())
        file.close()
    assert names == home.told["accounts"]


INTERRUPTED = """
import sys, time
from dataclasses import replace
from pathlib import Path
from twinward.access.tables import ACCOUNTS
from twinward_ledger.storage.sqlite import SqliteFile
SqliteFile(Path(sys.argv[1]), replace(ACCOUNTS, version=2, revisions=Path(sys.argv[2])))
"""
SLOW_REVISION = """
import sys, time
from pathlib import Path
from alembic import op
revision, down_revision, branch_labels, depends_on = "0002", "0001", None, None
def upgrade():
    op.execute("ALTER TABLE account_record ADD COLUMN half TEXT")
    op.execute("DELETE FROM account_record")
    for number in range(2000):
        op.execute(f"INSERT INTO account_record VALUES ('{number}', '{'x' * 4000}', '')")
    Path(sys.argv[3]).touch()
    time.sleep(60)
"""


@pytest.mark.slow
def test_a_migration_killed_in_the_midst_leaves_the_home_as_it_was(home: OldHome, tmp_path: Path) -> None:
    revisions, reached = tmp_path / "revisions", tmp_path / "reached"
    shutil.copytree(ACCOUNTS.revisions, revisions)
    (revisions / "0002_slow.py").write_text(SLOW_REVISION)
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTED, str(home.path / "accounts.db"), str(revisions), str(reached)]
        )
        while not reached.exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.wait()
        reached.unlink()
    assert stamps(home)["accounts.db"] == (0, 0)  # not even the first of the two revisions
    test_the_upgraded_home_verifies_and_works_on(home)


@pytest.mark.slow
def test_a_home_whose_first_opening_is_killed_at_any_moment_opens_afterwards(home: OldHome) -> None:
    opening = "\n".join(
        (
            "import sys; from pathlib import Path; from twinward.core.clock import FixedClock",
            "from twinward.node import open_node",
            "with open_node(Path(sys.argv[1]), clock=FixedClock(int(sys.argv[2]))) as node:",
            "    print('opened', flush=True); (node.accounts, node.consents, node.audit.anchorer)",
        )
    )
    arguments = [sys.executable, "-c", opening, str(home.path), str(home.told["clock_ms"] + 500)]
    for number in range(8):
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()  # its stores are opened from now on
        time.sleep(number * 0.04)
        process.kill()
        process.communicate()
    with home.opened() as node:
        require_held(node, home.told)
        require_sealed(node, home.told)
        node.audit.verify(deep=True)


def stamps(home: OldHome) -> dict[str, tuple[int, int]]:
    """What each file's header says it is."""
    found = {}
    for name in FILES:
        with closing(sqlite3.connect(home.path / name)) as db:
            found[name] = stamp(db)
    return found

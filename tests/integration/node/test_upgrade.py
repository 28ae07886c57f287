"""A home made before every store had revisions opens here, is upgraded in place, and holds what it held.

``tests/vectors/homes`` says how it was made. Time stands in it, and in the clock that it is opened with.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from twinward.access.accounts import SignInRefused
from twinward.access.interfaces import AccessContext, AccessRequest, Principal
from twinward.core.clock import FixedClock
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId
from twinward.federation.aggregation.answered_rounds import AnsweredRounds
from twinward.node import Node, open_node
from twinward.node.study_source import MEMORY_FILE
from twinward.vault.models import Member
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
    assert node.accounts.session(node.accounts.sign_in("olga", told["password"])).principal.role is Role.OFFICER
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

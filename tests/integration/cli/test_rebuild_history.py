"""A release history that is lost is begun anew from the log: no vendor learns more than it would have with it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.cli.conftest import OFFICER, PASSWORD, SIMILARITY_YES, Hospital
from twinward.access.interfaces import AccessContext, AccessRequest, Principal
from twinward.audit.models import Filters
from twinward.core.config import Settings
from twinward.core.errors import StoreAltered
from twinward.core.vocabulary import Action, Purpose, Role, TwinId
from twinward.fhir.bulk.synthetic_patients import generate_cohort
from twinward.node import SYSTEM, Node, create_node, open_node
from twinward.protocol.messages import MatrixSearch
from twinward.twins.models import DIRECTORY

ACME, GLOBEX = Principal("acme", Role.VENDOR), Principal("globex", Role.VENDOR)
COMMAND = ("similarity", "rebuild-history", "--as", "olga")


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    """Six patients, all of whom acme was told of; globex was told of nobody."""
    home = tmp_path_factory.mktemp("rebuild") / "node"
    with closing(create_node(Settings.load(home, modes=("matrix",)))) as node:
        node.accounts.add_person(OFFICER, PASSWORD)
        for vendor in (ACME, GLOBEX):
            node.accounts.add_system(vendor)
            node.consortium.grant_queries(vendor.id, 50)
        node.accounts.add_system(Principal("dr-lee", Role.CLINICIAN))
        twins = join(node, 6, seed=1)
        assert asked(node) == twins
    return Hospital(home, tuple(twins), "")


def asked(node: Node, who: Principal = ACME) -> set[TwinId]:
    """Whom an answer about everybody tells a vendor of."""
    service = node.similarity()
    levels = (64,) * service.cohort.schema.dimension
    query = MatrixSearch(epoch=service.cohort.epoch, levels=levels, threshold_squared=len(levels) * 127**2)
    names = {service.secrets.handle(who.id, twin): twin for twin in node.twins.all()}
    return {names[handle] for handle in node.cohort.current().search_matrix(who, query).handles}


def join(node: Node, count: int, seed: int) -> set[TwinId]:
    """New patients who consent, in a new snapshot."""
    new = [
        node.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), one).twin
        for one in generate_cohort(count, seed)
        if one.reference != DIRECTORY
    ]
    node.access.set_consents(
        AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), [(twin, (SIMILARITY_YES,)) for twin in new]
    )
    node.refresh_cohort()
    return set(new)


def lose(home: Path, how: str, older: bytes) -> bytes:
    """Damage the history; returns what it was."""
    file = home / "releases.sealed"
    newest = file.read_bytes()
    match how:
        case "deleted":
            file.unlink()
        case "older":
            file.write_bytes(older)
        case "altered":
            file.write_bytes(newest[:-1] + bytes([newest[-1] ^ 1]))
    return newest


def test_a_history_that_is_sound_is_not_begun_anew(hospital: Hospital) -> None:
    assert hospital.asked(*COMMAND, "--yes", code=4)["error"]["hint"]


def test_a_lost_history_is_begun_anew_at_what_the_log_says(hospital: Hospital) -> None:
    home, file = hospital.home, hospital.home / "releases.sealed"
    lost = file.read_bytes()
    with open_node(home) as node:
        recorded = node.heads.newest("releases")
        assert recorded is not None
    file.unlink()
    with open_node(home) as node, pytest.raises(StoreAltered) as refused:
        node.similarity()
    assert "similarity rebuild-history" in refused.value.hint

    planned = hospital.asked(*COMMAND, "--dry-run")
    assert (planned["closed"], planned["done"]) == ({"acme": 6}, False)
    assert planned["lost"] == {"changes": recorded.changes, "head": recorded.mac.hex()}
    assert not file.exists()
    assert hospital.run(*COMMAND).exit_code == 2
    assert hospital.run("similarity", "rebuild-history", "--as", "dr-lee", "--yes").exit_code == 6
    assert not file.exists()
    assert hospital.asked(*COMMAND, "--yes")["done"]

    with open_node(home) as node:
        permit = node.access.decide(AccessRequest(OFFICER, Action.AUDIT, Purpose.COMPLIANCE))
        said = [dict(row.event.detail) for row in node.audit_reader.events(permit, limit=20).rows if row.event]
        assert f"{recorded.changes}:{recorded.mac.hex()}" in {one.get("lost head") for one in said}
        now = node.heads.newest("releases")
        assert now is not None
        assert now.changes == recorded.changes + 1
        assert asked(node) == set(), "whoever it was told of is closed to it"
        assert asked(node, GLOBEX) == set(hospital.twins)
        few = join(node, 2, seed=40)
        assert asked(node) == set(), "two who are new are told apart by no answer"
        more = join(node, 3, seed=41)
        assert asked(node) == few | more
    with open_node(home) as node:
        assert asked(node) == few | more, "what is closed stays so when the history is written"
    newest = file.read_bytes()
    file.write_bytes(lost)
    with open_node(home) as node, pytest.raises(StoreAltered, match="turned back"):
        node.similarity()
    file.write_bytes(newest)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["older", "altered", "deleted"])
def test_however_it_was_lost_what_was_told_since_is_closed_as_well(hospital: Hospital, how: str) -> None:
    with open_node(hospital.home) as node:
        older = (hospital.home / "releases.sealed").read_bytes()
        join(node, 3, seed=len(how))
        asked(node)
        patients = len(node.twins.all())
    damaged = lose(hospital.home, how, older)
    assert hospital.asked(*COMMAND, "--yes")["closed"]["acme"] >= patients - 3
    aside = hospital.home / "refused-releases.sealed"
    assert aside.exists() or how == "deleted"
    with open_node(hospital.home) as node:
        assert asked(node) == set()
    (hospital.home / "releases.sealed").write_bytes(damaged)
    assert hospital.asked(*COMMAND, "--yes")["done"]


def test_a_log_that_lost_a_telling_says_nothing(hospital: Hospital) -> None:
    with open_node(hospital.home) as node:
        permit = node.access.decide(AccessRequest(OFFICER, Action.AUDIT, Purpose.COMPLIANCE))
        told = node.audit_reader.events(permit, limit=1, filters=Filters(action=Action.MATCH)).rows
        node.log.store.erase_body(told[0].index)
    (hospital.home / "releases.sealed").unlink()
    assert "has no body" in hospital.asked(*COMMAND, "--yes", code=8)["error"]["message"]
    assert not (hospital.home / "releases.sealed").exists()

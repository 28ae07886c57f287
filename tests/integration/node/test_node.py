"""A node's home is whole or not there, and comes back as it was."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.kept_homes import founded
from twinward.access.consent import Provision
from twinward.access.interfaces import AccessContext, AccessRequest, Principal
from twinward.core.clock import FixedClock
from twinward.core.config import Settings
from twinward.core.errors import BadInput, Conflict, NotFound, TwinwardError, Unavailable
from twinward.core.vocabulary import Action, Category, Purpose, Role
from twinward.fhir.bulk.synthetic_patients import generate_cohort
from twinward.node import SYSTEM, create_node, join_as_peer, open_node
from twinward.node.departures import INDEX_FOLDER
from twinward.twins.models import ImportRecord, PatientImport
from twinward.vault.errors import NotReleased

CLINICIAN = Principal("dr-lee", Role.CLINICIAN)
OFFICER = Principal("olga", Role.OFFICER)


def test_everything_is_there_again_after_reopening(tmp_path: Path) -> None:
    home = tmp_path / "home"
    node = founded(home)
    receipts = node.twins.ingest_all(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), generate_cohort(2, 1))
    first = node.audit.checkpoint_and_anchor()
    assert first.problem == ""
    node.close()
    with open_node(home) as again:
        assert again.log.key == node.log.key
        assert again.consortium.addresses == node.consortium.addresses
        records = again.twins.read(
            AccessContext(CLINICIAN, Purpose.TREATMENT), receipts[0].twin, [Category.LABS, Category.VITALS]
        )
        assert records
        second = again.audit.checkpoint_and_anchor()
        assert second.checkpoint.size == first.checkpoint.size + 2  # the event, and the completeness map with it
        assert len(second.cosigned) == 3
        again.audit.verify(deep=True)


def test_a_node_looks_at_what_records_tell_before_it_shows_them(tmp_path: Path) -> None:
    told = b'{"resourceType":"Observation","valueCodeableConcept":{"coding":[{"code":"F20.0"}]}}'
    plain = ImportRecord("Observation/plain", "Observation", Category.LABS, b'{"resourceType":"Observation"}')
    filed_before = ImportRecord("Observation/old", "Observation", Category.LABS, told)
    patient = ImportRecord("Patient/p", "Patient", Category.DEMOGRAPHICS, b'{"resourceType":"Patient"}')
    founded(tmp_path / "home").close()
    with open_node(tmp_path / "home") as node:
        twin = node.twins.ingest(
            AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), PatientImport("Patient/p", (patient, plain, filed_before))
        ).twin
        with pytest.raises(NotReleased):
            node.twins.read_reference(AccessContext(CLINICIAN, Purpose.TREATMENT), "Observation/old")
        shown = node.twins.read(AccessContext(CLINICIAN, Purpose.TREATMENT), twin, [Category.LABS])
        assert [one.content for one in shown] == [plain.content]
        node.access.set_consent(
            AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT),
            twin,
            (Provision(effect="permit", categories=(Category.PSYCHIATRY,)),),
        )
        assert node.twins.read_reference(AccessContext(CLINICIAN, Purpose.TREATMENT), "Observation/old").content == told


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    node = create_node(Settings.load(tmp_path / "home"))
    node.close()
    assert (tmp_path / "home").stat().st_mode & 0o077 == 0
    for secret in ("keys", "chain.db.key", "twinward.toml"):
        assert (tmp_path / "home" / secret).stat().st_mode & 0o077 == 0, secret


def test_a_home_that_is_not_there_says_what_would_make_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as refusal, open_node(tmp_path / "nowhere"):
        pass
    assert "twinward demo" in refusal.value.hint
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"keys": "cloud:somewhere"}, Unavailable),
        ({"chain": "carrier-pigeon:x"}, Unavailable),
        ({"records": "carrier-pigeon:x"}, Unavailable),
        ({"keyring": "sqlite:"}, Unavailable),
        ({"log": "postgresql://nobody@127.0.0.1:9/none"}, Unavailable),
        ({"quorum": 9}, BadInput),
        ({"passphrase_file": Path("nowhere")}, BadInput),
        ({"policy": Path("nowhere")}, BadInput),
        ({"chain": "http://127.0.0.1:9", "chain_id": 7, "chain_key_file": Path("nowhere")}, BadInput),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value.__name__,
)
def test_a_node_that_cannot_be_made_leaves_nothing_behind(
    tmp_path: Path, wrong: dict[str, object], kind: type[TwinwardError]
) -> None:
    home = tmp_path / "home"
    with pytest.raises(kind) as refusal:
        create_node(Settings.load(home, **wrong))
    assert str(refusal.value)
    assert list(home.iterdir()) == []
    create_node(Settings.load(home)).close()


def test_a_missing_consortium_is_not_founded_anew(tmp_path: Path) -> None:
    founded(tmp_path / "home").close()
    (tmp_path / "home" / "consortium.json").unlink()
    with open_node(tmp_path / "home") as node:
        assert node.twins.all() == []
        for _ in range(2):  # what stands on it is refused, each time
            with pytest.raises(BadInput, match="does not name a consortium"):
                node.audit.checkpoint_and_anchor()
        with pytest.raises(BadInput, match="does not name a consortium"):
            node.open_all()
    assert not (tmp_path / "home" / "consortium.json").exists()


def test_settings_come_from_file_environment_and_call_in_that_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "twinward.toml").write_text('hospital = "From file"\nquorum = 1\nlisten_port = 9000\n')
    monkeypatch.setenv("TWINWARD_QUORUM", "3")
    settings = Settings.load(tmp_path, listen_port=9100)
    assert (settings.hospital, settings.quorum, settings.listen_port) == ("From file", 3, 9100)
    assert settings.home == tmp_path


@pytest.mark.parametrize(
    "content", ["quorum = 'many'", "colour = 'blue'", "quorum = ", 'tenant = "../up"', "modes = ['telepathy']"]
)
def test_a_wrong_setting_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "twinward.toml").write_text(content)
    with pytest.raises(BadInput) as refusal:
        Settings.load(tmp_path)
    assert content.split(" ")[0].strip('"') in str(refusal.value) or "TOML" in str(refusal.value)


def test_settings_written_are_settings_read(tmp_path: Path) -> None:
    wanted = Settings.load(
        tmp_path, hospital='The "Old" \\ Hospital', modes=("gated", "matrix"), chain="http://h:1", chain_id=7
    )
    (tmp_path / "twinward.toml").write_text(wanted.to_toml())
    assert Settings.load(tmp_path).model_dump() == wanted.model_dump()


def test_a_peer_has_keys_vault_and_log_of_its_own(tmp_path: Path) -> None:
    node = founded(tmp_path / "home", FixedClock())
    peer = join_as_peer(node, "northgate")
    assert peer.log.key != node.log.key
    peer.access.decide(AccessRequest(SYSTEM, Action.WRITE, Purpose.RECORD_MANAGEMENT))
    assert (peer.audit.status().size, node.audit.status().size) == (1, 0)
    assert len(peer.audit.checkpoint_and_anchor().cosigned) == 3
    peer.close()
    node.close()


def test_a_second_node_in_the_same_home_is_refused(tmp_path: Path) -> None:
    founded(tmp_path / "home").close()
    with pytest.raises(Conflict):
        create_node(Settings.load(tmp_path / "home"))


def test_a_no_waits_for_no_chain(tmp_path: Path) -> None:
    """Who withdraws or is erased leaves the kept indexes at once, whatever the consortium's contracts do."""
    home = tmp_path / "home"
    with closing(founded(home)) as node:
        node.accounts.add_person(OFFICER, "correct horse battery")
        records = AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT)
        twins = [node.twins.ingest(records, one).twin for one in generate_cohort(2, 7)]
    (home / "consortium.json").unlink()
    for withdraws in (True, False):
        (home / INDEX_FOLDER).mkdir(exist_ok=True)
        kept = home / INDEX_FOLDER / "of-a-cohort.blocks"
        kept.write_bytes(b"sealed")
        with open_node(home) as node:
            if withdraws:
                officer = AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT)
                node.access.set_consent(officer, twins[0], (Provision(effect="deny"),))
            else:
                request = AccessRequest(OFFICER, Action.SHRED, Purpose.PATIENT_REQUEST, twins[1])
                assert node.erasures.erase([request])
        assert not kept.exists()

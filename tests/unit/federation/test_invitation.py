"""What hospitals hand each other: nothing altered, nobody else's, no file that means two things."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward.federation.aggregation.secure_aggregation import HospitalIdentity
from twinward.federation.approval import FOLDER, Approvals
from twinward.federation.detectors import build_detector
from twinward.federation.detectors.model_file import Model, read_model
from twinward.federation.errors import InvitationInvalid, ModelFileInvalid, NotApproved, StudyInvalid
from twinward.federation.invitation import Invitation, StudyKey, study_key_file
from twinward.federation.signed_json import MAX_BYTES
from twinward.federation.study import StudyProtocol

NAMES = ("east", "north", "south")
IDENTITIES = {name: HospitalIdentity(name, name.encode().ljust(32, b".")) for name in NAMES}
ROSTER = {name: one.public_key for name, one in IDENTITIES.items()}
STUDY = StudyProtocol.for_dp_var("sepsis-1", NAMES)
INVITATION = Invitation(STUDY, ROSTER, "east", "marie")
FILE = INVITATION.signed(IDENTITIES["east"])


def test_what_is_written_is_read() -> None:
    assert Invitation.parse(FILE) == INVITATION
    assert StudyKey.parse(study_key_file(IDENTITIES["north"])) == StudyKey("north", ROSTER["north"])
    assert StudyKey("north", ROSTER["north"]).fingerprint != StudyKey("east", ROSTER["east"]).fingerprint


def changed(**fields: Any) -> bytes:
    return json.dumps(json.loads(FILE) | fields).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b" " * MAX_BYTES + FILE,
        FILE.replace(b"{", b'{"researcher": "marie",', 1),
        study_key_file(IDENTITIES["east"]),
        changed(kind="twinward/study-invitation/2"),
        changed(researcher="eve"),
        changed(researcher="eve\x1b[2J"),
        changed(coordinator="north"),
        changed(coordinator="west"),
        changed(roster={name: key.hex() for name, key in ROSTER.items()} | {"west": "00" * 32}),
        changed(roster={"east": ROSTER["east"].hex(), "north": ROSTER["north"].hex(), "south": "00" * 32}),
        changed(roster=dict.fromkeys(NAMES, ROSTER["east"].hex())),
        changed(study=STUDY.model_dump(mode="json") | {"epsilon": 9.0}),
        changed(signature="00" * 64),
        changed(signature=1),
        changed(note="also this"),
    ],
)
def test_no_other_invitation_is_read(raw: bytes) -> None:
    with pytest.raises(InvitationInvalid):
        Invitation.parse(raw)


def test_a_protocol_that_cannot_run_says_which_field() -> None:
    with pytest.raises(StudyInvalid, match="epsilon"):
        Invitation.parse(changed(study=STUDY.model_dump(mode="json") | {"epsilon": 99}))


@given(position=st.integers(0, len(FILE) - 1), bit=st.integers(0, 7))
def test_one_bit_changes_all(position: int, bit: int) -> None:
    altered = bytearray(FILE)
    altered[position] ^= 1 << bit
    try:
        found = Invitation.parse(bytes(altered))
    except (InvitationInvalid, StudyInvalid):
        return
    assert found == INVITATION  # white space, or the case of a hexadecimal digit of the signature


def test_only_the_coordinator_signs_and_only_under_its_own_key() -> None:
    for identity in (IDENTITIES["north"], HospitalIdentity("east", bytes(32))):
        with pytest.raises(InvitationInvalid):
            INVITATION.signed(identity)
    for roster in ({**ROSTER, "west": bytes(32)}, {"east": ROSTER["east"]}):
        with pytest.raises(InvitationInvalid):
            Invitation(STUDY, roster, "east", "marie").signed(IDENTITIES["east"])


def test_a_study_key_proves_that_its_hospital_holds_it() -> None:
    fields = json.loads(study_key_file(IDENTITIES["north"]))
    for altered in (fields | {"hospital": "east"}, fields | {"key": ROSTER["east"].hex()}, fields | {"extra": 1}):
        with pytest.raises(InvitationInvalid):
            StudyKey.parse(json.dumps(altered).encode())


def approvals(home: Path, name: str = "north") -> Approvals:
    return Approvals(home, IDENTITIES[name])


def test_an_approval_is_of_one_protocol_and_holds_until_it_is_withdrawn(tmp_path: Path) -> None:
    desk, again = approvals(tmp_path), approvals(tmp_path)
    with pytest.raises(NotApproved, match="no officer of north"):
        again.of(STUDY.fingerprint())
    desk.keep(FILE, "olga", 7)
    found = again.of(STUDY.fingerprint())
    assert (found.invitation, found.officer, found.at_ms) == (INVITATION, "olga", 7)
    assert again.all() == [found]
    dearer = StudyProtocol.for_dp_var("sepsis-1", NAMES, epsilon=3.5)
    with pytest.raises(NotApproved):
        again.of(dearer.fingerprint())
    again.withdraw(STUDY.fingerprint())
    with pytest.raises(NotApproved):
        desk.of(STUDY.fingerprint())
    assert desk.all() == []


def test_a_hospital_approves_only_what_is_to_it_and_under_its_own_key(tmp_path: Path) -> None:
    with pytest.raises(InvitationInvalid, match="not to west"):
        Approvals(tmp_path, HospitalIdentity("west", bytes(32))).keep(FILE, "olga", 7)
    with pytest.raises(InvitationInvalid, match="another key for north"):
        Approvals(tmp_path, HospitalIdentity("north", bytes(32))).keep(FILE, "olga", 7)


def test_a_file_that_another_laid_there_approves_nothing(tmp_path: Path) -> None:
    approvals(tmp_path / "..", "south")  # only its key
    desk = approvals(tmp_path)
    place = tmp_path / FOLDER / f"{STUDY.fingerprint().hex()}.json"
    desk.keep(FILE, "olga", 7)
    own = place.read_bytes()
    south = tmp_path / "south"
    south.mkdir()
    approvals(south, "south").keep(FILE, "olga", 7)
    others = (south / FOLDER / place.name).read_bytes()
    for content in (others, own.replace(b"olga", b"otto"), FILE, b"", own[:-40], b"\xff" * 200_000):
        place.write_bytes(content)
        with pytest.raises(NotApproved):
            desk.of(STUDY.fingerprint())
        assert desk.all() == []
    elsewhere = place.with_name(f"{'00' * 32}.json")  # a true approval under another protocol's name
    elsewhere.write_bytes(own)
    with pytest.raises(NotApproved):
        desk.of(bytes(32))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_a_file_is_utf_8_and_nothing_else(encoding: str, tmp_path: Path) -> None:
    for read, content in ((Invitation.parse, FILE), (StudyKey.parse, study_key_file(IDENTITIES["east"]))):
        with pytest.raises(InvitationInvalid, match="no JSON"):
            read(content.decode().encode(encoding))
    with pytest.raises(InvitationInvalid):
        Approvals(tmp_path, IDENTITIES["north"]).keep(FILE.decode().encode(encoding), "olga", 1)


def test_the_longest_protocol_is_invited_to_approved_and_kept_as_a_model(tmp_path: Path) -> None:
    def study(title: str) -> StudyProtocol:
        signals = [
            {"name": f"s{n}", "title": title, "low": 0, "high": 1, "loinc": [f"{n * 16 + k}-1" for k in range(16)]}
            for n in range(128)
        ]
        return StudyProtocol.for_dp_var("long-1", NAMES, signals={"name": "own", "steps": 1, "signal": signals})

    with pytest.raises(StudyInvalid, match="65536 bytes at most"):
        study("\U0001f600" * 100)
    longest = study("\u00e9" * 100)
    assert len(longest.canonical()) > 50_000
    approvals, raw = Approvals(tmp_path, IDENTITIES["north"]), Invitation(longest, ROSTER, "east", "marie")
    signed = raw.signed(IDENTITIES["east"])
    for content in (signed, json.dumps(json.loads(signed), ensure_ascii=False).encode()):
        approvals.keep(content, "olga", 1)
        assert approvals.of(longest.fingerprint()).invitation == Invitation.parse(content) == raw
    model = Model(longest, build_detector(longest).untrained())
    assert read_model(model.to_bytes()).study == longest


def test_a_model_file_of_nested_objects_is_refused() -> None:
    nested = b'{"a":' * 10_000
    with pytest.raises(ModelFileInvalid):
        read_model(b"TWMODEL1" + len(nested).to_bytes(4, "big") + nested + bytes(8))

"""From keys to an approval, over the command line: who may, what it says, what the log keeps."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.integration.cli.conftest import PASSWORD, Hospital, run
from twinward.access import totp
from twinward.access.interfaces import Principal
from twinward.core.errors import Unavailable
from twinward.core.vocabulary import Role
from twinward.federation.aggregation.secure_aggregation import HospitalIdentity
from twinward.federation.approval import FOLDER, Approval, Approvals, Decision
from twinward.federation.errors import NotApproved
from twinward.federation.invitation import Invitation, study_key_file
from twinward.federation.models import COHORT
from twinward.federation.study import StudyProtocol
from twinward.node import open_node
from twinward.node.study_approvals import AT_THIS_MACHINE, member

HERE = ("st-anna", "northgate", "lakeside")
MERCY = HospitalIdentity("mercy", bytes(range(32)))


@pytest.fixture(scope="module")
def house(hospital: Hospital) -> Hospital:
    with open_node(hospital.home) as node:
        node.accounts.add_person(Principal("marie", Role.RESEARCHER, "Marie Research"), PASSWORD)
        node.consortium.cap_privacy("st-anna", COHORT, 300_000)
    return hospital


@pytest.fixture(scope="module")
def password(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("secret") / "password"
    path.write_text(PASSWORD + "\n")
    path.chmod(0o600)
    return str(path)


def protocol(folder: Path, name: str, *hospitals: str) -> str:
    path = folder / f"{name}.toml"
    words = [word for one in hospitals for word in ("--hospital", one)]
    assert run("study", "new", str(path), *words).exit_code == 0
    return str(path)


def test_keys_an_invitation_an_approval_and_its_withdrawal(house: Hospital, tmp_path: Path, password: str) -> None:
    key = house.asked("study", "keygen", "--out", str(tmp_path / "own.json"))
    assert house.asked("study", "keygen", "--out", str(tmp_path / "again.json"))["key"] == key["key"]
    (tmp_path / "mercy.json").write_bytes(study_key_file(MERCY))
    file = protocol(tmp_path, "sepsis-1", *HERE, "mercy")
    out = tmp_path / "sepsis-1.invitation.json"
    asked = ("study", "invite", file, "--as", "marie", "--out", str(out))
    done = house.run(*asked)
    assert (done.exit_code, "mercy" in done.stderr) == (2, True)  # its key is missing
    assert house.asked(*asked, "--key", str(tmp_path / "mercy.json"))["coordinator"] == "st-anna"

    approve = ("study", "approve", str(out), "--as", "olga", "--password-file", password)
    shown = house.run(*approve, "--yes")
    assert shown.exit_code == 0, shown.stderr
    for words in (
        "2.72-fold",
        "0.300000",
        "would be left",
        "NOT ENOUGH",
        key["fingerprint"],
        "told to nobody",
        "Respiratory",
    ):
        assert words in shown.stdout
    found = house.asked("study", "approvals")["approvals"]
    assert {one["hospital"] for one in found} == set(HERE)
    assert {(one["officer"], one["researcher"]) for one in found} == {("olga", "marie")}
    assert house.asked(*approve, "--yes", "--withdraw", "--hospital", "northgate")["withdrawn"] == ["northgate"]
    assert {one["hospital"] for one in house.asked("study", "approvals")["approvals"]} == {"st-anna", "lakeside"}
    assert house.run(*approve, "--yes", "--withdraw", "--hospital", "northgate").exit_code == 6
    listed = house.run("audit", "list", "--as", "olga", "--limit", "30").stdout
    for words in ("gave out the hospital's study key", "invited other hospitals to the study sepsis-1", "approved the"):
        assert words in listed


def test_who_may_not(house: Hospital, tmp_path: Path, password: str) -> None:
    file = protocol(tmp_path, "sepsis-2", *HERE)
    out = tmp_path / "invitation.json"
    for account in ("olga", "dr-lee", "acme"):
        assert house.run("study", "invite", file, "--as", account, "--out", str(out)).exit_code == 6
        assert not out.exists()
    assert house.run("study", "invite", file, "--as", "marie", "--out", str(out)).exit_code == 0
    wrong = tmp_path / "wrong"
    wrong.write_text("guessed it, surely")
    wrong.chmod(0o600)
    for account, secret in (("olga", str(wrong)), ("marie", password), ("dr-lee", password)):
        done = house.run("study", "approve", str(out), "--as", account, "--password-file", secret, "--yes")
        assert done.exit_code in (5, 6), done.output
    assert house.run("study", "approve", str(out), "--as", "olga", "--yes").exit_code == 2  # nobody to type it
    names = [one["study"] for one in house.asked("study", "approvals")["approvals"]]
    assert "sepsis-2" not in names


def test_an_invitation_that_was_altered_or_is_not_to_this_hospital(
    house: Hospital, tmp_path: Path, password: str
) -> None:
    file = protocol(tmp_path, "sepsis-3", *HERE)
    out = tmp_path / "invitation.json"
    assert house.run("study", "invite", file, "--as", "marie", "--out", str(out)).exit_code == 0
    fields = json.loads(out.read_text())
    fields["study"]["epsilon"] = 9.5
    out.write_text(json.dumps(fields))
    done = house.run("study", "approve", str(out), "--as", "olga", "--password-file", password, "--yes")
    assert (done.exit_code, "altered" in done.stderr) == (2, True)
    assert "Traceback" not in done.output


@pytest.mark.slow
def test_a_password_alone_approves_nothing_of_who_has_a_second_factor(
    house: Hospital, tmp_path: Path, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "invitation.json"
    file = protocol(tmp_path, "sepsis-4", *HERE)
    assert house.run("study", "invite", file, "--as", "marie", "--out", str(out)).exit_code == 0
    asked = ("study", "approve", str(out), "--as", "olga", "--password-file", password, "--yes")

    def names() -> list[str]:
        return [one["study"] for one in house.asked("study", "approvals")["approvals"]]

    monkeypatch.setenv("TWINWARD_SECOND_FACTOR_ROLES", '["officer"]')
    done = house.run(*asked)
    assert (done.exit_code, "no second factor yet" in done.stderr) == (6, True)
    with open_node(house.home) as node:
        factors = node.sign_ins.factors
        waiting, secret, _ = factors.begin("olga")
        app = totp.code_at(base64.b32decode(secret.replace(" ", "")), totp.step_at(node.clock.now_ms()))
        recovery = factors.finish("olga", waiting, app, AT_THIS_MACHINE)
    code = tmp_path / "code"
    try:
        assert house.run(*asked).exit_code == 2  # nobody is there to type it
        for typed, exits in (("000000", 5), (app, 5), (recovery[0], 0), (recovery[0], 5)):
            code.write_text(typed + "\n")
            code.chmod(0o600)
            done = house.run(*asked, "--code-file", str(code))
            assert done.exit_code == exits, done.output
            assert ("sepsis-4" in names()) is (typed == recovery[0])
    finally:
        with open_node(house.home) as node:
            node.sign_ins.factors.remove("olga", AT_THIS_MACHINE)


def test_an_older_approval_that_is_put_back_approves_nothing(house: Hospital, tmp_path: Path, password: str) -> None:
    out, other = tmp_path / "first.json", tmp_path / "second.json"
    file = protocol(tmp_path, "sepsis-5", *HERE)
    for invitation in (out, other):
        assert house.run("study", "invite", file, "--as", "marie", "--out", str(invitation)).exit_code == 0
    other.write_bytes(other.read_bytes() + b"\n")  # the same protocol and keys, another file
    study = Invitation.parse(out.read_bytes()).study.fingerprint()
    kept = house.home / FOLDER / f"{study.hex()}.json"
    rest = ("--as", "olga", "--password-file", password, "--yes", "--hospital", "st-anna")

    def standing() -> list[bool]:
        """As a process sees it that runs all along, and as a fresh one does."""
        return [any(one.invitation.study.fingerprint() == study for one in found) for found in (running.all(), fresh())]

    def fresh() -> list[Approval]:
        with open_node(house.home) as node, member(node, "st-anna") as one:
            return one.approvals().all()

    with open_node(house.home) as node, member(node, "st-anna") as own:
        running = own.approvals()
        assert house.run("study", "approve", str(out), *rest).exit_code == 0
        approved = kept.read_bytes()
        assert standing() == [True, True]
        assert house.run("study", "approve", str(out), *rest, "--withdraw").exit_code == 0
        kept.write_bytes(approved)  # by whoever can write the home
        assert standing() == [False, False]
        with pytest.raises(NotApproved, match="took back"):
            running.of(study)
        kept.unlink()
        assert running.was_withdrawn(study)  # so nobody approves for its officer
        assert house.run("study", "approve", str(other), *rest).exit_code == 0
        assert standing() == [True, True]
        kept.write_bytes(approved)  # of the invitation that was withdrawn
        assert standing() == [False, False]
        with pytest.raises(NotApproved, match="no officer of st-anna"):
            running.of(study)


def test_an_approval_that_the_log_does_not_know_or_cannot_tell_approves_nothing(tmp_path: Path) -> None:
    study = StudyProtocol.for_dp_var("unlogged-1", ("mercy", "north", "south"))
    keys = {name: HospitalIdentity(name, name.encode().ljust(32)) for name in ("north", "south")}
    roster = {"mercy": MERCY.public_key} | {name: one.public_key for name, one in keys.items()}
    Approvals(tmp_path, MERCY).keep(Invitation(study, roster, "mercy", "marie").signed(MERCY), "olga", 1)
    assert Approvals(tmp_path, MERCY).of(study.fingerprint()).officer == "olga"

    class Log:
        said: Decision | None = None

        def newest(self, _: bytes) -> Decision | None:
            if self.said is not None and self.said.officer == "":
                raise Unavailable("the log does not answer")
            return self.said

    log = Log()
    held = Approvals(tmp_path, MERCY, log)
    for said, error in (
        (None, NotApproved),
        (Decision(True, "0" * 64, "olga", 1), NotApproved),
        (Decision(False, "", "olga", 1), NotApproved),
        (Decision(True, "", "", 1), Unavailable),
    ):
        log.said = said
        with pytest.raises(error):
            held.of(study.fingerprint())
    log.said = Decision(True, "", "olga", 1)  # of an event of before, which named no invitation
    assert held.of(study.fingerprint()).officer == "olga"

"""A patient's account is tied to a record by an officer: never by its name, until somebody takes that away."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.conftest import PASSWORD, Hospital, make_hospital
from twinward.access.errors import AccessDenied, SignInEnded
from twinward.access.interfaces import AccessContext
from twinward.audit.events.plain_words import plain_words
from twinward.core.errors import StoreAltered
from twinward.core.vocabulary import Action, Category, Purpose, TwinId
from twinward.node import Node, open_node
from twinward.overview.log import permit_to_examine

UNKNOWN = "00000000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    return make_hospital(tmp_path_factory.mktemp("patients") / "node")


def add(hospital: Hospital, account: str, *more: str, code: int = 0, role: str = "patient") -> Any:
    done = hospital.run(
        "node", "add-person", account, "--role", role, "--password-file", "-", *more, "--json", input=PASSWORD
    )
    assert done.exit_code == code, done.output
    return done


def own(node: Node, account: str) -> AccessContext:
    return AccessContext(node.accounts.named(account), Purpose.PATIENT_REQUEST)


def told_of(node: Node, twin: str) -> list[str]:
    """What the log says of accounts and a patient, as the patient will read it."""
    officer = AccessContext(node.accounts.named("olga"), Purpose.COMPLIANCE)
    permit = permit_to_examine(node.access, officer, "test", TwinId(twin))
    rows = node.audit_reader.of_twin(permit, TwinId(twin)).rows
    return [row.event.reason for row in rows if row.event and row.event.action is Action.ACCOUNT]


@pytest.mark.parametrize(
    ("more", "role", "code"),
    [
        ((), "patient", 2),  # nobody vouches for it
        (("--as", "nobody"), "patient", 3),
        (("--as", "dr-lee"), "patient", 6),
        (("--as", "olga"), "clinician", 2),
    ],
)
def test_only_an_officer_ties_and_only_a_patient(
    hospital: Hospital, more: tuple[str, ...], role: str, code: int
) -> None:
    add(hospital, "eve", "--patient", hospital.twins[0], *more, code=code, role=role)
    with open_node(hospital.home) as node:
        assert node.accounts.find("eve") is None


@pytest.mark.parametrize("twin", [UNKNOWN, "", "x" * 4000, "../..", "directory"])
def test_a_record_that_is_not_there_is_tied_to_nobody(hospital: Hospital, twin: str) -> None:
    with open_node(hospital.home) as node:
        named = str(node.twins.directory()) if twin == "directory" else twin
    add(hospital, "eve", "--patient", named, "--as", "olga", code=3)


def test_whoever_may_not_tie_learns_of_no_record(hospital: Hospital) -> None:
    said = {
        add(hospital, "eve", "--patient", twin, "--as", "dr-lee", code=6).output
        for twin in (hospital.twins[0], UNKNOWN)
    }
    assert len({re.sub(r"\d+", "N", one) for one in said}) == 1


def test_an_account_is_what_it_is_tied_to_and_not_what_it_is_called(hospital: Hospital) -> None:
    mine, other = hospital.twins[:2]
    add(hospital, f"patient:{other}", "--patient", mine, "--as", "olga")
    add(hospital, "untied")
    with open_node(hospital.home) as node:
        named = own(node, f"patient:{other}")
        node.access.decide(named.request(Action.READ, TwinId(mine), (Category.LABS,)))
        for context, twin in ((named, other), (named, UNKNOWN), (own(node, "untied"), mine)):
            with pytest.raises(AccessDenied):
                node.access.decide(context.request(Action.READ, TwinId(twin), (Category.LABS,)))
        assert any("tied to this patient" in said for said in told_of(node, mine))


def test_untying_in_another_process_ends_at_once_whatever_runs(hospital: Hospital) -> None:
    twin = TwinId(hospital.twins[2])
    add(hospital, "cleo")
    with open_node(hospital.home) as node:
        early = node.sign_ins.by_password("cleo", PASSWORD)
        hospital.asked("account", "tie", "cleo", twin, "--as", "olga")
        with pytest.raises(SignInEnded):
            node.sign_ins.session(early)
        session = node.sign_ins.by_password("cleo", PASSWORD)
        patient = node.sign_ins.session(session).principal
        asked = AccessContext(patient, Purpose.PATIENT_REQUEST).request(Action.READ, twin, (Category.LABS,))
        permit = node.access.decide(asked)
        assert hospital.asked("account", "untie", "cleo", "--as", "olga")["twin"] is None
        for then in (
            lambda: node.sign_ins.session(session),
            lambda: node.access.decide(asked),
            lambda: node.authority.require(permit, action=Action.READ, twin=twin, category=Category.LABS),
        ):
            with pytest.raises(SignInEnded):
                then()
        assert told_of(node, twin) == ["account cleo: untied from this patient", "account cleo: tied to this patient"]


def test_a_patient_is_told_who_changed_how_the_account_signs_in(hospital: Hospital, tmp_path: Path) -> None:
    twin = hospital.twins[4]
    add(hospital, "fay", "--patient", twin, "--as", "olga")
    (tmp_path / "new").write_text("three words unlike any")
    (tmp_path / "new").chmod(0o600)
    hospital.asked("account", "reset-password", "fay", "--password-file", str(tmp_path / "new"), "--as", "olga")
    with open_node(hospital.home) as node:
        fay = node.accounts.named("fay")
        node.accounts.change("fay", lambda one: one.ended(), "sessions ended", AccessContext(fay, Purpose.COMPLIANCE))
        told = told_of(node, twin)
        assert told[0] == "account fay: password reset"  # and nothing of what they did themselves
        officer = AccessContext(node.accounts.named("olga"), Purpose.COMPLIANCE)
        permit = permit_to_examine(node.access, officer, "test", TwinId(twin))
        event = next(
            row.event
            for row in node.audit_reader.of_twin(permit, TwinId(twin)).rows
            if row.event and row.event.action is Action.ACCOUNT
        )
        assert plain_words(event, reader="fay", name="Olga").what == (
            "changed how your account signs in: fay, password reset"
        )


def test_ties_are_made_once_and_taken_away_once(hospital: Hospital) -> None:
    add(hospital, "dora", "--patient", hospital.twins[3], "--as", "olga")
    hospital.asked("account", "tie", "dora", hospital.twins[4], "--as", "olga", code=4)
    hospital.asked("account", "tie", "dora", hospital.twins[4], code=2)
    hospital.asked("account", "tie", "dr-lee", hospital.twins[4], "--as", "olga", code=2)
    hospital.asked("account", "untie", "dora", "--as", "dr-lee", code=6)
    hospital.asked("account", "untie", "dora", "--as", "olga")
    hospital.asked("account", "untie", "dora", "--as", "olga", code=4)
    hospital.asked("account", "tie", "nobody", hospital.twins[4], "--as", "olga", code=3)


def test_a_tie_that_was_written_into_the_store_is_no_tie(hospital: Hospital, tmp_path: Path) -> None:
    add(hospital, "mallory")
    home = tmp_path / "node"
    shutil.copytree(hospital.home, home)
    with closing(sqlite3.connect(home / "accounts.db")) as db, db:
        (text,) = db.execute("SELECT record FROM account_record WHERE id = 'mallory'").fetchone()
        forged = text.replace('"twin":null', f'"twin":"{hospital.twins[0]}"')
        assert forged != text
        db.execute("UPDATE account_record SET record = ? WHERE id = 'mallory'", (forged,))
    with open_node(home) as node, pytest.raises(StoreAltered):
        node.accounts.named("mallory")

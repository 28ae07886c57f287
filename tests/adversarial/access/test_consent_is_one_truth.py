"""Consent against processes that do not know of it, and against storage that would rather it were another."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.integration.cli.conftest import OFFICER, Hospital, make_hospital
from tests.integration.cli.test_while_serving import Served, served
from twinward.access.interfaces import AccessContext, AccessRequest, Principal
from twinward.core.errors import StoreAltered
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId
from twinward.node import Node, open_node

NO, YES_AGAIN = '[{"effect":"deny","actors":["t-clinician","olga","acme"]}]', "[]"
LABS = {"category": "labs"}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    hospital = make_hospital(tmp_path_factory.mktemp("truth") / "node")
    with open_node(hospital.home) as opened:
        roles = {"clinician": Role.CLINICIAN, "officer": Role.OFFICER}
        tokens = {name: opened.accounts.add_system(Principal(f"t-{name}", role)) for name, role in roles.items()}
    with served(hospital, tokens | {"vendor": hospital.vendor_token}) as one:
        yield one


def said(hospital: Hospital, twin: str, provisions: str, tmp_path: Path) -> None:
    """The patient's word, set by a command: a process of its own as far as the server is concerned."""
    file = tmp_path / "consent.json"
    file.write_text(provisions)
    done = hospital.run("twin", "consent", twin, "--as", "olga", "--file", str(file))
    assert done.exit_code == 0, done.output


def records(node: Served, twin: str, **more: str) -> int:
    return node.get(f"/api/1/twins/{twin}/records", params=LABS | more).status_code


def copy_of(home: Path, to: Path) -> Path:
    with closing(sqlite3.connect(home / "consents.db")) as source, closing(sqlite3.connect(to)) as copy:
        source.backup(copy)
    return to


def put_back(home: Path, copy: Path) -> None:
    """As a storage operator: another file in the place of the store, its write-ahead log with it."""
    for file in home.glob("consents.db-*"):
        file.unlink()
    shutil.copy(copy, home / "consents.new")
    (home / "consents.new").replace(home / "consents.db")


# ---- every process, at its next decision -------------------------------------------------------------------------
def test_a_stream_ends_with_the_consent_and_tells_nothing_after(node: Served, tmp_path: Path) -> None:
    twin = node.hospital.twins[0]
    headers = {"authorization": f"Bearer {node.tokens['clinician']}", "accept": "text/event-stream"}
    with httpx.stream("GET", f"{node.url}/api/1/twins/{twin}", headers=headers, timeout=30) as stream:
        lines = stream.iter_lines()
        assert any(line == "event: ready" for line in lines)
        said(node.hospital, twin, NO, tmp_path)
        node.typed("twin", "set-target", twin, "hba1c_percent", "--value", "6.5", "--as", "dr-lee")
        rest = [line for line in lines if line.startswith(("event:", "data:"))]
    said(node.hospital, twin, YES_AGAIN, tmp_path)
    assert rest[:2] == ["data: {}", "event: end"], rest
    assert json.loads(rest[2].removeprefix("data:"))["error"]["kind"] == "AccessDenied"


def test_a_running_export_passes_over_who_said_no_meanwhile(node: Served, tmp_path: Path) -> None:
    home, gone = node.hospital.home, node.hospital.twins[3]
    with open_node(home) as opened:
        twins = sorted(map(TwinId, node.hospital.twins))
        labs, first = frozenset({Category.LABS}), next(twin for twin in twins if twin != gone)
        running = opened.twins.search.across(
            AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), Action.EXPORT, [first, TwinId(gone)], "Observation", labs
        )
        assert next(running)[1], "the first patient is out, the other's permit was given with hers"
        _in_another_process(home, gone, NO, tmp_path)
        assert list(running) == [(gone, [])]
        request = AccessRequest(OFFICER, Action.EXPORT, Purpose.RECORD_MANAGEMENT, TwinId(gone), labs)
        assert not opened.access.check(request).permitted
    said(node.hospital, gone, YES_AGAIN, tmp_path)


def test_a_vendor_is_refused_a_patient_at_the_next_decision(node: Served, tmp_path: Path) -> None:
    """In the process that was open all along, as the server is; the patient had consented."""
    vendor = Principal("acme", Role.VENDOR)
    twin = TwinId(node.hospital.twins[4])
    request = AccessRequest(vendor, Action.MATCH, Purpose.SIMILARITY, twin, frozenset({Category.FEATURES}))
    with open_node(node.hospital.home) as opened:
        permit = opened.access.decide(request)
        opened.authority.require(permit, action=Action.MATCH, twin=twin, category=Category.FEATURES)
        _in_another_process(node.hospital.home, twin, '[{"effect":"deny","purposes":["HRESCH"]}]', tmp_path)
        assert opened.access.decide_many([request]) == [None]


def _in_another_process(home: Path, twin: str, provisions: str, tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text(provisions)
    command = [sys.executable, "-m", "twinward", "twin", "consent", twin, "--as", "olga", "--file", str(file)]
    subprocess.run([*command, "--home", str(home)], check=True, capture_output=True)


# ---- storage --------------------------------------------------------------------------------------------------------
def test_storage_cannot_bring_an_older_consent_back(node: Served, tmp_path: Path) -> None:
    home, twin = node.hospital.home, node.hospital.twins[1]
    said(node.hospital, twin, YES_AGAIN, tmp_path)
    old = copy_of(home, tmp_path / "old.db")
    assert records(node, twin) == 200
    said(node.hospital, twin, NO, tmp_path)
    assert records(node, twin) == 403
    new = copy_of(home, tmp_path / "new.db")
    put_back(home, old)
    assert records(node, twin) == 503, "the node that serves remembers"
    answer = node.get(f"/api/1/twins/{twin}/records", params=LABS).json()
    assert answer["error"]["kind"] == "StoreAltered"
    asked = ("access", "check", "--role", "clinician", "--principal", "t-clinician", "--action", "read")
    done = node.hospital.run(*asked, "--twin", twin, "--category", "labs")
    assert done.exit_code == 8, "a process that starts asks the log"
    assert "older copy" in done.output
    for options in ((), ("--deep",)):
        done = node.hospital.run("audit", "verify", *options)
        assert done.exit_code == 8
        assert "consents" in done.output
    glass = {"purpose": "ETREAT", "justification": "found unconscious in the lobby"}
    assert records(node, twin, **glass) == 200, "an emergency passes a no, and so what nobody can say"
    put_back(home, new)
    assert records(node, twin) == 403
    assert node.hospital.asked("audit", "verify", "--deep")["stores"]["consents"] > 1


STORAGE = {
    "the newest row deleted": "DELETE FROM consent WHERE twin = ? AND version = (SELECT max(version) FROM consent"
    " WHERE twin = ?1)",
    "the newest change deleted": "DELETE FROM change WHERE subject = ? AND seq = (SELECT max(seq) FROM change)",
    "the row of another patient": "UPDATE consent SET sealed = (SELECT sealed FROM consent WHERE twin <> ?1 LIMIT 1)"
    " WHERE twin = ?1",
    "an older row in the place of the newest": "UPDATE consent SET sealed = (SELECT sealed FROM consent WHERE"
    " twin = ?1 AND version = 1) WHERE twin = ?1",
    "every row deleted": "DELETE FROM consent WHERE ? <> ''",
    "every change deleted": "DELETE FROM change WHERE ? <> ''",
}


@pytest.mark.parametrize("deed", STORAGE)
def test_storage_cannot_take_a_no_away(node: Served, tmp_path: Path, deed: str) -> None:
    home, twin = node.hospital.home, node.hospital.twins[2]
    said(node.hospital, twin, NO, tmp_path)
    whole = copy_of(home, tmp_path / "whole.db")
    with closing(sqlite3.connect(home / "consents.db")) as db, db:
        db.execute(STORAGE[deed], (twin,))
    try:
        assert records(node, twin) in (403, 503)
        assert node.hospital.run("audit", "verify").exit_code == 8
        asked = ("access", "check", "--role", "clinician", "--principal", "t-clinician", "--action", "read")
        assert node.hospital.run(*asked, "--twin", twin, "--category", "labs").exit_code == 8
    finally:
        put_back(home, whole)


def test_a_head_taken_out_of_the_logs_index_is_found_by_opening_the_log(node: Served, tmp_path: Path) -> None:
    home, twin = node.hospital.home, node.hospital.twins[5]
    said(node.hospital, twin, YES_AGAIN, tmp_path)
    old = copy_of(home, tmp_path / "old.db")
    said(node.hospital, twin, NO, tmp_path)
    new = copy_of(home, tmp_path / "new.db")
    put_back(home, old)
    with open_node(home) as opened:
        real = opened.heads.newest
        found = real("consents")
        assert found is not None
        recorded = opened.audit.verify(deep=True).heads["consents"]
        assert recorded == found
        opened.heads.newest = lambda _store: None  # type: ignore[method-assign]  # as if the index held none of them
        with pytest.raises(StoreAltered, match="older copy"):
            opened.verify_stores({"consents": recorded})
    put_back(home, new)


# ---- kill -9 --------------------------------------------------------------------------------------------------------
def _killed(home: Path, twin: str, *, before_commit: bool) -> None:
    """A process that sets a consent and dies by SIGKILL on the way."""
    child = os.fork()
    if not child:
        _set_and_die(home, twin, before_commit=before_commit)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def _set_and_die(home: Path, twin: str, *, before_commit: bool) -> None:
    from twinward.access.consent import Provision

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    try:
        with open_node(home) as opened:
            if before_commit:
                opened.consents.put_many = die  # type: ignore[assignment,method-assign]
            else:
                opened.heads.record = die  # type: ignore[method-assign]
            opened.access.set_consent(
                AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), TwinId(twin), (Provision(effect="deny"),)
            )
    finally:
        os._exit(1)


@pytest.mark.slow
@pytest.mark.parametrize("before_commit", [True, False], ids=["before the commit", "before the log has the head"])
def test_kill_9_leaves_a_node_that_works_and_a_consent_that_is_whole_or_not_there(
    tmp_path: Path, *, before_commit: bool
) -> None:
    hospital = make_hospital(tmp_path / "node", consenting=False)
    twin = hospital.twins[0]
    _killed(hospital.home, twin, before_commit=before_commit)
    with open_node(hospital.home) as opened:
        assert _permitted(opened, twin) is before_commit
        head = opened.heads.newest("consents")
        assert (head is None) is before_commit, "the log catches up with what was committed"
    said(hospital, twin, '[{"effect":"deny"}]', tmp_path)
    old = copy_of(hospital.home, tmp_path / "old.db")
    said(hospital, twin, YES_AGAIN, tmp_path)
    assert hospital.run("audit", "verify", "--deep").exit_code == 0
    put_back(hospital.home, old)
    assert hospital.run("audit", "verify").exit_code == 8


def _permitted(node: Node, twin: str) -> bool:
    lee = Principal("dr-lee", Role.CLINICIAN)
    request = AccessRequest(lee, Action.READ, Purpose.TREATMENT, TwinId(twin), frozenset({Category.LABS}))
    return node.access.check(request).permitted

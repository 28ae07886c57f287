"""From a count to people, over a whole node: proposed, decided, told, answered; and what no vendor learns."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from twinward.access.consent_choices import CHOICES
from twinward.access.errors import AccessDenied
from twinward.access.interfaces import AccessContext, Principal
from twinward.api.app import create_app
from twinward.audit.models import Filters
from twinward.cli.main import app as command
from twinward.client import Criteria, HospitalRefused, KeptCount, VendorClient
from twinward.console import mount
from twinward.core.config import Settings
from twinward.core.errors import BadInput
from twinward.core.vocabulary import NOBODY, Action, Category, Purpose, Role, TwinId
from twinward.demo.accounts import VENDOR, open_accounts
from twinward.demo.display import Silent
from twinward.demo.querying import SIMILARITY_YES
from twinward.demo.sealing import seal_patients
from twinward.demo.serving import served
from twinward.node import Node, create_node
from twinward.protocol.contacts import ContactState
from twinward.protocol.criteria_costs import costs_of, matches
from twinward.protocol.terms import Mode
from twinward.recruitment.errors import ContactConflict, NoSuchContact
from twinward_ledger.formats.leaf import Leaf, LeafKind

pytestmark = pytest.mark.slow  # a node, filled and served

PASSWORD = "correct horse battery"
OFFICER = Principal("olga", Role.OFFICER, "Olga Officer", "data office")
CRITERIA: dict[str, Any] = {"title": "ours alone", "include": [{"feature": "age", "from": 30}]}
NONE: dict[str, Any] = {
    "include": [{"feature": "age", "known": True}],
    "exclude": [{"feature": "age", "from": 0}],
}
TITLE, PURPOSE = "A study of blood pressure", "to find out whether a medicine helps"
TEXT = "We look for people with high blood pressure.\n\nTwo visits. Saying no costs you nothing."


@dataclass
class Hospital:
    node: Node
    url: str
    token: str
    client: VendorClient
    twins: tuple[TwinId, ...]
    second: VendorClient

    @property
    def officer(self) -> AccessContext:
        return AccessContext(self.node.accounts.named(OFFICER.id), Purpose.COMPLIANCE)

    def counted(self, told: dict[str, Any] = CRITERIA) -> KeptCount:
        prepared = self.client.prepare_count(told, epsilon=0.1)
        self.client.send_count(prepared)
        return KeptCount.of(prepared)

    def proposed(self, kept: KeptCount | None = None) -> str:
        kept = kept or self.counted()
        return self.client.propose_contact(kept, title=TITLE, purpose=PURPOSE, text=TEXT).name

    def approved(self, name: str, reason: str = "the ethics board agreed") -> None:
        """Approve, and have the node tell patients as a served one does by itself."""
        self.node.contacts.approve(self.officer, name, reason)
        self.node.contacts.carry_on()

    def eligible(self, told: dict[str, Any] = CRITERIA) -> set[TwinId]:
        cohort = self.node.similarity().cohort
        costs = costs_of(Criteria.of(told), cohort.schema, cohort.schema.codes)
        rows = zip(cohort.twins, cohort.eligibility.tolist(), strict=True)
        return {twin for twin, row in rows if matches(costs, [row])}

    def size(self) -> int:
        return self.node.log.store.size()


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    settings = Settings.load(
        tmp_path_factory.mktemp("contacts") / "home", scoring="processes:2", requests_per_minute=1000
    )
    node = create_node(settings)
    try:
        accounts = open_accounts(node)
        other = node.accounts.add_system(Principal("rival", Role.VENDOR, "Rival"))
        node.accounts.add_person(OFFICER, PASSWORD)
        twins = tuple(sorted(seal_patients(node, Silent(), bundles=None, count=12, seed=1).twins))
        context = AccessContext(node.accounts.named(OFFICER.id), Purpose.RECORD_MANAGEMENT)
        willing = (SIMILARITY_YES, CHOICES["contact"])
        said = [(twin, willing if i % 2 else (SIMILARITY_YES,)) for i, twin in enumerate(twins)]
        node.access.set_consents(context, said)
        officer = AccessContext(node.accounts.named(OFFICER.id), Purpose.COMPLIANCE)
        for account, twin in (("ann", twins[1]), ("ben", twins[0])):
            node.account_desk.add_patient(account, account.title(), PASSWORD, twin, officer)
        node.consortium.grant_queries(VENDOR.id, 5)
        node.consortium.grant_epsilon(settings.tenant, VENDOR.id, own_millis=20_000, whole_millis=60_000)
        with (
            served(node) as url,
            VendorClient(url, accounts.vendor_token) as client,
            VendorClient(url, other) as second,
        ):
            yield Hospital(node, url, accounts.vendor_token, client, twins, second)
    finally:
        node.close()


def test_approved_it_tells_whom_the_criteria_mean_and_who_consents(hospital: Hospital) -> None:
    name = hospital.proposed()
    desk, expected = hospital.node.contacts, hospital.eligible() & set(hospital.twins[1::2])
    assert 0 < len(expected) < len(hospital.eligible())
    request, told = desk.one(hospital.officer, name)
    assert (request.state, told) == (ContactState.WAITING, [])
    assert "ours alone" not in request.criteria
    done = desk.approve(hospital.officer, name, "the ethics board agreed")
    assert (done.state, done.finished_ms) == (ContactState.APPROVED, 0)
    assert desk.progress(name) == (0, None)
    desk.carry_on()
    done, told = desk.one(hospital.officer, name)
    assert done.finished_ms
    cohort = len(hospital.node.similarity().cohort)
    assert desk.progress(name) == (cohort, cohort)
    assert {one.twin for one in told} == expected
    with pytest.raises(ContactConflict, match="decided on already"):
        desk.refuse(hospital.officer, name, "on second thoughts")
    with pytest.raises(ContactConflict, match="nobody is left"):
        desk.finish(hospital.officer, name)


def test_the_published_log_grows_alike_whoever_is_eligible(hospital: Hospital) -> None:
    grown = []
    for told in (CRITERIA, NONE):
        name = hospital.proposed(hospital.counted(told))
        before = hospital.size()
        hospital.approved(name)
        grown.append(hospital.size() - before)
    assert grown[0] == grown[1] >= len(hospital.node.similarity().cohort)
    assert hospital.eligible(CRITERIA)
    assert not hospital.eligible(NONE)


def test_the_vendor_learns_the_decision_and_nothing_else(hospital: Hospital) -> None:
    yes, no = hospital.proposed(), hospital.proposed()
    hospital.approved(yes, "our own reason, which stays here")
    hospital.node.contacts.refuse(hospital.officer, no, "it asks too much of patients")
    raw = httpx.get(
        f"{hospital.url}/api/1/similarity/contacts", headers={"Authorization": f"Bearer {hospital.token}"}
    ).text
    assert "stays here" not in raw
    assert not [twin for twin in hospital.twins if twin in raw]
    found = {one.name: one for one in hospital.client.contacts()}
    assert (found[yes].state, found[yes].reason) == (ContactState.APPROVED, "")
    assert (found[no].state, found[no].reason) == (ContactState.REFUSED, "it asks too much of patients")
    assert set(raw.replace('"', " ").split()) >= {"requests", "proof"}
    assert hospital.second.contacts() == []


def test_only_what_was_counted_can_be_proposed(hospital: Hospital) -> None:
    kept = hospital.counted()
    size = len(hospital.client.contacts())
    other = Criteria.of({"include": [{"feature": "age", "from": 60}]})
    with pytest.raises(HospitalRefused, match="asked something else"):
        hospital.proposed(replace(kept, criteria=other))
    with pytest.raises(HospitalRefused, match="asked something else"):
        hospital.proposed(replace(kept, secret=hospital.counted().secret))
    unsent = KeptCount.of(hospital.client.prepare_count(CRITERIA, epsilon=0.1))
    with pytest.raises(HospitalRefused, match="no answer to this question"):
        hospital.proposed(unsent)
    swapped = replace(unsent, question=unsent.question.model_copy(update={"query_id": kept.question.query_id}))
    with pytest.raises(HospitalRefused, match="no answer to this question"):
        hospital.proposed(swapped)
    with pytest.raises(HospitalRefused, match="no answer to this question"):
        hospital.second.propose_contact(kept, title=TITLE, purpose=PURPOSE, text=TEXT)
    with pytest.raises(BadInput, match="of epoch"):
        hospital.proposed(replace(kept, question=kept.question.model_copy(update={"epoch": kept.question.epoch - 1})))
    with pytest.raises(HospitalRefused, match="sentence"):
        hospital.client.propose_contact(kept, title="....", purpose=PURPOSE, text=TEXT)
    assert len(hospital.client.contacts()) == size


def test_the_same_proposal_again_is_the_same_request_and_another_is_refused(hospital: Hospital) -> None:
    kept = hospital.counted()
    assert hospital.proposed(kept) == hospital.proposed(kept)
    with pytest.raises(HospitalRefused, match="another request") as refused:
        hospital.client.propose_contact(kept, title="Another title", purpose=PURPOSE, text=TEXT)
    assert refused.value.status == 409


KILLED = """
import os, pathlib, signal, sys
from twinward.node import open_node
from twinward.recruitment import service
service._AT_ONCE = 2
with open_node(pathlib.Path(sys.argv[1])) as node:
    node.contacts.carry_on(lambda done, of: os.kill(os.getpid(), signal.SIGKILL) if done >= 4 else None)
"""


def test_telling_survives_kill_9_and_tells_nobody_twice(hospital: Hospital) -> None:
    name, desk = hospital.proposed(), hospital.node.contacts
    desk.approve(hospital.officer, name, "the ethics board agreed")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(hospital.node.settings.home)], timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert desk.progress(name)[0] == 4
    assert desk.waiting() > 0
    desk.carry_on()
    done, told = desk.one(hospital.officer, name)
    twins = [one.twin for one in told]
    assert done.finished_ms
    assert len(twins) == len(set(twins))
    assert set(twins) == hospital.eligible() & set(hospital.twins[1::2])
    size = hospital.size()
    desk.carry_on()
    assert hospital.size() == size


def test_nobody_is_told_in_the_name_of_a_closed_account_until_another_officer_has_it_go_on(hospital: Hospital) -> None:
    node, desk, name = hospital.node, hospital.node.contacts, hospital.proposed()
    node.accounts.add_person(Principal("oda", Role.OFFICER, "Oda"), PASSWORD)
    second = AccessContext(node.accounts.named("oda"), Purpose.COMPLIANCE)
    desk.approve(second, name, "the ethics board agreed")
    node.account_desk.disable("oda", hospital.officer)
    desk.carry_on()
    assert desk.progress(name)[0] == 0
    with pytest.raises(ContactConflict, match="nobody is left"):
        desk.resume(hospital.officer, hospital.proposed())
    desk.resume(hospital.officer, name)
    desk.carry_on()
    assert desk.one(hospital.officer, name)[0].finished_ms


def signed_in(hospital: Hospital, account: str) -> TestClient:
    app = create_app(hospital.node)
    mount(app, hospital.node)
    web = TestClient(app, follow_redirects=False)
    token = csrf_of(web.get("/console/sign-in"))
    answer = web.post("/console/sign-in", data={"account": account, "password": PASSWORD, "csrf": token})
    assert answer.status_code == 303
    return web


def csrf_of(page: httpx.Response) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert found, page.text
    return found[1]


def test_an_officer_decides_in_the_console_and_the_patient_answers(hospital: Hospital) -> None:
    name = hospital.proposed()
    officer = signed_in(hospital, OFFICER.id)
    assert TITLE in officer.get("/console/contacts").text
    assert "for a decision" in officer.get("/console").text
    page = officer.get(f"/console/contacts/{name}")
    assert "include age from" in page.text
    form = {"csrf": csrf_of(page), "reason": "the ethics board agreed"}
    assert officer.post(f"/console/contacts/{name}/approve", data=form | {"csrf": "x"}).status_code == 403
    assert officer.post(f"/console/contacts/{name}/approve", data=form).status_code == 303
    assert "It goes on by itself" in officer.get(f"/console/contacts/{name}").text
    hospital.node.contacts.carry_on()
    assert hospital.twins[1] in officer.get(f"/console/contacts/{name}").text

    ann = signed_in(hospital, "ann")
    page = ann.get("/console/my/studies")
    assert TITLE in page.text
    assert "Two visits." in page.text
    assert "had you told of a study" in ann.get("/console/my/accesses").text
    form = {"csrf": csrf_of(page), "name": name, "wanted": "yes"}
    assert ann.post("/console/my/studies", data=form).status_code == 303
    assert "you answered yes" in ann.get("/console/my/studies").text
    table = officer.get(f"/console/contacts/{name}/people.csv").text
    assert re.search(rf"{hospital.twins[1]},\S+,yes", table)

    ben = signed_in(hospital, "ben")  # eligible or not, he did not consent to being told
    page = ben.get("/console/my/studies")
    assert TITLE not in page.text
    assert "held the criteria of a study against figures of yours" in ben.get("/console/my/accesses").text
    form = {"csrf": csrf_of(ben.get("/console/my/consents")), "name": name, "wanted": "yes"}
    assert ben.post("/console/my/studies", data=form).status_code == 404


def test_whoever_is_erased_is_told_of_to_nobody(hospital: Hospital) -> None:
    name = hospital.proposed()
    desk, gone = hospital.node.contacts, hospital.twins[3]
    hospital.approved(name)
    _, before = desk.one(hospital.officer, name)
    context = AccessContext(hospital.node.accounts.named(OFFICER.id), Purpose.PATIENT_REQUEST)
    hospital.node.erasures.erase([context.request(Action.SHRED, gone)])
    _, after = desk.one(hospital.officer, name)
    assert {one.twin for one in after} == {one.twin for one in before} - {gone}


def test_each_step_is_decided_on_and_wrong_roles_are_refused(hospital: Hospital) -> None:
    name = hospital.proposed()
    vendor = AccessContext(hospital.node.accounts.named(VENDOR.id), Purpose.COMPLIANCE)
    for act in (hospital.node.contacts.approve, hospital.node.contacts.refuse):
        with pytest.raises(AccessDenied):
            act(vendor, name, "we say so ourselves")
    patient = AccessContext(hospital.node.accounts.named("ann"), Purpose.PATIENT_REQUEST)
    with pytest.raises(NoSuchContact):
        hospital.node.contacts.answer(patient, hospital.twins[1], "0" * 16, wanted=True)
    request = AccessContext(hospital.node.accounts.named(OFFICER.id), Purpose.SIMILARITY).request(
        Action.CONTACT, hospital.twins[0], (Category.DEMOGRAPHICS,)
    )
    assert not hospital.node.access.check(request).permitted


def test_the_commands_keep_a_count_and_propose_it(hospital: Hospital, tmp_path: Path) -> None:
    (tmp_path / "trial.toml").write_text('[[include]]\nfeature = "age"\nfrom = 30\n')
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "token").write_text(hospital.token)
    (tmp_path / "token").chmod(0o600)
    common = ["--token-file", str(tmp_path / "token"), "--json"]
    kept = tmp_path / "trial.count"
    asked = [hospital.url, "--criteria", str(tmp_path / "trial.toml"), "--epsilon", "0.1", "--keep", str(kept), "--yes"]
    answer = CliRunner().invoke(command, ["vendor", "feasibility", *asked, *common])
    assert answer.exit_code == 0, answer.output
    assert kept.stat().st_mode & 0o777 == 0o600
    assert CliRunner().invoke(command, ["vendor", "feasibility", *asked, *common]).exit_code == 4  # not overwritten
    words = ["--title", TITLE, "--purpose", PURPOSE, "--text", str(tmp_path / "text.txt"), "--yes"]
    answer = CliRunner().invoke(command, ["vendor", "contact", hospital.url, "--count", str(kept), *words, *common])
    assert answer.exit_code == 0, answer.output
    assert '"waiting"' in answer.output
    answer = CliRunner().invoke(command, ["vendor", "contacts", hospital.url, *common])
    assert answer.exit_code == 0
    assert TITLE in answer.output
    kept.write_bytes(kept.read_bytes()[:-9])
    answer = CliRunner().invoke(command, ["vendor", "contact", hospital.url, "--count", str(kept), *words, *common])
    assert answer.exit_code == 2


def accesses(node: Node, start: int) -> int:
    """How many leaves of the published log, from ``start`` on, are about a patient: what anybody may count."""
    leaves = node.log.store.leaves(start, node.log.store.size())
    return sum(Leaf.decode(one).kind is LeafKind.ACCESS for one in leaves)


def test_the_published_log_tells_a_cohorts_size_with_noise_only(hospital: Hospital) -> None:
    grown, rows = [], []
    for _ in range(2):
        start = hospital.size()
        hospital.node.cohort.refresh()
        grown.append(accesses(hospital.node, start))
        start = hospital.size()
        hospital.client.feasibility(CRITERIA, epsilon=0.1)
        grown.append(accesses(hospital.node, start))
        start, name = hospital.size(), hospital.proposed()
        hospital.approved(name)
        grown.append(accesses(hospital.node, start))
        rows.append(len(hospital.node.similarity().cohort))
        context = AccessContext(hospital.node.accounts.named(OFFICER.id), Purpose.PATIENT_REQUEST)
        hospital.node.erasures.erase([context.request(Action.SHRED, hospital.twins[5])])
    assert rows[0] == rows[1] + 1
    assert set(grown) == {hospital.client.feasibility_terms().rows}
    assert grown[0] % 64 == 0
    terms = hospital.client.schema()
    life = terms.cohort
    assert life is not None
    assert life.room == grown[0]
    assert life.taken_ms % 60_000 == 0
    plans = {one.mode.value: one.plan(terms.feature_schema) for one in terms.modes if one.mode is not Mode.MATRIX}
    assert life.index_bytes == {mode: plan.prepared_bytes(life.room) for mode, plan in plans.items()}
    assert 0 <= hospital.node.clock.now_ms() - life.taken_ms < 600_000
    assert life.ends_at_s is not None
    hospital.node.audit.checkpoint_and_anchor()
    hospital.node.audit.verify(deep=True)
    own = AccessContext(hospital.node.accounts.named(OFFICER.id), Purpose.COMPLIANCE).request(Action.AUDIT)
    page = hospital.node.audit_reader.events(hospital.node.access.decide(own), filters=Filters(twin=NOBODY))
    assert {one.event.agent for one in page.rows if one.event} == {"node"}

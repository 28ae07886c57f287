"""A day's review on a real node: explained from FHIR resources in the vault, findings by two persons, in the log."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.integration.console.fixtures import NIGHT_PASSWORD, OFFICER, PASSWORD, SYSTEMS, settled
from tests.integration.console.test_accesses_page import token_of
from tests.integration.console.test_console import sign_in
from tests.kept_homes import founded
from twinward.access.account_events import AT_THE_MACHINE
from twinward.access.errors import AccessDenied
from twinward.access.interfaces import AccessContext, Permit, Principal
from twinward.api.app import create_app
from twinward.audit.models import Noted
from twinward.audit.queries import AccessQuery, day_of
from twinward.console import mount
from twinward.core.clock import FixedClock
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId
from twinward.node import open_node
from twinward.overview.log import permit_to_examine
from twinward.review.errors import NoSuchVisit, OwnAccess, ReviewConflict
from twinward.review.findings import Findings
from twinward.review.models import Verdict
from twinward.review.service import Reviews

DAY_MS = 24 * 3600 * 1000
LEE, ROE, POE = (
    Principal("dr-lee", Role.CLINICIAN, "Dr. Lee", "cardiology"),
    Principal("nurse-roe", Role.CLINICIAN, "Nurse Roe", "cardiology"),
    Principal("dr-poe", Role.CLINICIAN, "Dr. Poe", "radiology"),
)
OTHER = Principal("second", Role.OFFICER, "Second Officer", "data office")


def practitioner(account: str, family: str) -> dict[str, Any]:
    return {
        "resourceType": "Practitioner",
        "id": f"p-{account}",
        "identifier": [{"system": "urn:twinward:principal", "value": account}],
        "name": [{"family": family}],
    }


def transaction(name: str, family: str) -> dict[str, Any]:
    resources: list[dict[str, Any]] = [
        {"resourceType": "Patient", "id": name, "name": [{"family": family}]},
        practitioner("dr-lee", "Lee"),
        practitioner("dr-poe", "Poe"),
        {
            "resourceType": "Encounter",
            "id": f"e-{name}",
            "status": "finished",
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
            "subject": {"reference": f"Patient/{name}"},
            "period": {"start": "2025-12-30", "end": "2026-01-02"},
            "participant": [{"individual": {"reference": "Practitioner/p-dr-lee"}}],
        },
    ]
    entries = [
        {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
        for one in resources
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


class Ward:
    """A node with two patients whom Dr. Lee treats, and a day of accesses."""

    def __init__(self, home: Path) -> None:
        self.clock = FixedClock()
        self.node = founded(home, self.clock)
        accounts = self.node.accounts
        accounts.add_person(OFFICER, PASSWORD)
        accounts.add_person(OTHER, PASSWORD)
        for one in (LEE, ROE, POE):
            accounts.add_system(one)
        token = accounts.add_system(SYSTEMS["system"])
        self.app = create_app(self.node)
        mount(self.app, self.node)
        with TestClient(self.app) as api:
            for name, family in (("a", "Miller"), ("b", "Poe")):
                answer = api.post("/fhir", json=transaction(name, family), headers={"authorization": f"Bearer {token}"})
                assert answer.status_code == 200, answer.text
        self.twins = [self.node.twins.find(f"Patient/{name}") for name in ("a", "b")]
        for who, twin in ((LEE, 0), (LEE, 0), (LEE, 1), (ROE, 0), (POE, 1)):
            self.read(who, self.twins[twin])
        self.day = day_of(self.clock.now_ms())
        self.node.audit.checkpoint_and_anchor()
        self.clock.advance(DAY_MS)

    def read(self, who: Principal, twin: TwinId) -> None:
        request = AccessContext(who, Purpose.TREATMENT).request(Action.READ, twin, {Category.VITALS})
        self.node.access.decide(request)

    def permit(self, who: Principal = OFFICER) -> Permit:
        return permit_to_examine(self.node.access, AccessContext(who, Purpose.COMPLIANCE), "review")


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    one = Ward(tmp_path_factory.mktemp("ward") / "home")
    yield one
    one.node.close()


@pytest.fixture
def web(ward: Ward) -> Iterator[TestClient]:
    ward.clock.advance(60_001)
    with TestClient(ward.app, follow_redirects=False) as client:
        yield client


def test_care_explains_and_what_it_does_not_is_ranked_with_reasons(ward: Ward) -> None:
    review = ward.node.reviews.day(ward.permit(), ward.day)
    assert review.explained["encounter"] == 2
    assert review.explained["same unit as a treating colleague"] == 1
    (suspect,) = review.suspects
    assert (suspect.visit.agent, suspect.visit.twin) == ("dr-poe", ward.twins[1])
    assert "surname" in {reason.name for reason in suspect.reasons}
    assert 0.5 <= suspect.risk < 1
    assert len(review.sample) == min(10, review.visits)


def test_each_patient_that_is_opened_for_it_is_an_event_of_the_nodes_and_only_once(ward: Ward) -> None:
    ward.node.reviews.day(ward.permit(), ward.day)
    before = ward.node.log.store.size()
    ward.node.reviews.day(ward.permit(), ward.day)
    assert ward.node.log.store.size() == before + 1  # the officer's own look
    page = ward.node.audit_reader.of_twin(
        permit_to_examine(ward.node.access, AccessContext(OFFICER, Purpose.COMPLIANCE), "test", ward.twins[0]),
        ward.twins[0],
    )
    looks = [
        row.event for row in page.rows if row.event and row.event.agent == "node" and row.event.purpose == "HCOMPL"
    ]
    assert len(looks) == 1
    assert looks[0].reason == "the node itself may open who treats whom, to explain accesses to the data office"


def test_the_sample_is_drawn_by_the_signed_tree_head(ward: Ward) -> None:
    review = ward.node.reviews.day(ward.permit(), ward.day)
    checkpoint = ward.node.log.latest()
    assert checkpoint is not None
    assert bytes.fromhex(review.seed)[8:] == checkpoint[0].root
    ward.node.audit.checkpoint_and_anchor()  # a later one, which somebody may have chosen
    other = reviews_of_another_process(ward)
    assert other.day(ward.permit(), ward.day).seed == review.seed


def reviews_of_another_process(ward: Ward) -> Reviews:
    """As a process that has just been started makes them: it has examined nothing, and reads findings off the log."""
    for name in ("reviews", "examinations", "findings"):
        vars(ward.node).pop(name, None)
    return ward.node.reviews


def test_findings_are_events_and_close_a_visit_once(ward: Ward, web: TestClient) -> None:
    reviews = ward.node.reviews
    suspect = reviews.day(ward.permit(), ward.day).suspects[0]
    index = suspect.visit.index
    with pytest.raises(BadInput):
        reviews.find(ward.permit(), OFFICER, index, Verdict.SIGNED_OFF, "  ")
    with pytest.raises(NoSuchVisit):
        reviews.find(ward.permit(), OFFICER, 0, Verdict.SIGNED_OFF, "looked at it")
    reviews.find(ward.permit(), OFFICER, index, Verdict.ASKED, "Why did you open it?")
    with pytest.raises(ReviewConflict):
        reviews.find(ward.permit(), OTHER, index, Verdict.ASKED, "And why so?")
    assert [(case.index, asked.note) for case, asked in reviews.questions("dr-poe")] == [
        (index, "Why did you open it?")
    ]
    with pytest.raises(ReviewConflict):
        reviews.answer(LEE, index, "I was not asked")
    reviews.answer(POE, index, "The patient asked me to look at the scan")
    assert reviews.questions("dr-poe") == []
    sign_in(web)
    page = settled(web, f"/console/reviews?day={ward.day}")
    assert "The patient asked me to look at the scan" in page
    found = {"verdict": "signed-off", "note": "plausible, the scan is there", "day": str(ward.day)}
    assert web.post(f"/console/reviews/{index}", data=found | {"csrf": "wrong"}).status_code == 403
    answer = web.post(f"/console/reviews/{index}", data=found | {"csrf": token_of(page)})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/console/reviews?day={ward.day}#v-{index}")
    again = web.post(f"/console/reviews/{index}", data=found | {"csrf": token_of(page)})
    assert again.status_code == 409
    case = reviews.cases()[index]
    assert [step.verdict for step in case.steps] == [Verdict.ASKED, Verdict.ANSWERED, Verdict.SIGNED_OFF]
    assert [step.by for step in case.steps] == ["officer", "dr-poe", "officer"]
    event = ward.node.audit_reader.event(ward.permit(), case.steps[-1].index).event
    assert event is not None
    assert (event.action, event.twin, event.decision) == (Action.REVIEW, ward.twins[1], "permit")


def test_whoever_is_asked_reads_it_on_their_own_page_and_answers_there(ward: Ward, web: TestClient) -> None:
    account, other = "/console/account", TestClient(ward.app, follow_redirects=False)
    night = Principal("dr-night", Role.CLINICIAN, "Dr. Night", "surgery")
    ward.node.accounts.add_person(night, NIGHT_PASSWORD)
    ward.read(night, ward.twins[0])
    today = day_of(ward.clock.now_ms())
    review = ward.node.reviews.day(ward.permit(), today)
    index = next(one.visit.index for one in review.suspects if one.visit.agent == night.id)
    ward.node.reviews.find(ward.permit(), OFFICER, index, Verdict.ASKED, "What was <it> for?")
    sign_in(other)
    assert "Asked of you" not in other.get(account).text  # it is nobody else's
    assert sign_in(web, NIGHT_PASSWORD, night.id).status_code == 303
    page = web.get(account).text
    assert "What was &lt;it&gt; for?" in page
    said = {"note": "I was called to a consult", "csrf": token_of(page)}
    assert web.post(f"{account}/answers/{index}", data=said | {"csrf": "x" * 22}).status_code == 403
    assert web.post(f"{account}/answers/{index}", data=said | {"note": "  "}).status_code == 400
    assert web.post(f"{account}/answers/{index + 10**6}", data=said).status_code == 409
    strange = {"note": "not mine", "csrf": token_of(other.get(account).text)}
    assert other.post(f"{account}/answers/{index}", data=strange).status_code == 409
    assert web.post(f"{account}/answers/{index}", data=said).headers["location"] == f"{account}?answered=1"
    assert "Asked of you" not in web.get(f"{account}?answered=1").text
    assert web.post(f"{account}/answers/{index}", data=said).status_code == 409
    steps = ward.node.reviews.cases()[index].steps
    assert [(one.verdict, one.by, one.note) for one in steps][1:] == [
        (Verdict.ANSWERED, night.id, "I was called to a consult")
    ]


def test_whoever_is_asked_sees_it_on_every_page_and_officers_see_that_an_answer_came(
    ward: Ward, web: TestClient
) -> None:
    asked = Principal("dr-asked", Role.CLINICIAN, "Dr. Asked", "surgery")
    ward.node.accounts.add_person(asked, NIGHT_PASSWORD)
    ward.read(asked, ward.twins[0])
    today = day_of(ward.clock.now_ms())
    review = ward.node.reviews.day(ward.permit(), today)
    index = next(one.visit.index for one in review.suspects if one.visit.agent == asked.id)
    officer = TestClient(ward.app)
    sign_in(officer)
    sign_in(web, NIGHT_PASSWORD, asked.id)
    badge, notice = 'aria-label="1 to be answered">1</span>', "The data office asks you about 1 access of yours"
    assert "Questions" not in web.get("/console/ward").text
    waiting = len(ward.node.findings.answered())
    with open_node(ward.node.settings.home, clock=ward.clock) as other:
        assert other.findings.asked_of(asked.id) == 0
        ward.node.reviews.find(ward.permit(), OFFICER, index, Verdict.ASKED, "What was it for?")
        assert other.findings.asked_of(asked.id) == 1, "every process knows what one was told"
        for path in ("/console/ward", "/console/devices"):
            page = web.get(path).text
            assert badge in page
            assert notice in page
        for path in ("/console/account", "/console/alerts"):
            page = web.get(path).text
            assert badge in page
            assert notice not in page, "the page where one begins says it whole"
        assert "to be answered" not in officer.get("/console").text, "it is nobody else's"
        said = {"note": "I stood in for Dr. Lee", "csrf": token_of(web.get("/console/account").text)}
        assert web.post(f"/console/account/answers/{index}", data=said).status_code == 303
        assert len(other.findings.answered()) == waiting + 1
        assert other.findings.asked_of(asked.id) == 0
        page = web.get("/console/ward").text
        assert badge not in page
        assert notice not in page
        came = f"{waiting + 1} answer"
        assert came in officer.get("/console").text
        page = officer.get("/console/reviews").text
        assert "Answers that came" in page
        assert "I stood in for Dr. Lee" in page
        found = {"verdict": "signed-off", "note": "a consult", "csrf": token_of(page), "day": str(today)}
        assert officer.post(f"/console/reviews/{index}", data=found, follow_redirects=False).status_code == 303
        assert len(other.findings.answered()) == waiting
    assert came not in officer.get("/console").text
    assert "I stood in for Dr. Lee" not in officer.get("/console/reviews?day=2026-01-01").text


def test_findings_are_read_anew_where_the_log_is_another_than_before(ward: Ward) -> None:
    whole, found = ward.node.log.store.size(), ward.node.findings.cases()
    assert found

    class Restored:
        """The log as a backup of it would be: shorter, for a while."""

        until = whole

        def size(self) -> int:
            return self.until

        def between(self, start: int, stop: int) -> list[Noted]:
            return ward.node.logged(Action.REVIEW).between(start, stop)

    log = Restored()
    findings = Findings(log)
    assert findings.cases() == found
    log.until = min(found)
    assert findings.cases() == {}, "what a restored log does not say is not known either"
    log.until = whole
    assert findings.cases() == found


def test_nobody_reviews_what_they_did_themselves(ward: Ward) -> None:
    context = AccessContext(OFFICER, Purpose.PATIENT_REQUEST)
    ward.node.access.decide(context.request(Action.EXPORT, ward.twins[0], {Category.LABS}))
    today = day_of(ward.clock.now_ms())
    visits = ward.node.reviews.day(ward.permit(), today).sample or ()
    index = ward.node.log.store.size()
    own = next((one.index for one, _ in visits if one.agent == "officer"), None)
    if own is None:  # no checkpoint covers it yet, so nothing was drawn
        ward.node.audit.checkpoint_and_anchor()
        own = next(
            one.index
            for one, _ in reviews_of_another_process(ward).day(ward.permit(), today).sample
            if one.agent == "officer"
        )
    assert own < index
    with pytest.raises(OwnAccess):
        ward.node.reviews.find(ward.permit(), OFFICER, own, Verdict.SIGNED_OFF, "all is well")
    ward.node.reviews.find(ward.permit(OTHER), OTHER, own, Verdict.SIGNED_OFF, "the patient asked for it")


@pytest.mark.parametrize("role", [Role.CLINICIAN, Role.VENDOR, Role.RESEARCHER, Role.SYSTEM])
def test_nobody_but_an_officer_examines(ward: Ward, role: Role) -> None:
    with pytest.raises(AccessDenied):
        permit_to_examine(ward.node.access, AccessContext(Principal("x", role), Purpose.COMPLIANCE), "review")


@pytest.mark.parametrize("day", ["tomorrow", "2026-13-01", "2999-01-01"])
def test_a_day_that_cannot_be_reviewed_is_said_so(web: TestClient, day: str) -> None:
    sign_in(web)
    answer = web.get(f"/console/reviews?day={day}")
    assert answer.status_code == 400
    assert "day" in answer.text


def test_home_says_what_waits(web: TestClient, ward: Ward) -> None:
    reviews_of_another_process(ward)
    sign_in(web)
    assert f"accesses ({ward.day}) were not examined" in web.get("/console").text
    settled(web, f"/console/reviews?day={ward.day}")
    closed = ward.node.reviews.waiting(ward.day, 50)
    assert f"{closed} of yesterday&#39;s unexplained accesses wait for a finding" in web.get("/console").text


def test_a_day_is_examined_beside_its_page_which_says_how_far_it_is(web: TestClient, ward: Ward) -> None:
    reviews_of_another_process(ward)
    sign_in(web)
    path, goes_on = f"/console/reviews?day={ward.day}", threading.Event()
    ward.node.beside.begin("something else", 1, lambda _: goes_on.wait(60))
    page = web.get(path).text
    assert "The day is being examined" in page
    assert "Care explains" not in page, "nothing is said before it is known"
    before = ward.node.log.store.size()
    assert web.get(f"/console/reviews/progress/{ward.day}").json() == {"running": True, "done": 0, "of": 0}
    assert ward.node.log.store.size() == before, "how far it is shows no event"
    goes_on.set()
    assert "Care explains" in settled(web, path)
    token = token_of(web.get("/console/breaches").text)
    assert web.post("/console/reviews", data={"day": str(ward.day), "csrf": "x"}).status_code == 403
    assert web.post("/console/reviews", data={"day": str(ward.day), "csrf": token}).headers["location"] == path
    settled(web, path)


def test_the_node_examines_yesterday_by_itself_where_policy_lets_it(ward: Ward) -> None:
    reviews_of_another_process(ward)
    ward.node.examinations.yesterday()
    assert ward.node.examinations.standing(ward.day).trouble == ""
    ward.node.beside.standing(f"review of {ward.day}", 60)
    assert ward.node.reviews.waiting(ward.day, 50) is not None
    size = ward.node.log.store.size()
    ward.node.examinations.yesterday()
    assert ward.node.log.store.size() == size, "once a process"
    rows = ward.node.access_search.page(ward.permit(), AccessQuery(agent="node", hides_own=False)).rows
    looks = [row.event for row in rows if row.event and row.event.action is Action.AUDIT]
    assert dict(looks[0].detail)["page"] == f"review of {ward.day}"


def test_without_its_rule_the_node_looks_at_nothing(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    reviews_of_another_process(ward)
    monkeypatch.setattr(ward.node.access, "may", lambda *_: False)
    size = ward.node.log.store.size()
    ward.node.examinations.yesterday()
    assert not ward.node.examinations.standing(ward.day).running
    assert ward.node.log.store.size() == size


def test_the_page_names_what_was_found_in_plain_words(web: TestClient, ward: Ward) -> None:
    sign_in(web)
    page = settled(web, f"/console/reviews?day={ward.day}")
    assert re.search(r"Care explains \d+\.\d % of them", page)
    assert "both have the same family name" in page
    assert "took part in an encounter with the patient" in page
    assert "signed tree head" in page


def test_a_patient_is_told_how_care_connects_and_nothing_of_others_nor_of_what_is_unexplained(
    ward: Ward, web: TestClient
) -> None:
    officer = AccessContext(ward.node.accounts.named(OFFICER.id), Purpose.COMPLIANCE)
    pages = []
    for name, twin in (("ann", ward.twins[0]), ("ben", ward.twins[1])):
        ward.node.account_desk.add_patient(name, name.title(), PASSWORD, twin, officer)
        ward.clock.advance(60_001)
        assert sign_in(web, PASSWORD, name).status_code == 303
        assert "stay of yours" not in web.get("/console/my/accesses").text  # nothing was opened for it
        pages.append(web.get("/console/my/accesses?related=yes").text)
    ann, ben = pages
    assert ann.count("Dr. Lee (dr-lee) took part in a visit or stay of yours.") == 2
    assert ann.count("Nurse Roe (nurse-roe) works with somebody who treats you.") == 1
    assert "Dr. Lee (dr-lee) took part in a visit or stay of yours." in ben
    assert "Dr. Poe (dr-poe)" in ben
    assert "Dr. Poe (dr-poe) " not in ben  # no sentence, and no accusation
    newest = web.get("/console/my/accesses").text
    assert "The hospital&#39;s system" in newest  # opening it is an event that the patient reads


def test_today_is_shown_as_it_was_examined_and_again_when_that_is_asked_for(web: TestClient, ward: Ward) -> None:
    reviews_of_another_process(ward)
    today = day_of(ward.clock.now_ms())
    path = f"/console/reviews?day={today}"
    sign_in(web)
    ward.read(LEE, ward.twins[0])
    before = settled(web, path)
    assert "came since this day was examined" not in before
    ward.read(LEE, ward.twins[1])
    size = ward.node.log.store.size()
    page = web.get(path).text
    assert "1 access came since this day was examined" in page
    assert ward.node.log.store.size() == size + 1, "no care data are opened to show what was examined"
    web.post("/console/reviews", data={"day": str(today), "csrf": token_of(page)})
    assert "came since this day was examined" not in settled(web, path)


def test_an_officer_who_is_asked_reads_it_on_home(ward: Ward, web: TestClient) -> None:
    ward.node.access.decide(
        AccessContext(OTHER, Purpose.PATIENT_REQUEST).request(Action.EXPORT, ward.twins[0], {Category.LABS})
    )
    visits = ward.node.reviews._visits(ward.permit(), day_of(ward.clock.now_ms()))
    index = next(one.index for one in visits if one.agent == OTHER.id)
    ward.node.reviews.find(ward.permit(), OFFICER, index, Verdict.ASKED, "Who wanted it?")
    sign_in(web, PASSWORD, OTHER.id)
    page = web.get("/console").text
    assert "The data office asks you about 1 access of yours" in page
    assert 'href="/console/account#questions"' in page
    ward.node.account_desk.expire_password(OTHER.id, AT_THE_MACHINE)
    ward.clock.advance(60_001)
    sign_in(web, PASSWORD, OTHER.id)
    page = web.get("/console/account").text
    assert "Choose a new password before you go on" in page
    assert "Questions" not in page
    assert "Who wanted it?" not in page

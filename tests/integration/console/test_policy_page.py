"""Policy and consents in the console: previewed, proposed by one officer, approved by another, shown in sentences."""

from __future__ import annotations

import html
import re
import threading
import time

import pytest
from fastapi.testclient import TestClient

from tests.integration.console.fixtures import CLINICIAN, OFFICER, SYSTEMS, House, settled
from tests.integration.console.test_console import sign_in
from tests.integration.console.test_emergencies_page import csrf
from twinward.access.consent import Provision
from twinward.access.interfaces import AccessContext, AccessRequest
from twinward.access.permits import PERMIT_LIFETIME_MS
from twinward.core.clock import FixedClock
from twinward.core.vocabulary import Action, Category, Purpose

PAGE = "/console/policy"
RULE = (
    '\n@id("no-labs-<b>")\n@say("no <b>labs</b> for anybody")\nforbid (principal, action == Action::"read", resource)\n'
)
RULE += 'when { principal.role == "clinician" && context.purpose == "TREAT" };\n'


def text_of(page: str) -> str:
    found = re.search(r'<textarea class="mono" id="text"[^>]*>\n(.*?)</textarea>', page, flags=re.DOTALL)
    assert found
    return html.unescape(found[1])


def test_a_change_is_previewed_proposed_approved_and_brought_back(web: TestClient, console_house: House) -> None:
    node = console_house.node
    sign_in(web)
    page = web.get(PAGE).text
    token, text = csrf(page), text_of(page)
    assert text == node.policy.current().text
    shown = web.post(f"{PAGE}/preview", data={"text": text + RULE, "csrf": token})
    assert shown.status_code == 200
    assert "would come out otherwise" in shown.text
    assert "no &lt;b&gt;labs&lt;/b&gt;" in shown.text
    assert "<b>labs" not in shown.text
    proposed = web.post(
        f"{PAGE}/propose", data={"text": text_of(shown.text), "reason": "the board said so", "csrf": token}
    )
    assert proposed.headers["location"] == PAGE
    name = node.policy.proposals()[0].name
    page = web.get(PAGE).text
    assert f"{PAGE}/{name}/withdraw" in page
    assert f"{PAGE}/{name}/approve" not in page  # one's own
    assert web.post(f"{PAGE}/{name}/approve", data={"csrf": token}).status_code == 409
    read = AccessRequest(CLINICIAN, Action.READ, Purpose.TREATMENT, console_house.twins[0], frozenset({Category.LABS}))
    assert node.access.check(read).permitted
    other = AccessContext(SYSTEMS["officer"], Purpose.COMPLIANCE)
    node.policy_desk.approve(other, name)
    assert not node.access.check(read).permitted
    assert "approved by officer-api" in web.get(PAGE).text
    back = web.post(f"{PAGE}/restore", data={"version": "0", "reason": "labs are needed after all", "csrf": token})
    assert back.status_code == 303
    node.policy_desk.approve(other, node.policy.proposals()[0].name)
    assert node.access.check(read).permitted


def test_what_waits_is_looked_at_beside_the_page_and_once(
    web: TestClient, console_house: House, clock: FixedClock
) -> None:
    node, goes_on = console_house.node, threading.Event()
    sign_in(web)
    page = web.get(PAGE).text
    token, text = csrf(page), text_of(page)
    data = {"text": text + RULE, "reason": "the board said so", "csrf": token}
    node.beside.begin("something else", 1, lambda _: goes_on.wait(60))
    assert web.post(f"{PAGE}/propose", data=data).headers["location"] == PAGE
    name = node.policy.proposals()[0].name
    page = web.get(PAGE).text
    assert "decisions are being taken again" in page
    assert "Looked at" not in page
    size = console_house.size()
    assert web.get(f"{PAGE}/{name}/progress").json()["running"]
    assert console_house.size() == size, "how far it is shows no event"
    clock.advance(PERMIT_LIFETIME_MS + 1)  # what is before it took longer than the page's permit lasts
    goes_on.set()
    page = settled(web, PAGE)
    assert "would come out otherwise" in page
    assert "Looked at" in page
    node.beside.begin("something else", 1, lambda _: time.sleep(0.5))
    assert "Looked at" in web.get(PAGE).text, "what was found is kept"
    web.post(f"{PAGE}/{name}/withdraw", data={"csrf": token})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("permit (", "does not parse"),
        ("// nothing", "has rules"),
        ('@id("a")\n@say("b")\npermit (principal, action, resource) when { context.x };', "no request has"),
    ],
)
def test_what_could_not_be_in_force_is_said_and_kept_in_the_form(web: TestClient, text: str, said: str) -> None:
    sign_in(web)
    answer = web.post(f"{PAGE}/preview", data={"text": text, "csrf": csrf(web.get(PAGE).text)})
    assert answer.status_code in (400, 422)
    assert said in answer.text
    assert "/policy/propose" not in answer.text


def test_strangers_and_forged_forms_change_nothing(web: TestClient, console_house: House) -> None:
    sign_in(web)
    forms = (
        ("preview", {"text": "x"}),
        ("propose", {"text": "x", "reason": "a good reason"}),
        ("restore", {"version": "0", "reason": "a good reason"}),
        (f"{'0' * 16}/approve", {}),
        (f"{'0' * 16}/withdraw", {}),
    )
    size = console_house.size()
    for path, data in forms:
        assert web.post(f"{PAGE}/{path}", data=data | {"csrf": "x" * 32}).status_code == 403
    assert console_house.size() == size
    token = csrf(web.get(PAGE).text)
    assert web.post(f"{PAGE}/{'0' * 16}/approve", data={"csrf": token}).status_code == 404
    web.cookies.clear()
    size = console_house.size()
    for path, data in forms:
        assert web.post(f"{PAGE}/{path}", data=data | {"csrf": token}).headers["location"] == "/console/sign-in"
    assert console_house.size() == size


def test_a_patients_consents_are_told_in_sentences_with_who_recorded_them(
    web: TestClient, console_house: House
) -> None:
    node, twin = console_house.node, console_house.twins[0]
    no_vitals = Provision(effect="deny", categories=(Category.VITALS,), actors=("dr-lee",))
    node.access.set_consent(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), twin, (no_vitals,))
    sign_in(web)
    page = web.get(f"/console/consents?twin={twin}").text
    assert "forbids dr-lee to use vitals for any purpose" in page
    assert "allows everybody to use features for similarity search" in page
    versions = [int(one) for one in re.findall(r"<h2>Version (\d+)", page)]  # other tests make some, too
    assert versions == list(range(versions[0], 0, -1))
    assert len(versions) >= 2
    assert page.count("Recorded by officer at") >= 2
    assert "a vendor that is told of a match" in page
    assert "recorded no consent" in web.get("/console/consents?twin=nobody").text


def test_a_rule_of_hours_and_networks_is_read_out_in_the_readers_language(
    web: TestClient, console_house: House
) -> None:
    rule = '\n@id("by-day")\n@say("researchers by day only")\nforbid (principal, action, resource)\n'
    rule += 'when { principal.role == "researcher" && context.network == Network::"outside" }\n'
    rule += "unless { context.weekday <= 5 && context.hour >= 7 };\n"
    sign_in(web)
    page = web.get(PAGE).text
    data = {"text": text_of(page) + rule, "reason": "as the board decided", "csrf": csrf(page)}
    assert web.post(f"{PAGE}/propose", data=data).status_code == 303
    said = "holds Monday to Friday, 0:00 to 7:00; Saturday to Sunday, from network outside"
    assert said in settled(web, PAGE), "of what waits"
    console_house.node.policy_desk.approve(
        AccessContext(SYSTEMS["officer"], Purpose.COMPLIANCE), console_house.node.policy.proposals()[0].name
    )
    assert said in web.get(PAGE).text
    german = web.get(PAGE, headers={"accept-language": "de"}).text
    assert "gilt Montag bis Freitag, 0 bis 7 Uhr; Samstag bis Sonntag, aus dem Netz outside" in german
    slip = text_of(page) + rule.replace('"outside"', '"outsite"')
    refused = web.post(f"{PAGE}/preview", data={"text": slip, "csrf": csrf(page)}, headers={"accept-language": "de"})
    assert "die Einstellungen nennen kein Netz outsite" in refused.text

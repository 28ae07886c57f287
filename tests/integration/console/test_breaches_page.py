"""Breaches in the console: a case from its form to its files; strangers and forged forms change nothing."""

from __future__ import annotations

import json
import re
import threading
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.integration.console.fixtures import House, settled
from tests.integration.console.test_console import sign_in
from tests.integration.console.test_emergencies_page import csrf
from twinward.access.permits import PERMIT_LIFETIME_MS
from twinward.console.file_stream import KIND
from twinward.core.clock import FixedClock, iso

PAGE = "/console/breaches"
TITLE = 'somebody read <b>records</b> & "more"'
HOUR_MS = 3_600_000


def open_case(web: TestClient, **more: str) -> Any:
    token = csrf(web.get(PAGE).text)
    data = {"title": TITLE, "kind": "account", "subject": "dr-lee", "csrf": token}
    return web.post(PAGE, data=data | more)


def test_a_case_from_its_form_to_its_files(web: TestClient, console_house: House) -> None:
    sign_in(web)
    case = open_case(web).headers["location"]
    page = web.get(case).text
    assert "&lt;b&gt;records" in page
    assert "<b>records" not in page
    assert "71 hours left" in page or "72 hours left" in page
    token = csrf(page)
    for step, data in (
        ("assess", {}),
        ("draft", {"audience": "authority"}),
        ("draft", {"audience": "patients", "text": "Dear patients,\r\nwe are sorry for what happened."}),
        ("notify", {"audience": "patients", "reference": "letters, by post"}),
        ("note", {"said": "the account was disabled"}),
    ):
        assert web.post(f"{case}/{step}", data=data | {"csrf": token}).headers["location"] == case
    page = settled(web, case)
    assert "entries came since" in page
    for said in (
        console_house.twins[0],
        "places to fill in",
        "Dear patients",
        "letters, by post",
        "account was disabled",
    ):
        assert said in page
    console_house.node.audit.checkpoint_and_anchor()
    for form, start in (("pdf", b"%PDF"), ("csv", b"\xef\xbb\xbftwin,"), ("proofs", b"PK")):
        assert f"{case}/file?form={form}" in web.get(f"{case}/take/{form}").text
        answer = web.get(f"{case}/file?form={form}")
        assert answer.content.startswith(start)
        assert "attachment" in answer.headers["content-disposition"]
    told = web.get(f"{case}/file?form=csv", headers={"accept": KIND}).content
    line, _, content = told.rpartition(b"}\n")
    assert content.startswith(b"\xef\xbb\xbftwin,")
    assert json.loads(line.splitlines()[-1] + b"}")["size"] == len(content)
    data = {"outcome": "no-risk", "reason": "nothing left the hospital", "csrf": token}
    assert web.post(f"{case}/close", data=data).status_code == 303
    assert web.post(f"{case}/note", data={"said": "one more thing", "csrf": token}).status_code == 409
    page = web.get(case).text
    assert "<form" not in page.partition("<main")[2]
    assert "nothing left the hospital" in web.get(PAGE).text


def test_a_long_count_is_told_of_while_the_case_is_worked_on(web: TestClient, console_house: House) -> None:
    node, goes_on = console_house.node, threading.Event()
    sign_in(web)
    case = open_case(web).headers["location"]
    token = csrf(web.get(case).text)
    node.beside.begin("something else", 1, lambda _: goes_on.wait(60))
    assert web.post(f"{case}/assess", data={"csrf": token}).headers["location"] == case
    page = web.get(case).text
    assert "are being counted, as officer asked for" in page
    assert "/assess" not in page, "one count at a time"
    assert "progress.js" in page
    size = console_house.size()
    told = web.get(f"{case}/progress").json()
    assert told["running"]
    assert told["of"] > 0
    assert console_house.size() == size, "how far it is shows no event"
    assert web.post(f"{case}/note", data={"said": "the account is disabled", "csrf": token}).status_code == 303
    goes_on.set()
    page = settled(web, case)
    assert "read from the first" in page
    assert 'id="running"' not in page
    with TestClient(console_house.app, follow_redirects=False) as stranger:
        assert stranger.get(f"{case}/progress").status_code == 303


def test_after_a_restart_the_figures_stand_and_who_they_are_is_read_again(
    web: TestClient, console_house: House, clock: FixedClock
) -> None:
    node, goes_on = console_house.node, threading.Event()
    sign_in(web)
    case = open_case(web).headers["location"]
    token = csrf(web.get(case).text)
    web.post(f"{case}/assess", data={"csrf": token})
    settled(web, case)
    node.breaches._counted.clear()  # as a process that has just been started
    node.beside.begin("something else", 1, lambda _: goes_on.wait(60))
    page = web.get(case).text
    assert "who they are is being read off it again" in page
    assert "read from the first" in page
    clock.advance(PERMIT_LIFETIME_MS + 1)  # what is before it took longer than the page's permit lasts
    goes_on.set()
    assert "Table of who is affected" in settled(web, case)


def test_a_late_case_is_red_and_asks_why(web: TestClient, clock: FixedClock) -> None:
    sign_in(web)
    aware = iso(clock.now_ms() - 73 * HOUR_MS)[:16]
    case = open_case(web, aware=aware).headers["location"]
    page = web.get(case).text
    assert 'class="badge bad">authority overdue' in page
    assert "Why later than 72 hours" in page
    assert 'class="badge bad">authority overdue' in web.get(PAGE).text


@pytest.mark.parametrize(
    "more",
    [
        {"csrf": "x"},
        {"title": "."},
        {"kind": "weather"},
        {"subject": "nobody"},
        {"kind": "key", "subject": "one"},
        {"kind": "key", "subject": "9" * 60},
        {"kind": "patient", "subject": "../../x"},
        {"since": "yesterday"},
        {"aware": "9999-12-31T23:59"},
        {"aware": "0001-01-01T00:00"},
        {"title": "\ud83d"},
    ],
)
def test_a_form_that_says_nothing_that_can_be_meant_opens_no_case(
    web: TestClient, console_house: House, more: dict[str, str]
) -> None:
    sign_in(web)
    cases = len(re.findall(r'href="/console/breaches/[0-9a-f]{16}"', web.get(PAGE).text))
    try:
        answer = open_case(web, **more)
    except UnicodeEncodeError:
        return  # a browser cannot send it either
    assert answer.status_code in (400, 403)
    assert len(re.findall(r'href="/console/breaches/[0-9a-f]{16}"', web.get(PAGE).text)) == cases


def test_strangers_and_forged_forms_change_nothing(web: TestClient, console_house: House) -> None:
    sign_in(web)
    case = open_case(web).headers["location"]
    size = console_house.size()
    for step in ("assess", "draft", "note", "notify", "close"):
        data = {"audience": "authority", "said": TITLE, "reference": TITLE, "outcome": "no-risk", "reason": TITLE}
        assert web.post(f"{case}/{step}", data=data | {"csrf": "x" * 32}).status_code == 403
    assert console_house.size() == size
    web.cookies.clear()
    for path in (case, f"{case}/file?form=csv"):
        assert web.get(path).headers["location"] == "/console/sign-in"
    assert web.post(f"{case}/close", data={"outcome": "no-risk", "reason": TITLE, "csrf": "x"}).status_code == 303
    assert console_house.size() == size
    sign_in(web)
    assert web.get(f"{PAGE}/{'0' * 16}").status_code == 404
    assert web.get(f"{PAGE}/xyz").status_code == 400

"""A code beside the password on the console, and what matters most only for whoever proved anew who they are."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.integration.console.fixtures import PASSWORD, House
from tests.integration.console.test_console import form_token, sign_in
from twinward.access import totp
from twinward.access.account_events import AT_THE_MACHINE
from twinward.core.clock import FixedClock

MINUTE_MS = 60_000
SETS_UP = "/console/account/second-factor"


@pytest.fixture
def app(console_house: House) -> Iterator[bytes]:
    """The secret of the officer's app; taken away afterwards, as the house is everybody's."""
    factors = console_house.node.sign_ins.factors
    waiting, written, _ = factors.begin("officer")
    secret = base64.b32decode(written.replace(" ", ""))
    factors.finish("officer", waiting, code_of(secret, console_house.node.clock.now_ms()), AT_THE_MACHINE)
    yield secret
    factors.remove("officer", AT_THE_MACHINE)


def code_of(secret: bytes, at_ms: int) -> str:
    return totp.code_at(secret, totp.step_at(at_ms))


def field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]+)"', page)
    assert found
    return found[1]


def test_an_officer_sets_an_app_up_and_is_asked_for_its_code(
    web: TestClient, console_house: House, clock: FixedClock
) -> None:
    sign_in(web)
    csrf = field(web.get("/console/account").text, "csrf")
    assert web.post(SETS_UP, data={"csrf": "wrong"}).status_code == 403
    page = web.post(SETS_UP, data={"csrf": csrf}).text
    assert "<svg" in page
    assert "style=" not in page
    found = re.search(r"Secret <code>([A-Z2-7 ]+)</code>", page)
    assert found
    secret = base64.b32decode(found[1].replace(" ", ""))
    form = {"csrf": csrf, "waiting": field(page, "waiting")}
    wrong = web.post(f"{SETS_UP}/finish", data=form | {"code": "000000"})
    assert wrong.status_code == 400
    assert found[1] in wrong.text  # the same secret, to try again
    done = web.post(f"{SETS_UP}/finish", data=form | {"code": code_of(secret, clock.now_ms())})
    codes = re.findall(r"<li><code>([a-z2-7-]{19})</code>", done.text)
    assert (done.status_code, len(set(codes)), done.headers["cache-control"]) == (200, 10, "no-store")
    try:
        web.cookies.clear()
        clock.advance(2 * MINUTE_MS)
        answer = sign_in(web)
        assert answer.headers["location"] == "/console/sign-in/code"
        assert "twinward_session" not in str(answer.headers)
        assert web.get("/console").headers["location"] == "/console/sign-in"
        csrf = field(web.get("/console/sign-in/code").text, "csrf")
        assert web.post("/console/sign-in/code", data={"csrf": "x", "code": codes[0]}).status_code == 403
        assert (
            web.post("/console/sign-in/code", data={"csrf": csrf, "code": codes[0]}).headers["location"] == "/console"
        )
        assert "9 recovery codes are left" in web.get("/console/account").text
        assert web.get("/console/sign-in/code").headers["location"] == "/console/sign-in"
    finally:
        console_house.node.sign_ins.factors.remove("officer", AT_THE_MACHINE)


def test_codes_are_braked_as_passwords_are(web: TestClient, app: bytes, clock: FixedClock) -> None:
    clock.advance(20 * MINUTE_MS)
    sign_in(web)
    statuses = []
    for _ in range(6):
        csrf = field(web.get("/console/sign-in/code").text, "csrf")
        statuses.append(web.post("/console/sign-in/code", data={"csrf": csrf, "code": "000000"}).status_code)
    assert statuses == [401] * 5 + [429]
    csrf = field(web.get("/console/sign-in/code").text, "csrf")
    right = {"csrf": csrf, "code": code_of(app, clock.now_ms())}
    assert web.post("/console/sign-in/code", data=right).status_code == 429
    clock.advance(20 * MINUTE_MS)
    assert web.post("/console/sign-in/code", data=right).headers["location"] == "/console/sign-in"  # it took too long


def test_a_waiting_password_of_another_browser_is_of_no_use(
    web: TestClient, console_app: FastAPI, app: bytes, clock: FixedClock
) -> None:
    clock.advance(20 * MINUTE_MS)
    sign_in(web)
    with TestClient(console_app, follow_redirects=False) as other:
        token = form_token(other)
        form = {"csrf": token, "code": code_of(app, clock.now_ms())}
        assert other.post("/console/sign-in/code", data=form).headers["location"] == "/console/sign-in"
        assert "twinward_session" not in other.cookies


def test_what_matters_most_is_confirmed_where_the_sign_in_is_old(
    web: TestClient, console_house: House, clock: FixedClock
) -> None:
    sign_in(web)
    export = f"/console/exports/{console_house.twins[0]}?format=csv"
    assert web.get(export).status_code == 200
    clock.advance(10 * MINUTE_MS)
    taken_out = web.get("/console/accesses/list.csv?role=clinician&text=a%20b")
    assert taken_out.headers["location"].endswith("list.csv%3Frole%3Dclinician%26text%3Da%2520b")
    form = {"csrf": field(web.get("/console/account").text, "csrf"), "change": "disable"}
    changed = web.post("/console/accounts/nurse", data=form)
    assert changed.headers["location"] == "/console/confirm?next=%2Fconsole%2Faccounts%2Fnurse"
    assert not console_house.node.accounts.record("nurse").disabled
    before, size = web.cookies["twinward_session"], console_house.size()
    asked = web.get(export)
    assert (asked.status_code, console_house.size()) == (303, size)
    assert asked.headers["location"].startswith("/console/confirm?next=")
    page = web.get(asked.headers["location"]).text
    form = {"csrf": field(page, "csrf"), "next": field(page, "next").replace("&amp;", "&")}
    assert form["next"] == export
    assert web.post("/console/confirm", data=form | {"password": "wrong"}).status_code == 401
    assert web.post("/console/confirm", data=form | {"password": PASSWORD, "csrf": "x"}).status_code == 403
    assert web.get(export).status_code == 303
    done = web.post("/console/confirm", data=form | {"password": PASSWORD})
    assert (done.status_code, done.headers["location"]) == (303, export)
    assert web.cookies["twinward_session"] != before
    assert web.get(export).status_code == 200
    assert web.get("/console", headers={"cookie": f"twinward_session={before}"}).status_code in (200, 303)
    web.cookies.clear()
    assert web.get("/console", headers={"cookie": f"twinward_session={before}"}).status_code == 303


@pytest.mark.parametrize(
    "then",
    [
        "https://evil.example",
        "//evil.example",
        "/console//evil.example",
        "/console\\@evil",
        "/fhir",
        "javascript:x",
        "",
    ],
)
def test_nobody_is_sent_elsewhere_after_confirming(web: TestClient, then: str) -> None:
    sign_in(web)
    page = web.get("/console/confirm", params={"next": then}).text
    assert field(page, "next") == "/console"
    form = {"csrf": field(page, "csrf"), "next": then, "password": PASSWORD}
    assert web.post("/console/confirm", data=form).headers["location"] == "/console"


def test_who_confirms_with_an_app_gives_its_code_too(web: TestClient, app: bytes, clock: FixedClock) -> None:
    clock.advance(20 * MINUTE_MS)
    sign_in(web)
    csrf = field(web.get("/console/sign-in/code").text, "csrf")
    form = {"csrf": csrf, "code": code_of(app, clock.now_ms())}
    assert web.post("/console/sign-in/code", data=form).status_code == 303
    clock.advance(11 * MINUTE_MS)
    password = {"present": PASSWORD, "new": "seven lamps under snow", "again": "seven lamps under snow"}
    form = password | {"csrf": field(web.get("/console/account").text, "csrf")}
    refused = web.post("/console/account/password", data=form)  # else a password makes fresh what wants a code
    assert refused.headers["location"] == "/console/confirm?next=%2Fconsole%2Faccount"
    for verb in ("", "/codes", "/remove"):
        csrf = field(web.get("/console/account").text, "csrf")
        refused = web.post(SETS_UP + verb, data={"csrf": csrf})
        assert refused.headers["location"] == "/console/confirm?next=%2Fconsole%2Faccount"
    form = {"csrf": field(web.get("/console/confirm").text, "csrf"), "password": PASSWORD}
    assert web.post("/console/confirm", data=form).status_code == 401
    assert web.post("/console/confirm", data=form | {"code": code_of(app, clock.now_ms())}).status_code == 303
    csrf = field(web.get("/console/account").text, "csrf")
    assert "Your recovery codes" in web.post(f"{SETS_UP}/codes", data={"csrf": csrf}).text


def test_a_role_that_needs_a_second_factor_sees_nothing_before(
    web: TestClient, console_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    from twinward.core.vocabulary import Role

    monkeypatch.setattr(console_house.node.sign_ins, "_needed_by", frozenset({Role.OFFICER}))
    sign_in(web)
    for path in ("/console", "/console/accesses", "/console/accounts", "/console/exports/x?format=csv"):
        assert web.get(path).headers["location"] == "/console/account"
    assert "needs a second factor" in web.get("/console/account").text

"""The console over HTTP: who gets in, what cookies look like, what an error looks like, what is logged."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.integration.console.fixtures import NIGHT_PASSWORD, PASSWORD, House, build
from twinward.api.app import create_app
from twinward.audit.events.heads import saying
from twinward.console import mount
from twinward.console.pages import CHART_EVENTS
from twinward.core.clock import FixedClock
from twinward.core.vocabulary import Action

NAVIGATION = (
    *("/console", "/console/accesses", "/console/reviews", "/console/emergencies", "/console/breaches"),
    "/console/erasures",
    "/console/contacts",
    "/console/policy",
    *("/console/verify", "/console/node", "/console/studies", "/console/outbreaks", "/console/exchange"),
    *("/console/outside", "/console/things"),
)
PAGES = (*NAVIGATION, "/console/outside/acme", "/console/consents", "/console/accounts", "/console/accounts/nurse")
ANSWERS = ("/console/proofs/0", "/console/consistency?old=1")


def form_token(web: TestClient) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', web.get("/console/sign-in").text)
    assert found
    return found[1]


def sign_in(web: TestClient, password: str = PASSWORD, account: str = "officer", csrf: str | None = None) -> Any:
    token = form_token(web) if csrf is None else csrf
    return web.post("/console/sign-in", data={"account": account, "password": password, "csrf": token})


def test_pages_send_strangers_to_sign_in_and_answers_refuse_them_in_json(web: TestClient, console_house: House) -> None:
    before = console_house.size()
    for path in PAGES:
        answer = web.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/console/sign-in")
    for path in ANSWERS:
        answer = web.get(path)
        assert answer.status_code == 401
        assert answer.json()["error"]["kind"] == "SignInRefused"
    assert console_house.size() == before


def test_what_was_done_to_an_account_is_shown_as_what_the_browser_checks(web: TestClient) -> None:
    sign_in(web)
    page = web.get("/console/accesses?action=account").text
    account, change = '<span data-field="account">ops</span>', '<span data-field="change">added, with token 1</span>'
    assert f'data-code="account">changed</span> the account {account} ({change})' in page
    check = web.get("/console/static/verify.js").text
    assert "account: (event) =>" in check
    assert "change: (event) =>" in check


def test_every_page_is_one_access_by_the_officer(web: TestClient, console_house: House) -> None:
    sign_in(web)
    for path in PAGES:
        before = console_house.size()
        assert web.get(path).status_code == 200
        assert console_house.size() == before + 1
    before = console_house.size()
    for path in ANSWERS:
        assert web.get(path).status_code == 200
    assert console_house.size() == before


def test_every_page_of_the_navigation_is_one_of_these(web: TestClient) -> None:
    sign_in(web)
    navigation = web.get("/console").text.partition("<nav")[2].partition("</nav>")[0]
    assert re.findall(r'href="([^"]+)"', navigation) == list(NAVIGATION)


def test_cookies_are_for_this_console_alone(web: TestClient) -> None:
    form = web.get("/console/sign-in").headers.get_list("set-cookie")
    session = sign_in(web).headers.get_list("set-cookie")
    assert (len(form), len(session)) == (1, 2)
    for cookie in form + session:
        assert {"HttpOnly", "SameSite=strict", "Path=/console"} <= {part.strip() for part in cookie.split(";")}
        assert "Secure" not in cookie


@pytest.mark.parametrize(("base", "secure"), [("https://node.example", False), ("http://node.example", True)])
def test_over_tls_cookies_are_secure_and_this_hosts_alone(console_house: House, base: str, secure: bool) -> None:
    app = create_app(console_house.node)
    mount(app, console_house.node, secure=secure)
    with TestClient(app, base_url=base, follow_redirects=False) as web:
        form = web.get("/console/sign-in")
        cookies = form.headers.get_list("set-cookie")
        token = form_token(web)
        sent = {"cookie": f"__Host-twinward_form={token}"}  # a browser keeps them; this client none over plain http
        data = {"account": "officer", "password": PASSWORD, "csrf": token}
        web.cookies.clear()
        signed_in = web.post("/console/sign-in", data=data, headers=sent)
        assert signed_in.status_code == 303
        cookies += signed_in.headers.get_list("set-cookie")
        for cookie in cookies:
            parts = {part.strip() for part in cookie.split(";")}
            assert cookie.startswith("__Host-twinward_")
            assert {"HttpOnly", "SameSite=strict", "Path=/", "Secure"} <= parts
            assert not any(part.lower().startswith("domain") for part in parts)
        session = next(one.partition("=")[2].partition(";")[0] for one in cookies if "_session=" in one)
        web.cookies.clear()
        assert web.get("/console", headers={"cookie": f"__Host-twinward_session={session}"}).status_code == 200
        # Another site of the domain can set the plain name, and nothing under this one.
        assert web.get("/console", headers={"cookie": f"twinward_session={session}"}).status_code == 303


def test_a_sign_in_form_of_another_browser_is_refused(web: TestClient) -> None:
    for csrf in ("", "wrong", "x" * 64):
        answer = sign_in(web, csrf=csrf)
        assert answer.status_code in (400, 403)
        assert "twinward_session" not in answer.headers.get("set-cookie", "")
    web.cookies.clear()
    token = form_token(web)
    web.cookies.clear()
    assert sign_in(web, csrf=token).status_code == 403


def test_a_session_planted_before_sign_in_is_not_the_session_after_it(web: TestClient, console_house: House) -> None:
    web.cookies.set("twinward_session", "planted", path="/console")
    sign_in(web)
    sessions = [cookie.value for cookie in web.cookies.jar if cookie.name == "twinward_session"]
    assert "planted" not in sessions[-1:]
    assert web.get("/console").status_code in (200, 303)
    with pytest.raises(Exception, match="refused"):
        console_house.node.sign_ins.session("planted")


def test_signing_in_again_ends_the_session_before(web: TestClient) -> None:
    sign_in(web)
    old = web.cookies.get("twinward_session")
    sign_in(web)
    assert web.cookies.get("twinward_session") != old
    web.cookies.clear()
    assert web.get("/console", headers={"cookie": f"twinward_session={old}"}).status_code == 303


def test_a_session_ends_after_its_lifetime(web: TestClient, clock: FixedClock) -> None:
    sign_in(web)
    assert web.get("/console").status_code == 200
    clock.advance(8 * 3600 * 1000)
    assert web.get("/console").status_code == 303


def test_a_session_that_nobody_uses_ends_and_one_that_is_used_does_not(web: TestClient, clock: FixedClock) -> None:
    sign_in(web)
    for _ in range(3):
        clock.advance(29 * 60_000)
        assert web.get("/console/account").status_code == 200
    clock.advance(30 * 60_000)
    assert web.get("/console/account").status_code == 303


def test_an_officer_sees_and_ends_her_own_sessions_and_other_accounts(
    web: TestClient, console_app: FastAPI, console_house: House
) -> None:
    sign_in(web)
    other = TestClient(
        console_app, follow_redirects=False, headers={"user-agent": "Mozilla/5.0 (X11; Linux) Firefox/9"}
    )
    assert sign_in(other).status_code == 303
    own = web.get("/console/account").text
    (name,) = re.findall(r"/console/account/sessions/([0-9a-f]{16})", own)  # none for the one she looks from
    assert "Firefox on Linux, testclient" in own
    token = re.search(r'name="csrf" value="([^"]+)"', own)
    assert token
    form = {"csrf": token[1]}
    assert web.post(f"/console/account/sessions/{name}", data={"csrf": "wrong"}).status_code == 403
    assert other.get("/console").status_code == 200
    assert web.post(f"/console/account/sessions/{name}", data=form).status_code == 303
    assert other.get("/console").headers["location"] == "/console/sign-in"
    assert web.post(f"/console/account/sessions/{name}", data=form).status_code == 404
    assert web.get("/console").status_code == 200

    session = console_house.node.sign_ins.by_password("nurse", NIGHT_PASSWORD)
    name = console_house.node.sign_ins.session(session).name
    assert name in web.get("/console/accounts/nurse").text
    assert web.post(f"/console/accounts/nurse/sessions/{name}", data={"csrf": "wrong"}).status_code == 403
    assert web.post(f"/console/accounts/officer/sessions/{name}", data=form).status_code == 404
    assert web.post(f"/console/accounts/nurse/sessions/{name}", data=form).status_code == 303
    assert console_house.node.sign_ins.sessions("nurse") == []
    for change, shown in (("disable", "disabled"), ("enable", "in use"), ("end-sessions", "in use")):
        assert web.post("/console/accounts/nurse", data=form | {"change": change}).status_code == 303
        assert f">{shown}<" in web.get("/console/accounts/nurse").text
    assert web.post("/console/accounts/nurse", data=form | {"change": "promote"}).status_code == 400


def test_signing_out_wants_the_sessions_own_token(web: TestClient) -> None:
    sign_in(web)
    session = web.cookies.get("twinward_session")
    for csrf in ("wrong", ""):
        assert web.post("/console/sign-out", data={"csrf": csrf}).status_code in (400, 403)
    assert web.get("/console").status_code == 200
    token = re.search(r'name="csrf" value="([^"]+)"', web.get("/console").text)
    assert token
    assert web.post("/console/sign-out", data={"csrf": token[1]}).status_code == 303
    assert web.get("/console", headers={"cookie": f"twinward_session={session}"}).status_code == 303


def test_other_roles_do_not_get_in_and_leave_no_session(web: TestClient) -> None:
    answer = sign_in(web, PASSWORD, "mary")
    assert answer.status_code == 403
    assert "for data officers" in answer.text
    assert "twinward_session" not in answer.headers.get("set-cookie", "")


@pytest.mark.parametrize(("account", "password"), [("officer", "wrong"), ("nobody", PASSWORD), ("dr-lee", PASSWORD)])
def test_whatever_is_wrong_the_answer_is_the_same(web: TestClient, account: str, password: str) -> None:
    answer = sign_in(web, password, account)
    assert answer.status_code == 401
    assert "do not fit together" in answer.text
    assert password not in answer.text


def test_sign_ins_are_braked_and_the_brake_lets_go(web: TestClient, clock: FixedClock) -> None:
    assert {sign_in(web, csrf="wrong").status_code for _ in range(10)} == {403}
    braked = sign_in(web)
    assert braked.status_code == 429
    assert "Wait a minute" in braked.text
    clock.advance(60_001)
    assert sign_in(web).status_code == 303


@pytest.mark.parametrize(
    "path",
    [
        "/console/accesses?before=abc",
        "/console/accesses?before=-1",
        "/console/accesses?before=99999999999999999999",
        "/console/accesses?decision=maybe",
        "/console/accesses?since=yesterday",
        "/console/accesses?sort=shoe-size",
        "/console/accesses?page=0",
        "/console/accesses/99999999",
        "/console/accesses/list.csv?role=boss",
        "/console/accesses/print?purpose=fun",
        "/console/accesses?action=nothing",
        "/console/accesses?agent=" + "a" * 65,
        "/console/nowhere",
        "/console/accesses/../nowhere",
        "/console/proofs",
    ],
)
def test_errors_of_pages_are_pages(web: TestClient, path: str) -> None:
    sign_in(web)
    answer = web.get(path)
    assert answer.status_code in (400, 404)
    assert answer.headers["content-type"].startswith("text/html")
    assert "Back to the console" in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/console/proofs/9007199254740991", 404),
        ("/console/proofs/99999999999999999999999", 400),
        ("/console/proofs/-1", 400),
        ("/console/proofs/abc", 400),
        ("/console/consistency", 400),
        ("/console/consistency?old=0", 400),
        ("/console/consistency?old=999999", 404),
        ("/console/consistency?old=1&new=999999", 404),
        ("/console/consistency?old=2&new=1", 404),
    ],
)
def test_errors_of_answers_are_json(web: TestClient, path: str, status: int) -> None:
    sign_in(web)
    answer = web.get(path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"kind", "message", "hint"}


def test_an_incomplete_form_is_answered_with_a_page(web: TestClient) -> None:
    answer = web.post("/console/sign-in", data={"account": "officer"})
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    ("path", "kind"),
    [("console.css", "text/css"), ("verify.js", "text/javascript"), ("proof.js", "text/javascript")],
)
def test_static_files_have_their_types_and_nothing_else_is_served(web: TestClient, path: str, kind: str) -> None:
    answer = web.get(f"/console/static/{path}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)
    assert "http://" not in answer.text
    assert "https://" not in answer.text
    for outside in ("../pages.py", "%2e%2e/pages.py", "..%2fpages.py", ""):
        assert web.get(f"/console/static/{outside}").status_code in (404, 405)


def test_every_page_carries_the_security_headers(web: TestClient) -> None:
    sign_in(web)
    for path in (*PAGES, "/console/sign-in", "/console/nowhere", "/console/static/verify.js", *ANSWERS):
        headers = web.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_filters_that_hold_markup_come_back_as_text(web: TestClient) -> None:
    sign_in(web)
    page = web.get("/console/accesses", params={"agent": '"><script>alert(1)</script>'}).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_since_the_last_visit_means_since_the_last_session(web: TestClient) -> None:
    sign_in(web)
    first = re.search(r"Since your last visit \(([^)]+)\)", web.get("/console").text)
    again = re.search(r"Since your last visit \(([^)]+)\)", web.get("/console").text)
    assert (first and first[1]) == (again and again[1])


def test_nothing_planted_reaches_the_request_log(
    web: TestClient, console_house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    twin = console_house.twins[0]
    sign_in(web, "planted-password")
    sign_in(web)
    web.get(f"/console/accesses?twin={twin}&agent=planted-agent")
    token = console_house.tokens["clinician"]
    web.get(f"/api/1/twins/{twin}/records?category=labs&justification=planted-why", headers=bearer(token))
    web.get("/fhir/Patient/planted-id", headers=bearer(token))
    logged = capsys.readouterr().out
    assert "/console/accesses" in logged
    secrets = [twin, token, PASSWORD, web.cookies.get("twinward_session"), "planted", "Olga", "unconscious"]
    assert [secret for secret in secrets if str(secret) in logged] == []


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.mark.slow
def test_the_light_says_what_was_checked_and_an_old_bad_leaf_turns_it_red(tmp_path: Path) -> None:
    """What is altered lies below the newest events that the page itself holds against their leaves."""
    house = build(tmp_path / "home", patients=1)
    node = house.node
    try:
        node.audit.record([saying("light", "a quiet day", node.clock.now_ms())] * (CHART_EVENTS + 20))
        node.audit.checkpoint_and_anchor()
        app = create_app(node)
        mount(app, node)
        with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as web:
            sign_in(web)
            assert "The whole log has not been checked yet" in web.get("/console").text
            size = node.log.store.size()
            assert node.log_check.run().size == size
            home = web.get("/console").text
            assert 'class="card light good"' in home
            assert f"All {size} events up to" in home
            with sqlite3.connect(tmp_path / "home" / "log.db") as database:
                body = bytearray(database.execute("SELECT body FROM bodies WHERE idx = 3").fetchone()[0])
                body[-1] ^= 1
                database.execute("UPDATE bodies SET body = ? WHERE idx = 3", (bytes(body),))
            database.close()
            assert "3" in node.log_check.run().fault
            for _ in range(2):
                assert 'class="card light bad"' in web.get("/console").text
    finally:
        node.close()


def test_a_tampered_log_turns_home_and_verify_red(tmp_path: Path) -> None:
    house = build(tmp_path / "home", patients=2)
    try:
        app = create_app(house.node)
        mount(app, house.node)
        with sqlite3.connect(tmp_path / "home" / "log.db") as database:
            leaf = bytearray(database.execute("SELECT leaf FROM leaves WHERE idx = 3").fetchone()[0])
            leaf[-1] ^= 1
            database.execute("UPDATE leaves SET leaf = ? WHERE idx = 3", (bytes(leaf),))
        database.close()
        with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as web:
            sign_in(web)
            home, verify = web.get("/console"), web.get("/console/verify")
            assert 'class="card light bad"' in home.text
            assert 'class="card light bad"' in verify.text
            assert re.search(r"First bad leaf</dt><dd[^>]*>3<", verify.text)
            accesses = web.get("/console/accesses")
            assert 'data-state="damaged"' in accesses.text
    finally:
        house.node.close()


def test_how_the_console_looks_is_chosen_by_a_form_of_ones_own_session(web: TestClient) -> None:
    assert web.get("/console/preferences").headers["location"] == "/console/sign-in"
    sign_in(web)
    page = web.get("/console/preferences").text
    token = re.search(r'name="csrf" value="([^"]+)"', page)
    assert token
    for csrf, theme, status in (
        ("x", "dark", 403),
        (token[1], "blue", 400),
        (token[1], "dark\r\nset-cookie: a=b", 400),
    ):
        answer = web.post("/console/preferences", data={"csrf": csrf, "theme": theme})
        assert answer.status_code == status
        assert "set-cookie" not in answer.headers
    answer = web.post("/console/preferences", data={"csrf": token[1], "theme": "dark"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/preferences?kept=1")
    assert 'data-theme="dark"' in web.get("/console").text
    assert web.post("/console/preferences", data={"csrf": token[1], "theme": ""}).status_code == 303
    assert "data-theme" not in web.get("/console").text
    web.cookies.clear()
    web.cookies.set("twinward_preferences", 'theme="><script>', path="/console")
    assert "data-theme" not in web.get("/console/sign-in").text


def test_a_spoiled_index_of_findings_takes_no_page_away(tmp_path: Path) -> None:
    """Every page counts the questions that wait for whoever is signed in."""
    house = build(tmp_path / "home", patients=1)
    try:
        tag = house.node.audit.sealer.tag("action", Action.REVIEW.value)
        with sqlite3.connect(tmp_path / "home" / "log.db") as database:
            database.execute("INSERT INTO postings (tag, first, distances) VALUES (?, 0, 5)", (tag,))
        database.close()
        with TestClient(house.app, raise_server_exceptions=False, follow_redirects=False) as web:
            sign_in(web)
            for path in ("/console", "/console/accounts"):
                assert web.get(path).status_code == 200, path
    finally:
        house.node.close()

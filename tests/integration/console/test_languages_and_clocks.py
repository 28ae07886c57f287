"""A patient who reads German, by the clock of her own place: page by page, errors too; and whose choice counts."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.integration.console.fixtures import CLINICIAN, PASSWORD, House, build
from twinward.access.interfaces import AccessContext
from twinward.api.app import create_app
from twinward.audit.errors import corrupt
from twinward.console import mount
from twinward.core.clock import FixedClock
from twinward.core.config import Settings
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Category, Purpose
from twinward_ledger.errors import LogCorrupt

MINE = (
    "/console/my",
    "/console/my/accesses?related=yes",
    "/console/my/consents",
    "/console/my/studies",
    "/console/my/downloads",
    "/console/signed-out",
)
OFFICERS = (
    *("", "/accesses", "/accesses/12", "/people", "/reviews?day=2026-01-01", "/emergencies", "/breaches", "/erasures"),
    *(
        "/contacts",
        "/policy",
        "/consents",
        "/verify",
        "/check",
        "/node",
        "/studies",
        "/outbreaks",
        "/exchange",
        "/things",
        "/outside",
        "/outside/acme",
    ),
    *("/accounts", "/accounts/ann", "/account", "/accesses/print", "/nowhere"),
)
OTHERS = ("/console/account", "/console/preferences", "/console/account/second-factor", "/console/confirm")
ENGLISH = re.compile(
    r"\b(the|and|your|you|of|is|are|with|who|what|this|to|for|from|my|not|sign|by|it)\b", re.IGNORECASE
)
"""Words that no page in German has. Not among them: words of both, such as was, an, in, so."""
HERE = re.compile(r"pytest-of|not compiled")
"""Where this test's home lies, and why kernels are not there: neither is a page's own."""
NOT_WORDS = ("St. Anna Hospital", "English", "TestClient", "another program")
"""What people or programs are called."""
GERMAN = {"accept-language": "de-AT,de;q=0.9,en;q=0.5"}


@pytest.fixture(scope="module")
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, clock: FixedClock) -> Iterator[House]:
    built = build(tmp_path_factory.mktemp("languages") / "home", patients=2, clock=clock)
    node = built.node
    officer = AccessContext(node.accounts.named("officer"), Purpose.COMPLIANCE)
    node.account_desk.add_patient("ann", "Ann", PASSWORD, built.twins[0], officer)
    built.read(CLINICIAN, built.twins[0], *Category)
    node.audit.checkpoint_and_anchor()
    yield built
    node.close()


@pytest.fixture(scope="module")
def app(house: House) -> FastAPI:
    made = create_app(house.node)
    mount(made, house.node)
    return made


@pytest.fixture
def web(app: FastAPI, clock: FixedClock) -> Iterator[TestClient]:
    clock.advance(60_001)
    with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as client:
        yield client


def token(page: httpx.Response) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert found, page.text
    return found[1]


def sign_in(web: TestClient, account: str, password: str = PASSWORD) -> httpx.Response:
    form = {"account": account, "password": password, "csrf": token(web.get("/console/sign-in"))}
    return web.post("/console/sign-in", data=form)


def read_out(page: httpx.Response) -> str:
    """What a page says to its reader, or to whoever has it read out."""
    body = re.sub(r"<(pre|textarea)\b.*?</\1>", "", page.text, flags=re.DOTALL)  # policies and checkpoints, as written
    body = re.sub(
        r'<(\w+)[^>]* (?:lang="en"|data-field=|class="mono")[^>]*>.*?</\1>', "", body, flags=re.DOTALL
    )  # the log's words
    body = re.sub(r' data-words="[^"]*"', "", body)
    body = re.sub(r"<select.*?</select>|<head>.*?</head>|<(script|code)\b.*?</\1>", "", body, flags=re.DOTALL)
    spoken = " ".join(re.findall(r'(?:aria-label|title|placeholder|alt)="([^"]*)"', body))
    said = html.unescape(re.sub(r"<[^>]+>", " ", body) + " " + spoken)
    said = re.sub(r"[\w+/]{40,}=*", "", said)  # a hash, in which a word may stand by chance
    for name in NOT_WORDS:
        said = said.replace(name, "")
    return re.sub(r"\(added, with[^)]*\)", "", said)  # what was done to an account, as the log has it


def left_in_english(page: httpx.Response) -> list[str]:
    return [
        said[max(0, one.start() - 40) : one.end() + 40] for said in [read_out(page)] for one in ENGLISH.finditer(said)
    ]


def test_a_patients_pages_are_in_german_to_the_last_word(web: TestClient) -> None:
    web.headers.update(GERMAN)
    strangers = web.get("/console/sign-in")
    assert left_in_english(strangers) == []
    assert '<html lang="de"' in strangers.text
    sign_in(web, "ann")
    for path in (*MINE, *OTHERS):
        page = (
            web.get(path)
            if not path.endswith("second-factor")
            else web.post(path, data={"csrf": token(web.get("/console/account"))})
        )
        assert page.status_code == 200, path
        assert left_in_english(page) == [], path
        assert 'lang="en"' not in page.text.replace('<span lang="en">English</span>', "")
    looks = web.get("/console/my/accesses").text
    assert "gelesen: Laborwerte, um Sie zu behandeln." in looks
    assert "weitere Arten" in looks
    assert "Firmen dürfen nach Patienten wie mir suchen" in html.unescape(web.get("/console/my/consents").text)


def test_refusals_are_in_german_too(web: TestClient) -> None:
    web.headers.update(GERMAN)
    wrong = sign_in(web, "ann", "not the password")
    assert wrong.status_code == 401
    assert "Konto und Passwort passen nicht zusammen." in wrong.text
    sign_in(web, "ann")
    for path, status in (("/console/accesses", 403), ("/console/nowhere", 404)):
        page = web.get(path)
        assert page.status_code == status
        assert left_in_english(page) == []
    forged = web.post("/console/preferences", data={"csrf": "x", "theme": "dark"})
    assert "ieses Formular gehört nicht zu Ihrer Sitzung." in forged.text


def test_what_was_chosen_counts_more_than_what_the_browser_asks_for(web: TestClient) -> None:
    sign_in(web, "ann")
    form = {"csrf": token(web.get("/console/preferences")), "theme": "", "language": "de", "zone": "Asia/Kathmandu"}
    for wrong in ({"zone": "Mars/Olympus"}, {"zone": "../../etc/passwd"}, {"language": "xx"}):
        assert web.post("/console/preferences", data=form | wrong).status_code == 400
    assert '<html lang="en"' in web.get("/console/my").text
    assert web.post("/console/preferences", data=form).status_code == 303
    page = web.get("/console/my/accesses", headers={"accept-language": "en"}).text
    assert '<html lang="de"' in page
    when = re.search(r'<time datetime="2026-01-01T(\d\d):(\d\d):\d\dZ">01.01.2026, (\d\d):(\d\d) \+0545</time>', page)
    assert when
    utc, here = int(when[1]) * 60 + int(when[2]), int(when[3]) * 60 + int(when[4])
    assert here - utc == 5 * 60 + 45
    kept = web.get("/console/preferences").text
    assert "<option selected>Asia/Kathmandu</option>" in kept
    assert 'name="language" value="de" checked' in kept


def test_officers_pages_are_in_german_and_by_their_clock(web: TestClient, house: House) -> None:
    web.headers.update(GERMAN)
    sign_in(web, "officer")
    form = {"csrf": token(web.get("/console/preferences")), "theme": "", "language": "de", "zone": "Asia/Kathmandu"}
    assert web.post("/console/preferences", data=form).status_code == 303
    twin = house.twins[0]
    found = []
    for path in (*OFFICERS, f"/consents?twin={twin}&version=1&add=research", f"/erasures?twin={twin}"):
        page = web.get(f"/console{path}")
        assert page.status_code in (200, 404), path
        said_by = [one for one in left_in_english(page) if not HERE.search(one)]
        found += [(path, said) for said in said_by]
        found += [(path, "UTC")] if "UTC" in read_out(page).replace("(UTC)", "") else []
    assert found == [], "\n".join(map(str, found))
    refused = web.get("/console/accesses?since=2026-02-01&until=2026-01-01").text
    assert "er letzte Tag liegt vor dem ersten" in refused
    row = web.get("/console/accesses?since=2026-01-01&role=clinician").text
    assert "zone=Asia%2FKathmandu" in row
    tokyo = web.get("/console/accesses?since=2026-01-01&zone=Asia/Tokyo").text
    assert "(Asia/Tokyo)" in tokyo
    assert '<input type="hidden" name="zone" value="Asia/Tokyo">' in tokyo, "the form sends what its label says"
    assert 'data-field="categories" data-code="labs">Laborwerte<' in row
    assert re.search(r'data-field="reason" data-code="clinicians may read, [^"]*">Behandelnde ', row)
    assert re.search(r'data-field="at" data-code="2026-01-01 \d\d:\d\d:\d\d">.*?01.01.2026, \d\d:\d\d:\d\d \+0545', row)


@pytest.mark.parametrize(
    "zone", ["", "Europe", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "x" * 5000, "\x00"]
)
def test_a_hospitals_time_zone_is_one_that_there_is(zone: str) -> None:
    with pytest.raises((ValueError, BadInput)):
        Settings(time_zone=zone)


REFUSED = (
    ("/accesses?since=%7B0%7D%3Cb%3E", 400, "Im Feld „von“ steht ein Tag, nicht &#39;{0}&lt;b&gt;&#39;."),
    ("/accesses?role=%7Bfield%7D", 400, "Im Feld „Rolle“ gibt es &#39;{field}&#39; nicht."),
    ("/accesses?unit=" + "x" * 200, 400, "Das Feld „Station“ hat höchstens 128 Zeichen."),
    ("/accesses?emergency=%25s", 400, "Im Feld „"),
    ("/accounts/read", 404, "Das Konto &#39;read&#39; gibt es nicht."),
    ("/breaches/" + "0" * 16, 404, "Einen Fall einer Datenpanne mit diesem Namen gibt es nicht."),
    ("/contacts/" + "0" * 16, 404, "Eine Kontaktanfrage mit diesem Namen gibt es nicht."),
    ("/outside/nobody", 404, "Keine Firma hat hier ein solches Konto."),
)


def test_what_an_officer_is_refused_says_in_german_what_was_entered(web: TestClient) -> None:
    web.headers.update(GERMAN)
    sign_in(web, "officer")
    found = []
    for path, status, said in REFUSED:
        page = web.get(f"/console{path}")
        if page.status_code != status or said not in page.text or left_in_english(page):
            body = re.search(r'class="card problem">.*?</section>', page.text, re.DOTALL)
            found.append((path[:40], page.status_code, left_in_english(page), body and body[0][:300]))
    csrf = token(web.get("/console/preferences"))
    rule = 'permit (principal, action, resource) when { "ward 3" == "ward 3" };'
    page = web.post("/console/policy/preview", data={"csrf": csrf, "text": rule})
    if "ine Regel hat keinen Namen oder keinen Satz (unnamed)" not in page.text or left_in_english(page):
        found.append(("policy", page.status_code, left_in_english(page), None))
    assert found == [], "\n".join(map(str, found))


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({}, "Title fehlt."),
        ({"title": "x" * 5000}, "Title hat höchstens 4.000 Zeichen."),
        ({"title": "what happened", "kind": "weather"}, "Kind steht nicht zur Wahl."),
    ],
)
def test_a_form_that_is_wrong_is_told_so_in_german(web: TestClient, form: dict[str, str], said: str) -> None:
    web.headers.update(GERMAN)
    sign_in(web, "officer")
    page = web.post("/console/breaches", data={"kind": "time", "csrf": "x"} | form)
    assert page.status_code == 400
    assert said in page.text


def test_what_is_wrong_with_a_log_is_told_in_german_with_its_numbers(
    web: TestClient, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.headers.update(GERMAN)
    sign_in(web, "officer")

    def cut(*_: object, **__: object) -> None:
        found = LogCorrupt("the log is cut off: 1234 entries, 2345 were signed", first_bad_index=1234)
        raise corrupt(found) from found

    monkeypatch.setattr(house.node.access_search, "page", cut)
    page = web.get("/console/accesses")
    assert page.status_code == 503
    assert "as Protokoll ist abgeschnitten: 1.234 Einträge, signiert waren 2.345" in page.text
    assert left_in_english(page) == []

"""Every page of the console, as the route table names them: axe finds nothing, on a desk and on a phone, in the light
and in the dark; charts keep their contrast; paper is light."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import served
from tests.held_keys import HeldKeysBudget
from tests.integration.api.test_reason import api_routes
from tests.integration.console.fixtures import PASSWORD, SIMILARITY_YES, SYSTEMS, House, build
from tests.tools import ROOT, require
from twinward.access.consent_choices import CHOICES
from twinward.access.interfaces import AccessContext, Principal
from twinward.api.app import create_app
from twinward.breach.models import Scope, ScopeKind
from twinward.console import mount
from twinward.console.preferences import PREFERENCES_COOKIE, Theme
from twinward.console.sessions import PATH, SESSION_COOKIE
from twinward.core.vocabulary import Category, Purpose, Role
from twinward.federation.approval import digest_of
from twinward.federation.models import COHORT
from twinward.federation.study import StudyProtocol
from twinward.node.study_approvals import invite
from twinward.overview.log import permit_to_examine
from twinward.protocol.contacts import ContactProposal
from twinward.protocol.criteria import Criteria
from twinward.protocol.feasibility import FeasibilityQuestion

pytestmark = pytest.mark.slow

AXE: Final = ROOT / "tests/clients/javascript/node_modules/axe-core"
TEXT: Final = 4.5
GRAPHICS: Final = 3.0
"""WCAG 2.2, 1.4.3 and 1.4.11."""
WIDTHS: Final = (1280, 375)
LIGHT: Final = "rgb(245, 247, 249)"
DARK: Final = "rgb(16, 22, 28)"


QUERIES: Final = {
    "/console/exports/{twin}": {"format": "csv"},
    "/console/breaches/{name}/file": {"form": "csv"},
    "/console/consistency": {"old": "1"},
}
"""What an address needs beside its path, to answer."""
NO_PAGES: Final = frozenset({"/console/sign-in/code"})
"""Shown in the middle of something only."""


_CONTRAST: Final = """([text, graphics]) => {
  const parts = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = (colour) => parts(colour).map((one) => one / 255)
    .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
    .reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0);
  const under = (node) => {
    const colour = getComputedStyle(node).backgroundColor;
    return /, 0\\)$/.test(colour) && node.parentElement ? under(node.parentElement) : colour;
  };
  return [...document.querySelectorAll("svg.chart text, svg.chart rect")].flatMap((mark) => {
    const [ink, paper] = [light(getComputedStyle(mark).fill), light(under(mark.closest("svg").parentElement))];
    const contrast = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    return contrast < (mark.tagName === "text" ? text : graphics) ? [`${mark.tagName} ${contrast}`] : [];
  });
}"""


@dataclass(frozen=True)
class Hospital:
    """A served node with something on every page, and a session of each of its people."""

    house: House
    url: str
    cookies: dict[str, str]
    examples: dict[str, dict[str, str]]
    """Values of the parameters in a page's path, by its first part after /console. A page without is told below."""


@dataclass(frozen=True)
class Shown:
    """A page, and who may see it: nobody, for one that strangers see."""

    path: str
    person: str


@pytest.fixture(scope="module")
def axe() -> str:
    """axe-core's own script; it is put into a page as a debugger does, past the page's content policy."""
    return Path(require("axe.min.js", install="npm ci in tests/clients/javascript", beside=AXE)).read_text("utf-8")


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    house = build(tmp_path_factory.mktemp("every-page") / "home")
    node = house.node
    context = AccessContext(node.accounts.named("officer"), Purpose.COMPLIANCE)
    node.account_desk.add_patient("ann", "Ann", PASSWORD, house.twins[0], context)
    permit = permit_to_examine(node.access, context, "breach")
    case = node.breaches.open(permit, Scope(ScopeKind.PATIENT, twin=house.twins[0]), "Letters to a wrong address", None)
    node.breaches.assess(permit, case.name)
    letters = AccessContext(context.principal, Purpose.PATIENT_REQUEST)
    erased = node.erasure_desk.propose(letters, house.twins[1], (), "the patient asked for it by letter")
    node.erasure_desk.approve(AccessContext(SYSTEMS["officer"], Purpose.COMPLIANCE), erased.name)
    node.erasure_desk.carry_on()
    node.erasure_desk.propose(letters, house.twins[2], {Category.LABS}, "these results are of another patient")
    digest = _studies(house)
    request = _contacts(house, context)
    node.audit.checkpoint_and_anchor()
    assert node.log_check.run().fault == ""
    cookies = {name: node.sign_ins.by_password(name, PASSWORD) for name in ("officer", "ann")}
    examples = {
        "accesses": {"index": "12"},
        "accounts": {"account": "nurse"},
        "breaches": {"name": case.name},
        "contacts": {"name": request},
        "erasures": {"name": erased.name},
        "outside": {"vendor": "acme"},
        "exports": {"twin": house.twins[0]},
        "proofs": {"index": "12"},
        "studies": {"digest": digest},
        "{rest:path}": {"rest:path": "nowhere"},
    }
    with served(house) as url:
        yield Hospital(house, url, cookies, examples)
    node.close()


def _contacts(house: House, officer: AccessContext) -> str:
    """A contact request that waits; and another one that was approved, so that Ann was told of a study."""
    node, vendor = house.node, Principal("rival", Role.VENDOR, "Rival")
    kept = AccessContext(officer.principal, Purpose.RECORD_MANAGEMENT)
    node.access.set_consents(kept, [(house.twins[0], (SIMILARITY_YES, CHOICES["contact"]))])
    names = []
    for number in range(2):  # what they disclose is checked before the desk has them
        question = FeasibilityQuestion(epoch=1, epsilon_millis=250, bundle=b"counted", query_id=f"{number:032x}")
        proposal = ContactProposal(
            count=question,
            secret=bytes(32),
            criteria=Criteria.of({"include": [{"feature": "age", "known": True, "unknown": "include"}]}),
            title="A study of blood pressure",
            purpose="to find out whether a medicine helps",
            text="We look for people with high blood pressure.\n\nTwo visits. Saying no costs you nothing.",
        )
        names.append(node.contacts.propose(vendor, proposal).name)
    node.contacts.approve(officer, names[1], "the ethics board agreed")
    node.contacts.carry_on()
    assert node.contacts.invitations(house.twins[0])
    return names[0]


def _studies(house: House) -> str:
    """An invitation that waits, and what two studies took of the budget."""
    node, hospitals = house.node, house.node.settings.witnesses
    for name in hospitals:
        node.consortium.cap_privacy(name, COHORT, 1_000_000)
    budget = HeldKeysBudget(node.consortium.budgets, node.consortium.keys)
    for number in (1, 2):
        budget.reserve(bytes([number]) * 32, hospitals, 100_000 * number)
    by = AccessContext(SYSTEMS["researcher"], Purpose.RESEARCH)
    return digest_of(invite(node, StudyProtocol.for_dp_var("every-page-1", hospitals), (), by))


@pytest.fixture(scope="module")
def pages(hospital: Hospital) -> tuple[Shown, ...]:
    """Each address of the console that answers a GET with a page, with the first of the people who is shown it."""
    app = create_app(hospital.house.node)
    mount(app, hospital.house.node)
    found = []
    for route in api_routes(app.routes):
        if route.path.startswith(PATH) and "GET" in (route.methods or ()):
            found += _shown(hospital, route.path)
    assert len(found) > 20
    return tuple(found)


def _shown(hospital: Hospital, template: str) -> list[Shown]:
    values = hospital.examples.get(template.removeprefix(f"{PATH}/").partition("/")[0], {})
    missing = set(re.findall(r"{([^}]+)}", template)) - set(values)
    assert not missing, f"{template}: give {missing} a value in the fixture hospital's examples"
    path = re.sub(r"{([^}]+)}", lambda one: values[one[1]], template)
    refused = []
    for person in ("", *hospital.cookies):
        sent = {SESSION_COOKIE: hospital.cookies[person]} if person else {}
        answer = httpx.get(hospital.url + path, cookies=sent, params=QUERIES.get(template, {}), timeout=60)
        is_page = answer.headers.get("content-type", "").startswith("text/html")
        if is_page and answer.status_code in (200, 404):
            return [Shown(path, person)]
        if answer.status_code == 200:
            return []  # a file, or what a script asks for
        refused.append(answer.status_code)
    assert template in NO_PAGES, f"{template} is shown to nobody ({refused}): give it what it needs in QUERIES"
    return []


def _findings(page: Page, axe: str) -> list[str]:
    """What axe has to say of the page as it stands: rule, what it is about, and where."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe)
    found: Any = page.evaluate("axe.run(document, {resultTypes: ['violations']}).then((all) => all.violations)")
    return [f"{one['id']}: {one['help']}: {node['target']}" for one in found for node in one["nodes"]]


def _faint(page: Page) -> list[str]:
    """What axe does not look at: a chart's words and bars against what they stand on."""
    return [str(one) for one in page.evaluate(_CONTRAST, [TEXT, GRAPHICS])]


def _open(page: Page, hospital: Hospital, shown: Shown) -> None:
    page.context.clear_cookies()
    if shown.person:
        cookie = {"name": SESSION_COOKIE, "value": hospital.cookies[shown.person], "url": hospital.url + PATH}
        page.context.add_cookies([cookie])  # type: ignore[list-item]
    page.goto(hospital.url + shown.path)
    for checked in ("#verified", "#append-only"):
        if page.locator(checked).count():
            page.wait_for_selector(f"{checked}[data-checked]")


def test_axe_finds_nothing_on_any_page_narrow_or_wide_light_or_dark(
    chromium: Browser, hospital: Hospital, pages: tuple[Shown, ...], axe: str
) -> None:
    page = chromium.new_context().new_page()
    found = []
    for shown in pages:
        _open(page, hospital, shown)
        for details in page.locator("details:not([open]) > summary").all():
            details.click()
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            for theme in (Theme.LIGHT, Theme.DARK):
                page.emulate_media(color_scheme=theme.value)
                where = f"{shown.path} as {shown.person or 'nobody'}, {width} px, {theme.value}: "
                found += [where + one for one in (*_findings(page, axe), *_faint(page))]
            if page.evaluate("document.documentElement.scrollWidth") > width:
                found.append(f"{shown.path}, {width} px: wider than the window")
    page.context.close()
    assert found == []


def test_a_chosen_face_is_kept_also_for_the_page_of_signing_in_and_paper_stays_light(
    chromium: Browser, hospital: Hospital
) -> None:
    page = chromium.new_context(color_scheme="light", viewport={"width": 1280, "height": 900}).new_page()
    _open(page, hospital, Shown("/console/preferences", "officer"))
    assert _background(page) == LIGHT
    page.get_by_label("Dark", exact=True).check()
    page.click("button:has-text('Keep it')")
    assert page.inner_text("[role=status]") == "Kept in this browser."
    assert page.get_by_label("Dark", exact=True).is_checked()
    assert _background(page) == DARK
    page.emulate_media(media="print")
    assert _background(page) == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(23, 33, 43)"
    assert not page.locator("nav").is_visible()
    page.emulate_media(media="screen")
    page.click("text=Sign out")
    assert page.url.endswith("/console/sign-in")
    assert _background(page) == DARK
    kept = next(one for one in page.context.cookies() if one["name"] == PREFERENCES_COOKIE)
    assert (kept["httpOnly"], kept["sameSite"], kept["path"]) == (True, "Strict", PATH)
    page.context.close()


def _background(page: Page) -> str:
    page.wait_for_load_state()  # with its style sheet
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

"""Every page of the console, as the route table names them: axe finds nothing, on a desk and on a phone, in the light
and in the dark; charts keep their contrast; paper is light."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.hospital import Hospital, Shown, furnished, pages_of
from tests.tools import ROOT, require
from twinward.console.preferences import PREFERENCES_COOKIE, Theme
from twinward.console.sessions import PATH, SESSION_COOKIE

pytestmark = pytest.mark.slow

AXE: Final = ROOT / "tests/clients/javascript/node_modules/axe-core"
TEXT: Final = 4.5
GRAPHICS: Final = 3.0
"""WCAG 2.2, 1.4.3 and 1.4.11."""
WIDTHS: Final = (1280, 375)
LIGHT: Final = "rgb(245, 247, 249)"
DARK: Final = "rgb(16, 22, 28)"


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


@pytest.fixture(scope="module")
def axe() -> str:
    """axe-core's own script; it is put into a page as a debugger does, past the page's content policy."""
    return Path(require("axe.min.js", install="npm ci in tests/clients/javascript", beside=AXE)).read_text("utf-8")


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    with furnished(tmp_path_factory.mktemp("every-page") / "home") as one:
        yield one


@pytest.fixture(scope="module")
def pages(hospital: Hospital) -> tuple[Shown, ...]:
    return pages_of(hospital)


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
        page.eval_on_selector_all("details", "(all) => all.forEach((one) => { one.open = true; })")
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
    _open(page, hospital, Shown("/console/preferences", "officer", ""))
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

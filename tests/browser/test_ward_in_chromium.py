"""A ward's page in a real browser: shows itself anew, leaves forms alone, can be paused, and works without scripts."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Visit, served
from tests.integration.console.fixtures import NIGHT_PASSWORD, House, build
from tests.integration.console.monitors import GATEWAY, an_hour_of_it
from twinward.core.clock import iso
from twinward.live.intake.lines import read_lines

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, str]]:
    house = build(tmp_path_factory.mktemp("ward") / "home")
    an_hour_of_it(house)
    with served(house) as url:
        yield house, url
    house.node.close()


def test_a_ward_shows_itself_anew_leaves_forms_alone_and_ends_with_the_session(
    chromium: Browser, ward: tuple[House, str]
) -> None:
    house, url = ward
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    visit = Visit(context, context.new_page(), url)
    visit.listen()
    page = visit.page
    page.set_default_timeout(30_000)
    visit.sign_in(NIGHT_PASSWORD, "nurse")
    assert page.url.endswith("/console/ward")
    page.clock.install()
    page.reload()
    first = page.locator(".tile").first
    expect(first).to_contain_text("NEWS2")
    _measure(house, 1, 41)
    page.clock.run_for(16_000)
    expect(first).to_contain_text("41 /min")
    page.get_by_role("button", name="Pause").click()
    _measure(house, 2, 42)
    page.clock.run_for(60_000)
    expect(first).to_contain_text("41 /min")
    page.get_by_role("button", name="Go on").click()
    page.clock.run_for(2_000)
    expect(first).to_contain_text("42 /min")
    visit.go("/console/alerts")
    page.locator("summary").first.click()
    field = page.locator("input[name=reason]").first
    field.fill("the probe is being changed")
    shown = page.inner_text(".refreshing")
    page.clock.run_for(60_000)
    assert field.input_value() == "the probe is being changed"
    assert page.inner_text(".refreshing") == shown
    page.click("details[open] button")
    expect(page.locator("ul.alerts").first).to_contain_text("silenced by nurse")
    visit.go("/console/ward")
    page.clock.run_for(21 * 60_000)  # nobody touches it: the session is left to end by itself
    expect(page.locator("#left-alone")).to_be_visible()
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#left-alone")).to_be_hidden()
    for session in house.node.sign_ins.sessions("nurse"):
        house.node.sign_ins.end_session("nurse", session.name, GATEWAY)
    page.clock.run_for(16_000)
    page.wait_for_url("**/console/sign-in")
    assert visit.hosts == {url.removeprefix("http://")}
    assert visit.complaints == []
    context.close()


def test_without_scripts_a_ward_is_shown_and_shown_anew_by_a_link(chromium: Browser, ward: tuple[House, str]) -> None:
    house, url = ward
    context = chromium.new_context(java_script_enabled=False)
    visit = Visit(context, context.new_page(), url)
    visit.sign_in(NIGHT_PASSWORD, "nurse")
    page: Page = visit.page
    _measure(house, 3, 43)
    page.click("text=Show it anew")
    assert "43 /min" in page.inner_text(".tile >> nth=0")
    page.click(".tile a >> nth=0")
    page.click("text=I have seen it")
    assert "seen by nurse" in page.inner_text("ul.alerts")
    context.close()


def _measure(house: House, seq: int, value: float) -> None:
    reading = {"seq": seq, "device": "icu-bed-1", "code": "8867-4", "value": value, "unit": "/min"}
    line = json.dumps(reading | {"time": iso(house.node.clock.now_ms())}).encode()
    house.node.live.intake.take(GATEWAY, "by-hand", read_lines(line))

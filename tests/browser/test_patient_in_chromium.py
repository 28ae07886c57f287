"""A patient's visit in a real browser, on a phone: sign in, who looked, what is allowed, all of it taken along."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Visit
from tests.integration.console.fixtures import PASSWORD, House
from twinward.access.interfaces import AccessContext
from twinward.core.vocabulary import Purpose

pytestmark = pytest.mark.slow

PHONE = {"width": 375, "height": 740}


def test_a_patients_visit_on_a_phone(chromium: Browser, house: House, url: str) -> None:
    node = house.node
    officer = AccessContext(node.accounts.named("officer"), Purpose.COMPLIANCE)
    node.account_desk.add_patient("ann", "Ann", PASSWORD, house.twins[0], officer)
    node.audit.checkpoint_and_anchor()
    context = chromium.new_context(viewport=PHONE)  # type: ignore[arg-type]
    visit = Visit(context, context.new_page(), url)
    visit.listen()
    page = visit.page
    page.set_default_timeout(20_000)
    visit.sign_in(account="ann")
    assert page.inner_text("h1") == "Welcome, Ann"
    for path in (
        "/console/my",
        "/console/my/accesses",
        "/console/my/consents",
        "/console/my/studies",
        "/console/my/downloads",
    ):
        visit.go(path)
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"], path
        assert page.locator("h1").count() == 1
        assert page.locator("nav a[aria-current=page]").count() == 1
    visit.go("/console/my/accesses")
    assert "Dr. Lee (dr-lee)" in page.inner_text("ol.looks")
    visit.go("/console/my/consents")
    page.get_by_label("Nobody may use my record for research").check()
    page.get_by_label("Companies may search for patients like me").uncheck()
    page.click("button:has-text('from now on')")
    assert page.get_by_label("Nobody may use my record for research").is_checked()
    assert not page.get_by_label("Companies may search for patients like me").is_checked()
    visit.go("/console/my/downloads")
    with page.expect_download() as begun:
        page.click("text=Download my record")
    assert json.loads(Path(begun.value.path()).read_text(encoding="utf-8"))["resourceType"] == "Bundle"
    with page.expect_download() as begun:
        page.click("text=Download with proof")
    assert begun.value.suggested_filename.endswith(".accesses.json")
    visit.go("/console/accesses")
    assert "for data officers" in page.inner_text("main")
    assert visit.hosts == {url.split("/")[2]}
    assert [one for one in visit.complaints if "403" not in one] == []
    context.close()

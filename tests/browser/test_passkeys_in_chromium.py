"""A passkey in a real browser: Chromium's virtual authenticator, from adding one to an export confirmed by it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Visit, served
from tests.integration.console.fixtures import PASSWORD, build
from twinward.core.clock import FixedClock

pytestmark = pytest.mark.slow

PORT = 8641
ORIGIN = f"http://localhost:{PORT}"


@pytest.fixture
def at_localhost(chromium: Browser, tmp_path: Path) -> Iterator[tuple[Visit, FixedClock, str]]:
    clock = FixedClock()
    house = build(tmp_path / "home", patients=1, clock=clock)
    house.node.settings = house.node.settings.model_copy(update={"public_origins": (ORIGIN,)})
    house.node.__dict__.pop("sign_ins", None)  # made of the settings
    with served(house, port=PORT):
        context = chromium.new_context()
        visit = Visit(context, context.new_page(), ORIGIN)
        visit.page.set_default_timeout(20_000)
        visit.listen()
        session = context.new_cdp_session(visit.page)
        session.send("WebAuthn.enable")
        options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
        options |= {"isUserVerified": True, "automaticPresenceSimulation": True}
        session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        yield visit, clock, house.twins[0]
        context.close()
    house.node.close()


def test_from_adding_a_passkey_to_what_it_confirms(at_localhost: tuple[Visit, FixedClock, str]) -> None:
    visit, clock, twin = at_localhost
    page = visit.page
    visit.sign_in()
    visit.go("/console/account")
    page.fill("#passkey-name", "ward laptop")
    page.click("button:has-text('Add a passkey')")
    page.wait_for_selector("text=ward laptop, since")
    page.click("header >> text=Sign out")

    page.click("button:has-text('Sign in with a passkey')")
    page.wait_for_selector("h1:has-text('Is the access log in order?')")
    clock.advance(11 * 60_000)
    visit.go("/console/accounts")
    visit.go("/console/confirm?next=/console/accounts")
    page.click("button:has-text('Confirm with a passkey')")
    page.wait_for_selector("h1:has-text('Who may sign in')")
    with page.expect_download() as download:
        page.evaluate("path => { location.href = path }", f"/console/exports/{twin}?format=csv")
    assert download.value.suggested_filename.endswith(".csv")

    visit.go("/console/account")
    page.click("button[aria-label='Remove the passkey ward laptop']")
    page.wait_for_url("**/console/sign-in")
    page.click("button:has-text('Sign in with a passkey')")
    page.wait_for_selector("text=This passkey is not known here")
    visit.sign_in(PASSWORD)
    assert [said for said in visit.complaints if "401" not in said] == []

"""What was entered comes back to its form, in Chromium: after a refusal, after a fresh proof; and to nobody else."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Visit
from tests.integration.console.fixtures import PASSWORD, House
from twinward.access.interfaces import AccessContext, Principal
from twinward.console.sessions import SESSION_COOKIE
from twinward.core.vocabulary import Purpose, Role

pytestmark = pytest.mark.slow

SLOT = "sessionStorage.getItem('twinward:entered')"


def test_a_refused_form_has_what_was_entered_on_the_way_back(officer: Visit) -> None:
    page = officer.page
    officer.go("/console/breaches")
    page.fill("#title", "A colleague looked at neighbours")
    page.select_option("#kind", "account")
    page.fill("#subject", "nobody-of-this-name")
    page.click("button:text-is('Open the case')")
    assert "There is no such account" in page.inner_text("main")
    officer.until(f"JSON.parse({SLOT})?.refused")  # by now the way back leads to the form
    page.click("#back")
    page.wait_for_selector("text=What you entered is here again")
    assert page.input_value("#title") == "A colleague looked at neighbours"
    assert page.input_value("#subject") == "nobody-of-this-name"
    page.fill("#subject", "dr-lee")
    page.click("button:text-is('Open the case')")
    page.wait_for_selector("h1:has-text('A colleague looked at neighbours')")
    officer.until(f"{SLOT} === null")  # it was taken, and is kept no longer once the page has looked
    officer.go("/console/breaches")
    assert page.input_value("#title") == ""


def test_a_patients_choices_outlive_the_question_who_it_is(visit: Visit, house: House) -> None:
    node, page = house.node, visit.page
    officer = AccessContext(node.accounts.named("officer"), Purpose.COMPLIANCE)
    node.account_desk.add_patient("kept", "Kept", PASSWORD, house.twins[0], officer)
    visit.sign_in(PASSWORD, "kept")
    visit.go("/console/my/consents")
    page.get_by_label("Nobody may use my record for research").check()
    sessions = node.sign_ins._sessions
    lasts, sessions.fresh_ms = sessions.fresh_ms, 0  # as if the form was looked at for a while
    try:
        page.click("button:text-is('This is what I allow from now on')")
    finally:
        sessions.fresh_ms = lasts
    page.wait_for_selector("h1:has-text('Is it still you?')")
    visit.until(f"JSON.parse({SLOT})?.refused")  # nobody types a password before the page is there
    page.fill("#password", PASSWORD)
    page.click("button:text-is('Confirm')")
    page.wait_for_selector("text=What you entered is here again")
    assert page.get_by_label("Nobody may use my record for research").is_checked()


def test_a_session_that_ended_meanwhile_costs_a_sign_in_and_no_entry(visit: Visit) -> None:
    page = visit.page
    visit.sign_in()
    visit.go("/console/breaches")
    page.fill("#title", "A colleague looked at neighbours")
    page.select_option("#kind", "account")
    page.fill("#subject", "dr-lee")
    visit.context.clear_cookies()
    page.click("button:text-is('Open the case')")
    visit.until(f"JSON.parse({SLOT})?.refused")
    assert "neighbours" not in str(page.evaluate(SLOT)), "who is not signed in reads nothing of it"
    page.fill("#account", "officer")
    page.fill("#password", PASSWORD)
    page.click("button:has-text('Sign in') >> nth=0")
    page.click("main >> text=Back to what you entered")
    page.wait_for_selector("text=What you entered is here again")
    assert page.input_value("#title") == "A colleague looked at neighbours"
    assert page.input_value("#subject") == "dr-lee"


def test_nobody_else_is_shown_it_and_names_are_not_kept(officer: Visit, house: House) -> None:
    page = officer.page
    officer.go("/console/breaches")
    page.fill("#title", "A colleague looked at neighbours")
    page.fill("#subject", "nobody-of-this-name")
    page.click("button:text-is('Open the case')")
    assert "neighbours" not in str(page.evaluate(SLOT) or "neighbours"), "what is kept is sealed"
    house.node.accounts.add_person(Principal("officer-two", Role.OFFICER, "Second"), PASSWORD)
    session = house.node.sign_ins.by_password("officer-two", PASSWORD)
    officer.context.add_cookies([{"name": SESSION_COOKIE, "value": session, "url": f"{officer.url}/console"}])
    officer.go("/console/breaches")
    officer.until(f"{SLOT} === null")
    assert page.input_value("#title") == ""
    officer.go("/console/people")
    page.fill("#name", "Zula")
    page.fill("#reason", "x")
    page.click("button:text-is('Look up')")
    assert "Zula" not in str(page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])"))

"""The console in a real browser: what an officer sees, and what her own browser refuses to believe."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Route

from tests.browser.conftest import Visit, served
from tests.integration.console.fixtures import CLINICIAN, House, build
from twinward.console.accesses import PAGE_ROWS
from twinward_ledger import merkle
from twinward_ledger.formats.leaf import LeafKind
from twinward_ledger.formats.note import Note

pytestmark = pytest.mark.slow

"""The rows the house was built with, whatever other tests have added since."""
PAGES = (
    "/console", "/console/accesses", "/console/accesses/12", "/console/people", "/console/reviews",
    "/console/verify", "/console/check", "/console/outside", "/console/outside/acme", "/console/breaches",
    "/console/erasures", "/console/contacts", "/console/node", "/console/studies", "/console/outbreaks",
    "/console/policy", "/console/consents", "/console/exchange", "/console/things",
)  # fmt: skip
Change = Callable[[dict[str, Any]], None]


# --- signing in and out ------------------------------------------------------------------------------------------


def test_a_wrong_password_is_refused_in_words_and_the_right_one_opens_the_console(visit: Visit) -> None:
    visit.sign_in("not the password")
    assert "do not fit together" in visit.page.inner_text("[role=alert]")
    assert visit.page.input_value("#account") == "officer"
    assert not [c for c in visit.context.cookies() if c["name"] == "twinward_session"]
    visit.sign_in()
    assert visit.page.inner_text("h1") == "Is the access log in order?"
    cookie = next(c for c in visit.context.cookies() if c["name"] == "twinward_session")
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/console")
    assert visit.page.evaluate("document.cookie") == ""


def test_signing_out_ends_the_session_on_the_server(officer: Visit) -> None:
    cookie = officer.context.cookies()
    officer.page.click("text=Sign out")
    assert officer.page.url.endswith("/console/sign-in")
    officer.context.add_cookies(cookie)  # type: ignore[arg-type]
    officer.go("/console/accesses")
    assert officer.page.url.endswith("/console/sign-in")


# --- what the pages show -----------------------------------------------------------------------------------------


def test_home_shows_a_green_light_and_what_it_rests_on(officer: Visit) -> None:
    assert officer.verdict("#append-only") == "good"
    assert "good" in str(officer.page.get_attribute("#light", "class"))
    facts = officer.page.inner_text(".facts")
    assert "3 of 3 witnesses" in facts
    assert "anchored on the chain" in facts
    assert officer.page.locator("svg[role=img]").count() == 2
    assert officer.page.inner_text("pre").startswith("twinward.example/st-anna/access-log\n")


def test_every_signed_row_is_proven_by_the_browser(officer: Visit, house: House) -> None:
    officer.go("/console/accesses?own=yes")
    assert officer.verdict() == "good"
    signed = officer.page.locator("[data-sealed=yes]")
    leaves = house.node.log.store.leaves(0, house.node.audit.status().signed_size)
    later = officer.page.locator("[data-sealed=no]").count()
    assert signed.count() == min(PAGE_ROWS - later, sum(1 for leaf in leaves if leaf[1] != LeafKind.COMPLETENESS))
    assert set(signed.all_inner_texts()) == {"✓ proven"}
    assert set(officer.page.locator("[data-sealed=no]").all_inner_texts()) == {"not signed yet"}
    assert "patient found <unconscious>" in officer.page.inner_text("table")


def test_filters_narrow_the_table_and_an_empty_one_says_so(officer: Visit) -> None:
    officer.go("/console/accesses")
    officer.page.select_option("#decision", "deny")
    officer.page.fill("#agent", "dr-lee")
    officer.page.click("button:has-text('Show')")
    assert officer.verdict() == "good"
    rows = officer.page.locator("tbody tr")
    assert rows.count() == 5
    assert all("dr-lee" in text and "refused" in text for text in rows.all_inner_texts())
    officer.page.locator("tbody td:first-child a").first.click()
    assert officer.verdict() == "good"
    assert "the whole story" in officer.page.inner_text("h1")
    officer.page.locator("tbody a.mono").first.click()
    assert officer.verdict() == "good"
    assert "twin=" in officer.page.url
    officer.go("/console/accesses?agent=nobody")
    assert "No event fits" in officer.page.inner_text("main")
    officer.page.click("text=Show all")
    assert officer.page.locator("tbody tr").count() > 5


def test_older_pages_are_reached_and_proven(officer: Visit, house: House) -> None:
    for twin in house.twins * 7:
        house.read(CLINICIAN, twin)
    house.node.audit.checkpoint_and_anchor()
    officer.go("/console/accesses?own=yes")
    newest = int(officer.page.locator("[data-index]").first.get_attribute("data-index") or -1)
    officer.page.click("text=Older →")
    assert officer.verdict() == "good"
    first = int(officer.page.locator("[data-index]").first.get_attribute("data-index") or -1)
    leaves = house.node.log.store.leaves(first + 1, newest + 1)
    assert sum(1 for leaf in leaves if leaf[1] != LeafKind.COMPLETENESS) == 50
    officer.page.click("text=← Newest")
    assert officer.page.locator("text=← Newest").count() == 0


def test_verify_and_outside_say_what_was_compared_and_what_was_spent(officer: Visit) -> None:
    officer.go("/console/verify")
    assert "hashed again" in officer.page.inner_text(".light")
    assert officer.page.locator("text=✓ verifies").count() == 3
    officer.go("/console/outside")
    row = officer.page.locator("tbody tr", has_text="Acme Diagnostics").inner_text().split()
    assert row[2:5] == ["12", "0", "12"]


def test_pages_complain_of_nothing_and_ask_no_other_host(officer: Visit) -> None:
    for path in PAGES:
        officer.go(path)
        officer.page.wait_for_load_state("networkidle")
        assert officer.page.locator("style, [style], script:not([src])").count() == 0
    assert officer.complaints == []
    assert officer.hosts == {officer.url.split("/")[2]}


@pytest.mark.parametrize("path", PAGES)
def test_a_phone_scrolls_down_and_never_sideways(officer: Visit, path: str) -> None:
    officer.page.set_viewport_size({"width": 360, "height": 740})
    officer.go(path)
    officer.page.wait_for_load_state("networkidle")
    assert officer.page.evaluate("document.documentElement.scrollWidth") == 360


def test_the_keyboard_alone_signs_in_and_walks_the_pages(visit: Visit) -> None:
    page = visit.page
    visit.go("/console/sign-in")
    visit.until("document.activeElement.tagName === 'INPUT'")  # the account field takes the focus
    page.keyboard.type("officer")
    page.keyboard.press("Tab")
    page.keyboard.type("correct horse battery")
    page.keyboard.press("Enter")
    page.wait_for_url("**/console")
    page.keyboard.press("Tab")
    assert focused(visit) == "Skip to content"
    page.keyboard.press("Enter")
    visit.until("document.activeElement.id === 'content'")
    visit.go("/console")
    walked = []
    while not walked or walked[-1] != "Sign out":
        page.keyboard.press("Tab")
        walked.append(focused(visit).rstrip(" 0123456789"))
    assert walked == [
        "Skip to content", "Twinward", "Home", "Accesses", "Reviews", "Emergencies", "Breaches", "Erasure",
        "Contacts", "Policy", "Verify", "Node", "Studies", "Outbreaks", "Exchange", "Vendors", "Things",
        "Olga Officer · officer", "Sign out",
    ]  # fmt: skip
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    for _ in walked[walked.index("Accesses") + 1 :]:
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/accesses")


def first_day(house: House) -> str:
    """The page that begins with the last access of the first day: the same however many sign in later."""
    return f"/console/accesses?own=yes&before={house.first_day}"


def focused(visit: Visit) -> str:
    return str(visit.page.evaluate("document.activeElement.textContent.trim()"))


# --- what the browser refuses to believe -------------------------------------------------------------------------


def answer_with(visit: Visit, pattern: str, change: Change) -> None:
    """Let the server's JSON answers be changed on their way."""

    def fulfil(route: Route) -> None:
        answer = route.fetch()
        told = answer.json()
        change(told)
        route.fulfill(response=answer, json=told)

    visit.page.route(re.compile(pattern), fulfil)


def flipped(text: str, place: int = 0) -> str:
    data = bytearray(base64.b64decode(text))
    data[place] ^= 1
    return base64.b64encode(data).decode()


def in_leaf(proof: dict[str, Any]) -> None:
    proof["leaf"] = flipped(proof["leaf"], -1)


def in_path(proof: dict[str, Any]) -> None:
    proof["path"][0] = flipped(proof["path"][0])


def one_node_too_many(proof: dict[str, Any]) -> None:
    proof["path"].append(proof["path"][0])


def in_signature(proof: dict[str, Any]) -> None:
    line = re.search(r"access-log (\S+)\n", proof["checkpoint"].split("\n\n")[1])
    assert line
    proof["checkpoint"] = proof["checkpoint"].replace(line[1], flipped(line[1], 20))


def in_size(proof: dict[str, Any]) -> None:
    head, size, rest = proof["checkpoint"].split("\n", 2)
    proof["checkpoint"] = f"{head}\n{int(size) + 1}\n{rest}"


def of_another_log(proof: dict[str, Any]) -> None:
    proof["checkpoint"] = proof["checkpoint"].replace("st-anna/access-log", "northgate/access-log")


def no_signature(proof: dict[str, Any]) -> None:
    proof["checkpoint"] = proof["checkpoint"].replace("\u2014 twinward.example/st-anna/access-log", "\u2014 nobody")


@pytest.mark.parametrize(
    "change", [in_leaf, in_path, one_node_too_many, in_signature, in_size, of_another_log, no_signature]
)
def test_a_changed_proof_turns_every_row_red(officer: Visit, house: House, change: Change) -> None:
    answer_with(officer, r"/console/proofs/\d+", change)
    officer.go(first_day(house))
    assert officer.verdict() == "bad"
    assert "do NOT verify" in officer.page.inner_text("#verified")
    assert set(officer.page.locator("[data-sealed=yes]").all_inner_texts()) == {"✗ refused"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('data-field="agent">dr-lee<', 'data-field="agent">dr-who<'),
        ('data-code="read"', 'data-code="audit"'),
        ('data-code="TREAT"', 'data-code="ETREAT"'),
        ('data-code="deny"', 'data-code="permit"'),
        ('data-field="categories">labs<', 'data-field="categories">notes<'),
        ('data-field="role">clinician<', 'data-field="role">officer<'),
        ('data-field="account">ops<', 'data-field="account">opa<'),
        ('data-field="change">added, with token 1<', 'data-field="change">added, with token 2<'),
        ("HIV, sexual health and genomic records", "all records"),
        (" 1", " 2"),
        (" data-event=", " data-nothing="),
        ('data-field="decision"', 'data-nothing="decision"'),
    ],
)
def test_a_row_that_says_something_else_than_the_log_turns_red(
    officer: Visit, house: House, old: str, new: str
) -> None:
    def fulfil(route: Route) -> None:
        answer = route.fetch()
        text = answer.text()
        if old == " 1":  # the time of day in a signed cell
            text = re.sub(r'(data-field="at" data-code="[^"]+"><[^>]+>)2', r"\g<1>3", text)
        assert old in text
        route.fulfill(response=answer, body=text.replace(old, new) if old != " 1" else text)

    officer.page.route(re.compile(r"/console/accesses\?"), fulfil)
    officer.go(first_day(house))
    assert officer.verdict() == "bad"
    assert "✗ refused" in officer.page.locator("[data-sealed=yes]").all_inner_texts()


def test_a_row_of_another_log_under_the_same_key_turns_red(officer: Visit, house: House) -> None:
    """A split view: leaf, path and signature are right, but the checkpoint is not of the log this browser remembers."""
    signer = house.node.identity.log_signer(house.node.log.origin)

    def of_a_fork(proof: dict[str, Any]) -> None:
        sibling = merkle.leaf_hash(b"an event that never was")
        root = merkle.node_hash(merkle.leaf_hash(base64.b64decode(proof["leaf"])), sibling)
        text = f"{house.node.log.origin}\n2\n{base64.b64encode(root).decode()}\n"
        proof["path"] = [base64.b64encode(sibling).decode()]
        proof["checkpoint"] = Note(text, (signer.sign(text),)).encode().decode()

    answer_with(officer, r"/console/proofs/\d+", of_a_fork)
    officer.go("/console/accesses?before=1")
    assert officer.verdict() == "bad"
    assert officer.page.get_attribute("[data-index='0']", "title") == "the log was rewritten"


def test_an_event_other_than_the_committed_one_turns_its_row_red(officer: Visit) -> None:
    """The cells and the event agree with each other; only the leaf contradicts them."""

    def fulfil(route: Route) -> None:
        answer = route.fetch()
        text = answer.text().replace(">dr-lee<", ">dr-who<")

        def forged(found: re.Match[str]) -> str:
            event = base64.b64decode(found[1]).replace(b'"dr-lee"', b'"dr-who"')
            return f'data-event="{base64.b64encode(event).decode()}"'

        # autoescaping leaves base64 alone, so the attribute is the base64 itself
        route.fulfill(response=answer, body=re.sub(r'data-event="([^"]+)"', forged, text))

    officer.page.route(re.compile(r"/console/accesses\?agent=dr-lee"), fulfil)
    officer.go("/console/accesses?agent=dr-lee")
    assert officer.verdict() == "bad"
    titles = {str(one.get_attribute("title")) for one in officer.page.locator("[data-sealed=yes]").all()}
    assert titles == {"what this row says is not what the log committed to"}


def test_the_log_is_remembered_and_its_growth_checked(officer: Visit, house: House) -> None:
    assert officer.verdict("#append-only") == "good"
    assert "now remembers" in officer.page.inner_text("#append-only")
    size = house.node.audit.status().signed_size
    house.read(CLINICIAN, house.twins[0])
    house.node.audit.checkpoint_and_anchor()
    officer.go("/console")
    assert officer.verdict("#append-only") == "good"
    said = officer.page.inner_text("#append-only")
    assert f"the {size} events it saw last" in said
    assert f"today's {house.node.audit.status().signed_size}" in said


def test_a_log_that_was_rolled_back_turns_the_light_red(officer: Visit) -> None:
    officer.verdict("#append-only")
    officer.page.evaluate(
        """() => { const seen = JSON.parse(localStorage["twinward:log"]); seen.size += 1000;
                   localStorage["twinward:log"] = JSON.stringify(seen); }"""
    )
    for path, selector in (("/console", "#append-only"), ("/console/accesses", "#verified")):
        officer.go(path)
        assert officer.verdict(selector) == "bad"
    officer.go("/console")
    officer.verdict("#append-only")
    assert "bad" in str(officer.page.get_attribute("#light", "class"))
    assert officer.page.inner_text("#lamp").startswith("No.")


@pytest.mark.parametrize("field", ["root", "path"])
def test_a_log_that_was_rewritten_turns_the_light_red(officer: Visit, house: House, field: str) -> None:
    officer.verdict("#append-only")
    if field == "root":
        officer.page.evaluate(
            """() => { const seen = JSON.parse(localStorage["twinward:log"]); seen.root = btoa("x".repeat(32));
                       localStorage["twinward:log"] = JSON.stringify(seen); }"""
        )
    else:
        house.read(CLINICIAN, house.twins[0])
        house.node.audit.checkpoint_and_anchor()
        answer_with(officer, r"/console/consistency", in_path)
    officer.go("/console")
    assert officer.verdict("#append-only") == "bad"
    assert "NOT append-only" in officer.page.inner_text("#append-only")


def test_a_changed_log_key_is_followed_by_what_both_keys_signed(officer: Visit, house: House) -> None:
    officer.verdict("#append-only")
    for _ in range(2):
        house.read(CLINICIAN, house.twins[0])
        house.node.audit.change_log_key(house.node.log.next_key)
        house.node.audit.cosign_and_anchor()
        house.read(CLINICIAN, house.twins[0])
        house.node.audit.checkpoint_and_anchor()
    officer.go("/console")
    assert officer.verdict("#append-only") == "good"
    officer.go("/console/accesses")
    assert officer.verdict() == "good", "rows under checkpoints of older keys, too"
    officer.go("/console")
    officer.page.wait_for_load_state("networkidle")  # its checks remember the log: what is changed comes after the last
    officer.page.evaluate(
        """() => { const seen = JSON.parse(localStorage["twinward:log"]); seen.key = btoa("x".repeat(32));
                   localStorage["twinward:log"] = JSON.stringify(seen); }"""
    )
    officer.go("/console")
    assert officer.verdict("#append-only") == "bad"
    assert "another log" in officer.page.inner_text("#append-only")


def test_a_node_with_another_key_in_the_same_place_is_an_alarm_until_the_officer_says_otherwise(
    chromium: Browser, house: House, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = build(tmp_path_factory.mktemp("other") / "home", patients=2)
    context = chromium.new_context()
    try:
        with served(house) as address:
            visit = Visit(context, context.new_page(), address)
            visit.sign_in()
            assert visit.verdict("#append-only") == "good"
        with served(other, port=int(address.rsplit(":", 1)[1])):
            visit.sign_in()
            assert visit.verdict("#append-only") == "bad"
            assert "another log" in visit.page.inner_text("#append-only")
            visit.go("/console/accesses")
            assert visit.verdict() == "bad"
            visit.go("/console")
            visit.page.click("#forget-log")
            visit.page.wait_for_selector("#append-only[data-checked=good]")
    finally:
        context.close()
        other.node.close()


# --- proof.js against the ledger's own trees ---------------------------------------------------------------------


def run(visit: Visit, function: str, cases: list[list[Any]]) -> list[bool]:
    """Whether the browser's function accepts each case; byte strings go in as base64."""
    accepted = visit.page.evaluate(
        """async ([name, cases]) => {
            const proof = await import("/console/static/proof.js"), outcomes = [];
            const read = (one) =>
                Array.isArray(one) ? one.map(read) : typeof one === "string" ? proof.bytesOf(one) : one;
            for (const one of cases) {
                try { await proof[name](...one.map(read)); outcomes.push(true); } catch { outcomes.push(false); }
            }
            return outcomes;
        }""",
        [function, json.loads(json.dumps(cases, default=lambda data: base64.b64encode(data).decode()))],
    )
    return [bool(one) for one in accepted]


SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 17, 31, 32, 33, 64, 100)


def test_inclusion_proofs_of_many_trees_hold_and_their_mutations_do_not(officer: Visit) -> None:
    good: list[list[Any]] = []
    bad: list[list[Any]] = []
    for size in SIZES:
        leaves = [b"leaf %d" % index for index in range(size)]
        hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
        root = merkle.root(hashes)
        for index in {0, size // 3, size // 2, size - 1}:
            leaf, path = leaves[index], merkle.inclusion_proof(hashes, index)
            good.append([index, size, leaf, path, root])
            bad += [[index, size, leaf + b"x", path, root], [index, size, leaf, path, merkle.leaf_hash(root)]]
            bad += [
                [index, size, leaf, [*path, root], root],
                [size, size, leaf, path, root],
                [-1, size, leaf, path, root],
            ]
            bad += [[index, size, leaf, path[:-1], root]] if path else []
            bad += [[index, size, leaf, [path[0][:31], *path[1:]], root]] if path else []
            bad += [[(index + 1) % size, size, leaf, path, root]] if size > 1 else []
            bad += [[index, size, leaf, path[::-1], root]] if len(set(path)) > 1 else []
    assert all(run(officer, "verifyInclusion", good))
    assert not any(run(officer, "verifyInclusion", bad))


def test_consistency_proofs_of_many_trees_hold_and_their_mutations_do_not(officer: Visit) -> None:
    good: list[list[Any]] = []
    bad: list[list[Any]] = []
    for new in SIZES:
        hashes = [merkle.leaf_hash(b"leaf %d" % index) for index in range(new)]
        root2 = merkle.root(hashes)
        for old in {1, (new + 1) // 2, max(1, new - 1), new}:
            root1, path = merkle.root(hashes[:old]), merkle.consistency_proof(hashes, old, new)
            other = merkle.leaf_hash(root1)
            good.append([old, new, path, root1, root2])
            bad += [
                [old, new, path, other, root2],
                [old, new, path, root1, other],
                [old, new, [*path, root1], root1, root2],
            ]
            bad += [[new + 1, new, path, root1, root2], [0, new, path, root1, root2]]
            bad += [[old, new, path[:-1], root1, root2], [old, new, [], root1, root2]] if path else []
            bad += [[old, new, [merkle.leaf_hash(path[0]), *path[1:]], root1, root2]] if path else []
    assert all(run(officer, "verifyConsistency", good))
    assert not any(run(officer, "verifyConsistency", bad))

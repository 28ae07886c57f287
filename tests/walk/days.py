"""``python -m tests.walk.days HOME --to FOLDER``: the days of an officer, a patient, a vendor and an operator at a home
of ``tests.walk.home``, in Chromium and at the terminal, each step with its picture and its seconds.

The home is served by a process of its own, and what these people do stays done: the officer reviews, finds an emergency
justified and opens a case, the vendor spends a query. The first walk of a home adds the officer's passkey; a later one
is not let add another without it, and stays with the password. Needs Chromium (``apt-get install chromium``).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.conftest import CHROMIUM_FLAGS, Visit
from tests.tools import ROOT, require

PORT: Final = 8731
ORIGIN: Final = f"http://localhost:{PORT}"
PATIENCE_MS: Final = 120_000
TWINWARD: Final = (sys.executable, "-m", "twinward")
AUTHENTICATOR: Final = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}
TERMINAL: Final = """<body style="margin:0;background:#1b1f24;color:#e6e6e6;padding:24px 28px">
<pre style="font:15px/1.45 'DejaVu Sans Mono',monospace;margin:0;white-space:pre-wrap"><b>$ {}</b>\n{}</pre></body>"""
VERIFIER: Final = ROOT / "ledger/twinward_ledger/standalone/twinward_verify.py"
RULE: Final = """
@id("researchers-take-nothing-out-NOW")
@say("researchers may not take records out of the hospital")
forbid (principal, action == Action::"export", resource) when { principal.role == "researcher" };
"""
SCREENS: Final = 1.6
"""How many screens of 800 pixels a picture shows of a long page."""


class Walk:
    """One person's day; a picture and a line for each step."""

    def __init__(self, browser: Browser, home: Path, folder: Path, person: str) -> None:
        self.secrets: dict[str, Any] = json.loads(home.with_suffix(".secrets.json").read_text())
        self.browser, self._home, self.folder, self._person, self._number = browser, home, folder, person, 0
        context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
        self.visit = Visit(context, context.new_page(), ORIGIN)
        self.page.set_default_timeout(PATIENCE_MS)
        self.visit.listen()

    @property
    def page(self) -> Page:
        return self.visit.page

    def sign_in(self, account: str) -> None:
        """By password, as whoever has no passkey yet."""
        self.visit.sign_in(self.secrets["password"], account)

    def beside(self, account: str) -> Walk:
        """Somebody else at a browser of their own, signed in."""
        other = Walk(self.browser, self._home, self.folder, account)
        other.sign_in(account)
        return other

    def go(self, name: str, path: str) -> None:
        """Open an address."""
        self.step(name, lambda: self.visit.go(path))

    def press(self, name: str, selector: str) -> None:
        """Press what leads to another page."""

        def pressed() -> None:
            with self.page.expect_navigation():
                self.page.click(selector)

        self.step(name, pressed)

    def step(self, name: str, doing: Callable[[], None]) -> None:
        """Do it; say how long it took until the page was there, and until the browser had proven what it shows."""
        begun = time.monotonic()
        doing()
        loaded = time.monotonic() - begun
        for checked in ("#verified", "#append-only"):
            if self.page.locator(checked).count():
                self.page.wait_for_selector(f"{checked}[data-checked]")
        if self.page.locator("#export").count():
            self.page.wait_for_selector("#export[data-state=done]")
        self._kept(name, loaded, time.monotonic() - begun)

    def typed(self, name: str, *words: str, token: str = "", at_home: bool = False, shown: int = 36) -> None:
        """One command of ``twinward``, as somebody reads it at a terminal 110 columns wide."""
        said = {"TWINWARD_TOKEN": token} if token else {}
        line = [*words, *(["--home", str(self._home)] if at_home else [])]
        self._ran(name, f"twinward {' '.join(words)}", [*TWINWARD, *line], said, shown)

    def audited(self, name: str, *words: str) -> None:
        """What the auditor's own program says, which has nothing of the hospital's but two files."""
        shown = " ".join(Path(one).name for one in words)
        self._ran(name, f"python twinward_verify.py {shown}", [sys.executable, "-I", str(VERIFIER), *words], {}, 36)

    def _ran(self, name: str, typed: str, command: Sequence[str], said: Mapping[str, str], shown: int) -> None:
        begun = time.monotonic()
        done = subprocess.run(
            command,
            env=os.environ | {"COLUMNS": "110", "TERM": "dumb"} | said,
            capture_output=True,
            text=True,
            check=False,
        )
        took = time.monotonic() - begun
        lines = (done.stdout + done.stderr).splitlines()
        told = "\n".join(lines[:shown] + ([f"… and {len(lines) - shown} lines more"] if len(lines) > shown else []))
        self.page.goto("about:blank")  # a page of the console would forbid the style
        self.page.set_content(TERMINAL.format(escape(typed), escape(told)))
        self._kept(f"{name} (ends with {done.returncode})", took, took)

    def _kept(self, name: str, loaded: float, proven: float) -> None:
        self._number += 1
        file = f"{self._person}-{self._number:02d}-{name.partition(' (')[0].replace(' ', '-')}.png"
        bottom = "Math.max(...[...document.body.children].map(one => one.getBoundingClientRect().bottom))"
        height = min(int(800 * SCREENS), int(self.page.evaluate(bottom)) + 24)
        clip = {"x": 0, "y": 0, "width": 1280, "height": height}
        self.page.screenshot(path=self.folder / file, full_page=True, clip=clip)  # type: ignore[arg-type]
        print(f"{self._person:9} {name:44} {loaded:6.2f} s {proven:6.2f} s")  # noqa: T201

    def end(self) -> None:
        """Leave, and say what the browser complained about."""
        self.visit.context.close()
        for said in self.visit.complaints:
            print(f"{self._person:9} the browser: {said}")  # noqa: T201


def officer(walk: Walk) -> None:
    """Olga: is the log in order, who read what, what was an emergency, and what goes out."""
    page = walk.page
    session = walk.visit.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    session.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
    walk.go("sign in", "/console/sign-in")
    walk.step("home by password", lambda: walk.sign_in("olga"))
    walk.go("own account", "/console/account")
    if page.locator("button:has-text('Add a passkey')").count():  # else an earlier walk's was added: see above
        page.fill("#passkey-name", "office laptop")
        page.click("button:has-text('Add a passkey')")
        page.wait_for_selector("text=office laptop, since")
        page.click("header >> text=Sign out")
        walk.press("home by passkey", "button:has-text('Sign in with a passkey')")
    walk.press("accesses", "nav >> text=Accesses")
    page.select_option("#role", "clinician")
    page.select_option("#decision", "deny")
    walk.press("refused clinicians", "form.filters >> button:text-is('Show')")
    walk.press("one access", "tbody a[href^='/console/accesses/'] >> nth=0")
    walk.go("people", "/console/people")
    page.fill("#name", "Zula")
    page.fill("#reason", "she wrote to us and asks who read her record")
    walk.press("zula found", "button:text-is('Look up')")
    walk.press("accesses to zula", "td a.mono >> nth=0")
    _answers(walk)
    for name in ("verify", "node", "accounts", "studies", "outside"):
        walk.go(name, f"/console/{name}")
    walk.go("vendor acme", "/console/outside/acme")
    _consents(walk)
    second = walk.beside("otto")
    _policy(walk, second)
    _erasure(walk, second)
    second.end()
    walk.go("take out antonina on paper", f"/console/exports/{walk.secrets['twins']['antonina']}/pdf")
    _evidence(walk)


def _answers(walk: Walk) -> None:
    """What she decides herself: a review, an emergency, a breach."""
    page, yesterday = walk.page, datetime.now(UTC) - timedelta(days=1)
    walk.go("reviews of a day", f"/console/reviews?day={yesterday:%Y-%m-%d}")
    note = page.locator("form.review:has(button[value=asked]) input[name=note] >> nth=0")
    if note.count():
        note.fill("What did you need this record for?")
        walk.press("asked about it", "form.review button[value=asked] >> nth=0")
    walk.press("emergencies", "nav >> text=Emergencies")
    note = page.locator("form.review input[name=note] >> nth=0")
    if note.count():
        note.fill("the ward's log of that night says the same")
        walk.press("found justified", "form.review >> nth=0 >> button[value=justified]")
    walk.go("breaches before", "/console/breaches")
    page.fill("#title", "A colleague looked at records of other wards")
    page.select_option("#kind", "account")
    page.fill("#subject", "dr-moen")
    page.fill("#since", f"{yesterday:%Y-%m-%dT00:00}")
    walk.press("a case is open", "button:text-is('Open the case')")
    walk.press("a count is asked for", "button:has-text('Count')")
    walk.step("who is affected", lambda: page.wait_for_selector("text=How one knows"))
    walk.press("a draft to the authority", "button:text-is('Write the first draft') >> nth=0")


def _consents(walk: Walk) -> None:
    """What Zula consented to, and what another consent would change."""
    page = walk.page
    walk.go("consents without a twin", "/console/consents")
    walk.go("consents of zula", f"/console/consents?twin={walk.secrets['twins']['zula']}")
    page.locator("input[name=add] >> nth=0").check()
    walk.press("another consent would change", "button:text-is('See what would change')")


def _policy(walk: Walk, second: Walk) -> None:
    """A rule more: looked at, proposed, and approved by somebody else."""
    page = walk.page
    walk.go("policy", "/console/policy")
    page.fill("#text", page.input_value("#text") + RULE.replace("NOW", f"{datetime.now(UTC):%d-%H-%M}"))
    walk.press("what the policy would change", "button:text-is('See what would change')")
    page.fill("#reason", "the ethics board decided so on Monday")
    walk.press("policy proposed", "button:has-text('Propose')")
    page.wait_for_selector("text=Looked at")  # the page loads itself anew once it was
    second.go("policy waits", "/console/policy")
    second.press("policy approved", "button:has-text('Approve')")


def _erasure(walk: Walk, second: Walk) -> None:
    """A patient asked to be forgotten: looked at, proposed, approved by somebody else; the receipt."""
    page, twins = walk.page, walk.secrets["twins"]
    walk.go("erasure", "/console/erasures")
    for name in sorted(set(twins) - {"antonina", "brant", "zula"}):
        walk.visit.go(f"/console/erasures?twin={twins[name]}")
        if page.locator("button:text-is('Propose this erasure')").count():
            break
    walk.step("what an erasure takes", lambda: walk.visit.go(f"/console/erasures?twin={twins[name]}"))
    page.fill("#reason", "the patient asked for it by letter, article 17")
    walk.press("erasure proposed", "button:text-is('Propose this erasure')")
    second.go("erasure waits", "/console/erasures")
    second.press("erasure approved", "button:has-text('Approve')")
    until = time.monotonic() + PATIENCE_MS / 1000
    while not page.locator("a[href$='/receipt']").count() and time.monotonic() < until:
        walk.visit.go("/console/erasures")
    walk.go("erasure is done", "/console/erasures")
    with page.expect_download() as receipt:
        page.click("a[href$='/receipt'] >> nth=0")
    receipt.value.save_as(walk.folder / receipt.value.suggested_filename)


def _evidence(walk: Walk) -> None:
    """A proof of all accesses to Antonina, and what an auditor's own program says of it."""
    page, kept = walk.page, {}

    def taken() -> None:
        with page.expect_download() as begun:
            walk.visit.go(f"/console/exports/{walk.secrets['twins']['antonina']}/proof")
        kept["proof"] = walk.folder / "antonina.accesses.json"
        begun.value.save_as(kept["proof"])

    walk.step("evidence of antonina", taken)
    trust = walk.folder / "hospital.trust.json"
    trust.unlink(missing_ok=True)
    walk.typed("trust", "audit", "trust", "--out", str(trust), at_home=True)
    walk.audited("the auditor checks it", str(kept["proof"]), "--trust", str(trust))


def patient(walk: Walk) -> None:
    """Antonina: who looked, how they are connected with her care, and what she allows."""
    page = walk.page
    walk.step("welcome", lambda: walk.sign_in("antonina"))
    walk.press("who looked", "nav >> text=Who looked")
    walk.press("how connected", "text=How are they connected with my care?")
    walk.press("consents", "nav >> text=My consents")
    page.get_by_label("Companies may search for patients like me").uncheck()
    page.get_by_label("Nobody may use my record for research").check()
    walk.press("what would change", "button:text-is('See first what would change')")
    walk.press("studies", "nav >> text=Studies")
    walk.press("downloads", "nav >> text=Downloads")

    def record() -> None:
        with page.expect_download() as begun:
            page.click("text=Download my record")
        begun.value.path()

    walk.step("record as a file", record)


def vendor(walk: Walk) -> None:
    """Acme, at its own terminal: what may be asked, one question, what is left."""
    token, at = walk.secrets["tokens"]["acme"], f"http://127.0.0.1:{PORT}"
    walk.typed("schema", "vendor", "schema", at, token=token)
    walk.typed("budget", "vendor", "budget", at, token=token)
    question = ("--mode", "gated", "--feature", "age=50", "--threshold", "0.3", "--yes")
    walk.typed("question", "vendor", "query", at, *question, token=token)
    walk.typed("results", "vendor", "results", at, token=token)


def operator(walk: Walk) -> None:
    """Olive: does it run, what is to do, where is last night's backup."""
    walk.step("home", lambda: walk.sign_in("olive"))
    walk.press("devices", "nav >> text=Devices")
    walk.press("quarantine", "nav >> text=Quarantine")
    walk.typed("status", "node", "status", at_home=True)
    walk.typed("doctor", "node", "doctor", at_home=True)
    walk.typed("accounts", "account", "list", at_home=True)


DAYS: Final = {"officer": officer, "patient": patient, "vendor": vendor, "operator": operator}


@contextmanager
def served(home: Path) -> Iterator[None]:
    """The home, by the command that an operator types."""
    told = {"TWINWARD_PUBLIC_ORIGINS": json.dumps([ORIGIN])}
    command = [*TWINWARD, "node", "serve", "--home", str(home), "--port", str(PORT)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | told)
    try:
        assert process.stdout is not None
        assert process.stdout.readline(), "the node did not start"
        yield
    finally:
        process.terminate()
        process.communicate(timeout=60)


def main() -> None:
    parser = argparse.ArgumentParser(description="Walk the days of four people at a home of tests.walk.home.")
    parser.add_argument("home", type=Path)
    parser.add_argument("--to", type=Path, required=True, help="a folder for the pictures")
    parser.add_argument("--only", choices=DAYS, nargs="*", default=list(DAYS))
    asked = parser.parse_args()
    asked.to.mkdir(parents=True, exist_ok=True)
    chromium = require("chromium", install="apt-get install chromium")
    with served(asked.home), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        for person in asked.only:
            walk = Walk(browser, asked.home, asked.to, person)
            try:
                DAYS[person](walk)
            finally:
                walk.end()
        browser.close()


if __name__ == "__main__":
    main()

"""Whole days of people: what an officer, an operator and a vendor come for, in Chromium and at their terminals.

Each walk is by the real parts: a node that is served, a browser, the command line, the verifier of the auditor's own.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import Visit, served
from tests.integration.cli.conftest import PASSWORD as OLGAS
from tests.integration.cli.conftest import make_hospital, run
from tests.integration.cli.test_while_serving import serve_command
from tests.integration.console.fixtures import build

pytestmark = pytest.mark.slow

VERIFIER = Path(__file__).parents[2] / "ledger/twinward_ledger/standalone/twinward_verify.py"
PORT = 8642
AUTHENTICATOR = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
AUTHENTICATOR |= {"isUserVerified": True, "automaticPresenceSimulation": True}


@contextmanager
def visiting(chromium: Browser, url: str) -> Iterator[Visit]:
    """A new browser profile."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    visit = Visit(context, context.new_page(), url)
    visit.page.set_default_timeout(20_000)
    visit.listen()
    yield visit
    context.close()


def verified(file: Path, trust: Path) -> subprocess.CompletedProcess[str]:
    """What the auditor's own program says, which has nothing of the hospital's but the two files."""
    command = [sys.executable, "-I", str(VERIFIER), str(file), "--trust", str(trust)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def taken(page: Page, label: str, folder: Path) -> Path:
    """A file of the page's, as the browser keeps it."""
    with page.expect_download() as download:
        page.click(f".take a:text-is('{label}')")
    kept = folder / download.value.suggested_filename
    download.value.save_as(kept)
    return kept


def test_an_officers_day_from_a_passkey_to_evidence_that_holds(chromium: Browser, tmp_path: Path) -> None:
    house = build(tmp_path / "home", patients=1)
    origin, twin, node = f"http://localhost:{PORT}", house.twins[0], house.node
    node.settings = node.settings.model_copy(update={"public_origins": (origin,)})
    node.__dict__.pop("sign_ins", None)  # made of the settings
    assert node.log_check.run().fault == ""
    with served(house, port=PORT), visiting(chromium, origin) as visit:
        page = visit.page
        session = visit.context.new_cdp_session(page)
        session.send("WebAuthn.enable")
        session.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
        visit.sign_in()
        visit.go("/console/account")
        page.fill("#passkey-name", "office laptop")
        page.click("button:has-text('Add a passkey')")
        page.wait_for_selector("text=office laptop, since")
        page.click("header >> text=Sign out")
        page.click("button:has-text('Sign in with a passkey')")
        page.wait_for_selector("h1:has-text('Is the access log in order?')")
        assert visit.verdict("#append-only") != "bad"

        page.click("nav >> text=Emergencies")
        assert "patient found <unconscious>" in page.inner_text("main")
        page.click("nav >> text=Accesses")
        page.select_option("#role", "clinician")
        page.click("form.filters >> button:text-is('Show')")
        assert visit.verdict() == "good"
        page.click("tbody a[href^='/console/accesses/'] >> nth=0")
        assert visit.verdict() == "good"
        visit.go(f"/console/accesses?twin={twin}")
        assert visit.verdict() == "good"
        report = taken(page, "Proof", tmp_path)
        kept = str(page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])"))
        assert not [one for one in (twin, "dr-lee", "officer", "Olga") if one in kept], "the browser keeps nobody"
        page.click("header >> text=Sign out")
        page.go_back()
        page.wait_for_url("**/console/sign-in*")
        assert twin not in page.content(), "what was shown is not shown again by going back"
        assert [said for said in visit.complaints if "401" not in said] == []
    trust, spoiled = tmp_path / "trust.json", tmp_path / "spoiled.accesses.json"
    trust.write_text(json.dumps(node.trust().shown()))  # an auditor has it some other way than the report
    house.node.close()
    held = verified(report, trust)
    assert held.returncode == 0, held.stdout + held.stderr
    rows = json.loads(report.read_text())["rows"]
    assert str(len(rows)) in held.stdout
    spoiled.write_bytes(report.read_bytes().replace(f'"index":"{rows[0]["index"]}"'.encode(), b'"index":"0"'))
    assert verified(spoiled, trust).returncode == 8


@contextmanager
def serving(home: Path, **settings: str) -> Iterator[str]:
    """A node that is served by a process of its own; yields its address."""
    process = subprocess.Popen(
        ["env", *(f"TWINWARD_{name.upper()}={value}" for name, value in settings.items()), *serve_command(home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found
        yield found[0]
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0, "it drains and ends by itself"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_an_operators_and_a_vendors_day_at_one_node(chromium: Browser, tmp_path: Path) -> None:
    """A vendor asks and is answered; the operator reads figures, looks what to do and backs up; the officer sees
    both, on pages that say the same as the terminal."""
    hospital, port = make_hospital(tmp_path / "node"), free_port()
    with serving(hospital.home, metrics_port=str(port)) as url, visiting(chromium, url) as visit:
        page = visit.page

        def asked(*arguments: str) -> Any:
            done = run("vendor", *arguments, "--json", env={"TWINWARD_TOKEN": hospital.vendor_token})
            assert done.exit_code == 0, done.output
            return json.loads(done.stdout)

        question = ("--mode", "gated", "--feature", "age=50", "--threshold", "1", "--yes")
        left = asked("budget", url)["remaining"]
        answer = asked("query", url, *question)
        assert answer["budget_left"] == left - 1
        assert asked("results", url)["results"][-1]["handles"] == answer["handles"]

        page.goto(f"http://127.0.0.1:{port}/metrics")
        figures = dict(re.findall(r"^(twinward_[a-z_]+) ([0-9.e+]+)$", page.inner_text("body"), flags=re.MULTILINE))
        assert float(figures["twinward_log_size"]) > 20
        assert "/api/1/similarity" in page.inner_text("body")
        for person in (hospital.twins[0], "acme", "olga"):
            assert person not in page.inner_text("body")
        assert hospital.asked("node", "status")
        findings = json.loads(hospital.run("node", "doctor", "--json").stdout)["findings"]
        backup = tmp_path / "monday.backup"
        assert hospital.run("node", "backup", str(backup)).exit_code == 0

        visit.sign_in(OLGAS, "olga")
        visit.go("/console/outside/acme")
        told = page.inner_text("main")
        assert f"{answer['budget_left']} of " in told
        page.click("nav >> text=Node")
        node = page.inner_text("main")
        assert "This home’s own note" in node, "the page knows of the backup that was made at the terminal"
        for finding in findings:
            if finding["severity"] == "bad":
                assert finding["check"] in node
        assert visit.complaints == []

"""Leave that is taken away is gone at once, in a node that another process serves: sessions, streams, exports, tokens.

And sign-ins: an address cannot be made up, and nobody can lock an officer out of her own browser.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.cli.conftest import PASSWORD, Hospital, make_hospital, run
from tests.integration.cli.test_while_serving import Served, served
from twinward.access import totp
from twinward.access.errors import SignInEnded
from twinward.access.interfaces import AccessContext, Principal
from twinward.console.sign_in_gate import PER_ADDRESS
from twinward.core.vocabulary import Purpose, Role
from twinward.fhir.bulk.export import Exports
from twinward.node import open_node

ANOTHER = "seven lamps under snow"
ROLES = {"clinician": Role.CLINICIAN, "officer": Role.OFFICER, "exporter": Role.OFFICER}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    hospital = make_hospital(tmp_path_factory.mktemp("accounts") / "node")
    with open_node(hospital.home) as opened:
        tokens = {name: opened.accounts.add_system(Principal(f"t-{name}", role)) for name, role in ROLES.items()}
        opened.accounts.add_person(Principal("petra", Role.OFFICER), PASSWORD)
    with served(hospital, tokens) as one:
        yield one


@contextmanager
def browser(node: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=node.url, timeout=60, trust_env=False) as client:
        yield client


def sign_in(web: httpx.Client, account: str, password: str, **more: Any) -> httpx.Response:
    form = re.search(r'name="csrf" value="([^"]+)"', web.get("/console/sign-in").text)
    assert form
    return web.post("/console/sign-in", data={"account": account, "password": password, "csrf": form[1]}, **more)


def csrf_of(page: httpx.Response) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert found
    return found[1]


def events(node: Served, action: str) -> list[dict[str, Any]]:
    found = node.get("/api/1/audit/events", who="officer", params={"action": action, "limit": 100})
    rows: list[dict[str, Any]] = found.json()["events"]
    return rows


@contextmanager
def stream(node: Served, token: str) -> Iterator[Iterator[str]]:
    """The lines of an event stream that has begun."""
    headers = {"authorization": f"Bearer {token}", "accept": "text/event-stream"}
    with node.client.stream("GET", "/api/1/twins", headers=headers, timeout=20) as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines()
        assert any(line == "event: ready" for line in lines)
        yield lines


def end_of(lines: Iterator[str]) -> dict[str, Any]:
    """What a stream says when it ends; its connection is closed after it."""
    assert any(line == "event: end" for line in lines)
    said = json.loads(next(lines).removeprefix("data: "))
    assert not any(lines)
    error: dict[str, Any] = said["error"]
    return error


def test_a_disabled_account_is_out_at_once_and_its_stream_ends(node: Served) -> None:
    path = f"/api/1/twins/{node.hospital.twins[0]}"
    with stream(node, node.tokens["clinician"]) as lines:
        node.typed("account", "disable", "t-clinician", "--as", "olga")
        error = end_of(lines)
    assert (error["kind"], "disabled" in error["message"]) == ("SignInEnded", True)
    refused = node.get(path)
    assert refused.status_code == 401
    assert refused.json()["error"]["kind"] == "SignInRefused"  # a stranger is told the same
    newest = events(node, "sign-in")[0]
    assert (newest["agent"], newest["decision"]) == ("t-clinician", "deny")
    assert "disabled" in newest["reason"]
    change = events(node, "account")[0]
    assert (change["agent"], change["detail"]["account"], change["detail"]["change"]) == (
        "olga",
        "t-clinician",
        "disabled",
    )
    node.typed("account", "enable", "t-clinician", "--as", "olga")
    assert node.get(path).status_code == 200


def test_a_revoked_token_ends_its_own_streams_and_no_others(node: Served) -> None:
    made = json.loads(node.typed("account", "new-token", "t-clinician", "--expires", "90d", "--json"))
    path, headers = f"/api/1/twins/{node.hospital.twins[0]}", {"authorization": f"Bearer {made['token']}"}
    assert node.client.get(path, headers=headers).status_code == 200
    with stream(node, made["token"]) as lines, stream(node, node.tokens["clinician"]) as others:
        node.typed("account", "revoke-token", "t-clinician", str(made["number"]), "--as", "olga")
        assert "revoked" in end_of(lines)["message"]
        node.typed("twin", "set-target", node.hospital.twins[0], "bmi", "--value", "24", "--as", "dr-lee")
        assert any(line == "event: twin" for line in others)
    assert node.client.get(path, headers=headers).status_code == 401
    assert node.get(path).status_code == 200
    shown = json.loads(node.typed("account", "show", "t-clinician", "--json"))
    assert [one["state"] for one in shown["tokens"]] == ["good", "revoked"]
    assert shown["tokens"][0]["last_used"]
    assert made["token"].rsplit("_", 1)[1] not in json.dumps(shown)


def test_an_export_that_runs_ends_where_it_stands(node: Served) -> None:
    with open_node(node.hospital.home) as opened:
        principal = opened.accounts.by_token(node.tokens["exporter"])
        exports = Exports(opened.twins, opened.clock)
        name = exports.start(
            AccessContext(principal, Purpose.RECORD_MANAGEMENT), (), request="", patients_only=True, asynchronous=True
        )
        while exports.job(AccessContext(principal, Purpose.RECORD_MANAGEMENT), name).types is None:
            pass
        lines = exports.file(AccessContext(principal, Purpose.RECORD_MANAGEMENT), name, "Observation.ndjson")
        assert next(lines)
        headers = {"authorization": f"Bearer {node.tokens['officer']}"}
        assert node.client.post("/api/1/accounts/t-exporter/disable", headers=headers).status_code == 200
        with pytest.raises(SignInEnded):
            list(lines)


def test_ending_sessions_leaves_password_and_token_good(node: Served) -> None:
    with browser(node) as web:
        assert sign_in(web, "petra", PASSWORD).status_code == 303
        assert web.get("/console").status_code == 200
        node.typed("account", "end-sessions", "petra", "--as", "olga")
        assert web.get("/console").headers["location"] == "/console/sign-in"
        assert sign_in(web, "petra", PASSWORD).status_code == 303
        assert web.get("/console").status_code == 200
        (listed,) = json.loads(node.typed("account", "sessions", "petra", "--json"))["sessions"]
        assert listed["from"].endswith("127.0.0.1")
        assert web.cookies["twinward_session"] not in json.dumps(listed)
        node.typed("account", "sign-out", "petra", "0" * 16, "--as", "olga", code=3)
        node.typed("account", "sign-out", "petra", listed["session"], "--as", "olga")
        assert web.get("/console").headers["location"] == "/console/sign-in"
        change = events(node, "account")[0]
        assert (change["agent"], change["detail"]["change"]) == ("olga", f"session {listed['session']} signed out")
        assert json.loads(node.typed("account", "sessions", "petra", "--json"))["sessions"] == []


def test_a_password_that_was_reset_is_good_for_choosing_another(node: Served) -> None:
    with browser(node) as web:
        assert sign_in(web, "petra", PASSWORD).status_code == 303
        node.typed(*["account", "reset-password", "petra", "--password-file", "-"], input=ANOTHER)
        assert web.get("/console").headers["location"] == "/console/sign-in"
        assert sign_in(web, "petra", PASSWORD).status_code == 401
        assert sign_in(web, "petra", ANOTHER).status_code == 303
        for page in ("/console", "/console/accesses", "/console/verify"):
            assert web.get(page).headers["location"] == "/console/account"
        own = web.get("/console/account")
        form = {"csrf": csrf_of(own), "present": ANOTHER, "new": "password1234", "again": "password1234"}
        weak = web.post("/console/account/password", data=form)
        assert weak.status_code == 400
        assert "breached" in weak.text
        form |= {"new": PASSWORD, "again": PASSWORD}
        assert web.post("/console/account/password", data=form | {"csrf": "x"}).status_code == 403
        assert web.post("/console/account/password", data=form | {"present": "wrong"}).status_code == 401
        before = web.cookies["twinward_session"]
        assert web.post("/console/account/password", data=form).status_code == 303
        assert web.get("/console").status_code == 200
        assert web.cookies["twinward_session"] != before
        node.typed("account", "expire-password", "petra")
        assert web.get("/console").headers["location"] == "/console/sign-in"
    told = [one["detail"]["change"] for one in events(node, "account")[:3]]
    assert told == ["password expired", "password changed", "password reset"]


def test_an_app_that_is_set_up_here_is_asked_for_by_the_server(node: Served) -> None:
    command = [sys.executable, "-m", "twinward", "account", "enrol", "exa", "--home", str(node.hospital.home), "--json"]
    with open_node(node.hospital.home) as opened:
        opened.accounts.add_person(Principal("exa", Role.OFFICER), PASSWORD)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as typing:
        assert typing.stdin is not None
        assert typing.stderr is not None
        secret = base64.b32decode(typing.stderr.readline().removeprefix("secret").replace(" ", "").strip())
        typing.stdin.write(totp.code_at(secret, totp.step_at(time.time_ns() // 1_000_000)) + "\n")
        typing.stdin.close()
        assert typing.stdout is not None
        codes = json.loads(typing.stdout.read())["recovery_codes"]
    with browser(node) as web:
        assert sign_in(web, "exa", PASSWORD).headers["location"] == "/console/sign-in/code"
        assert web.get("/console").headers["location"] == "/console/sign-in"
        form = {"csrf": csrf_of(web.get("/console/sign-in/code")), "code": codes[0]}
        assert web.post("/console/sign-in/code", data=form).headers["location"] == "/console"
        assert web.get("/console/account").status_code == 200
        node.typed("account", "unenrol", "exa", "--as", "olga")
        assert web.get("/console/account").status_code == 303
    assert [one["detail"]["change"] for one in events(node, "account")[:3]] == [
        *("second factor removed", "recovery code used, 9 left", "second factor set up")
    ]


def test_the_last_officer_stays_unless_it_is_meant(node: Served, tmp_path: Path) -> None:
    home, secret = tmp_path / "node", tmp_path / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    hospital = Hospital(home, (), "")
    assert run("node", "init", "--home", str(home)).exit_code == 0
    hospital.asked("node", "add-person", "olga", "--role", "officer", "--password-file", str(secret))
    assert "last officer" in hospital.asked("account", "disable", "olga", code=4)["error"]["message"]
    assert hospital.asked("account", "disable", "olga", "--last-officer")["disabled"]
    assert "disabled" in hospital.asked("audit", "list", "--as", "olga", code=6)["error"]["message"]
    assert not hospital.asked("account", "enable", "olga")["disabled"]


def test_who_may_not_manage_accounts_is_refused_and_logged(node: Served) -> None:
    assert "no rule permits this" in node.typed("account", "disable", "olga", "--as", "dr-lee", code=6)
    refused = events(node, "account")[0]
    assert (refused["agent"], refused["decision"], refused["detail"]["account"]) == ("dr-lee", "deny", "olga")


def test_a_made_up_address_is_not_believed_and_nobody_is_locked_out_of_her_browser(node: Served) -> None:
    """Last: strange browsers at this address are held for a minute after it."""
    with browser(node) as own, browser(node) as stranger:
        assert sign_in(own, "olga", PASSWORD).status_code == 303
        logged = len(events(node, "sign-in"))
        answers = [
            sign_in(stranger, "olga", "wrong", headers={"x-forwarded-for": f"203.0.113.{number}"}).status_code
            for number in range(PER_ADDRESS * 4)
        ]
        assert answers[-1] == 429
        assert answers.count(401) < PER_ADDRESS
        assert sign_in(stranger, "olga", PASSWORD).status_code == 429
        assert sign_in(own, "olga", PASSWORD).status_code == 303
        assert len(events(node, "sign-in")) - logged < PER_ADDRESS * 3  # a flood of attempts is none of events


@pytest.mark.slow
def test_a_proxy_is_believed_only_where_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "node"
    assert run("node", "init", "--home", str(home)).exit_code == 0
    monkeypatch.setenv("TWINWARD_TRUSTED_PROXIES", '["127.0.0.0/8"]')
    with served(Hospital(home, (), ""), {}) as node, browser(node) as web:

        def tried(forwarded: str) -> int:
            return web.post(
                "/console/sign-in",
                data={"account": "a", "password": "b", "csrf": "none"},
                headers={"x-forwarded-for": forwarded},
            ).status_code

        # What the client itself claims stands to the left of what the proxy saw.
        codes = [tried(f"198.51.100.{number}, 203.0.113.9") for number in range(PER_ADDRESS + 1)]
        assert codes == [403] * PER_ADDRESS + [429]
        assert tried("203.0.113.10") == 403


@pytest.mark.parametrize("proxies", ['["*"]', '["0.0.0.0/0"]', '["::/0"]', '["proxy.example"]', '["10.0.0.0/40"]'])
def test_trusting_everybody_is_no_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxies: str) -> None:
    monkeypatch.setenv("TWINWARD_TRUSTED_PROXIES", proxies)
    done = run("node", "init", "--home", str(tmp_path / "node"))
    assert done.exit_code == 2
    assert "trusted_proxies" in done.stderr

"""Mutual TLS on a node that is served by a process of its own: real handshakes, stolen tokens, certificates taken away.

What must hold: nothing is done in the name of an account that has a certificate but over a connection that proved it.
"""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.certificates import Authority, Held
from tests.client_assertions import Signer, form
from tests.integration.cli.conftest import Hospital, make_hospital, run
from twinward.api.tokens import GRANT

pytestmark = pytest.mark.slow
SCOPE = "system/*.rs"


@dataclass
class Served:
    """The node, who issues certificates of clients, and some that were issued."""

    hospital: Hospital
    url: str
    own_ca: Path
    clients: Authority
    tokens: dict[str, str] = field(default_factory=dict)

    def typed(self, *arguments: str, code: int = 0) -> str:
        done = self.hospital.run(*arguments)
        assert done.exit_code == code, done.output
        return done.stdout

    def certificate(self, account: str, held: Held) -> str:
        self.typed("account", "certificates", account, "--add", str(held.cert))
        return str(json.loads(self.typed("account", "show", account, "--json"))["certificates"][-1]["thumbprint"])

    def ask(self, method: str, path: str, held: Held | None = None, **more: object) -> httpx.Response:
        """One request over a connection of its own."""
        tls = ssl.create_default_context(cafile=str(self.own_ca))
        if held is not None:
            tls.load_cert_chain(*held.pair)
        with httpx.Client(base_url=self.url, verify=tls, timeout=30, trust_env=False) as client:
            return client.request(method, path, **more)  # type: ignore[arg-type]

    def status(self, token: str, held: Held | None = None) -> int:
        answer = self.ask("GET", "/api/1/twins", held, headers={"authorization": f"Bearer {token}"})
        return answer.status_code

    def asked(self, held: Held | None, **fields: str) -> httpx.Response:
        return self.ask("POST", "/oauth/token", held, data={"grant_type": GRANT, "scope": SCOPE} | fields)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("tls")
    hospital = make_hospital(folder / "node")
    own, clients = Authority(folder / "own"), Authority(folder / "clients", "Clients")
    server = own.issue("server", server=True)
    said = {"tls_cert": server.cert, "tls_key": server.key, "tls_client_ca": clients.cert}
    with (hospital.home / "twinward.toml").open("a") as settings:
        settings.write("".join(f'{name} = "{value}"\n' for name, value in said.items()))
    command = [sys.executable, "-m", "twinward", "node", "serve", "--port", "0", "--home", str(hospital.home)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"https://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found
        one = Served(hospital, found[0], own.cert, clients)
        for name in ("lab", "pacs", "ward"):
            said_token = one.typed("node", "add-system", name, "--role", "system", "--json")
            one.tokens[name] = str(json.loads(said_token)["token"])
        yield one
    finally:
        process.kill()
        process.communicate()


def test_a_stolen_token_is_worth_nothing_without_the_accounts_own_certificate(node: Served) -> None:
    lab, pacs = node.clients.issue("lab"), node.clients.issue("pacs")
    token = node.tokens["lab"]
    assert node.status(token) == 403  # known; policy lets no system list twins
    thumbprint = node.certificate("lab", lab)
    node.certificate("pacs", pacs)
    assert [node.status(token), node.status(token, pacs), node.status(token, lab)] == [401, 401, 403]
    refused = node.typed("audit", "list", "--as", "olga", "--action", "sign-in", "--json")
    assert "without its certificate" in refused
    assert node.status(node.tokens["ward"], lab) == 403  # an account that wants none is served with any

    forged = {"x-client-cert": lab.cert.read_text().replace("\n", ""), "x-forwarded-client-cert": "Hash=" + thumbprint}
    headers = {"authorization": f"Bearer {token}", **forged}
    assert node.ask("GET", "/api/1/twins", headers=headers).status_code == 401

    node.typed("account", "certificates", "lab", "--remove", thumbprint)
    assert [node.status(token, lab), node.status(token)] == [401, 401]  # the last one gone: nobody, not everybody
    node.typed("account", "certificates", "lab", "--release")
    assert node.status(token) == 403


@pytest.mark.parametrize("held", ["another issuer", "expired"])
def test_a_certificate_that_the_handshake_refuses_reaches_nothing(node: Served, tmp_path: Path, held: str) -> None:
    other = Authority(tmp_path / "other", "Clients")  # of the same name, with another key
    bad = other.issue("lab") if held == "another issuer" else node.clients.issue(f"old-{time.time_ns()}", days=-1)
    with pytest.raises((httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError)):
        node.ask("GET", "/health", bad)
    assert node.ask("GET", "/health").status_code == 200  # people and probes bring none


def test_a_token_that_a_certificate_got_is_bound_to_it(node: Served) -> None:
    old, new = node.clients.issue("ehr-2026"), node.clients.issue("ehr-2027")
    signer = Signer("ehr")
    jwks = node.hospital.home.parent / "ehr.json"
    jwks.write_bytes(signer.jwks())
    node.typed("account", "add-client", "ehr", "--jwks", str(jwks))
    told = node.ask("GET", "/fhir/.well-known/smart-configuration").json()
    assert told["token_endpoint_auth_methods_supported"] == ["private_key_jwt", "tls_client_auth"]
    assert told["tls_client_certificate_bound_access_tokens"] is True
    audience = told["token_endpoint"]

    assert node.asked(old, client_id="ehr").json()["error"] == "invalid_client"  # nobody registered it
    thumbprint = node.certificate("ehr", old)
    node.certificate("ehr", new)
    for nobody in (None, node.clients.issue("guest")):
        assert node.asked(nobody, client_id="ehr").json()["error"] == "invalid_client"
        signed = form(signer.assertion(audience, int(time.time())), SCOPE)
        assert node.ask("POST", "/oauth/token", nobody, data=signed).json()["error"] == "invalid_client"
    by_certificate = node.asked(old, client_id="ehr").json()["access_token"]
    signed = form(signer.assertion(audience, int(time.time())), SCOPE)
    by_both = node.ask("POST", "/oauth/token", old, data=signed).json()["access_token"]
    for token in (by_certificate, by_both):
        assert [node.status(token, one) for one in (old, new, None)] == [403, 401, 401]
    node.typed("account", "certificates", "ehr", "--remove", thumbprint)
    assert node.status(by_certificate, old) == 401
    assert node.asked(old, client_id="ehr").json()["error"] == "invalid_client"
    assert node.asked(new, client_id="ehr").status_code == 200
    node.typed("account", "disable", "ehr")
    assert node.asked(new, client_id="ehr").json()["error"] == "invalid_client"


def test_it_speaks_nothing_older_than_tls_1_3_and_no_http(node: Served) -> None:
    old = ssl.create_default_context(cafile=str(node.own_ca))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(httpx.ConnectError), httpx.Client(verify=old, trust_env=False) as client:
        client.get(f"{node.url}/health")
    with pytest.raises(httpx.HTTPError):
        httpx.get(node.url.replace("https", "http") + "/health", trust_env=False)
    assert "max-age" in node.ask("GET", "/health").headers["strict-transport-security"]


def test_what_cannot_be_registered_is_said(node: Served, tmp_path: Path) -> None:
    lab, old = node.clients.issue("again"), node.clients.issue("gone", days=-1)
    (tmp_path / "two.pem").write_bytes(lab.cert.read_bytes() * 2)
    (tmp_path / "junk.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    node.certificate("ward", lab)
    home = ("--home", str(node.hospital.home))
    for arguments, code, said in (
        (("ward", "--add", str(old.cert)), 2, "expired"),
        (("ward", "--add", str(tmp_path / "two.pem")), 2, "no certificate"),
        (("ward", "--add", str(tmp_path / "junk.pem")), 2, "no certificate"),
        (("ward", "--add", str(lab.key)), 2, "no certificate"),
        (("ward", "--add", str(lab.cert)), 4, "registered already"),
        (("pacs", "--add", str(lab.cert)), 4, "registered already"),
        (("olga", "--add", str(lab.cert)), 2, "signs in otherwise"),
        (("ward", "--remove", "x"), 3, "no such certificate"),
        (("nobody", "--add", str(lab.cert)), 3, "no account"),
        (("ward", "--remove", "x", "--release"), 2, "one thing at a time"),
    ):
        done = run("account", "certificates", *arguments, *home)
        assert (done.exit_code, said in done.output) == (code, True), done.output
    node.typed("account", "certificates", "ward", "--release")


def test_a_node_that_cannot_prove_itself_is_not_served(tmp_path: Path) -> None:
    hospital = make_hospital(tmp_path / "node")
    server = Authority(tmp_path / "own").issue("server", server=True)
    for said, hint in (
        ({"tls_cert": server.cert, "tls_key": server.cert}, "not encrypted"),
        ({"tls_cert": server.cert}, "give both"),
        ({"tls_client_ca": server.cert}, "tls_key"),
        ({"tls_cert": server.cert, "tls_key": server.key, "tls_client_ca": server.key}, "PEM"),
    ):
        environment = {f"TWINWARD_{name.upper()}": str(value) for name, value in said.items()}
        done = run("node", "serve", "--port", "0", "--home", str(hospital.home), env=environment)
        assert (done.exit_code, hint in done.output, "Traceback" in done.output) == (2, True, False), done.output

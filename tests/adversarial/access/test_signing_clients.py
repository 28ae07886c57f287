"""A system that signs, on a node that is served: registered, rotated, replayed in two processes, taken away."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.client_assertions import Signer, form
from tests.integration.cli.conftest import make_hospital, run
from tests.integration.cli.test_while_serving import Served, served
from twinward.access.errors import NoToken
from twinward.node import open_node

pytestmark = pytest.mark.slow


def test_a_system_signs_from_its_registration_to_its_end(tmp_path: Path) -> None:
    hospital = make_hospital(tmp_path / "node")
    old, new = Signer("ehr", kid="2026"), Signer("ehr", kid="2027", alg="RS384")
    for signer in (old, new):
        (tmp_path / signer.kid).write_bytes(signer.jwks())
    with served(hospital, {}) as node:
        typed = ("account", "add-client", "ehr", "--jwks", str(tmp_path / "2026"), "--json")
        assert json.loads(node.typed(*typed))["client_keys"][0]["kid"] == "2026"
        audience = httpx.get(f"{node.url}/fhir/.well-known/smart-configuration", trust_env=False).json()[
            "token_endpoint"
        ]
        assert audience == f"{node.url}/oauth/token"

        one = old.assertion(audience, int(time.time()))
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: asked(node, one), range(8)))
        assert sorted(one.status_code for one in answers) == [200, *[400] * 7]
        with open_node(hospital.home) as other, pytest.raises(NoToken):  # another process knows what was used
            other.client_tokens.give(one, "system/*.rs", audience=audience, named="", address="192.0.2.1")
        token = next(one.json()["access_token"] for one in answers if one.status_code == 200)
        assert status_of(node, token) == 403  # it is known; policy lets no system list twins

        node.typed("account", "client-keys", "ehr", "--add", str(tmp_path / "2027"))
        listed = node.typed("account", "client-keys", "ehr", "--remove", "2026")
        assert ("2027" in listed, "ES384" in listed) == (True, False)
        assert status_of(node, token) == 401
        assert asked(node, old.assertion(audience, int(time.time()))).status_code == 400
        token = asked(node, new.assertion(audience, int(time.time()))).json()["access_token"]
        assert status_of(node, token) == 403
        node.process.kill()
        node.process.wait()
    with served(hospital, {}) as node:
        assert status_of(node, token) == 403  # a restart ends no token, and forgets nothing that was used
        node.typed("account", "disable", "ehr")
        assert status_of(node, token) == 401
        on_disk = b"".join(path.read_bytes() for path in hospital.home.glob("*.db*"))
        assert token.removeprefix("twa_").encode() not in on_disk


def test_what_cannot_be_registered_is_said(tmp_path: Path) -> None:
    hospital = make_hospital(tmp_path / "node")
    signer, home = Signer("ehr"), ("--home", str(hospital.home))
    (tmp_path / "private").write_text(json.dumps({"keys": [signer.key.as_dict(private=True) | {"kid": "k"}]}))
    (tmp_path / "public").write_bytes(signer.jwks())
    private, public = str(tmp_path / "private"), str(tmp_path / "public")
    for words, code, said in (
        (("add-client", "ehr", "--jwks", private), 2, "secret"),
        (("add-client", "ehr", "--jwks", public, "--role", "clinician"), 2, "client keys are for"),
        (("add-client", "ehr", "--jwks", str(tmp_path / "none")), 2, "cannot be read"),
        (("client-keys", "nobody", "--add", public), 3, "no account"),
        (("client-keys", "olga", "--add", public), 2, "client keys are for"),
    ):
        done = run("account", *words, *home)
        assert (done.exit_code, said in done.stderr) == (code, True), (words, done.stderr)
        assert signer.key.as_dict(private=True)["d"] not in done.stderr
    assert run("account", "add-client", "ehr", "--jwks", public, *home).exit_code == 0
    assert run("account", "add-client", "ehr", "--jwks", public, *home).exit_code == 4
    assert run("account", "client-keys", "ehr", "--add", public, *home).exit_code == 2
    assert run("account", "client-keys", "ehr", "--remove", "none", *home).exit_code == 3


def asked(node: Served, assertion: str) -> httpx.Response:
    return httpx.post(f"{node.url}/oauth/token", data=form(assertion), timeout=60, trust_env=False)


def status_of(node: Served, token: str) -> int:
    headers = {"authorization": f"Bearer {token}"}
    return httpx.get(f"{node.url}/api/1/twins", headers=headers, timeout=60, trust_env=False).status_code

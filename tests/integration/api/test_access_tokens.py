"""SMART Backend Services over HTTP: from discovery to a search, and what is refused on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from fastapi.testclient import TestClient

from tests.client_assertions import Signer, form
from tests.integration.console.fixtures import House
from twinward.access.account_events import AT_THE_MACHINE as AT
from twinward.access.client_keys import read_jwks
from twinward.access.interfaces import Principal
from twinward.core.vocabulary import Role

URL = "http://testserver:80/oauth/token"
TYPE = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def signer(api_house: House) -> Signer:
    made = Signer("backend")
    keys = read_jwks(made.jwks(), api_house.node.clock.now_ms())
    api_house.node.accounts.add_client(Principal("backend", Role.SYSTEM, "Backend"), keys)
    return made


@pytest.fixture(scope="module")
def vendor(api_house: House) -> Signer:
    made = Signer("signing-vendor", alg="RS384")
    keys = read_jwks(made.jwks(), api_house.node.clock.now_ms())
    api_house.node.accounts.add_client(Principal("signing-vendor", Role.VENDOR), keys)
    return made


@pytest.fixture(autouse=True)
def nobody_is_held_off(web: TestClient, api_house: House) -> Iterator[None]:
    yield
    api_house.node.client_tokens._failed._admitted.clear()


def assertion(house: House, signer: Signer, **other: Any) -> str:
    return signer.assertion(URL, house.node.clock.now_ms() // 1000, **other)


def post(web: TestClient, fields: Any, **headers: str) -> Any:
    content = fields if isinstance(fields, str | bytes) else urlencode(fields)
    return web.post("/oauth/token", content=content, headers=TYPE | headers)


def token_of(web: TestClient, house: House, signer: Signer, scope: str) -> str:
    answer = post(web, form(assertion(house, signer), scope))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


def test_a_system_finds_its_way_from_the_document_to_records(web: TestClient, api_house: House, signer: Signer) -> None:
    found = web.get("/fhir/.well-known/smart-configuration").json()
    security = web.get("/fhir/metadata").json()["rest"][0]["security"]
    assert found["token_endpoint"] == security["extension"][0]["extension"][0]["valueUri"] == URL
    assert found["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
    assert security["service"][0]["coding"][0]["code"] == "SMART-on-FHIR"

    before = api_house.size()
    answer = post(web, form(assertion(api_house, signer), "system/*.cruds system/Patient.rs"))
    said = answer.json()
    assert (answer.status_code, answer.headers["cache-control"], answer.headers["pragma"]) == (
        200,
        "no-store",
        "no-cache",
    )
    assert {name: said[name] for name in said if name != "access_token"} == {
        "token_type": "bearer",
        "expires_in": 300,
        "scope": "system/*.cruds",
    }
    assert api_house.size() == before + 1  # the sign-in is an event
    officer = {"authorization": f"Bearer {api_house.tokens['officer']}"}
    row = web.get(f"/api/1/audit/events/{before}", headers=officer).json()
    assert (row["agent"], row["action"], row["decision"]) == ("backend", "sign-in", "permit")
    assert said["access_token"] not in json.dumps(row)

    bearer = {"authorization": f"Bearer {said['access_token']}", "content-type": "application/fhir+json"}
    written = web.put("/fhir/Patient/signed", content='{"resourceType":"Patient","id":"signed"}', headers=bearer)
    assert written.status_code in (200, 201)
    # Policy decides as for a system's usual token: it writes, and reads nothing.
    for token in (said["access_token"], api_house.tokens["system"]):
        assert web.get("/fhir/Patient/signed", headers={"authorization": f"Bearer {token}"}).status_code == 403


def test_a_vendor_asks_by_the_same_way(web: TestClient, api_house: House, vendor: Signer) -> None:
    token = token_of(web, api_house, vendor, "system/*.rs")
    assert web.get("/api/1/similarity/schema", headers={"authorization": f"Bearer {token}"}).status_code == 200
    assert web.get("/api/1/audit/events", headers={"authorization": f"Bearer {token}"}).status_code == 403


def test_a_token_for_reading_writes_nothing_and_that_is_logged(
    web: TestClient, api_house: House, signer: Signer
) -> None:
    bearer = {"authorization": f"Bearer {token_of(web, api_house, signer, 'system/*.rs')}"}
    for method, path in (("PUT", "/fhir/Patient/signed"), ("POST", "/fhir"), ("DELETE", "/fhir/Patient/signed")):
        before = api_house.size()
        answer = web.request(method, path, headers=bearer | {"content-type": "application/fhir+json"}, content="{}")
        assert (answer.status_code, answer.json()["resourceType"]) == (403, "OperationOutcome")
        assert api_house.size() == before + 1
    assert web.post("/api/1/similarity/gated", headers=bearer, json={}).status_code == 403


def test_disabling_the_account_or_removing_the_key_ends_it_at_once(web: TestClient, api_house: House) -> None:
    desk, old, new = api_house.node.account_desk, Signer("leaving"), Signer("leaving", kid="k2")
    keys = read_jwks(old.jwks(), 0)
    api_house.node.accounts.add_client(Principal("leaving", Role.VENDOR), keys)

    def reads(token: str) -> int:
        return web.get("/api/1/similarity/schema", headers={"authorization": f"Bearer {token}"}).status_code

    desk.add_client_keys("leaving", read_jwks(new.jwks(), 0), AT)
    by_old, by_new = (token_of(web, api_house, one, "system/*.rs") for one in (old, new))
    assert (reads(by_old), reads(by_new)) == (200, 200)
    desk.remove_client_key("leaving", "k1", AT)
    assert (reads(by_old), reads(by_new)) == (401, 401)
    assert post(web, form(assertion(api_house, old))).status_code == 400
    again = token_of(web, api_house, new, "system/*.rs")
    desk.disable("leaving", AT)
    assert reads(again) == 401
    assert post(web, form(assertion(api_house, new))).json()["error"] == "invalid_client"
    desk.enable("leaving", AT)
    assert reads(again) == 401


def test_every_refusal_has_the_shape_of_rfc_6749(web: TestClient, api_house: House, signer: Signer) -> None:
    good = form(assertion(api_house, signer))
    twice = urlencode(good) + "&scope=system%2F*.cruds"
    cases: list[tuple[Any, dict[str, str], str]] = [
        ("", {}, "invalid_request"),
        ("nonsense", {}, "invalid_request"),
        (b"\xff=\xff", {}, "invalid_request"),
        ("a=%ff", {}, "invalid_request"),
        (twice, {}, "invalid_request"),
        (urlencode(good) + "&client_assertion=", {}, "invalid_request"),
        (urlencode(good) + "&a=1" * 20, {}, "invalid_request"),
        (good | {"client_secret": "x"}, {}, "invalid_request"),
        (good, {"authorization": "Basic eDp5"}, "invalid_request"),
        (good, {"content-type": "application/json"}, "invalid_request"),
        (good | {"grant_type": "password"}, {}, "unsupported_grant_type"),
        (good | {"grant_type": "authorization_code"}, {}, "unsupported_grant_type"),
        (good | {"client_assertion_type": "x"}, {}, "invalid_client"),
        ({name: value for name, value in good.items() if name != "client_assertion"}, {}, "invalid_client"),
        (good | {"client_assertion": "x"}, {}, "invalid_client"),
        (good | {"client_id": "acme"}, {}, "invalid_client"),
        ({name: value for name, value in good.items() if name != "scope"}, {}, "invalid_scope"),
        (good | {"scope": "system/Observation.rs"}, {}, "invalid_scope"),
    ]
    for fields, headers, code in cases:
        answer = post(web, fields, **headers)
        assert (answer.status_code, answer.json()["error"], set(answer.json())) == (
            400,
            code,
            {"error", "error_description"},
        )
    assert post(web, form(assertion(api_house, signer)) | {"extra": "ignored"}).status_code == 200
    assert web.get("/oauth/token").status_code == 405
    assert post(web, "a=" + "x" * 20_000).status_code == 413


def test_whoever_is_not_authenticated_is_told_one_thing(web: TestClient, api_house: House, signer: Signer) -> None:
    used = assertion(api_house, signer)
    assert post(web, form(used)).status_code == 200
    now_s = api_house.node.clock.now_ms() // 1000
    wrong = [
        used,
        Signer("nobody").assertion(URL, now_s),
        Signer("backend").assertion(URL, now_s),
        Signer("dr-lee").assertion(URL, now_s),
        assertion(api_house, signer, aud="http://192.0.2.1/oauth/token"),
        assertion(api_house, signer, exp=now_s + 3600),
        assertion(api_house, signer, jti=None),
        "x",
    ]
    answers = [post(web, form(one)) for one in wrong]
    assert len({(one.status_code, one.content, str(sorted(one.headers.items()))) for one in answers}) == 1


def test_no_host_header_makes_another_nodes_assertion_good(web: TestClient, api_house: House, signer: Signer) -> None:
    """An assertion that a stranger's server got is worth nothing here, whatever this node is called by."""
    for host in ("192.0.2.1", "evil.example", "localhost"):
        theirs = assertion(api_house, signer, aud=f"http://{host}/oauth/token")
        assert post(web, form(theirs), host=host).json()["error"] == "invalid_client"
        told = web.get("/fhir/.well-known/smart-configuration", headers={"host": host}).json()
        assert told["token_endpoint"] == URL


def test_too_many_failures_are_not_looked_at(web: TestClient, api_house: House, signer: Signer) -> None:
    answers = [post(web, form("x")).status_code for _ in range(40)]
    assert answers.count(429) == 10
    held = post(web, form(assertion(api_house, signer)))
    assert (held.status_code, held.json()["error"]) == (429, "temporarily_unavailable")
    assert 1 <= int(held.headers["retry-after"]) <= 60

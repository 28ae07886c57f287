"""What matters most asks people's tokens for a fresh proof beside them, over HTTP (RFC 9470)."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.integration.console.fixtures import PASSWORD, House, build
from twinward.access import totp
from twinward.access.account_events import AT_THE_MACHINE
from twinward.access.errors import NothingToProve
from twinward.access.fresh_proofs import WINDOW_MS
from twinward.access.interfaces import AccessContext, Principal
from twinward.core.clock import FixedClock
from twinward.core.vocabulary import Purpose, Role

SENSITIVE = [
    ("POST", "/api/1/accounts/nurse/disable"),
    ("PUT", "/api/1/accounts/nurse/password"),
    ("POST", "/api/1/delegations"),
    ("DELETE", "/api/1/delegations/nurse/1"),
    ("PUT", "/api/1/twins/{twin}/consent"),
    ("GET", "/api/1/audit/twins/{twin}/accesses"),
    ("GET", "/fhir/$export"),
    ("GET", "/fhir/%24export"),
    ("GET", "/fhir/Patient/$export"),
    ("GET", "/fhir/$export-jobs/j/Patient.ndjson"),
    # Routers take a line break at the end of a path for no part of it.
    ("POST", "/api/1/accounts/nurse/disable%0a"),
    ("PUT", "/api/1/twins/{twin}/consent%0a"),
    ("GET", "/api/1/audit/twins/{twin}/accesses%0a"),
    ("GET", "/fhir/$export%0a"),
]


class Office:
    def __init__(self, house: House, clock: FixedClock) -> None:
        self.house, self.clock = house, clock
        self.web = TestClient(house.app, raise_server_exceptions=False)
        self.number, self.token = house.node.account_desk.new_token("officer", AT_THE_MACHINE)

    def ask(self, method: str, path: str, token: str | None = None, **more: Any) -> Any:
        headers = {"authorization": f"Bearer {token or self.token}"}
        path = path.replace("{twin}", self.house.twins[0])
        return self.web.request(method, path, headers=headers, **more)

    def prove(self, password: str = PASSWORD, **more: str) -> Any:
        return self.ask("POST", "/api/1/proofs", json={"password": password, **more})

    def proven(self) -> str:
        answer = self.prove()
        assert answer.status_code == 201, answer.text
        assert answer.json()["expires_in"] == 600
        return str(answer.json()["access_token"])


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    built = build(tmp_path_factory.mktemp("proofs") / "home", patients=1, clock=FixedClock())
    yield built
    built.node.close()


@pytest.fixture
def office(house: House) -> Office:
    assert isinstance(house.node.clock, FixedClock)
    house.node.clock.advance(WINDOW_MS)
    return Office(house, house.node.clock)


def test_a_token_alone_is_asked_for_more_and_the_log_says_so(office: Office) -> None:
    for method, path in SENSITIVE:
        before = office.house.size()
        answer = office.ask(method, path)
        assert answer.status_code == 401, path
        said = answer.headers["www-authenticate"]
        assert said.startswith('Bearer error="insufficient_user_authentication"')
        assert said.endswith("max_age=600")
        assert office.house.size() == before + 1, path
    proven = office.proven()
    for method, path in SENSITIVE:
        fresh = office.ask(method, path, proven)
        assert fresh.status_code != 401, path
        script = office.ask(method, path, office.house.tokens["officer"])
        assert script.status_code != 401, path  # it has nothing to prove by


def test_looking_asks_for_no_more_than_the_token(office: Office) -> None:
    for path in ("/api/1/audit/events", "/api/1/accounts", "/api/1/delegations", "/api/1/twins/{twin}/consent"):
        assert office.ask("GET", path).status_code == 200


def test_a_proof_is_good_for_ten_minutes_and_ends_with_the_token_it_is_beside(office: Office) -> None:
    fresh = office.proven()
    assert office.ask("GET", "/fhir/$export", fresh).status_code != 401
    office.clock.advance(599_999)
    assert office.ask("GET", "/api/1/accounts", fresh).status_code == 200
    office.clock.advance(1)
    assert office.ask("GET", "/api/1/accounts", fresh).status_code == 401
    fresh = office.proven()
    office.house.node.account_desk.revoke_token("officer", office.number, AT_THE_MACHINE)
    assert office.ask("GET", "/api/1/accounts", fresh).status_code == 401
    assert office.prove().status_code == 401


def test_a_wrong_password_is_refused_and_braked(office: Office) -> None:
    assert [office.prove("wrong").status_code for _ in range(6)] == [401] * 5 + [429]
    assert office.prove().status_code == 429
    office.clock.advance(WINDOW_MS)
    assert office.prove().status_code == 201


def test_who_has_an_app_gives_its_code_too(office: Office) -> None:
    factors = office.house.node.sign_ins.factors
    waiting, written, _ = factors.begin("officer")
    secret = base64.b32decode(written.replace(" ", ""))

    def code() -> str:
        return totp.code_at(secret, totp.step_at(office.clock.now_ms()))

    factors.finish("officer", waiting, code(), AT_THE_MACHINE)
    try:
        office.clock.advance(120_000)
        assert office.prove().status_code == 401
        assert office.prove(code="000000").status_code == 401
        assert office.prove(code=code()).status_code == 201
        assert office.prove(code=code()).status_code == 401  # a code is good once
    finally:
        factors.remove("officer", AT_THE_MACHINE)


def test_a_password_that_somebody_else_knows_is_no_proof(office: Office) -> None:
    node = office.house.node
    node.accounts.add_person(Principal("mia", Role.OFFICER), PASSWORD)
    node.account_desk.reset_password("mia", f"{PASSWORD} staple", AT_THE_MACHINE)
    _, token = node.account_desk.new_token("mia", AT_THE_MACHINE)

    def prove(password: str) -> Any:
        return office.ask("POST", "/api/1/proofs", token, json={"password": password})

    answer = prove(f"{PASSWORD} staple")
    assert (answer.status_code, "has to be changed" in answer.text) == (409, True)
    node.accounts.change_password(node.accounts.named("mia"), f"{PASSWORD} staple", PASSWORD)
    assert prove(PASSWORD).status_code == 201


def test_a_role_that_is_lent_and_needs_a_second_factor_needs_it_here_too(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = office.house.node
    proofs, by = node.fresh_proofs, AccessContext(node.accounts.named("officer"), Purpose.COMPLIANCE)
    monkeypatch.setattr(proofs, "_needed_by", frozenset({Role.OFFICER}))
    principal = Principal("kim", Role.RESEARCHER)
    node.accounts.add_person(principal, PASSWORD)
    kim = node.accounts.named("kim")
    assert proofs.prove(kim, PASSWORD, "", via=())
    node.delegations.give("kim", by, until_ms=node.clock.now_ms() + 60_000, reason="on leave, Dr. Kim stands in")
    with pytest.raises(NothingToProve, match="a password alone"):
        proofs.prove(kim, PASSWORD, "", via=())


def test_a_proof_is_asked_for_with_a_token_and_by_whom_it_can_be_given(office: Office) -> None:
    assert office.web.post("/api/1/proofs", json={"password": PASSWORD}).status_code == 401
    for name, status in (("officer", 409), ("clinician", 409), ("vendor", 403), ("system", 403)):
        answer = office.ask("POST", "/api/1/proofs", office.house.tokens[name], json={"password": PASSWORD})
        assert answer.status_code == status
    assert office.ask("POST", "/api/1/proofs", json={"password": PASSWORD, "more": 1}).status_code == 400
    for token in ("twp_", "twp_x", office.proven() + "x"):
        assert office.ask("GET", "/api/1/accounts", token).status_code == 401

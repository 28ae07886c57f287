"""Signing in by the hospital's own OpenID provider: npm's ``oidc-provider``, as a process, there and back."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.integration.console.test_second_factor import code_of, field
from tests.oidc_provider import ORIGIN, SECRET, Hospital, running
from twinward.access.account_desk import AccountDesk
from twinward.access.account_events import AT_THE_MACHINE
from twinward.access.account_store import IdentityRecord
from twinward.access.errors import AnotherOfficers
from twinward.access.interfaces import AccessContext, Principal
from twinward.access.oidc.id_tokens import ProviderRefused
from twinward.access.oidc.people import account_id_of
from twinward.api.app import create_app
from twinward.console import mount
from twinward.core.config import Settings
from twinward.core.errors import BadInput, Conflict, NotFound
from twinward.core.vocabulary import Action, Purpose, Role
from twinward.node import Node, create_node
from twinward.overview.log import permit_to_examine

pytestmark = pytest.mark.slow
BEGIN, CALLBACK = "/console/sign-in/hospital", "/console/sign-in/hospital/callback"
PASSWORD = "correct horse battery"
OLGA = Principal("olga", Role.OFFICER)
OFFICERS: dict[str, Any] = {"groups": ["everybody", "twinward-officers"]}


@dataclass
class House:
    node: Node
    hospital: Hospital
    app: FastAPI

    def linked(self, account: str, subject: str) -> IdentityRecord:
        return IdentityRecord(issuer=self.hospital.issuer, subject=subject)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    home = tmp_path_factory.mktemp("oidc") / "home"
    secret = home.parent / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    with running() as hospital:
        settings = Settings(
            home=home,
            public_origins=(ORIGIN,),
            oidc_issuer=hospital.issuer,
            oidc_client_id="twinward",
            oidc_client_secret_file=secret,
            oidc_roles={
                "twinward-officers": Role.OFFICER,
                "twinward-doctors": Role.CLINICIAN,
                "twinward-scientists": Role.RESEARCHER,
            },
            oidc_unknown="wait",
            oidc_strong_acr=("strong",),
        )
        node = create_node(settings)
        for name in ("olga", "ben"):
            node.accounts.add_person(Principal(name, Role.OFFICER, name.title()), PASSWORD)
        node.account_desk.link("olga", IdentityRecord(issuer=hospital.issuer, subject="sub-olga"), AT_THE_MACHINE)
        app = create_app(node)
        mount(app, node)
        yield House(node, hospital, app)
        node.close()


@pytest.fixture
def web(house: House) -> Iterator[TestClient]:
    with browser(house.app) as client:
        yield client


_ADDRESSES = itertools.count(1)


def browser(app: FastAPI) -> TestClient:
    """A browser at an address of its own, so that none is braked for another."""
    return TestClient(
        app,
        base_url=ORIGIN,
        raise_server_exceptions=False,
        follow_redirects=False,
        client=(f"192.0.2.{next(_ADDRESSES)}", 50_000),
    )


def reasons(house: House, most: int = 4) -> list[str]:
    """What the log says of sign-ins and accounts, the newest first."""
    permit = permit_to_examine(house.node.access, AccessContext(OLGA, Purpose.COMPLIANCE), "test")
    rows = house.node.audit_reader.events(permit, limit=40).rows
    told = (Action.SIGN_IN, Action.ACCOUNT)
    return [row.event.reason for row in rows if row.event is not None and row.event.action in told][:most]


def refused(house: House, answer: Any, status: int, why: str) -> None:
    assert answer.status_code == status
    assert "twinward_session" not in str(answer.headers)
    assert why in reasons(house, 1)[0]


def test_there_and_back_is_a_session_and_signing_out_says_what_it_leaves(house: House, web: TestClient) -> None:
    assert BEGIN in web.get("/console/sign-in").text
    begun = web.get(f"{BEGIN}?next=/console/accounts")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(begun.headers["location"]).query).items()}
    assert (asked["code_challenge_method"], asked["scope"], asked["response_type"]) == (
        "S256",
        "openid profile",
        "code",
    )
    cookies = begun.headers.get_list("set-cookie")
    assert len(cookies) == 1
    assert "SameSite=lax" in cookies[0]
    house.hospital.person("sub-olga", name="Olga", **OFFICERS)
    back = house.hospital.back_from(begun.headers["location"])
    assert "iss=" in back
    answer = web.get(back)
    assert answer.status_code == 200
    assert 'content="0; url=/console/accounts"' in answer.text
    assert "SameSite=strict" in next(one for one in answer.headers.get_list("set-cookie") if "twinward_session" in one)
    assert reasons(house, 1) == ["signed in by the hospital's sign-in"]
    assert web.get("/console/accounts").status_code == 200
    out = web.post("/console/sign-out", data={"csrf": field(web.get("/console/account").text, "csrf")})
    assert out.headers["location"] == "/console/signed-out"
    page = web.get("/console/signed-out").text
    assert f'href="{house.hospital.issuer}/session/end?' in page
    assert web.get("/console/accounts").headers["location"] == "/console/sign-in"


def test_nobody_is_somebody_by_a_name_or_a_mail_address(house: House, web: TestClient) -> None:
    for claims in ({"email": "olga@hospital.example"}, {"name": "olga", "preferred_username": "olga"}):
        house.hospital.person("sub-mallory", **claims)
        refused(house, house.hospital.walk(web), 403, "unknown, and in no group that has a role")


def test_somebody_unknown_waits_for_an_officer_and_then_has_the_groups_role(house: House, web: TestClient) -> None:
    house.hospital.person("sub-new", name="New <b>Officer</b>", **OFFICERS)
    refused(house, house.hospital.walk(web), 403, "waits for an officer")
    refused(house, house.hospital.walk(web), 403, "waits for an officer")  # and not once more
    account = account_id_of(house.linked("", "sub-new"))
    record = house.node.accounts.record(account)
    assert (record.disabled, record.role, record.password) == (True, Role.OFFICER, "")
    house.node.account_desk.enable(account, AccessContext(OLGA, Purpose.COMPLIANCE))
    assert house.hospital.walk(web).status_code == 200
    assert "New &lt;b&gt;Officer" in web.get("/console/account").text

    house.hospital.person("sub-new", groups=["twinward-doctors"])
    with browser(house.app) as other:
        assert house.hospital.walk(other).status_code == 200
        assert other.get("/console").headers["location"] == "/console/ward"
    assert "role officer becomes clinician" in reasons(house, 2)[1]
    assert web.get("/console").headers["location"] == "/console/sign-in"  # what the officer had open is closed
    house.hospital.person("sub-new", groups=["twinward-scientists"])
    with browser(house.app) as other:
        refused(house, house.hospital.walk(other), 403, "another role's account")
    assert "role clinician becomes researcher" in reasons(house, 2)[1]
    house.hospital.person("sub-new", groups=["everybody"])
    refused(house, house.hospital.walk(web), 403, "in no group of the hospital's sign-in that has a role here")


def test_a_flow_is_one_browsers_and_good_once(house: House, web: TestClient) -> None:
    house.hospital.person("sub-olga", **OFFICERS)
    back = house.hospital.back_from(web.get(BEGIN).headers["location"])
    with browser(house.app) as other:
        refused(house, other.get(back), 401, "this browser began no sign-in")
        other.get(BEGIN)
        refused(house, other.get(back), 401, "it is not this browser's sign-in")
    flow = web.cookies["twinward_flow"]
    for wrong in (back.replace("iss=http", "iss=https"), re.sub("&iss=[^&]*", "", back), f"{back}&state=twice"):
        refused(house, web.get(wrong), 401, "another provider's" if "twice" not in wrong else "this browser's sign-in")
    assert web.get(back).status_code == 200
    web.cookies.set("twinward_flow", flow, domain="localhost.local", path="/console")
    refused(house, web.get(back), 401, "does not take the code (invalid_grant)")


def test_another_verifier_and_a_code_twice_are_refused_by_the_provider(house: House, web: TestClient) -> None:
    house.hospital.person("sub-olga", **OFFICERS)
    found = house.node.hospital_sign_in
    assert found is not None
    begun = found.party.begin("/console")
    code = parse_qs(urlsplit(house.hospital.back_from(begun.address)).query)["code"][0]
    with pytest.raises(ProviderRefused, match="invalid_grant"):
        found.party.provider.exchange(code, "v" * 43, f"{ORIGIN}{CALLBACK}")


def test_a_person_who_refuses_is_told_so(house: House, web: TestClient) -> None:
    house.hospital.person("sub-olga", refuses=True)
    refused(house, house.hospital.walk(web), 401, "whoever was asked gave up")


def test_the_provider_signs_by_another_key_and_people_still_come_in(house: House, web: TestClient) -> None:
    house.hospital.person("sub-olga", **OFFICERS)
    found = house.node.hospital_sign_in
    assert found is not None
    found.party.provider._keys = None  # as after a start: keys that were read this minute are not read anew
    assert house.hospital.walk(web).status_code == 200
    house.hospital.rotate()
    house.hospital.person("sub-olga", **OFFICERS)
    with browser(house.app) as other:
        refused(house, house.hospital.walk(other), 401, "the provider has no such key")
    clock_ms, keys = found.party.provider._keys
    found.party.provider._keys = (clock_ms - 60_000, keys)
    assert house.hospital.walk(web).status_code == 200


def test_what_matters_most_is_confirmed_there_by_the_same_person(house: House, web: TestClient) -> None:
    house.hospital.person("sub-olga", **OFFICERS)
    assert house.hospital.walk(web).status_code == 200
    page = web.get("/console/confirm?next=/console/account").text
    assert 'href="/console/confirm/hospital?next=/console/account"' in page
    before = house.node.sign_ins.sessions("olga")
    answer = house.hospital.walk(web, "/console/confirm/hospital?next=/console/account")
    assert 'content="0; url=/console/account"' in answer.text
    after = house.node.sign_ins.sessions("olga")
    assert len(after) == len(before)  # one went, one came
    house.node.account_desk.link("ben", house.linked("ben", "sub-ben"), AT_THE_MACHINE)
    house.hospital.person("sub-ben", **OFFICERS)
    refused(house, house.hospital.walk(web, "/console/confirm/hospital"), 401, "somebody else proved who they are")
    house.node.account_desk.unlink("ben", "sub-ben", AT_THE_MACHINE)


def test_who_has_an_app_here_gives_its_code_unless_the_provider_asked_for_two_factors(
    house: House, web: TestClient
) -> None:
    factors, now_ms = house.node.sign_ins.factors, house.node.clock.now_ms
    waiting, written, _ = factors.begin("olga")
    secret = base64.b32decode(written.replace(" ", ""))
    factors.finish("olga", waiting, code_of(secret, now_ms()), AT_THE_MACHINE)
    try:
        house.hospital.person("sub-olga", **OFFICERS)
        answer = house.hospital.walk(web)
        assert 'content="0; url=/console/sign-in/code"' in answer.text
        assert "twinward_session" not in str(answer.headers)
        for strong in ({"amr": ["pwd", "mfa"]}, {"acr": "strong"}):
            house.hospital.person("sub-olga", **OFFICERS, **strong)
            with browser(house.app) as other:
                assert house.hospital.walk(other).status_code == 200
            assert reasons(house, 1) == ["signed in by the hospital's sign-in with two factors"]
    finally:
        factors.remove("olga", AT_THE_MACHINE)


def test_links_are_one_to_one_and_no_officers_to_make_for_another(house: House) -> None:
    desk, person = house.node.account_desk, house.linked("ben", "sub-olga")
    with pytest.raises(AnotherOfficers):
        desk.link("ben", house.linked("ben", "sub-x"), AccessContext(OLGA, Purpose.COMPLIANCE))
    with pytest.raises(Conflict, match="linked to an account already"):
        desk.link("ben", person, AT_THE_MACHINE)
    house.node.accounts.add_system(Principal("ward-1", Role.SYSTEM, "Ward 1"))
    with pytest.raises(BadInput, match="signs in otherwise"):
        desk.link("ward-1", house.linked("ward-1", "sub-ward"), AT_THE_MACHINE)
    with pytest.raises(NotFound):
        desk.unlink("ben", "sub-olga", AT_THE_MACHINE)


def test_a_provider_that_does_not_answer_leaves_the_other_ways_in(house: House, web: TestClient) -> None:
    found = house.node.hospital_sign_in
    assert found is not None
    provider, kept = found.party.provider, found.party.provider._endpoints
    client = provider.client
    try:
        provider._endpoints = None
        provider.client = dataclasses.replace(client, issuer="http://127.0.0.1:9")
        answer = web.get(BEGIN)
        assert (answer.status_code, 'name="password"' in answer.text) == (503, True)
    finally:
        provider._endpoints, provider._silent, provider.client = kept, None, client


LOGOUT = "/console/sign-in/hospital/logout"


def test_who_signs_out_at_the_provider_is_signed_out_here_in_every_browser(house: House) -> None:
    with browser(house.app) as one, browser(house.app) as two, browser(house.app) as ben, browser(house.app) as told:
        for web in (one, two):
            house.hospital.person("sub-olga", **OFFICERS)
            house.hospital.walk(web)
            assert web.get("/console").status_code == 200
        csrf = field(ben.get("/console/sign-in").text, "csrf")
        ben.post("/console/sign-in", data={"account": "ben", "password": PASSWORD, "csrf": csrf})
        token = house.hospital.sign_out()
        answer = told.post(LOGOUT, data={"logout_token": token})
        assert (answer.status_code, answer.text, answer.headers["cache-control"]) == (200, "", "no-store")
        assert "signed out everywhere, by the hospital's sign-in" in reasons(house, 1)[0]
        assert [web.get("/console").status_code for web in (one, two, ben)] == [303, 303, 200]

        house.hospital.walk(one)
        again = told.post(LOGOUT, data={"logout_token": token})
        assert (again.status_code, again.json()["error"]) == (400, "invalid_request")
        assert "used before" in reasons(house, 1)[0]
        assert one.get("/console").status_code == 200
        house.hospital.person("nobody-here")
        assert told.post(LOGOUT, data={"logout_token": house.hospital.sign_out()}).status_code == 200
        assert told.post(LOGOUT, data={}).status_code == 400
        assert told.post(LOGOUT, data={"logout_token": "x.y.z"}).status_code == 400
        assert one.get("/console").status_code == 200


def test_where_it_takes_two_officers_to_let_somebody_in_one_is_not_enough(house: House) -> None:
    node, olga = house.node, AccessContext(OLGA, Purpose.COMPLIANCE)
    ben = AccessContext(node.accounts.named("ben"), Purpose.COMPLIANCE)
    desk = AccountDesk(node.accounts, node.access, lambda: node.sign_ins, lambda _: False, two_let_in=True)
    who = house.linked("", "sub-second-self")
    node.accounts.add_linked(Principal("sso-second-self", Role.OFFICER), who, waits=True)
    assert desk.enable("sso-second-self", olga).disabled
    assert "to be enabled, once another officer agrees" in reasons(house, 1)[0]
    with pytest.raises(Conflict, match="does not approve"):
        desk.enable("sso-second-self", olga)
    assert node.accounts.record("sso-second-self").disabled
    assert not desk.enable("sso-second-self", ben).disabled
    desk.disable("sso-second-self", olga)
    assert not desk.enable("sso-second-self", olga).disabled  # two agreed once


def test_a_first_yes_ends_with_a_no_and_with_who_said_it(house: House) -> None:
    node, olga = house.node, AccessContext(OLGA, Purpose.COMPLIANCE)
    ben = AccessContext(node.accounts.named("ben"), Purpose.COMPLIANCE)
    desk = AccountDesk(node.accounts, node.access, lambda: node.sign_ins, lambda _: False, two_let_in=True)
    node.accounts.add_linked(Principal("sso-third-self", Role.OFFICER), house.linked("", "sub-third-self"), waits=True)
    assert desk.enable("sso-third-self", olga).first_yes == "olga"
    assert desk.disable("sso-third-self", ben).first_yes == "", "another officer said no"
    assert desk.enable("sso-third-self", ben).disabled
    desk.disable("ben", olga)
    assert desk.enable("sso-third-self", olga).disabled, "ben is no officer any more"


def test_a_link_takes_two_officers_too_wherever_the_person_waited(house: House) -> None:
    node, olga = house.node, AccessContext(OLGA, Purpose.COMPLIANCE)
    desk = AccountDesk(node.accounts, node.access, lambda: node.sign_ins, lambda _: False, two_let_in=True)

    def as_ben() -> AccessContext:
        desk.enable("ben", AT_THE_MACHINE)
        return AccessContext(node.accounts.named("ben"), Purpose.COMPLIANCE)

    who, other = house.linked("", "sub-fourth-self"), house.linked("", "sub-unseen")
    node.accounts.add_linked(Principal("sso-fourth-self", Role.OFFICER), who, waits=True)
    node.accounts.add_person(Principal("nurse", Role.CLINICIAN), PASSWORD)
    desk.unlink("sso-fourth-self", "sub-fourth-self", olga)
    for person in (who, other):
        assert desk.link("nurse", person, olga).identities == ()
        assert "to be linked to a person of the hospital's sign-in, once another" in reasons(house, 1)[0]
        with pytest.raises(Conflict, match="does not approve"):
            desk.link("nurse", person, olga)
    assert [one for one, _ in desk.unlink("nurse", "sub-unseen", as_ben()).proposed_links] == [who]
    assert desk.disable("nurse", as_ben()).proposed_links == (), "another officer said no"
    desk.enable("nurse", olga)
    assert desk.link("nurse", who, as_ben()).identities == ()
    desk.disable("ben", AT_THE_MACHINE)
    assert desk.link("nurse", who, olga).identities == (), "ben is no officer any more"
    linked = desk.link("nurse", who, as_ben())
    assert (linked.identities, linked.proposed_links) == ((who,), ())
    assert desk.link("olga", other, olga).identities[-1] == other, "an officer's own is no second self"
    desk.unlink("olga", "sub-unseen", AT_THE_MACHINE)

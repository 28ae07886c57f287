"""A role that is lent for a time: what it lets do, for whom the log says so, and that it ends at the next decision."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.integration.console.test_console import sign_in
from tests.kept_homes import founded
from twinward.access.account_events import AT_THE_MACHINE
from twinward.access.errors import AccessDenied, PermitInvalid, SignInEnded
from twinward.access.hours import NO_HOUR
from twinward.access.interfaces import AccessContext, Permit
from twinward.access.interfaces import Principal as Who
from twinward.api.app import create_app
from twinward.cli.delegations import _moment
from twinward.console import mount
from twinward.core.clock import FixedClock
from twinward.core.errors import BadInput, Conflict, NotFound, Refused
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId
from twinward.node import Node, open_node

PASSWORD = "correct horse battery"
DAY_MS = 86_400_000
WHY = "on leave, Dr. Kim stands in"


class Ward:
    """A node with two officers, two clinicians and a researcher, and the same home in another process."""

    def __init__(self, home: Path) -> None:
        self.clock = FixedClock()
        self.node = founded(home, self.clock)
        people = (
            *(("olga", Role.OFFICER, "data office"), ("ben", Role.OFFICER, "")),
            *(("dr-lee", Role.CLINICIAN, "cardiology"), ("kim", Role.RESEARCHER, "study office")),
        )
        for name, role, unit in people:
            self.node.accounts.add_person(Who(name, role, name, unit), PASSWORD)
        self._opened = open_node(home, clock=self.clock)
        self.other = self._opened.__enter__()

    def close(self) -> None:
        self._opened.__exit__(None, None, None)
        self.node.close()

    def by(self, name: str, purpose: Purpose = Purpose.COMPLIANCE) -> AccessContext:
        return AccessContext(self.node.accounts.named(name), purpose)

    def lend(self, giver: str = "olga", to: str = "kim", days: float = 14, **more: object) -> int:
        now_ms = self.clock.now_ms()
        record = self.node.delegations.give(
            to,
            self.by(giver),
            until_ms=now_ms + int(days * DAY_MS),
            **({"reason": WHY} | more),  # type: ignore[arg-type]
        )
        return record.delegations[-1].number

    def may(self, name: str, action: Action, purpose: Purpose = Purpose.COMPLIANCE, node: Node | None = None) -> bool:
        asked = node or self.other
        return asked.access.check(self.by(name, purpose).request(action)).permitted


@pytest.fixture(scope="module")
def _ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    ward = Ward(tmp_path_factory.mktemp("ward") / "home")
    yield ward
    ward.close()


@pytest.fixture
def ward(_ward: Ward) -> Iterator[Ward]:
    """With nothing lent: each test ends what it lent."""
    yield _ward
    for record in _ward.node.accounts.records():
        for one in record.delegations:
            if one.fault(_ward.clock.now_ms()) != "over":
                _ward.node.delegations.end(record.id, one.number, _ward.by("ben"))
        if record.disabled:
            _ward.node.account_desk.enable(record.id, AT_THE_MACHINE)


def permit_of(ward: Ward, name: str) -> Permit:
    return ward.other.access.decide(ward.by(name).request(Action.AUDIT))


def test_what_is_lent_may_be_done_in_every_process_and_the_log_says_for_whom(ward: Ward) -> None:
    assert not ward.may("kim", Action.AUDIT)
    number = ward.lend()
    assert ward.may("kim", Action.AUDIT)
    permit = permit_of(ward, "kim")
    reader = ward.other.access.decide(ward.by("olga").request(Action.AUDIT))
    event = ward.other.audit_reader.event(reader, permit.log_index).event
    assert event is not None
    assert (event.agent, event.role, event.unit) == ("kim", Role.OFFICER, "data office")
    assert {("delegated_by", "olga"), ("delegation", str(number))} <= set(event.detail)
    assert event.reason.endswith(", with the role that olga lent")
    given = ward.other.audit_reader.events(reader, limit=10).rows
    assert any("lent the role officer by olga" in row.event.reason for row in given if row.event)
    own = ward.other.access.decide(ward.by("kim", Purpose.COMPLIANCE).request(Action.REVIEW))
    event = ward.other.audit_reader.event(reader, own.log_index).event
    assert event is not None
    assert event.role is Role.RESEARCHER  # what one's own role may do is done with it


def test_it_ends_at_the_next_decision_for_permits_that_were_given_too(ward: Ward) -> None:
    number = ward.lend()
    permit = permit_of(ward, "kim")
    authority = ward.other.authority
    authority.require(permit, action=Action.AUDIT, twin=None, category=None)
    ward.node.delegations.end("kim", number, ward.by("olga"))
    assert not ward.may("kim", Action.AUDIT)
    with pytest.raises(SignInEnded, match="lent no longer"):
        authority.require(permit, action=Action.AUDIT, twin=None, category=None)
    with pytest.raises(AccessDenied):
        permit_of(ward, "kim")
    with pytest.raises(Conflict, match="over already"):
        ward.node.delegations.end("kim", number, ward.by("olga"))


def test_it_begins_and_ends_by_itself(ward: Ward) -> None:
    ward.lend(days=3, from_ms=ward.clock.now_ms() + DAY_MS)
    assert not ward.may("kim", Action.AUDIT)
    ward.clock.advance(DAY_MS)
    assert ward.may("kim", Action.AUDIT)
    permit = permit_of(ward, "kim")
    ward.clock.advance(2 * DAY_MS - 1)
    assert ward.may("kim", Action.AUDIT)
    ward.clock.advance(1)
    assert not ward.may("kim", Action.AUDIT)
    with pytest.raises(PermitInvalid):
        ward.other.authority.require(permit, action=Action.AUDIT, twin=None, category=None)


def test_a_permit_ends_with_it(ward: Ward) -> None:
    ward.lend(days=1000 / DAY_MS)
    assert permit_of(ward, "kim").expires_at_ms == ward.clock.now_ms() + 1000


@pytest.mark.parametrize("loses", ["disabled", "units"])
def test_it_is_never_more_than_its_giver_has(ward: Ward, loses: str) -> None:
    ward.lend()
    assert ward.may("kim", Action.AUDIT)
    permit = permit_of(ward, "kim")
    if loses == "disabled":
        ward.node.account_desk.disable("olga", AT_THE_MACHINE)
    else:
        ward.node.account_desk.set_units("olga", ("elsewhere",), AT_THE_MACHINE)
    try:
        assert not ward.may("kim", Action.AUDIT)
        with pytest.raises(SignInEnded):
            ward.other.authority.require(permit, action=Action.AUDIT, twin=None, category=None)
    finally:
        ward.node.account_desk.set_units("olga", ("data office",), AT_THE_MACHINE)


def test_it_is_not_lent_on_and_takes_no_officers_own_name(ward: Ward) -> None:
    ward.lend()
    for action in (Action.ACCOUNT, Action.POLICY, Action.SHRED, Action.STUDY):
        assert not ward.may("kim", action)
    (one,) = ward.other.accounts.lent.acting(ward.by("kim").principal)
    acting = one.principal
    assert ward.other.accounts.lent.acting(acting) == []
    until_ms = ward.clock.now_ms() + DAY_MS
    for who in (acting, ward.by("kim").principal):
        context = AccessContext(who, Purpose.COMPLIANCE)
        with pytest.raises(Refused, match="no role that may be lent"):
            ward.node.delegations.give("dr-lee", context, until_ms=until_ms, reason=WHY)


def test_a_clinicians_role_cares_and_no_more(ward: Ward) -> None:
    assert not ward.may("kim", Action.READ, Purpose.TREATMENT)
    ward.lend("dr-lee")
    assert ward.may("kim", Action.READ, Purpose.TREATMENT)
    assert not ward.may("kim", Action.AUDIT)


def test_who_reviews_and_records_consents_is_never_who_treats(ward: Ward) -> None:
    """With both roles somebody would review their own emergency, and record the consent that they then read by."""
    for giver, to in (("olga", "dr-lee"), ("dr-lee", "ben")):
        with pytest.raises(Conflict, match="nobody has together"):
            ward.lend(giver, to)
    for first, second in (("olga", "dr-lee"), ("dr-lee", "olga")):
        number = ward.lend(first)
        with pytest.raises(Conflict, match="nobody has together"):
            ward.lend(second)
        ward.node.delegations.end("kim", number, ward.by("ben"))


def test_where_a_role_was_changed_after_the_other_was_lent_the_one_that_was_there_first_holds(ward: Ward) -> None:
    ward.lend("olga")
    record = ward.other.accounts.record("kim")
    lent = ward.other.accounts.lent
    assert lent.roles_of(record) == {Role.RESEARCHER, Role.OFFICER}
    assert lent.roles_of(record.model_copy(update={"role": Role.CLINICIAN})) == {Role.CLINICIAN}
    both = (*record.delegations, record.delegations[-1].model_copy(update={"role": Role.CLINICIAN, "by": "dr-lee"}))
    assert lent.roles_of(record.model_copy(update={"delegations": both})) == {Role.RESEARCHER, Role.OFFICER}


def test_who_broke_the_glass_with_one_lent_role_reviews_it_with_no_other(ward: Ward) -> None:
    number = ward.lend("dr-lee")
    kim = AccessContext(ward.node.accounts.named("kim"), Purpose.EMERGENCY, "unconscious, no relatives known")
    ward.node.access.decide(kim.request(Action.READ, TwinId("a-twin"), [Category.LABS]))
    ward.node.delegations.end("kim", number, ward.by("dr-lee"))
    ward.lend("olga")
    permit = permit_of(ward, "kim")
    assert permit.request.principal.role is Role.OFFICER
    emergencies = ward.other.emergencies
    (one,) = emergencies.all(permit)
    with pytest.raises(Refused, match="of their own"):
        emergencies.review(permit, one.name, justified=True, note="it was all in order, I was there")
    for clinician in ("kim", "*"):
        with pytest.raises(Refused, match="of their own"):
            emergencies.allow(permit, clinician, patients=100, for_s=3600)
    emergencies.allow(permit_of(ward, "olga"), "*", patients=100, for_s=3600)
    assert emergencies.review(permit_of(ward, "olga"), one.name, justified=False, note="not on duty").finding


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda ward: ward.lend(to="olga"), "cannot take a role over"),
        (lambda ward: ward.lend(days=0), "ends after it begins"),
        (lambda ward: ward.lend(days=91), "within 90 days"),
        (lambda ward: ward.lend(days=366.5, from_ms=ward.clock.now_ms() + 366 * DAY_MS), "begins within 365 days"),
        (lambda ward: ward.lend(reason="x"), "needs a reason"),
        (lambda ward: ward.lend(reason="x" * 2000), "characters at most"),
        (lambda ward: ward.lend(units=("cardiology",)), "not your own"),
    ],
)
def test_what_nobody_can_mean_is_refused(ward: Ward, wrong: Callable[[Ward], int], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        wrong(ward)


def test_it_is_ended_by_whom_it_concerns_alone(ward: Ward) -> None:
    for ender in ("kim", "ben", "dr-lee"):
        number = ward.lend("dr-lee")
        ward.node.delegations.end("kim", number, ward.by(ender))
    number = ward.lend("olga")
    with pytest.raises(NotFound):
        ward.node.delegations.end("kim", number, ward.by("dr-lee"))
    with pytest.raises(NotFound):
        ward.node.delegations.end("kim", number + 1, ward.by("ben"))


@pytest.mark.parametrize("forbidden", ["data office", "study office"])
def test_a_rule_that_forbids_by_unit_is_not_gone_around(
    ward: Ward, monkeypatch: pytest.MonkeyPatch, forbidden: str
) -> None:
    from twinward.access.policy import Policy

    ward.node.account_desk.set_units("olga", ("archive", "data office"), AT_THE_MACHINE)
    ward.lend(units=("archive",))  # of two units the one that no rule is about
    assert ward.may("kim", Action.AUDIT)
    rule = (
        f'forbid (principal, action == Action::"audit", resource) when {{ principal.units.contains("{forbidden}") }};'
    )
    monkeypatch.setattr(ward.other.access, "policy", Policy(f'{Policy.load().text}\n@id("by-unit")\n{rule}'))
    assert ward.may("olga", Action.AUDIT) is (forbidden == "study office")  # which is kim's own
    assert not ward.may("kim", Action.AUDIT)
    ward.node.account_desk.set_units("olga", ("data office",), AT_THE_MACHINE)


def test_units_are_what_policy_sees_and_events_say(ward: Ward) -> None:
    from twinward.access.consent import ConsentOutcome
    from twinward.access.policy import Facts, Policy
    from twinward.access.policy_rules import checked

    ward.node.account_desk.set_units("dr-lee", ("cardiology", "ward 3"), AT_THE_MACHINE)
    lee = ward.by("dr-lee", Purpose.TREATMENT)
    text = Policy.load().text + (
        '\n@id("ward-3-only")\n@say("only ward 3 searches")\n'
        'forbid (principal, action == Action::"search", resource) unless { principal.units.contains("ward 3") };\n'
    )
    policy = checked(text)
    assert policy.evaluate(Facts.of(lee.request(Action.SEARCH), ConsentOutcome.NONE, NO_HOUR)).permitted
    ward.node.account_desk.set_units("dr-lee", ("cardiology",), AT_THE_MACHINE)
    request = ward.by("dr-lee", Purpose.TREATMENT).request(Action.SEARCH)
    assert not policy.evaluate(Facts.of(request, ConsentOutcome.NONE, NO_HOUR)).permitted
    for bad in (("",), ("a · b",), ("x" * 65,), (" ward",), ("ward\n3",), tuple(f"u{one}" for one in range(21))):
        with pytest.raises(BadInput, match="units are"):
            ward.node.account_desk.set_units("dr-lee", bad, AT_THE_MACHINE)


@pytest.mark.parametrize("text", ["9999-12-31T23:59:00-10:00", "0001-01-01T00:00+10:00"])
def test_a_moment_beyond_the_calendar_in_utc_is_a_moment_that_does_not_fit(ward: Ward, text: str) -> None:
    with pytest.raises(BadInput):
        ward.lend(days=(_moment(text, 0) - ward.clock.now_ms()) / DAY_MS)


def test_over_http_and_in_the_console(ward: Ward) -> None:
    app = create_app(ward.node)
    mount(app, ward.node)
    tokens = {name: ward.node.account_desk.new_token(name, AT_THE_MACHINE)[1] for name in ("olga", "kim", "dr-lee")}
    web = TestClient(app, raise_server_exceptions=False, follow_redirects=False)

    def as_(name: str) -> dict[str, str]:
        return {"authorization": f"Bearer {tokens[name]}"}

    for name in tokens:  # lending asks for a fresh proof
        tokens[name] = web.post("/api/1/proofs", json={"password": PASSWORD}, headers=as_(name)).json()["access_token"]
    until = "2100-01-01T00:00:00Z"
    new = {"to": "kim", "until": until, "reason": WHY}
    assert "within 90 days" in web.post("/api/1/delegations", json=new, headers=as_("olga")).text
    beyond = {"begins": "9999-12-31T23:00:00-10:00", "until": "9999-12-31T23:00:00-12:00"}
    assert "within 365 days" in web.post("/api/1/delegations", json=new | beyond, headers=as_("olga")).text
    from twinward.core.clock import iso

    new["until"] = iso(ward.clock.now_ms() + DAY_MS)
    assert web.post("/api/1/delegations", json=new, headers=as_("kim")).status_code == 403
    assert web.get("/api/1/audit/events", headers=as_("kim")).status_code == 403
    assert sign_in(web, account="kim").status_code == 403
    made = web.post("/api/1/delegations", json=new, headers=as_("olga"))
    assert (made.status_code, made.json()["state"]) == (201, "in force")
    assert web.get("/api/1/audit/events", headers=as_("kim")).status_code == 200
    listed = web.get("/api/1/delegations", headers=as_("kim")).json()["delegations"]
    assert [(one["by"], one["account"], one["reason"]) for one in listed] == [("olga", "kim", WHY)]
    assert web.get("/api/1/delegations", headers=as_("dr-lee")).json() == {"delegations": []}
    assert sign_in(web, account="kim").headers["location"] == "/console"
    assert web.get("/console/accesses").status_code == 200
    assert web.get("/console/accounts").status_code == 403
    gone = web.delete(f"/api/1/delegations/kim/{made.json()['number']}", headers=as_("kim"))
    assert gone.json()["state"] == "over"
    assert web.get("/console/accesses").status_code == 403


def test_an_officer_lends_and_ends_it_in_the_console_after_a_fresh_proof(ward: Ward) -> None:
    app = create_app(ward.node)
    mount(app, ward.node)
    ward.clock.advance(60_001)
    with TestClient(app, follow_redirects=False) as web:
        sign_in(web, account="olga")
        page = web.get("/console/account").text
        token = re.search(r'name="csrf" value="([^"]+)"', page)
        assert token
        until = re.search(r'name="until" type="datetime-local" value="([^"]+)"', page)
        assert until
        form = {"csrf": token[1], "to": "kim", "until": until[1], "reason": WHY}
        assert web.post("/console/account/delegations", data=form | {"csrf": "x"}).status_code == 403
        assert web.post("/console/account/delegations", data=form | {"until": "soon"}).status_code == 400
        assert web.post("/console/account/delegations", data=form | {"to": "nobody"}).status_code == 404
        assert not ward.may("kim", Action.AUDIT)
        assert web.post("/console/account/delegations", data=form).status_code == 303
        assert ward.may("kim", Action.AUDIT)
        shown = web.get("/console/account").text
        assert "To kim," in shown
        end = re.search(r'action="(/console/account/delegations/kim/\d+/end)"', shown)
        assert end
        ward.clock.advance(11 * 60_000)  # the proof is not fresh any more
        refused = web.post(end[1], data={"csrf": token[1]})
        assert refused.headers["location"].startswith("/console/confirm")
        assert "Lend it" not in web.get("/console/account").text
        assert ward.may("kim", Action.AUDIT)
        ward.clock.advance(60_001)
        sign_in(web, account="ben")
        token = re.search(r'name="csrf" value="([^"]+)"', web.get("/console/accounts/kim").text)
        assert token
        path = end[1].replace("/account/delegations/kim", "/accounts/kim/delegations")
        assert web.post(path, data={"csrf": token[1]}).status_code == 303
        assert not ward.may("kim", Action.AUDIT)


def test_a_lent_role_asks_from_the_network_that_its_holder_asks_from(ward: Ward) -> None:
    ward.lend()
    at_the_desk = ward.by("kim").principal
    (lent,) = ward.node.accounts.lent.acting(replace(at_the_desk, network="vpn"))
    assert (lent.principal.role, lent.principal.network) == (Role.OFFICER, "vpn")
    assert {one.network for one in lent.bounds} <= {"vpn"}

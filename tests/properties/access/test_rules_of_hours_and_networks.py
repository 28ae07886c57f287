"""Rules that ask for the hour and the network: what is remembered is what would be decided anew, at every moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.access.test_access import CLINICIAN, RESEARCHER, House
from tests.unit.access.test_hours_and_networks import ms
from twinward.access.consent import NO_CONSENT
from twinward.access.errors import PermitInvalid, PermitWithdrawn
from twinward.access.hours import Hours
from twinward.access.interfaces import AccessRequest, Permit, Principal
from twinward.access.permits import PermitAuthority
from twinward.access.policy import Policy
from twinward.access.policy_preview import Preview, preview
from twinward.access.service import Access
from twinward.audit.models import AuditRow, Page, RowState
from twinward.core.vocabulary import Action, Purpose, Role, TwinId
from twinward_ledger.formats.leaf import LeafKind

ANN = TwinId("0199e0c2-0000-7000-8000-00000000000a")
DAYTIME = """
@id("researchers-by-day")
@say("researchers may do this on weekdays from 7 to 19 only")
forbid (principal, action, resource) when { principal.role == "researcher" }
unless { context.weekday <= 5 && context.hour >= 7 && context.hour < 19 };
@id("from-the-ward")
@say("records leave from the hospital's own network only")
forbid (principal, action == Action::"export", resource)
unless { [Network::"ward", Network::"node"].contains(context.network) };
@id("research")
@say("researchers may search")
permit (principal, action in [Action::"search", Action::"export"], resource) when { principal.role == "researcher" };
@id("lately")
@say("systems may search late")
permit (principal, action == Action::"search", resource)
when { principal.role == "system" && context.hour >= 22 && context.network == Network::"ward" };
"""
TEXTS = [Policy.load().text, Policy.load().text + DAYTIME]
ZONE = "Europe/Vienna"
NETWORKS = ["ward", "vpn", "node", "outside"]
AROUND = [
    *(ms(f"2026-03-29T0{hour}:30") for hour in range(4)),  # clocks go forward
    *(ms(f"2026-10-25T0{hour}:30") for hour in range(4)),  # and back
    *(ms(f"2026-12-0{day}T{at}", ZONE) for day in range(1, 8) for at in ("06:59", "07:00", "18:59", "19:00", "22:00")),
]
REQUESTS = st.builds(
    AccessRequest,
    st.builds(
        Principal,
        st.just("somebody"),
        st.sampled_from([Role.RESEARCHER, Role.SYSTEM, Role.CLINICIAN, Role.OFFICER]),
        network=st.sampled_from(NETWORKS),
    ),
    st.sampled_from([Action.SEARCH, Action.EXPORT, Action.READ, Action.AUDIT]),
    st.sampled_from([Purpose.RESEARCH, Purpose.TREATMENT, Purpose.COMPLIANCE, Purpose.RECORD_MANAGEMENT]),
)
MOMENTS = st.one_of(st.sampled_from(AROUND), st.integers(ms("2026-01-01T00:00"), ms("2027-01-01T00:00")))


class NoConsents:
    """Nobody has consented to anything."""

    def current(self, _: TwinId) -> Any:
        return NO_CONSENT


def decider(policy: Policy, house: House) -> Access:
    return Access(policy, NoConsents(), house.trail, PermitAuthority(house.clock), house.clock, hours=Hours(ZONE))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("hours"))


@given(text=st.sampled_from(TEXTS), asked=st.lists(st.tuples(REQUESTS, MOMENTS), min_size=2, max_size=12))
def test_what_is_remembered_is_what_is_decided_anew(
    house: House, text: str, asked: list[tuple[AccessRequest, int]]
) -> None:
    kept = decider(Policy(text), house)
    for request, at_ms in asked + asked:
        house.clock.at_ms = at_ms
        assert kept.check(request) == decider(Policy(text), house).check(request)


@given(asked=st.tuples(REQUESTS, MOMENTS))
def test_researchers_work_by_day_and_records_leave_from_the_ward(
    house: House, asked: tuple[AccessRequest, int]
) -> None:
    request, house.clock.at_ms = asked
    hour, weekday = Hours(ZONE).at(asked[1])
    found = decider(Policy(TEXTS[1]), house).check(request)
    role, action, network = request.principal.role, request.action, request.principal.network
    if role is Role.RESEARCHER and action in (Action.SEARCH, Action.EXPORT):
        inside = action is Action.SEARCH or network in ("ward", "node")
        assert found.permitted == (weekday <= 5 and 7 <= hour < 19 and inside)
    if (role, action) == (Role.SYSTEM, Action.SEARCH):
        assert found.permitted == (hour >= 22 and network == "ward")


def test_a_policy_that_asks_for_neither_has_one_verdict_for_all_hours_and_networks(house: House) -> None:
    policy = Policy(TEXTS[0])
    access = decider(policy, house)
    request = AccessRequest(CLINICIAN, Action.READ, Purpose.TREATMENT)
    for at_ms in AROUND:
        house.clock.at_ms = at_ms
        assert access.check(request).hour_ends_ms is None
    assert len(policy._verdicts) <= 2, "one for the facts as they came, one as the rules see them"


def test_only_what_a_rule_on_the_action_asks_for_is_told_apart() -> None:
    policy = Policy(TEXTS[0] + 'permit (principal, action == Action::"search", resource) when { context.hour < 3 };')
    assert policy.asks("search") == {"hour"}
    assert not policy.asks("read")
    assert Policy('@id("hour") @hour("network") permit (principal, action, resource);').asks("read") == set()


# ---- permits ----------------------------------------------------------------------------------------------------


def given_at(house: House, text: str) -> tuple[Access, Callable[[Permit], None]]:
    house.clock.at_ms = ms(text, ZONE)
    access = Access(Policy(TEXTS[1]), house.consents, house.trail, house.authority, house.clock, hours=Hours(ZONE))

    def use(permit: Permit) -> None:
        house.authority.require(permit, action=Action.SEARCH, twin=None, category=None)

    return access, use


SEARCH = AccessRequest(RESEARCHER, Action.SEARCH, Purpose.RESEARCH)


def test_a_permit_ends_with_the_hour_that_it_was_given_for(house: House) -> None:
    access, use = given_at(house, "2026-12-01T18:59:50")
    permit = access.decide(SEARCH)
    house.clock.advance(9_999)
    use(permit)
    house.clock.advance(1)
    with pytest.raises(PermitWithdrawn):
        use(permit)
    for forged in (replace(permit, hour_ends_ms=None), replace(permit, hour_ends_ms=permit.hour_ends_ms + 3_600_000)):
        with pytest.raises(PermitInvalid, match="not issued"):
            use(forged)


def test_a_permit_goes_on_into_an_hour_that_is_permitted_too(house: House) -> None:
    access, use = given_at(house, "2026-12-01T17:59:50")
    permit = access.decide(SEARCH)
    house.clock.advance(20_000)
    use(permit)


def test_a_page_that_is_watched_is_decided_anew_once_the_hour_is_over(house: House) -> None:
    access, _ = given_at(house, "2026-12-01T18:58:00")
    permit = access.decide(replace(SEARCH, lasting=True))

    def by(one: Permit) -> str:
        house.authority.require(one, action=Action.SEARCH, twin=None, category=None)
        return "opened"

    assert access.opened(permit, by) == ["opened"]
    house.clock.advance(120_000)
    assert access.opened(permit, by) == []
    assert house.trail.events[-1].decision == "deny"
    assert "weekdays" in house.trail.events[-1].reason


def test_a_permit_is_good_from_the_network_that_asked_and_no_other(house: House) -> None:
    access, use = given_at(house, "2026-12-01T12:00:00")
    permit = access.decide(SEARCH)
    inside = replace(permit.request, principal=replace(RESEARCHER, network="ward"))
    with pytest.raises(PermitInvalid, match="not issued"):
        use(replace(permit, request=inside))
    assert inside != permit.request, "what is kept for one network is not found for another"


@pytest.mark.parametrize(
    ("at", "network", "role", "action", "said"),
    [
        ("12:00", "ward", Role.SYSTEM, Action.SEARCH, "no rule permits this at this hour"),
        ("22:30", "vpn", Role.SYSTEM, Action.SEARCH, "no rule permits this from network vpn"),
        ("12:00", "vpn", Role.SYSTEM, Action.SEARCH, "no rule permits this from network vpn at this hour"),
        ("22:30", "ward", Role.VENDOR, Action.SEARCH, "no rule permits this"),
        ("20:00", "ward", Role.RESEARCHER, Action.SEARCH, "researchers may do this on weekdays from 7 to 19 only"),
        ("12:00", "vpn", Role.RESEARCHER, Action.EXPORT, "records leave from the hospital's own network only"),
    ],
)
def test_a_refusal_says_whether_hour_or_network_stood_in_the_way(
    house: House, at: str, network: str, role: Role, action: Action, said: str
) -> None:
    access, _ = given_at(house, f"2026-12-01T{at}")
    request = AccessRequest(Principal("x", role, network=network), action, Purpose.RESEARCH)
    assert access.check(request).reason == said
    assert access.check_at(request, ms(f"2026-12-01T{at}", ZONE)).reason == said


# ---- the preview ------------------------------------------------------------------------------------------------


class Kept:
    """An audit reader over the events of a test."""

    def __init__(self, rows: list[AuditRow]) -> None:
        self.rows = rows

    def events(self, _: object, *, before: int | None, limit: int) -> Page:
        stop = len(self.rows) if before is None else before
        start = max(0, stop - limit)
        return Page(tuple(reversed(self.rows[start:stop])), start or None)


@given(asked=st.lists(st.tuples(REQUESTS, MOMENTS), min_size=1, max_size=30), older=st.sets(st.integers(0, 29)))
def test_a_preview_counts_what_both_policies_said_then_and_there(
    house: House, asked: list[tuple[AccessRequest, int]], older: set[int]
) -> None:
    house.trail.events.clear()
    now, then = (decider(Policy(text), house) for text in TEXTS)
    expected: Counter[tuple[Role, Action, bool, bool]] = Counter()
    placeless = 0
    for place, (request, at_ms) in enumerate(asked):
        house.clock.at_ms = at_ms
        said, other = now.check(request).permitted, then.check(request).permitted
        now.decide_many([request])
        if place in older and request.action in (Action.SEARCH, Action.EXPORT):  # an earlier release's says no network
            placeless += 1
        elif said != other:
            expected[request.principal.role, request.action, said, other] += 1
    events = [replace(one, detail=()) if place in older else one for place, one in enumerate(house.trail.events)]
    rows = [AuditRow(i, LeafKind.ACCESS, 0, RowState.OPEN, None, one) for i, one in enumerate(events)]
    found: Preview = preview(Kept(rows), None, lambda *_: None, now.policy, then.policy, hours=Hours(ZONE))  # type: ignore[arg-type]
    counted: Counter[tuple[Role, Action, bool, bool]] = Counter()
    for one in found.differences:
        counted[Role(one.role), Action(one.action), one.now, one.then] += one.count
    assert counted == expected
    assert (found.looked_at, found.unknown, found.placeless) == (len(asked) - placeless, 0, placeless)

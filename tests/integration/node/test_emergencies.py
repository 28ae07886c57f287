"""Emergencies: bounded in number and time, told at once, reviewed by a deadline that a contract keeps."""

from __future__ import annotations

import json
import multiprocessing
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.dripping import DRIPS, FOR_S, dripping
from tests.integration.console.fixtures import CLINICIAN, OFFICER, House, build
from tests.integration.node.test_break_glass_outage import log_down
from tests.receiver import receiver
from twinward.access import emergency_follow_up
from twinward.access.emergencies import CHANGE, MOST_PATIENTS
from twinward.access.emergency_follow_up import TRIES, FollowUp, Webhook
from twinward.access.errors import AccessDenied, EmergencyOver, PermitInvalid, TooManyEmergencies
from twinward.access.interfaces import AccessRequest, Permit, Principal
from twinward.audit.events import codec
from twinward.audit.models import AccessEvent
from twinward.core.clock import FixedClock
from twinward.core.errors import BadInput, Conflict, NotFound, Unavailable
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId
from twinward.node import Node, open_node
from twinward_contracts.bindings import BreakGlass
from twinward_ledger.errors import ChainUnavailable

WHY = "unconscious in the ambulance"
HOUR_MS = 3_600_000
COLLEAGUE = Principal("dr-kim", Role.CLINICIAN, "Dr. Kim", "surgery")
TWINS = [TwinId(f"0199e0c2-0000-7000-8000-{number:012x}") for number in range(12)]


@pytest.fixture(scope="module")
def module_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = build(tmp_path_factory.mktemp("emergencies") / "home", patients=2, clock=FixedClock())
    yield made
    made.node.close()


@pytest.fixture
def house(module_house: House) -> House:
    """The same node, a day on: no emergency of another test runs or counts."""
    forward(module_house.node, 24 * HOUR_MS)
    module_house.node.emergencies.end_due()
    for one in module_house.node.emergencies.all(officers(module_house.node)):
        if not one.finding:
            module_house.node.emergencies.review(officers(module_house.node), one.name, justified=True, note=WHY)
    module_house.node.follow_up.do()
    return module_house


def forward(node: Node, milliseconds: int) -> None:
    assert isinstance(node.clock, FixedClock)
    node.clock.advance(milliseconds)


def emergency(twin: TwinId, who: Principal = CLINICIAN, **more: Any) -> AccessRequest:
    categories = frozenset({Category.PSYCHIATRY})
    return AccessRequest(who, Action.READ, Purpose.EMERGENCY, twin, categories, more.pop("why", WHY), **more)


def officers(node: Node) -> Permit:
    return node.access.decide(AccessRequest(OFFICER, Action.AUDIT, Purpose.COMPLIANCE))


def events(node: Node, before: int) -> list[AccessEvent]:
    entries = range(before, node.log.store.size())
    opened = [node.audit.sealer.open(index, node.log.store.entry(index))[1] for index in entries]
    return [codec.decode(one.event, node.log.origin) for one in opened if one is not None]


def phases(node: Node, before: int) -> list[tuple[str, str]]:
    """Who, and which phase of an emergency, of what was logged since."""
    found = [(one.agent, dict(one.detail).get("phase", one.action.value)) for one in events(node, before)]
    return [one for one in found if one[1] != "audit"]


# --- the time box -------------------------------------------------------------------------------------------
def test_an_emergency_begins_and_ends_with_an_event_and_every_access_names_it(house: House) -> None:
    node, before = house.node, house.size()
    for _ in range(2):
        node.access.decide(emergency(house.twins[0]))
    forward(node, HOUR_MS - 1)
    node.access.decide(emergency(house.twins[0]))
    assert node.emergencies.end_due() == 0
    forward(node, 1)
    assert (node.emergencies.end_due(), node.emergencies.end_due()) == (1, 0)
    logged = events(node, before)
    assert phases(node, before) == [("dr-lee", "start"), *[("dr-lee", "read")] * 3, ("node", "stop")]
    start, stop = dict(logged[0].detail), dict(logged[-1].detail)
    assert (start["justification"], stop["ended"]) == (WHY, "time")
    assert {dict(one.detail)["emergency"] for one in logged} == {start["emergency"]}
    assert {one.twin for one in logged} == {house.twins[0]}
    node.access.decide(emergency(house.twins[0]))  # it goes on: a new one, with its own start
    assert phases(node, before)[-2:] == [("dr-lee", "start"), ("dr-lee", "read")]


def test_a_clinician_ends_only_what_is_theirs_and_only_once(house: House) -> None:
    node = house.node
    node.access.decide(emergency(house.twins[0]))
    name = node.emergencies.all(officers(node))[0].name
    assert node.emergencies.own(COLLEAGUE, name) is None
    with pytest.raises(NotFound):
        node.emergencies.stop(COLLEAGUE, name)
    before = house.size()
    node.emergencies.stop(CLINICIAN, name)
    assert phases(node, before) == [("dr-lee", "stop")]
    with pytest.raises(Conflict):
        node.emergencies.stop(CLINICIAN, name)
    forward(node, 2 * HOUR_MS)
    assert node.emergencies.end_due() == 0


def test_what_follows_a_twin_does_not_begin_an_emergency_anew(house: House) -> None:
    node, follow = house.node, emergency(house.twins[0], detail=(CHANGE,))
    with pytest.raises(EmergencyOver):
        node.access.decide(follow)
    node.access.decide(emergency(house.twins[0]))
    node.access.decide(follow)
    forward(node, HOUR_MS)
    with pytest.raises(EmergencyOver, match="has ended"):
        node.access.decide(follow)
    assert node.access.decide_many([follow]) == [None]


# --- the limit ----------------------------------------------------------------------------------------------
def test_a_clinician_opens_so_many_patients_and_no_more_until_the_window_has_passed(house: House) -> None:
    node = house.node
    for twin in TWINS[:5]:
        node.access.decide(emergency(twin))
    before = house.size()
    with pytest.raises(TooManyEmergencies, match="5 patients") as refused:
        node.access.decide(emergency(TWINS[5]))
    assert refused.value.http_status == 429
    assert "twinward access allow" in refused.value.hint
    (event,) = events(node, before)
    assert (event.decision, event.twin, event.purpose) == ("deny", TWINS[5], Purpose.EMERGENCY)
    node.access.decide(emergency(TWINS[0]))  # whoever is open stays so
    node.access.decide(emergency(TWINS[5], COLLEAGUE))  # and a colleague is there
    forward(node, HOUR_MS)
    node.access.decide(emergency(TWINS[5]))


def test_many_at_once_are_counted_one_by_one(house: House) -> None:
    node = house.node
    permits = node.access.decide_many([emergency(twin) for twin in (*TWINS[:7], *TWINS[:2])])
    assert [permit is not None for permit in permits] == [*[True] * 5, False, False, True, True]
    assert node.access.decide_many([emergency(TWINS[7])]) == [None]


def test_an_officer_raises_the_limit_for_one_or_for_everybody_for_a_time(house: House) -> None:
    node, permit = house.node, officers(house.node)
    node.emergencies.allow(permit, CLINICIAN.id, patients=8, for_s=600)
    assert sum(one is not None for one in node.access.decide_many([emergency(twin) for twin in TWINS])) == 8
    assert sum(one is not None for one in node.access.decide_many([emergency(t, COLLEAGUE) for t in TWINS])) == 5
    node.emergencies.allow(permit, "*", patients=10, for_s=600)
    assert sum(one is not None for one in node.access.decide_many([emergency(twin) for twin in TWINS])) == 10
    forward(node, 600_001)
    with pytest.raises(TooManyEmergencies):
        node.access.decide(emergency(TWINS[11]))
    for patients, for_s in ((0, 600), (MOST_PATIENTS + 1, 600), (8, 59), (8, 86_401)):
        with pytest.raises(BadInput):
            node.emergencies.allow(officers(node), CLINICIAN.id, patients=patients, for_s=for_s)


def test_only_a_permit_to_audit_reads_reviews_and_allows(house: House) -> None:
    node = house.node
    wrong = node.access.decide(AccessRequest(CLINICIAN, Action.READ, Purpose.TREATMENT, house.twins[0]))
    with pytest.raises(PermitInvalid):
        node.emergencies.all(wrong)
    with pytest.raises(PermitInvalid):
        node.emergencies.allow(wrong, CLINICIAN.id, patients=8, for_s=600)
    with pytest.raises(PermitInvalid):
        node.emergencies.review(wrong, "x", justified=True, note=WHY)


def test_the_limit_and_the_time_box_outlive_an_outage_of_the_log(house: House) -> None:
    node = house.node
    with log_down(house):
        for twin in TWINS[:5]:
            node.access.decide(emergency(twin))
        with pytest.raises(Unavailable):  # the refusal cannot be logged, and is none the less one
            node.access.decide(emergency(TWINS[5]))
        assert node.emergencies.counts().open == 5
        node.follow_up.do()
    before = house.size()
    node.audit.checkpoint_and_anchor()
    with pytest.raises(TooManyEmergencies):
        node.access.decide(emergency(TWINS[5]))
    forward(node, HOUR_MS)
    assert node.emergencies.end_due() == 5
    assert phases(node, before).count(("dr-lee", "start")) == 5


def _sweep(home: str, twins: list[str], counted: Any) -> None:
    with open_node(Path(home), clock=FixedClock(FixedClock().now_ms() + 900 * 24 * HOUR_MS)) as node:
        done = 0
        for twin in twins:
            try:
                node.access.decide(emergency(TwinId(twin)))
                done += 1
            except AccessDenied:
                pass
        counted.put(done)


@pytest.mark.slow
def test_two_processes_at_once_open_no_more_than_one_and_each_end_is_logged_once(house: House) -> None:
    context = multiprocessing.get_context("spawn")
    counted = context.Queue()
    home = str(house.node.settings.home)
    workers = [context.Process(target=_sweep, args=(home, some, counted)) for some in (TWINS[:6], TWINS[6:])]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert counted.get() + counted.get() == 5
    forward(house.node, 901 * 24 * HOUR_MS)
    before = house.size()
    with open_node(house.node.settings.home, clock=house.node.clock) as other:  # knows what was begun elsewhere
        threads = [threading.Thread(target=one.emergencies.end_due) for one in (other, house.node)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert phases(house.node, before) == [("node", "stop")] * 5


# --- the contract and the review ----------------------------------------------------------------------------
def contract(node: Node) -> BreakGlass:
    return node.consortium.break_glass()


def test_an_emergency_is_declared_reviewed_and_closed_on_the_contract(house: House) -> None:
    node = house.node
    node.access.decide(emergency(house.twins[0]))
    one = node.emergencies.all(officers(node))[0]
    before = house.size()
    node.follow_up.do()
    node.follow_up.do()
    assert phases(node, before) == [("node", "declared")]
    one = node.emergencies.all(officers(node))[0]
    declared = contract(node).declaration(one.commitment)
    assert declared is not None
    assert declared.reviewed_at_s is None
    assert one.deadline_ms == declared.deadline_s * 1000
    # the embedded chain's blocks are a second apart at least, so many of them are ahead of a clock that stands still
    assert abs(one.deadline_ms - one.started_ms - 72 * HOUR_MS) < 60_000
    assert one.leaf_hash not in one.commitment  # nothing that the public log shows leads from one to the other
    assert node.emergencies.counts().unreviewed == 1
    with pytest.raises(BadInput):
        node.emergencies.review(officers(node), one.name, justified=False, note="ok")
    node.emergencies.review(officers(node), one.name, justified=False, note="she was never on duty that night")
    with pytest.raises(Conflict):
        node.emergencies.review(officers(node), one.name, justified=True, note="she was never on duty that night")
    node.follow_up.do()
    node.follow_up.do()
    assert phases(node, before)[1:] == [("officer", "review"), ("node", "closed")]
    declared = contract(node).declaration(one.commitment)
    assert declared is not None
    assert (declared.justified, declared.reviewed_late) == (False, False)
    assert contract(node).overdue() == []
    standing = node.emergencies.counts()
    assert (standing.unreviewed, standing.undeclared) == (0, 0)


def test_a_review_that_is_missing_at_the_deadline_is_overdue_and_then_late_for_ever(house: House) -> None:
    node = house.node
    node.access.decide(emergency(house.twins[0]))
    node.follow_up.do()
    forward(node, 73 * HOUR_MS)
    assert node.emergencies.counts().overdue == 1
    one = node.emergencies.all(officers(node))[0]
    node.emergencies.review(officers(node), one.name, justified=True, note="the patient was in shock")
    assert node.emergencies.counts().overdue == 0
    node.follow_up.do()
    one = node.emergencies.all(officers(node))[0]
    assert (one.closed, one.late) == (True, True)


def test_a_chain_that_is_down_stops_nothing_and_is_caught_up_with(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = house.node

    def down() -> BreakGlass:
        raise ChainUnavailable("no answer from the chain")

    with monkeypatch.context() as patched:
        patched.setattr(node.follow_up, "_contract", down)
        node.access.decide(emergency(house.twins[0]))
        node.follow_up.do()
        assert "no answer" in node.follow_up.problem
        one = node.emergencies.all(officers(node))[0]
        node.emergencies.review(officers(node), one.name, justified=True, note="the patient was in shock")
        node.follow_up.do()
        assert node.emergencies.counts().undeclared == 1
    node.follow_up.do()
    assert node.emergencies.counts().undeclared == 0
    assert node.follow_up.problem == ""


def test_a_declaration_that_was_sent_and_never_heard_of_is_not_sent_again(house: House) -> None:
    node = house.node
    node.access.decide(emergency(house.twins[0]))
    one = node.emergencies.all(officers(node))[0]
    contract(node).declare(node.follow_up.commitment(one.leaf_hash))
    before = house.size()
    node.follow_up.do()
    assert phases(node, before) == [("node", "declared")]


def test_a_consortium_founded_before_gets_the_contract_when_it_needs_it(tmp_path: Path) -> None:
    made = build(tmp_path / "home", patients=1)
    path = made.node.settings.home / "consortium.json"
    made.node.close()
    old = {name: value for name, value in json.loads(path.read_text()).items() if name != "break_glass"}
    path.write_text(json.dumps(old | {"consent_registry": "0x" + "00" * 20}))
    with open_node(made.node.settings.home) as node:
        node.follow_up.do()  # the day that `build` lets pass had an emergency
        (one,) = node.emergencies.all(officers(node))
        assert contract(node).declaration(one.commitment) is not None
    with open_node(made.node.settings.home) as node:
        assert contract(node).declaration(one.commitment) is not None
        before = node.log.store.size()
        node.follow_up.do()
        assert node.log.store.size() == before


# --- the alert ----------------------------------------------------------------------------------------------
def alerting(node: Node, url: str) -> FollowUp:
    lock = node.settings.home / "follow-up.lock"
    return FollowUp(node.emergencies, node.audit, node.consortium.break_glass, lock, Webhook(url, "St. Anna"))


def test_officers_are_told_once_and_neither_who_nor_whom(house: House) -> None:
    node = house.node
    with receiver() as server:
        follow_up = alerting(node, f"http://127.0.0.1:{server.server_port}/alerts")
        node.access.decide(emergency(house.twins[0]))
        follow_up.do()
        follow_up.do()
        (told,) = server.got
    one = node.emergencies.all(officers(node))[0]
    assert told == {
        "kind": "break-glass",
        "hospital": "St. Anna",
        "emergency": one.name,
        "page": "/console/emergencies",
    }
    assert one.told == "yes"


def test_a_receiver_whose_head_drips_is_given_up_in_time(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.node.access.decide(emergency(house.twins[0]))
    one = house.node.emergencies.all(officers(house.node))[0]
    monkeypatch.setattr(emergency_follow_up, "ALERT_TIMEOUT_S", 0.2)
    with dripping(DRIPS["head"]) as port:
        began = time.monotonic()
        with pytest.raises(Unavailable, match="the receiver of alerts does not answer"):
            Webhook(f"http://127.0.0.1:{port}/alerts", "St. Anna")(one)
        assert time.monotonic() - began < FOR_S / 2


def test_a_receiver_that_is_down_is_tried_again_a_few_times_and_its_silence_shows(house: House) -> None:
    node = house.node
    with receiver() as server:
        server.status = 500
        follow_up = alerting(node, f"http://127.0.0.1:{server.server_port}/alerts")
        node.access.decide(emergency(house.twins[0]))
        for _ in range(TRIES + 2):
            follow_up.do()
        assert len(server.got) == TRIES
    assert node.emergencies.counts().undelivered == 1
    gone = alerting(node, f"http://127.0.0.1:{server.server_port}/alerts")
    node.access.decide(emergency(TWINS[0]))
    gone.do()
    assert node.emergencies.counts().open == 2
    assert node.emergencies.counts().undeclared == 0

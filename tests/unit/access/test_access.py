"""Policy, consent, permits: what is refused is refused for the stated reason, and nothing is permitted unlogged."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import fields, replace
from itertools import product
from pathlib import Path

import pytest

from twinward.access.consent import NO_CONSENT, ConsentOutcome, ConsentStore, Provision
from twinward.access.consent_entry import parse_provisions
from twinward.access.errors import AccessDenied, ConsentInvalid, PermitInvalid, PermitWithdrawn, PolicyInvalid
from twinward.access.hours import NO_HOUR
from twinward.access.interfaces import NODE, AccessContext, AccessRequest, Permit, Principal
from twinward.access.permits import PermitAuthority
from twinward.access.policy import Facts, Policy
from twinward.access.service import Access
from twinward.audit.models import AccessEvent, LoggedEvent
from twinward.core.clock import FixedClock
from twinward.core.errors import NotFound, StoreAltered, Unavailable
from twinward.core.vocabulary import SENSITIVE, Action, Category, Purpose, Role, TwinId

ANN = TwinId("0199e0c2-0000-7000-8000-00000000000a")
BEN = TwinId("0199e0c2-0000-7000-8000-00000000000b")
CLINICIAN = Principal("dr-lee", Role.CLINICIAN, "Dr. Lee", "cardiology")
OFFICER = Principal("officer", Role.OFFICER)
VENDOR = Principal("acme", Role.VENDOR)
RESEARCHER = Principal("marie", Role.RESEARCHER)
SIMILARITY_YES = Provision(effect="permit", purposes=(Purpose.SIMILARITY,), categories=(Category.FEATURES,))


class Trail:
    """Keeps events in a list; refuses when it is told that its disk is full."""

    def __init__(self) -> None:
        self.events: list[AccessEvent] = []
        self.full = False

    def record(self, events: Sequence[AccessEvent]) -> list[LoggedEvent]:
        if self.full:
            raise Unavailable("no space left")
        first = len(self.events)
        self.events += events
        return [LoggedEvent(first + i, bytes(32), event) for i, event in enumerate(events)]


class Keys:
    """One key per twin, until it is shredded."""

    def __init__(self) -> None:
        self.shredded: set[TwinId | None] = set()

    def audit_key(self, twin: TwinId | None) -> bytes:
        if twin in self.shredded:
            raise NotFound("shredded")
        return (twin or "tenant").encode().ljust(32, b"\0")[-32:]

    def tag(self, label: str, value: str) -> bytes:
        return f"{label}{value}".encode().ljust(16, b"\0")[:16]


class House:
    def __init__(self, folder: Path) -> None:
        self.clock, self.trail, self.keys = FixedClock(), Trail(), Keys()
        self.path = folder / "consents.db"
        self.consents = ConsentStore(self.path, self.keys, self.clock)
        self.authority = PermitAuthority(self.clock)
        self.access = Access(Policy.load(), self.consents, self.trail, self.authority, self.clock)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def tamper(path: Path, statement: str, *values: object) -> None:
    """What whoever writes to the file can do, while the node has it open."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement, values)


def read(twin: TwinId = ANN, *categories: Category, purpose: Purpose = Purpose.TREATMENT, **more: str) -> AccessRequest:
    return AccessRequest(CLINICIAN, Action.READ, purpose, twin, frozenset(categories or (Category.LABS,)), **more)


def test_a_permit_exists_only_after_its_event(house: House) -> None:
    permit = house.access.decide(read())
    assert house.trail.events[permit.log_index].agent == "dr-lee"
    assert house.trail.events[permit.log_index].policy_hash == house.access.policy.hash
    house.authority.require(permit, action=Action.READ, twin=ANN, category=Category.LABS)


def test_a_log_that_cannot_be_written_permits_nothing(house: House) -> None:
    house.trail.full = True
    with pytest.raises(Unavailable):
        house.access.decide(read())
    with pytest.raises(Unavailable):
        house.access.decide_many([read()])


def test_a_refusal_is_logged_and_says_why(house: House) -> None:
    with pytest.raises(AccessDenied, match="no rule permits this") as refusal:
        house.access.decide(replace(read(), principal=VENDOR))
    event = house.trail.events[refusal.value.log_index]
    assert (event.decision, event.agent) == ("deny", "acme")


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": Action.WRITE, "twin": ANN, "category": Category.LABS},
        {"action": Action.READ, "twin": BEN, "category": Category.LABS},
        {"action": Action.READ, "twin": None, "category": Category.LABS},
        {"action": Action.READ, "twin": ANN, "category": Category.NOTES},
    ],
    ids=["action", "twin", "no twin", "category"],
)
def test_a_permit_covers_nothing_but_its_request(house: House, wrong: dict[str, object]) -> None:
    permit = house.access.decide(read())
    with pytest.raises(PermitInvalid, match="does not cover"):
        house.authority.require(permit, **wrong)  # type: ignore[arg-type]


def test_a_permit_expires(house: House) -> None:
    permit = house.access.decide(read())
    house.clock.advance(60_000)
    with pytest.raises(PermitInvalid, match="expired"):
        house.authority.require(permit, action=Action.READ, twin=ANN, category=Category.LABS)


def test_a_permit_cannot_be_widened_prolonged_or_brought_along(house: House) -> None:
    permit = house.access.decide(read())
    wider = replace(permit, request=read(ANN, Category.LABS, Category.PSYCHIATRY))
    longer = replace(permit, expires_at_ms=permit.expires_at_ms + 1)
    other_line = replace(permit, log_index=permit.log_index + 1)
    foreign = PermitAuthority(house.clock).issue(permit.request, permit.log_index)
    for forged in (wider, longer, other_line, foreign):
        with pytest.raises(PermitInvalid, match="not issued by this node"):
            house.authority.require(forged, action=Action.READ, twin=ANN, category=Category.LABS)


def test_every_field_of_a_permit_is_maced(house: House) -> None:
    """Whatever is altered, be it only what the log was told, the permit is void."""
    request = replace(read(justification="found unconscious in the lobby"), detail=(("mode", "gated"),))
    permit = house.authority.issue(request, 7)
    other = {
        "principal": replace(CLINICIAN, unit="oncology"),
        "action": Action.SEARCH,
        "purpose": Purpose.RESEARCH,
        "twin": BEN,
        "categories": frozenset({Category.NOTES}),
        "justification": "",
        "detail": (("mode", "matrix"),),
        "lasting": True,
    }
    assert other.keys() == {one.name for one in fields(AccessRequest)}
    forged = [replace(permit, request=replace(request, **{name: value})) for name, value in other.items()]
    forged += [replace(permit, consent_version=1), replace(permit, log_index=8), replace(permit, expires_at_ms=1 << 60)]
    for one in forged:
        asked = one.request
        with pytest.raises(PermitInvalid, match="not issued by this node"):
            house.authority.require(one, action=asked.action, twin=asked.twin, category=None)


def test_a_permit_ends_with_the_consent_it_was_given_under(house: House) -> None:
    permit, other = house.access.decide(read()), house.access.decide(read(BEN))
    elsewhere = ConsentStore(house.path, house.keys, house.clock)  # another process on the same home
    elsewhere.put(ANN, (Provision(effect="deny", roles=(Role.CLINICIAN,)),))
    with pytest.raises(PermitWithdrawn, match="consent says no"):
        house.authority.require(permit, action=Action.READ, twin=ANN, category=Category.LABS)
    house.authority.require(other, action=Action.READ, twin=BEN, category=Category.LABS)
    elsewhere.put(ANN, (Provision(effect="deny", categories=(Category.NOTES,)),))  # another consent, same answer
    house.authority.require(permit, action=Action.READ, twin=ANN, category=Category.LABS)


def test_what_is_watched_is_one_access_for_ten_minutes_and_ends_with_its_consent(house: House) -> None:
    def require() -> None:
        house.authority.require(permit, action=Action.READ, twin=ANN, category=Category.LABS)

    watched = replace(read(), lasting=True)
    permit = house.access.decide(watched)
    house.clock.advance(599_999)
    require()
    house.clock.advance(1)
    with pytest.raises(PermitInvalid, match="expired"):
        require()
    permit = house.access.decide(watched)
    house.access.set_consent(
        AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), ANN, (Provision(effect="deny", roles=(Role.CLINICIAN,)),)
    )
    with pytest.raises(PermitWithdrawn, match="consent says no"):
        require()
    glass = replace(watched, purpose=Purpose.EMERGENCY, justification="found unconscious in the lobby")
    assert house.access.decide(glass).expires_at_ms == house.clock.now_ms() + 60_000  # an emergency is never watched


def test_a_permit_ends_when_a_period_does(house: House) -> None:
    soon = house.clock.now_ms() + 500
    house.access.set_consent(
        AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), ANN, (Provision(effect="deny", valid_from_ms=soon),)
    )
    permit = house.access.decide(read())
    house.authority.require(permit, action=Action.READ, twin=ANN, category=Category.LABS)
    house.clock.advance(500)
    with pytest.raises(PermitInvalid, match="expired"):
        house.authority.require(permit, action=Action.READ, twin=ANN, category=Category.LABS)


def test_a_consent_of_another_process_bites_at_the_next_decision(house: House) -> None:
    house.access.decide(read())
    ConsentStore(house.path, house.keys, house.clock).put(ANN, (Provision(effect="deny"),))
    with pytest.raises(AccessDenied, match="consent forbids"):
        house.access.decide(read())


def test_decisions_of_many_together_are_those_of_each_alone(house: House) -> None:
    others = [TwinId(f"{ANN[:-1]}{number}") for number in range(4)]
    many = [read(twin) for twin in (ANN, BEN, *others)]
    ConsentStore(house.path, house.keys, house.clock).put(ANN, (Provision(effect="deny"),))
    twins = [permit.request.twin for permit in house.access.decide_parts(many)]
    assert twins == [BEN, *others]
    ConsentStore(house.path, house.keys, house.clock).put(BEN, (Provision(effect="deny"),))
    assert [permit.request.twin for permit in house.access.decide_parts(many)] == others
    tamper(house.path, "UPDATE consent SET twin = ? WHERE twin = ?", others[0], BEN)
    with pytest.raises(StoreAltered, match="altered"):
        ConsentStore(house.path, house.keys, house.clock).fetch([ANN, BEN, *others])
    house.consents.fetch(others)
    with pytest.raises(StoreAltered, match="altered"):
        house.consents.current(others[0])
    assert house.consents.current(others[1]) == NO_CONSENT


def test_no_to_research_and_no_to_labs_keep_a_patient_from_vendors(house: House) -> None:
    cohort = AccessRequest(NODE, Action.COHORT, Purpose.SIMILARITY, ANN, frozenset({Category.FEATURES}))
    export = AccessRequest(VENDOR, Action.EXPORT, Purpose.SIMILARITY, ANN, frozenset({Category.VITALS}))
    yes = Provision(effect="permit")
    house.access.set_consent(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), ANN, (yes,))
    assert None not in house.access.decide_many([cohort, export])
    house.access.set_consent(
        AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT),
        ANN,
        (yes, Provision(effect="deny", purposes=(Purpose.RESEARCH,))),
    )
    assert house.access.decide_many([cohort, export]) == [None, None]
    house.access.set_consent(
        AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT),
        ANN,
        (yes, Provision(effect="deny", categories=(Category.LABS,))),
    )
    assert [permit is None for permit in house.access.decide_many([cohort, export])] == [True, False]


def test_an_emergency_passes_where_nobody_can_say_what_consent_is(house: House) -> None:
    house.access.set_consent(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), ANN, (SIMILARITY_YES,))
    tamper(house.path, "DELETE FROM consent")
    with pytest.raises(StoreAltered):
        house.access.decide(read())
    with pytest.raises(AccessDenied):
        house.access.decide(read(ANN, purpose=Purpose.EMERGENCY))  # no justification
    house.access.decide(read(ANN, purpose=Purpose.EMERGENCY, justification="found unconscious in the lobby"))


def test_a_permit_never_shows_its_capability(house: House) -> None:
    permit = house.access.decide(read())
    assert permit.capability.hex() not in repr(permit)
    assert "capability" not in repr(permit)


def test_vendors_and_studies_have_nothing_without_consent(house: House) -> None:
    cohort = AccessRequest(NODE, Action.COHORT, Purpose.SIMILARITY, ANN, frozenset({Category.FEATURES}))
    train = AccessRequest(RESEARCHER, Action.TRAIN, Purpose.RESEARCH, ANN, frozenset({Category.MONITORING}))
    assert house.access.decide_many([cohort, train]) == [None, None]
    house.access.set_consent(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), ANN, (SIMILARITY_YES,))
    assert [permit is not None for permit in house.access.decide_many([cohort, train])] == [True, False]


def test_revocation_bites_at_the_next_decision(house: House) -> None:
    cohort = AccessRequest(NODE, Action.COHORT, Purpose.SIMILARITY, ANN, frozenset({Category.FEATURES}))
    house.access.set_consent(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), ANN, (SIMILARITY_YES,))
    house.access.decide(cohort)
    house.access.set_consent(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), ANN, ())
    with pytest.raises(AccessDenied):
        house.access.decide(cohort)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.NODE])
@pytest.mark.parametrize("purpose", list(Purpose))
def test_only_the_node_itself_reads_and_collects_features_without_being_a_carer(
    house: House, role: Role, purpose: Purpose
) -> None:
    """An account called ``node`` is not the node: the role decides, and no account can have it."""
    house.access.set_consent(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), ANN, (SIMILARITY_YES,))
    somebody = Principal("node", role, "this node")
    features = frozenset({Category.FEATURES})
    for action in (Action.READ, Action.COHORT):
        permitted = house.access.check(AccessRequest(somebody, action, purpose, BEN, features)).permitted
        assert permitted is (action is Action.READ and role is Role.CLINICIAN and purpose is Purpose.TREATMENT)
        assert house.access.check(AccessRequest(NODE, Action.COHORT, Purpose.SIMILARITY, ANN, features)).permitted
    assert house.access.check(AccessRequest(NODE, Action.READ, Purpose.RECORD_MANAGEMENT, BEN, features)).permitted


@pytest.mark.parametrize("source", [Category.DEMOGRAPHICS, Category.VITALS, Category.LABS])
def test_a_no_to_what_features_come_from_is_a_no_to_them(house: House, source: Category) -> None:
    deny = Provision(effect="deny", categories=(source,))
    house.access.set_consent(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), ANN, (SIMILARITY_YES, deny))
    features = frozenset({Category.FEATURES})
    for who, action, purpose in (
        (CLINICIAN, Action.READ, Purpose.TREATMENT),
        (NODE, Action.COHORT, Purpose.SIMILARITY),
        (VENDOR, Action.MATCH, Purpose.SIMILARITY),
        (OFFICER, Action.EXPORT, Purpose.PATIENT_REQUEST),
    ):
        assert not house.access.check(AccessRequest(who, action, purpose, ANN, features)).permitted
    for other in {Category.DEMOGRAPHICS, Category.VITALS, Category.LABS} - {source}:
        part = AccessRequest(CLINICIAN, Action.READ, Purpose.TREATMENT, ANN, features | {other})
        assert house.access.check(part).permitted, "the part of them that comes from elsewhere may be seen"
    # Bringing them up to date shows them to nobody.
    assert house.access.check(AccessRequest(NODE, Action.READ, Purpose.RECORD_MANAGEMENT, ANN, features)).permitted
    everything = Provision(effect="deny", roles=(Role.SYSTEM,))  # consents from before the node had its own role
    house.access.set_consent(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), ANN, (everything,))
    assert not house.access.check(AccessRequest(NODE, Action.READ, Purpose.RECORD_MANAGEMENT, ANN, features)).permitted


def test_being_told_of_and_being_exported_are_different_permissions(house: House) -> None:
    """Consent to features lets a vendor be told of a patient, and opens no record; consent to labs tells of nobody."""
    for category, told, exported in ((Category.FEATURES, True, False), (Category.LABS, False, True)):
        yes = Provision(effect="permit", purposes=(Purpose.SIMILARITY,), categories=(category,))
        house.access.set_consent(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), ANN, (yes,))
        match = AccessRequest(VENDOR, Action.MATCH, Purpose.SIMILARITY, ANN, frozenset({Category.FEATURES}))
        export = AccessRequest(VENDOR, Action.EXPORT, Purpose.SIMILARITY, ANN, frozenset({Category.LABS}))
        assert house.access.check(match).permitted is told
        assert house.access.check(export).permitted is exported
    without_matches = Policy(Policy.load().text.replace('action == Action::"match"', 'action == Action::"nothing"'))
    house.access.policy = without_matches
    house.access.set_consent(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), ANN, (Provision(effect="permit"),))
    assert not house.access.check(match).permitted
    assert house.access.check(export).permitted


def test_consent_has_a_period(house: House) -> None:
    until = house.clock.now_ms() + 1000
    house.access.set_consent(
        AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT),
        ANN,
        (SIMILARITY_YES.model_copy(update={"valid_until_ms": until}),),
    )
    cohort = AccessRequest(NODE, Action.COHORT, Purpose.SIMILARITY, ANN, frozenset({Category.FEATURES}))
    house.access.decide(cohort)
    house.clock.advance(1000)
    with pytest.raises(AccessDenied):
        house.access.decide(cohort)


def test_a_patients_no_binds_clinicians_and_only_an_emergency_breaks_it(house: House) -> None:
    house.access.set_consent(
        AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), ANN, (Provision(effect="deny", actors=("dr-lee",)),)
    )
    with pytest.raises(AccessDenied, match="consent forbids"):
        house.access.decide(read())
    with pytest.raises(AccessDenied):
        house.access.decide(read(purpose=Purpose.EMERGENCY))  # no justification
    house.access.decide(read(purpose=Purpose.EMERGENCY, justification="found unconscious in the lobby"))
    assert dict(house.trail.events[-1].detail)["justification"] == "found unconscious in the lobby"


def test_psychiatry_needs_an_explicit_yes(house: House) -> None:
    with pytest.raises(AccessDenied, match="explicit consent"):
        house.access.decide(read(ANN, Category.LABS, Category.PSYCHIATRY))
    house.access.set_consent(
        AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), ANN, (Provision(effect="permit", roles=(Role.CLINICIAN,)),)
    )
    house.access.decide(read(ANN, Category.LABS, Category.PSYCHIATRY))


@pytest.mark.parametrize("category", sorted(SENSITIVE))
@pytest.mark.parametrize(
    ("principal", "action", "purpose"),
    [
        (CLINICIAN, Action.READ, Purpose.TREATMENT),
        (CLINICIAN, Action.SEARCH, Purpose.TREATMENT),
        (OFFICER, Action.EXPORT, Purpose.PATIENT_REQUEST),
        (OFFICER, Action.EXPORT, Purpose.RECORD_MANAGEMENT),
    ],
)
def test_sensitive_records_are_neither_read_nor_searched_nor_exported_without_an_explicit_yes(
    house: House, principal: Principal, action: Action, purpose: Purpose, category: Category
) -> None:
    asked = AccessRequest(principal, action, purpose, ANN, frozenset({Category.LABS, category}))
    with pytest.raises(AccessDenied, match="explicit consent"):
        house.access.decide(asked)
    with pytest.raises(AccessDenied, match="explicit consent"):
        house.access.decide(replace(asked, categories=frozenset({category})))
    house.access.decide(replace(asked, categories=frozenset({Category.LABS})))
    house.access.set_consent(
        AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT),
        ANN,
        (Provision(effect="permit", categories=(Category.LABS, category)),),
    )
    house.access.decide(asked)


def test_patients_read_their_own_twin_and_nobody_elses(house: House) -> None:
    ann = Principal("ann", Role.PATIENT, own_twin=ANN)
    own = AccessRequest(ann, Action.READ, Purpose.PATIENT_REQUEST, ANN, frozenset({Category.LABS}))
    house.access.decide(own)
    with pytest.raises(AccessDenied):
        house.access.decide(replace(own, twin=BEN))


@pytest.mark.parametrize(
    "principal",
    [
        Principal(f"patient:{ANN}", Role.PATIENT),
        Principal("ann", Role.PATIENT, own_twin=BEN),
        Principal("ann", Role.RESEARCHER, own_twin=ANN),
        Principal(ANN, Role.PATIENT),
    ],
)
@pytest.mark.parametrize("action", [Action.READ, Action.EXPORT, Action.AUDIT, Action.CONSENT])
def test_only_the_tie_makes_a_record_ones_own(house: House, principal: Principal, action: Action) -> None:
    with pytest.raises(AccessDenied):
        house.access.decide(AccessRequest(principal, action, Purpose.PATIENT_REQUEST, ANN, frozenset({Category.LABS})))
    with pytest.raises(AccessDenied):
        house.access.decide(AccessRequest(principal, action, Purpose.PATIENT_REQUEST))


def test_nobody_but_an_officer_sets_consent_and_a_batch_is_all_or_nothing(house: House) -> None:
    with pytest.raises(AccessDenied):
        house.access.set_consents(
            AccessContext(VENDOR, Purpose.RECORD_MANAGEMENT), [(ANN, (SIMILARITY_YES,)), (BEN, (SIMILARITY_YES,))]
        )
    assert house.access.consent_of(ANN) == NO_CONSENT
    assert house.trail.events[-1].decision == "deny"


def test_consents_are_sealed_versioned_and_survive_reopening(house: House) -> None:
    house.access.set_consent(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), ANN, (SIMILARITY_YES,))
    house.access.set_consent(
        AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT),
        ANN,
        (SIMILARITY_YES, Provision(effect="deny", categories=(Category.PSYCHIATRY,))),
    )
    house.consents.close()
    on_disk = b"".join(file.read_bytes() for file in house.path.parent.iterdir())
    assert b"psychiatry" not in on_disk
    assert b"provisions" not in on_disk
    again = ConsentStore(house.path, house.keys, house.clock)
    assert again.current(ANN).version == 2
    assert len(again.current(ANN).provisions) == 2


def test_an_altered_consent_fails_closed(house: House) -> None:
    house.access.set_consent(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), ANN, (SIMILARITY_YES,))
    tamper(house.path, "UPDATE consent SET twin = ?", BEN)
    for twin in (ANN, BEN):
        with pytest.raises(StoreAltered, match="altered"):
            house.consents.current(twin)
        with pytest.raises(StoreAltered, match="altered"):
            ConsentStore(house.path, house.keys, house.clock).current(twin)


def test_all_consents_are_held_against_what_was_set_and_forgotten(house: House) -> None:
    context = AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT)
    house.access.set_consents(context, [(ANN, (SIMILARITY_YES,)), (BEN, (SIMILARITY_YES,))])
    house.access.set_consent(context, ANN, ())
    house.consents.forget(BEN)
    assert house.consents.verify() == 4
    tamper(house.path, "DELETE FROM consent WHERE version = 1")
    with pytest.raises(StoreAltered, match="rows are missing"):
        house.consents.verify()


def test_a_shredded_twins_consent_is_gone(house: House) -> None:
    house.access.set_consent(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), ANN, (SIMILARITY_YES,))
    house.keys.shredded.add(ANN)
    assert ConsentStore(house.path, house.keys, house.clock).current(ANN) == NO_CONSENT
    house.consents.forget(ANN)
    assert house.consents.current(ANN) == NO_CONSENT


@pytest.mark.parametrize("text", ["permit (principal", "", "permit (principal, action, resource);\x00"])
def test_a_policy_that_does_not_parse_never_permits(text: str) -> None:
    try:
        policy = Policy(text)
    except PolicyInvalid:
        return

    assert not policy.evaluate(Facts("clinician", "read", "TREAT", "none", False, False, False, False, False)).permitted


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b'[{"effect":"maybe"}]', b'[{"effect":"permit","who":"all"}]', b"[NaN]", b"]}"]
)
def test_a_consent_nobody_can_understand_is_refused_by_name(raw: bytes) -> None:
    with pytest.raises(ConsentInvalid):
        parse_provisions(raw)


def test_whoever_is_not_named_by_a_rule_gets_nothing() -> None:
    """Without any consent, just these (role, action) pairs are permitted, for one purpose or another."""
    permitted = set()
    for role, action, purpose in product(Role, Action, Purpose):
        request = AccessRequest(Principal("x", role), action, purpose, ANN, frozenset({Category.LABS}))
        if POLICY.evaluate(Facts.of(request, ConsentOutcome.NONE, NO_HOUR)).permitted:
            permitted.add((role.value, action.value))
    assert permitted == {
        ("clinician", "read"), ("clinician", "search"), ("clinician", "write"), ("system", "write"), ("node", "write"),
        ("operator", "write"), ("officer", "audit"), ("officer", "consent"), ("officer", "shred"), ("vendor", "query"),
        ("officer", "export"), ("officer", "account"), ("officer", "policy"), ("node", "read"), ("node", "audit"),
        ("officer", "study"), ("researcher", "study"), ("officer", "review"), ("clinician", "review"),
        ("researcher", "review"), ("operator", "review"), ("officer", "contact"), ("vendor", "contact"),
        ("officer", "exchange"), ("operator", "exchange"), ("officer", "outbreak"), ("operator", "outbreak"),
    }  # fmt: skip


POLICY = Policy.load()


# --- asking: how decisions are put together ------------------------------------------------------------------------


def decisions(house: House) -> list[str]:
    return [event.decision for event in house.trail.events]


def deny_vitals(house: House) -> None:
    house.consents.put(ANN, (Provision(effect="deny", categories=(Category.VITALS,)),))


def test_a_context_asks_with_all_that_it_carries() -> None:
    context = AccessContext(CLINICIAN, Purpose.EMERGENCY, "found unconscious", (("via", "api"),))
    asked = context.request(Action.READ, ANN, [Category.LABS], detail=(("search", "Observation"),))
    detail = (("via", "api"), ("search", "Observation"))
    labs = frozenset({Category.LABS})
    assert asked == AccessRequest(CLINICIAN, Action.READ, Purpose.EMERGENCY, ANN, labs, "found unconscious", detail)


def test_require_logs_what_it_refuses_and_nothing_else(house: House) -> None:
    house.access.require(read(), read(BEN))
    assert decisions(house) == []
    with pytest.raises(AccessDenied) as refusal:
        house.access.require(read(), replace(read(), principal=VENDOR), replace(read(), principal=RESEARCHER))
    assert (decisions(house), refusal.value.log_index) == (["deny"], 0)
    assert house.trail.events[0].agent == "acme"


def test_require_any_is_content_with_one(house: House) -> None:
    refused = replace(read(), principal=VENDOR)
    house.access.require_any(refused, read())
    assert decisions(house) == []
    with pytest.raises(AccessDenied):
        house.access.require_any(refused, refused)
    assert decisions(house) == ["deny"]


def test_decide_all_gives_every_permit_or_raises(house: House) -> None:
    permits = house.access.decide_all([read(), read(BEN)])
    assert [permit.request.twin for permit in permits] == [ANN, BEN]
    assert house.access.decide_all([]) == []
    with pytest.raises(AccessDenied):
        house.access.decide_all([read(), replace(read(), principal=VENDOR)])


def test_decide_part_leaves_out_what_is_refused_and_asks_for_all_where_all_is(house: House) -> None:
    deny_vitals(house)
    (permit,) = house.access.decide_part(read(ANN, Category.LABS, Category.VITALS))
    assert permit.request.categories == {Category.LABS}
    assert decisions(house) == ["permit"]
    with pytest.raises(AccessDenied):
        house.access.decide_part(read(ANN, Category.VITALS))
    assert house.trail.events[-1].categories == (Category.VITALS,)


def test_decide_parts_passes_over_refusals_and_logs_them(house: House) -> None:
    deny_vitals(house)
    asked = [read(ANN, Category.VITALS), read(BEN, Category.LABS)]
    assert [permit.request.twin for permit in house.access.decide_parts(asked)] == [BEN]
    assert decisions(house) == ["deny", "permit"]


def test_decide_permitted_tries_nothing_that_a_dry_run_refuses(house: House) -> None:
    deny_vitals(house)
    asked = [read(ANN, Category.VITALS), read(BEN, Category.LABS)]
    assert [permit.request.twin for permit in house.access.decide_permitted(asked)] == [BEN]
    assert decisions(house) == ["permit"]


def test_further_categories_are_decided_one_by_one(house: House) -> None:
    deny_vitals(house)
    permit = house.access.decide(read())
    further = house.access.decide_further(permit, [Category.VITALS, Category.NOTES])
    assert [one.request.categories for one in further] == [{Category.NOTES}]
    assert sorted(decisions(house)[1:]) == ["deny", "permit"]


def test_what_is_opened_late_is_decided_anew_where_consent_changed(house: House) -> None:
    asked = read(ANN, Category.LABS, Category.VITALS)
    permit = house.access.decide(asked)

    def look(by: Permit) -> frozenset[Category]:
        for category in by.request.categories:
            house.authority.require(by, action=Action.READ, twin=ANN, category=category)
        return by.request.categories

    assert house.access.opened(permit, look) == [asked.categories]
    deny_vitals(house)
    assert house.access.opened(permit, look) == [{Category.LABS}]
    house.consents.put(ANN, (Provision(effect="deny"),))
    assert house.access.opened(permit, look) == []


def test_a_policy_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "latin.cedar").write_bytes(b"// \xe9")
    for path in (tmp_path / "absent.cedar", tmp_path, tmp_path / "latin.cedar"):
        with pytest.raises(PolicyInvalid, match="cannot be read"):
            Policy.load(path)


def test_a_refused_emergency_asks_for_words_only_where_words_would_help(house: House) -> None:
    """A vendor has no emergencies, justified or not: the reason is the policy's."""
    asked = AccessRequest(VENDOR, Action.READ, Purpose.EMERGENCY, ANN, frozenset({Category.LABS}), "")
    good = replace(asked, justification="patient unconscious in the emergency room, allergies unknown")
    assert house.access.check(asked).reason == house.access.check(good).reason
    assert house.access.check(replace(asked, principal=CLINICIAN)).reason.startswith(
        "an emergency needs a justification"
    )


def test_an_emergency_that_a_policy_permits_without_words_is_not_said_to_lack_them(house: House) -> None:
    everything = Policy('@id("everything") permit (principal, action, resource);')
    access = Access(everything, house.consents, house.trail, house.authority, house.clock)
    decision = access.check(read(purpose=Purpose.EMERGENCY))
    assert decision.permitted
    assert "justification" not in decision.reason


@pytest.mark.parametrize("spelled", ["principal.units", 'principal["units"]', 'principal["unit\\u{73}"]'])
def test_a_rule_on_units_gives_each_unit_its_own_verdict_however_it_is_spelled(spelled: str) -> None:
    policy = Policy(f'@id("a")\npermit (principal, action, resource) when {{ {spelled}.contains("ward 3") }};')
    facts = Facts("clinician", "read", "TREAT", "none", *[False] * 5)
    asked = [replace(facts, units=units) for units in ((), ("ward 3",), ("ward 4",), ("ward 3", "ward 4"))]
    assert [policy.evaluate(one).permitted for one in (*asked, *asked)] == [False, True, False, True] * 2

"""Policy, consent, permits: what is refused is refused for the stated reason, and nothing is permitted unlogged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward.access.capability import PermitAuthority
from twinward.access.consent import NO_CONSENT, ConsentStore, Provision, parse_provisions
from twinward.access.errors import AccessDenied, ConsentInvalid, PermitInvalid, PolicyInvalid
from twinward.access.interfaces import AccessRequest, Principal
from twinward.access.policy import Policy
from twinward.access.service import Access
from twinward.audit.interfaces import AccessEvent, LoggedEvent
from twinward.clock import FixedClock
from twinward.errors import NotFound, Unavailable
from twinward.vocabulary import Action, Category, Purpose, Role, TwinId

ANN = TwinId("0199e0c2-0000-7000-8000-00000000000a")
BEN = TwinId("0199e0c2-0000-7000-8000-00000000000b")
CLINICIAN = Principal("dr-lee", Role.CLINICIAN, "Dr. Lee", "cardiology")
OFFICER = Principal("officer", Role.OFFICER)
VENDOR = Principal("acme", Role.VENDOR)
SYSTEM = Principal("node", Role.SYSTEM)
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


def test_a_permit_never_shows_its_capability(house: House) -> None:
    permit = house.access.decide(read())
    assert permit.capability.hex() not in repr(permit)
    assert "capability" not in repr(permit)


def test_vendors_and_studies_have_nothing_without_consent(house: House) -> None:
    cohort = AccessRequest(SYSTEM, Action.COHORT, Purpose.SIMILARITY, ANN, frozenset({Category.FEATURES}))
    train = AccessRequest(RESEARCHER, Action.TRAIN, Purpose.RESEARCH, ANN, frozenset({Category.MONITORING}))
    assert house.access.decide_many([cohort, train]) == [None, None]
    house.access.set_consent(OFFICER, ANN, (SIMILARITY_YES,))
    assert [permit is not None for permit in house.access.decide_many([cohort, train])] == [True, False]


def test_revocation_bites_at_the_next_decision(house: House) -> None:
    cohort = AccessRequest(SYSTEM, Action.COHORT, Purpose.SIMILARITY, ANN, frozenset({Category.FEATURES}))
    house.access.set_consent(OFFICER, ANN, (SIMILARITY_YES,))
    house.access.decide(cohort)
    house.access.set_consent(OFFICER, ANN, ())
    with pytest.raises(AccessDenied):
        house.access.decide(cohort)


def test_consent_has_a_period(house: House) -> None:
    until = house.clock.now_ms() + 1000
    house.access.set_consent(OFFICER, ANN, (SIMILARITY_YES.model_copy(update={"valid_until_ms": until}),))
    cohort = AccessRequest(SYSTEM, Action.COHORT, Purpose.SIMILARITY, ANN, frozenset({Category.FEATURES}))
    house.access.decide(cohort)
    house.clock.advance(1000)
    with pytest.raises(AccessDenied):
        house.access.decide(cohort)


def test_a_patients_no_binds_clinicians_and_only_an_emergency_breaks_it(house: House) -> None:
    house.access.set_consent(OFFICER, ANN, (Provision(effect="deny", actors=("dr-lee",)),))
    with pytest.raises(AccessDenied, match="consent forbids"):
        house.access.decide(read())
    with pytest.raises(AccessDenied):
        house.access.decide(read(purpose=Purpose.EMERGENCY))  # no justification
    house.access.decide(read(purpose=Purpose.EMERGENCY, justification="found unconscious in the lobby"))
    assert dict(house.trail.events[-1].detail)["justification"] == "found unconscious in the lobby"


def test_psychiatry_needs_an_explicit_yes(house: House) -> None:
    with pytest.raises(AccessDenied, match="explicit consent"):
        house.access.decide(read(ANN, Category.LABS, Category.PSYCHIATRY))
    house.access.set_consent(OFFICER, ANN, (Provision(effect="permit", roles=(Role.CLINICIAN,)),))
    house.access.decide(read(ANN, Category.LABS, Category.PSYCHIATRY))


def test_patients_read_their_own_twin_and_nobody_elses(house: House) -> None:
    ann = Principal(f"patient:{ANN}", Role.PATIENT)
    own = AccessRequest(ann, Action.READ, Purpose.PATIENT_REQUEST, ANN, frozenset({Category.LABS}))
    house.access.decide(own)
    with pytest.raises(AccessDenied):
        house.access.decide(replace(own, twin=BEN))


def test_nobody_but_an_officer_sets_consent_and_a_batch_is_all_or_nothing(house: House) -> None:
    with pytest.raises(AccessDenied):
        house.access.set_consents(VENDOR, [(ANN, (SIMILARITY_YES,)), (BEN, (SIMILARITY_YES,))])
    assert house.access.consent_of(ANN) == NO_CONSENT
    assert house.trail.events[-1].decision == "deny"


def test_consents_are_sealed_versioned_and_survive_reopening(house: House) -> None:
    house.access.set_consent(OFFICER, ANN, (SIMILARITY_YES,))
    house.access.set_consent(
        OFFICER, ANN, (SIMILARITY_YES, Provision(effect="deny", categories=(Category.PSYCHIATRY,)))
    )
    house.consents.close()
    on_disk = b"".join(file.read_bytes() for file in house.path.parent.iterdir())
    assert b"psychiatry" not in on_disk
    assert b"provisions" not in on_disk
    again = ConsentStore(house.path, house.keys, house.clock)
    assert again.current(ANN).version == 2
    assert len(again.current(ANN).provisions) == 2


def test_an_altered_consent_fails_closed(house: House) -> None:
    house.access.set_consent(OFFICER, ANN, (SIMILARITY_YES,))
    house.consents._db.execute("UPDATE consent SET twin = ?", (BEN,))
    with pytest.raises(Unavailable, match="altered"):
        ConsentStore(house.path, house.keys, house.clock).current(BEN)


def test_a_shredded_twins_consent_is_gone(house: House) -> None:
    house.access.set_consent(OFFICER, ANN, (SIMILARITY_YES,))
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
    from twinward.access.policy import Facts

    assert not policy.evaluate(Facts("clinician", "read", "TREAT", "none", False, False, False, False)).permitted


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b'[{"effect":"maybe"}]', b'[{"effect":"permit","who":"all"}]', b"[NaN]", b"]}"]
)
def test_a_consent_nobody_can_understand_is_refused_by_name(raw: bytes) -> None:
    with pytest.raises(ConsentInvalid):
        parse_provisions(raw)


@given(st.sampled_from(list(Role)), st.sampled_from(list(Action)), st.sampled_from(list(Purpose)))
def test_whoever_is_not_named_by_a_rule_gets_nothing(role: Role, action: Action, purpose: Purpose) -> None:
    """Without any consent, only these (role, action) pairs are ever permitted."""
    from twinward.access.consent import ConsentOutcome
    from twinward.access.policy import Facts

    allowed = {
        ("clinician", "read"), ("clinician", "search"), ("clinician", "write"), ("system", "write"),
        ("operator", "write"), ("officer", "audit"), ("officer", "consent"), ("officer", "shred"), ("vendor", "query"),
            ("officer", "export"),
    }  # fmt: skip
    request = AccessRequest(Principal("x", role), action, purpose, ANN, frozenset({Category.LABS}))
    if POLICY.evaluate(Facts.of(request, ConsentOutcome.NONE)).permitted:
        assert (role.value, action.value) in allowed


POLICY = Policy.load()

"""What a patient's consent says: a no is read widely, a yes narrowly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward.access.consent import Consent, ConsentOutcome, Provision
from twinward.access.interfaces import AccessRequest, Principal
from twinward.core.vocabulary import DERIVED_FROM, HOLDS, Action, Category, Purpose, Role, TwinId, is_a
from twinward.features.schema import CARDIOMETABOLIC
from twinward.twins.state.states import category_of

ANN = TwinId("0199e0c2-0000-7000-8000-00000000000a")
NOW_MS = 1_767_225_600_000
ALL = Provision(effect="permit")


def outcome(
    *provisions: Provision,
    role: Role = Role.CLINICIAN,
    action: Action = Action.READ,
    purpose: Purpose = Purpose.TREATMENT,
    categories: tuple[Category, ...] = (Category.LABS,),
    at_ms: int = NOW_MS,
) -> ConsentOutcome:
    request = AccessRequest(Principal("x", role), action, purpose, ANN, frozenset(categories))
    return Consent(version=1, provisions=provisions).outcome(request, at_ms)


KINDS = [
    (Purpose.RESEARCH, Purpose.SIMILARITY),
    (Purpose.TREATMENT, Purpose.EMERGENCY),
    (Purpose.OPERATIONS, Purpose.COMPLIANCE),
    (Purpose.OPERATIONS, Purpose.RECORD_MANAGEMENT),
]


@pytest.mark.parametrize(("broader", "kind"), KINDS)
def test_no_to_a_purpose_is_no_to_every_kind_of_it(broader: Purpose, kind: Purpose) -> None:
    no = Provision(effect="deny", purposes=(broader,))
    assert outcome(ALL, no, purpose=kind) is ConsentOutcome.DENY
    assert outcome(ALL, no, purpose=broader) is ConsentOutcome.DENY
    no_kind = Provision(effect="deny", purposes=(kind,))
    assert outcome(ALL, no_kind, purpose=broader) is ConsentOutcome.PERMIT, "never to what it is a kind of"


@pytest.mark.parametrize(("broader", "kind"), KINDS)
def test_yes_to_a_purpose_is_yes_to_nothing_else(broader: Purpose, kind: Purpose) -> None:
    yes = Provision(effect="permit", purposes=(broader,))
    assert outcome(yes, purpose=broader) is ConsentOutcome.PERMIT
    assert outcome(yes, purpose=kind) is ConsentOutcome.NONE


def test_the_hierarchy_of_purposes_is_that_of_v3_actreason() -> None:
    kinds = {(one, other) for one in Purpose for other in Purpose if is_a(one, other) and one is not other}
    assert kinds == {(kind, broader) for broader, kind in KINDS}


@pytest.mark.parametrize(
    ("made", "source"),
    [(made, source) for made, of in (*DERIVED_FROM.items(), *HOLDS.items()) for source in sorted(of)],
)
def test_no_to_a_source_is_no_to_what_is_made_of_it(made: Category, source: Category) -> None:
    no = Provision(effect="deny", categories=(source,))
    assert outcome(ALL, no, categories=(made,)) is ConsentOutcome.DENY
    assert outcome(ALL, Provision(effect="deny", categories=(made,)), categories=(source,)) is ConsentOutcome.PERMIT
    assert outcome(ALL, no, categories=(made,), action=Action.WRITE) is ConsentOutcome.PERMIT, "nothing is shown"
    keeping_up = outcome(ALL, no, role=Role.NODE, purpose=Purpose.RECORD_MANAGEMENT, categories=(made,))
    assert keeping_up is ConsentOutcome.PERMIT, "the node brings up to date what it made, and shows it to nobody"
    yes = Provision(effect="permit", categories=(source,))
    assert outcome(yes, categories=(made,)) is ConsentOutcome.NONE, "a yes to the source is none to what is made of it"


def test_features_have_the_sources_that_the_schema_measures() -> None:
    coded = {Category.CONDITIONS, Category.MEDICATIONS, Category.PROCEDURES}
    assert DERIVED_FROM[Category.FEATURES] == {category_of(one.name) for one in CARDIOMETABOLIC.features} | coded


def test_no_to_vendors_keeps_a_patient_out_of_their_cohort() -> None:
    cohort = {"role": Role.NODE, "action": Action.COHORT, "purpose": Purpose.SIMILARITY}
    no = Provision(effect="deny", roles=(Role.VENDOR,))
    assert outcome(ALL, no, categories=(Category.FEATURES,), **cohort) is ConsentOutcome.DENY  # type: ignore[arg-type]
    yes = Provision(effect="permit", roles=(Role.VENDOR,))
    assert outcome(yes, categories=(Category.FEATURES,), **cohort) is ConsentOutcome.NONE  # type: ignore[arg-type]


@given(st.sets(st.sampled_from(list(Category)), min_size=1), st.sets(st.sampled_from(list(Category)), min_size=1))
def test_a_permit_counts_only_if_every_category_asked_for_is_covered(
    permitted: set[Category], asked: set[Category]
) -> None:
    found = outcome(Provision(effect="permit", categories=tuple(permitted)), categories=tuple(asked))
    assert found is (ConsentOutcome.PERMIT if asked <= permitted else ConsentOutcome.NONE)


def test_several_permits_may_cover_together_what_none_covers_alone() -> None:
    labs, notes = (Provision(effect="permit", categories=(one,)) for one in (Category.LABS, Category.NOTES))
    both = (Category.LABS, Category.NOTES)
    assert outcome(labs, notes, categories=both) is ConsentOutcome.PERMIT
    assert outcome(labs, categories=both) is ConsentOutcome.NONE
    assert outcome(labs, notes, categories=()) is ConsentOutcome.NONE, "asked for nothing is asked for everything"


def test_when_the_next_period_begins_or_ends() -> None:
    later = Provision(effect="deny", valid_from_ms=NOW_MS + 5, valid_until_ms=NOW_MS + 9)
    consent = Consent(version=1, provisions=(ALL, later))
    assert [consent.next_change(NOW_MS + at) for at in (0, 5, 9)] == [NOW_MS + 5, NOW_MS + 9, None]

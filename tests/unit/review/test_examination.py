"""Explanations and risk on generated days with planted snooping, and each template by itself."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from tests.snooping import DAY, a_day
from twinward.audit.models import IndexedAccess
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId
from twinward.review.care import AFTER_MS, BEFORE_MS, DAY_MS, Directory, care_of
from twinward.review.examination import examine, visits_of
from twinward.review.explanations import TEMPLATES, explain
from twinward.review.models import CareContext, CareLink, LinkKind, Staff, Visit
from twinward.review.risk import rank
from twinward.review.sampling import sample

TWIN = TwinId("t-1")
NOW_MS = 1_772_400_000_000  # 2026-03-01T21:20Z
LEE = {
    "resourceType": "Practitioner",
    "id": "lee",
    "identifier": [{"system": "urn:twinward:principal", "value": "dr-lee"}, {"system": "other", "value": "dr-evil"}],
    "name": [{"family": "Lée"}],
    "address": [{"line": ["1 High Street"], "city": "Town"}],
}
BY_REFERENCE = {"reference": "Practitioner/lee"}
BY_IDENTIFIER = {"identifier": {"system": "urn:twinward:principal", "value": "dr-lee"}}


def access(index: int = 0, **other: Any) -> IndexedAccess:
    one = IndexedAccess(
        index,
        NOW_MS,
        "dr-lee",
        Role.CLINICIAN,
        "Ward 4",
        Action.READ,
        Purpose.TREATMENT,
        TWIN,
        (Category.LABS,),
        True,
        "",
    )
    return replace(one, **other)


def visit(**other: Any) -> Visit:
    return visits_of([access(**other)])[0]


def explained_by(*resources: dict[str, Any], staff: Staff | None = None, **of: Any) -> str | None:
    directory = Directory([LEE])
    tied = replace(directory.staff, ties={"ann": TWIN, "ben": TwinId("another")})
    found = explain(visit(**of), care_of(TWIN, resources, directory), staff or tied)
    return found.template if found else None


def encounter(**other: Any) -> dict[str, Any]:
    base = {"resourceType": "Encounter", "period": {"start": "2026-02-27", "end": "2026-03-02"}}
    return base | other


@pytest.mark.parametrize("reference", [BY_REFERENCE, BY_IDENTIFIER])
@pytest.mark.parametrize(
    ("template", "resource"),
    [
        ("encounter", lambda who: encounter(participant=[{"individual": who}])),
        (
            "appointment",
            lambda who: {
                "resourceType": "Appointment",
                "status": "booked",
                "start": "2026-03-02T09:00:00Z",
                "participant": [{"actor": who}],
            },
        ),
        ("order", lambda who: {"resourceType": "ServiceRequest", "authoredOn": "2026-03-01", "requester": who}),
        ("order", lambda who: {"resourceType": "MedicationRequest", "authoredOn": "2026-03-01", "requester": who}),
        ("referral", lambda who: {"resourceType": "ServiceRequest", "authoredOn": "2026-03-01", "performer": [who]}),
        ("care team", lambda who: {"resourceType": "CareTeam", "participant": [{"member": who}]}),
        ("care team", lambda who: {"resourceType": "Patient", "generalPractitioner": [who]}),
    ],
)
def test_each_path_in_care_data_explains(template: str, resource: Any, reference: dict[str, Any]) -> None:
    assert explained_by(resource(reference)) == template
    assert explained_by(resource(reference), agent="dr-other") is None
    assert explained_by(resource({"reference": "Practitioner/other"})) is None


def test_a_unit_explains_whoever_works_there() -> None:
    there = encounter(location=[{"location": {"display": " ward 4 "}}])
    assert explained_by(there, agent="anybody") == "unit"
    assert explained_by(there, unit="Ward 5") is None
    assert explained_by(there, unit="") is None
    assert explained_by(encounter(location=[{"location": {"display": ""}}]), unit="") is None


def test_a_colleague_of_whoever_treats_is_explained() -> None:
    seen = encounter(participant=[{"individual": BY_REFERENCE}])
    staff = Staff(units={"dr-lee": "Ward 4"})
    assert explained_by(seen, agent="nurse", staff=staff) == "same unit as a treating colleague"
    assert explained_by(seen, agent="nurse", unit="Ward 5", staff=staff) is None
    assert explained_by(seen, agent="nurse", unit="", staff=Staff(units={"dr-lee": ""})) is None


def test_care_explains_from_a_week_before_to_a_month_after_and_no_longer() -> None:
    care = encounter(
        period={"start": "2026-03-01T00:00:00Z", "end": "2026-03-02T00:00:00Z"},
        participant=[{"individual": BY_REFERENCE}],
    )
    start, end = 1_772_323_200_000, 1_772_323_200_000 + DAY_MS
    for at_ms, met in (
        (start - BEFORE_MS, 1),
        (start - BEFORE_MS - 1, 0),
        (end + AFTER_MS - 1, 1),
        (end + AFTER_MS, 0),
    ):
        assert (explained_by(care, at_ms=at_ms) == "encounter") is bool(met)


@pytest.mark.parametrize(
    "resource",
    [
        encounter(participant="dr-lee"),
        encounter(participant=[None, 7, {"individual": "dr-lee"}, {"individual": {"display": "dr-lee"}}]),
        encounter(participant=[{"individual": {"identifier": {"system": "other", "value": "dr-lee"}}}]),
        encounter(period={}, participant=[{"individual": BY_REFERENCE}]),
        encounter(period={"start": "99999-01-01"}, participant=[{"individual": BY_REFERENCE}]),
        encounter(period="now", participant=[{"individual": BY_REFERENCE}]),
        {
            "resourceType": "Appointment",
            "status": "cancelled",
            "start": "2026-03-01",
            "participant": [{"actor": BY_REFERENCE}],
        },
        {"resourceType": "Observation", "performer": [BY_REFERENCE]},
        {"resourceType": None},
        {},
    ],
)
def test_what_is_not_understood_explains_nothing(resource: dict[str, Any]) -> None:
    assert explained_by(resource) is None


def test_an_identifier_of_another_system_is_nobodys_account() -> None:
    assert Directory([LEE]).account(BY_REFERENCE) == "dr-lee"
    assert explained_by(encounter(participant=[{"individual": BY_REFERENCE}]), agent="dr-evil") is None


@pytest.mark.parametrize(
    ("role", "purpose", "agent", "template"),
    [
        (Role.PATIENT, Purpose.PATIENT_REQUEST, "ann", "own record"),
        (Role.PATIENT, Purpose.PATIENT_REQUEST, "ben", None),
        (Role.PATIENT, Purpose.PATIENT_REQUEST, f"patient:{TWIN}", None),
        (Role.CLINICIAN, Purpose.TREATMENT, "ann", None),
        (Role.NODE, Purpose.RECORD_MANAGEMENT, "node", "the node itself"),
        (Role.SYSTEM, Purpose.RECORD_MANAGEMENT, "ward-3", "record keeping"),
        (Role.SYSTEM, Purpose.TREATMENT, "ward-3", None),
        (Role.VENDOR, Purpose.SIMILARITY, "acme", "consent"),
        (Role.OFFICER, Purpose.COMPLIANCE, "olga", "data office"),
        (Role.CLINICIAN, Purpose.TREATMENT, "dr-x", None),
    ],
)
def test_whoever_is_no_clinician_is_explained_by_their_duty(
    role: Role, purpose: Purpose, agent: str, template: str | None
) -> None:
    assert explained_by(role=role, purpose=purpose, agent=agent) == template


def test_a_refused_vendor_is_not_explained_by_consent() -> None:
    assert explained_by(role=Role.VENDOR, agent="acme", permitted=False) is None


@pytest.mark.parametrize(
    ("patient", "of", "reason"),
    [
        ({"name": [{"family": "LEE"}]}, {}, "surname"),
        ({"address": [{"line": ["1 high street"], "city": "TOWN"}]}, {}, "household"),
        ({"identifier": [{"system": "urn:twinward:principal", "value": "nurse"}]}, {}, "colleague"),
        ({"identifier": [{"system": "urn:twinward:principal", "value": "dr-lee"}]}, {}, "own record"),
        ({"meta": {"security": [{"code": "CEL"}]}}, {}, "guarded record"),
        ({}, {"at_ms": NOW_MS + 5 * 3600 * 1000}, "hour"),
        ({}, {"categories": (Category.PSYCHIATRY,)}, "sensitive"),
        ({}, {"purpose": Purpose.EMERGENCY}, "emergency"),
        ({}, {"permitted": False}, "refused"),
        ({}, {"action": Action.EXPORT}, "export"),
        ({}, {"unit": ""}, "no unit"),
    ],
)
def test_each_reason_is_found_and_weighs(patient: dict[str, Any], of: dict[str, Any], reason: str) -> None:
    directory = Directory([LEE])
    plain = {"resourceType": "Patient", "name": [{"family": "Miller"}]}
    others = [visits_of([access(n, twin=TwinId(f"o-{n}"), agent=f"a-{n}")])[0] for n in range(1, 20)]
    alike, there = visit(), visit(**of)

    def risk(one: Visit, resource: dict[str, Any]) -> Any:
        (found,) = rank([one], [one, *others], {TWIN: care_of(TWIN, [resource], directory)}, directory.staff)
        return found

    before, after = risk(alike, plain), risk(there, plain | patient)
    assert reason in {one.name for one in after.reasons} - {one.name for one in before.reasons}
    assert after.risk > before.risk
    assert all(0 < one.weight <= 0.7 for one in after.reasons)


def test_several_unexplained_patients_of_one_person_are_volume() -> None:
    many = visits_of(access(n, twin=TwinId(f"t-{n}")) for n in range(6))
    assert all("volume" in {one.name for one in found.reasons} for found in rank(many, many, {}, Staff()))
    few = many[:4]
    assert not any("volume" in {one.name for one in found.reasons} for found in rank(few, few, {}, Staff()))


def test_on_days_with_planted_snooping_care_explains_the_honest_and_the_queue_holds_the_snoops() -> None:
    """Measured over ten such days: 98.0 % explained, recall 0.955 at 50 a day, 32.9 of the 50 are honest."""
    honest = explained = planted = caught = 0
    for seed in (1, 2, 3):
        day = a_day(seed, visits=1500, people=160, patients=600)
        review = examine(DAY, day.visits, day.care, day.staff, seed=b"s", size=0)
        honest += len(day.honest)
        explained += sum(explain(one, day.care[one.twin], day.staff) is not None for one in day.honest)
        planted += len(day.planted)
        caught += len(day.planted & {one.visit.index for one in review.suspects[:50]})
        assert review.visits == len(day.visits)
    assert explained / honest >= 0.96
    assert caught / planted >= 0.85


def test_without_its_links_a_day_is_not_explained() -> None:
    """The test above can fail: with care data taken away nothing is explained."""
    day = a_day(1, visits=200, people=40, patients=80)
    bare = {twin: CareContext(twin) for twin in day.care}
    assert examine(DAY, day.visits, bare, Staff(), seed=b"", size=0).explained_share == 0


def test_the_sample_is_every_visits_alike_and_the_seeds_alone() -> None:
    visits = [visits_of([access(n, twin=TwinId(f"t-{n}"))])[0] for n in range(20)]
    drawn: Counter[int] = Counter()
    for number in range(2000):
        drawn.update(one.index for one in sample(visits, number.to_bytes(4, "big"), 5))
    assert all(420 < count < 580 for count in drawn.values())  # 500 expected, standard deviation 19
    shuffled = random.Random(1).sample(visits, 20)
    assert sample(visits, b"seed", 5) == sample(shuffled, b"seed", 5)
    assert sample(visits, b"seed", 5) != sample(visits, b"another", 5)
    assert len(sample(visits, b"seed", 50)) == 20


def test_every_template_has_its_words() -> None:
    assert all(name.strip() for name in TEMPLATES)
    link = CareLink(LinkKind.ENCOUNTER, "dr-lee", 0, 2**62)
    found = explain(visit(), CareContext(TWIN, (link,)), Staff())
    assert found is not None
    assert found.sentence == "dr-lee took part in an encounter with the patient"

"""The walks of ``Twins`` on the real vault, gate and log."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.integration.fhir.hospital import (
    CLINICIAN,
    RESEARCH_YES,
    RESEARCHER,
    SIMILARITY_YES,
    SYSTEM,
    TENANT,
    VENDOR,
    Hospital,
)
from twinward.access.consent import Provision
from twinward.access.errors import AccessDenied, NotARecord, PermitInvalid
from twinward.access.interfaces import AccessContext, AccessControl, AccessRequest, Decision, Permit, Principal
from twinward.core.errors import NotFound
from twinward.core.vocabulary import SENSITIVE, Action, Category, Purpose, Role, TwinId
from twinward.features.derivation import Measurement, Person
from twinward.features.icu_signals import SIGNALS
from twinward.features.monitored_stays import encode_stay
from twinward.features.signal_schema import ICU, table_schema
from twinward.fhir.bulk.synthetic_patients import generate_cohort
from twinward.node.study_source import measured_in, recorded_in
from twinward.similarity.interfaces import FeatureSource
from twinward.twins.errors import BelongsToAnother, RecordNotFound, TwinNotFound
from twinward.twins.models import DIRECTORY, FEATURES_TYPE, IfKept, ImportRecord, PatientImport, Receipt
from twinward.twins.read.cohorts import CohortReader, StayReader
from twinward.twins.service import Twins
from twinward.vault.interfaces import Record
from twinward.vault.service import Vault

DAY_MS = 86_400_000


def record(reference: str, content: bytes = b"{}", category: Category = Category.LABS) -> ImportRecord:
    return ImportRecord(reference, reference.partition("/")[0], category, content)


def patient(name: str = "p", *more: ImportRecord, measured: Sequence[Measurement] = ()) -> PatientImport:
    own = record(f"Patient/{name}", b'{"name":"' + name.encode() + b'"}', Category.DEMOGRAPHICS)
    return PatientImport(f"Patient/{name}", (own, *more), tuple(measured), Person(female=True))


def test_a_first_import_makes_a_twin_and_logs_the_write_first(hospital: Hospital) -> None:
    receipt = hospital.twins.ingest(
        AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), patient("p", record("Observation/o", b"1.10"))
    )
    assert receipt.created
    assert [(one.reference, one.change, one.version) for one in receipt.stored] == [
        ("Patient/p", "created", 1),
        ("Observation/o", "created", 1),
        (f"FeatureVector/{receipt.twin}", "created", 1),
    ]
    event = hospital.trail.events[0]
    assert (event.action, event.twin, event.agent) == (Action.WRITE, receipt.twin, "node")
    assert set(event.categories) == {Category.DEMOGRAPHICS, Category.LABS, Category.FEATURES}
    assert len(hospital.trail.events) == hospital.trail.log.store.size() == 1
    assert hospital.twins.all() == [receipt.twin]
    assert hospital.twins.find("Observation/o") == receipt.twin


def test_a_changed_record_is_a_new_version_and_the_rest_stays(hospital: Hospital) -> None:
    first = hospital.twins.ingest(
        AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT),
        patient("p", record("Observation/o", b'{"is":"old"}'), record("Observation/q")),
    )
    changed = patient("p", record("Observation/o", b'{"is":"new"}'), record("Observation/q"), record("Observation/r"))
    second = hospital.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), changed)
    assert (second.twin, second.created) == (first.twin, False)
    changes = {one.reference: (one.change, one.version) for one in second.stored}
    assert changes["Patient/p"] == ("unchanged", 0)
    assert changes["Observation/o"] == ("updated", 2)
    assert changes["Observation/q"] == ("unchanged", 0)
    assert changes["Observation/r"] == ("created", 1)
    opened = hospital.twins.read_reference(AccessContext(CLINICIAN, Purpose.TREATMENT), "Observation/o")
    assert (opened.content, opened.version) == (b'{"is":"new"}', 2)
    back = hospital.twins.ingest(
        AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT),
        patient("p", record("Observation/o", b'{"is":"old"}'), record("Observation/q")),
    )
    assert {one.reference: one.version for one in back.stored}["Observation/o"] == 3


def test_a_changed_category_moves_the_record_under_another_key(hospital: Hospital) -> None:
    hospital.twins.ingest(
        AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), patient("p", record("Condition/c", b"x", Category.CONDITIONS))
    )
    moved = patient("p", record("Condition/c", b"x", Category.PSYCHIATRY))
    assert hospital.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), moved).count("updated") == 1
    # Leaving a category is a write to it as well, and the log says so.
    assert set(hospital.trail.events[-1].categories) >= {Category.PSYCHIATRY, Category.CONDITIONS}
    with pytest.raises(AccessDenied):
        hospital.twins.read_reference(AccessContext(CLINICIAN, Purpose.TREATMENT), "Condition/c")


def test_an_id_of_another_patient_is_refused_and_nothing_is_written(hospital: Hospital) -> None:
    hospital.twins.ingest(
        AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), patient("p", record("Observation/o", b"of p"))
    )
    rows = hospital.store.count()
    for thief in (patient("thief", record("Observation/o", b"of p")), patient("thief", record("Patient/p"))):
        with pytest.raises(BelongsToAnother):
            hospital.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), thief)
    assert hospital.store.count() == rows
    assert hospital.vault.locate("Patient/thief") is None


def test_of_several_at_once_who_brings_another_patients_id_is_told_and_the_others_are_taken_in(
    hospital: Hospital,
) -> None:
    context = AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT)
    kept = hospital.twins.ingest(context, patient("p", record("Observation/o", b"of p"))).twin
    before = len(hospital.trail.events)
    thief, other = patient("thief", record("Observation/o", b"of p")), patient("q")
    refused, receipt = hospital.twins.ingest_each([(context, thief), (context, other)])
    assert isinstance(refused, BelongsToAnother)
    assert isinstance(receipt, Receipt)
    assert receipt.created
    notes = [one for one in hospital.trail.events[before:] if ("answered", "another-patient") in one.detail]
    assert [one.twin for one in notes] == [kept]
    assert hospital.vault.locate("Patient/thief") is None


def test_a_delta_needs_its_twin(hospital: Hospital) -> None:
    delta = PatientImport("Patient/p", (record("Observation/o"),))
    with pytest.raises(TwinNotFound):
        hospital.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), delta)
    hospital.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), patient("p"))
    assert hospital.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), delta).count("created") == 1


def test_who_may_not_write_writes_nothing(hospital: Hospital) -> None:
    for principal in (VENDOR, RESEARCHER):
        with pytest.raises(AccessDenied):
            hospital.twins.ingest(AccessContext(principal, Purpose.RECORD_MANAGEMENT), patient())
    assert hospital.store.count() == 0
    assert [event.decision for event in hospital.trail.events] == ["deny", "deny"]
    assert hospital.vault.locate("Patient/p") is None


def test_for_who_may_not_write_nothing_is_opened_to_join_it_and_no_key_is_made(hospital: Hospital) -> None:
    older = Measurement("4548-4", 6.1, "%", 0)
    twin = hospital.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), patient("p", measured=[older])).twin
    hospital.consent(twin, Provision(effect="deny", categories=(Category.LABS,)))  # features may be read as before
    newer = Measurement("4548-4", 7.1, "%", DAY_MS)
    before, keys = len(hospital.trail.events), hospital.keyring.census().wrapped
    with pytest.raises(AccessDenied):
        hospital.twins.ingest(
            AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), patient("p", record("Observation/o"), measured=[newer])
        )
    (refusal,) = hospital.trail.events[before:]
    assert (refusal.action, refusal.decision, refusal.twin) == (Action.WRITE, "deny", twin)
    with pytest.raises(AccessDenied):
        hospital.twins.ingest(AccessContext(VENDOR, Purpose.RECORD_MANAGEMENT), patient("q"))
    assert hospital.keyring.census().wrapped == keys


class WithdrawnBetweenTheLooks(AccessControl):
    """A gate whose patient says no after the first look and before the decision."""

    def __init__(self, hospital: Hospital, twin: TwinId, said: Provision) -> None:
        self._hospital = hospital
        self._twin = twin
        self._said = said

    def check(self, request: AccessRequest) -> Decision:
        return self._hospital.access.check(request)

    def decide(self, request: AccessRequest) -> Permit:
        return self._hospital.access.decide(request)

    def decide_many(self, requests: Sequence[AccessRequest]) -> list[Permit | None]:
        self._hospital.consent(self._twin, self._said)
        return self._hospital.access.decide_many(requests)


class CountingVault(Vault):
    """The vault, counting how often a twin is opened."""

    opened = 0

    def read_twin(self, *arguments: Any, **options: Any) -> list[Record]:
        self.opened += 1
        return super().read_twin(*arguments, **options)


def test_consent_withdrawn_between_the_looks_opens_and_writes_nothing(hospital: Hospital) -> None:
    vault = CountingVault(hospital.store, hospital.keyring, hospital.authority, hospital.clock, TENANT)
    older, newer = Measurement("4548-4", 6.1, "%", 0), Measurement("4548-4", 7.1, "%", DAY_MS)
    twin = hospital.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), patient("p", measured=[older])).twin
    late = patient("p", record("Observation/o"), measured=[newer])
    no = WithdrawnBetweenTheLooks(hospital, twin, Provision(effect="deny", categories=(Category.LABS,)))
    rows = hospital.store.count()
    with pytest.raises(AccessDenied):
        Twins(vault, hospital.store, no, hospital.clock).ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), late)
    assert (vault.opened, hospital.store.count()) == (0, rows)
    hospital.consent(twin)
    yes = WithdrawnBetweenTheLooks(hospital, twin, Provision(effect="permit"))
    assert (
        Twins(vault, hospital.store, yes, hospital.clock)
        .ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), late)
        .count("created")
        == 1
    )
    assert vault.opened == 1  # the features kept so far: it is this that was not opened above


def test_nothing_is_opened_or_written_when_the_log_cannot_be_written(hospital: Hospital) -> None:
    hospital.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), patient("p"))
    hospital.trail.log.store.close()
    rows = hospital.store.count()
    with pytest.raises(Exception, match="log") as caught:
        hospital.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), patient("q"))
    assert getattr(caught.value, "http_status", 0) == 503
    with pytest.raises(Exception, match="log"):
        hospital.twins.read_reference(AccessContext(CLINICIAN, Purpose.TREATMENT), "Patient/p")
    assert hospital.store.count() == rows


def test_two_first_imports_at_once_make_one_twin(hospital: Hospital) -> None:
    threads = [
        threading.Thread(
            target=hospital.twins.ingest, args=(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), patient("p"))
        )
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(hospital.twins.all()) == 1


def test_the_directory_keeps_the_first_copy_and_is_no_patient(hospital: Hospital) -> None:
    def shared(content: bytes) -> PatientImport:
        shared = replace(record("Organization/o", content, Category.ADMINISTRATIVE), if_kept=IfKept.SKIP)
        return PatientImport(DIRECTORY, (record(DIRECTORY), shared))

    assert hospital.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), shared(b'{"is":"first"}')).created
    assert (
        hospital.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), shared(b'{"is":"second"}')).count(
            "unchanged"
        )
        == 2
    )
    opened = hospital.twins.read_reference(AccessContext(CLINICIAN, Purpose.TREATMENT), "Organization/o")
    assert opened.content == b'{"is":"first"}'
    assert hospital.twins.all() == []


def glucose(value: float, day: int) -> Measurement:
    return Measurement("2345-7", value, "mg/dL", hospital_day(day))


def hospital_day(day: int) -> int:
    return 1_767_225_600_000 - 1000 * DAY_MS + day * DAY_MS


def test_features_follow_what_was_measured_last(hospital: Hospital) -> None:
    twins = hospital.twins
    created = twins.ingest(
        AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT),
        patient("p", measured=[glucose(100, 1), glucose(140, 3), glucose(120, 2)]),
    )
    assert created.features is not None
    assert created.features.readings["glucose_mg_dl"].value == 140
    # A clinician may read the features, so a later delta is merged with what is kept.
    delta = PatientImport("Patient/p", (record("Observation/x", b"1"),), (glucose(90, 2),))
    merged = twins.ingest(AccessContext(CLINICIAN, Purpose.TREATMENT), delta)
    assert merged.features is not None
    assert merged.features.readings["glucose_mg_dl"].value == 140  # older than what is kept
    delta = PatientImport("Patient/p", (record("Observation/y", b"1"),), (glucose(90, 5),))
    merged = twins.ingest(AccessContext(CLINICIAN, Purpose.TREATMENT), delta)
    assert merged.features is not None
    assert merged.features.readings["glucose_mg_dl"].value == 90
    assert merged.features.readings["sex_female"].value == 1
    # So may the node itself, until the patient says no; then it does not displace them by a part of the record.
    delta = PatientImport("Patient/p", (record("Observation/z", b"1"),), (glucose(80, 6),))
    merged = twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), delta)
    assert merged.features is not None
    assert merged.features.readings["sex_female"].value == 1
    no = Provision(effect="deny", roles=(Role.SYSTEM,), categories=(Category.FEATURES,))
    hospital.access.set_consent(
        AccessContext(Principal("officer", Role.OFFICER), Purpose.RECORD_MANAGEMENT), merged.twin, (no,)
    )
    delta = PatientImport("Patient/p", (record("Observation/w", b"1"),), (glucose(70, 7),))
    assert twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), delta).features is None


def test_a_new_feature_schema_rederives_features_of_unchanged_records(hospital: Hospital) -> None:
    source = patient("p", measured=[glucose(100, 1)])
    hospital.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), source)
    assert hospital.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), source).features is None
    schema = hospital.twins.schema.model_copy(update={"name": "second"})
    newer = Twins(hospital.vault, hospital.store, hospital.access, hospital.clock, schema)
    receipt = newer.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), source)
    assert receipt.features is not None
    assert receipt.features.schema == schema.fingerprint()
    assert newer.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), source).features is None


def test_a_patient_without_any_feature_has_no_vector(hospital: Hospital) -> None:
    unknown = replace(patient("p"), person=Person())
    receipt = hospital.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), unknown)
    assert receipt.features is None
    assert hospital.vault.locate(f"FeatureVector/{receipt.twin}") is None


def test_strangers_cannot_tell_who_is_a_patient(hospital: Hospital) -> None:
    hospital.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), patient("p"))
    refusals = []
    for reference in ("Patient/p", "Patient/nobody"):
        with pytest.raises(AccessDenied) as caught:
            hospital.twins.read_reference(AccessContext(VENDOR, Purpose.SIMILARITY), reference)
        refusals.append((type(caught.value), str(caught.value)))
    assert refusals[0] == refusals[1]
    with pytest.raises(RecordNotFound):
        hospital.twins.read_reference(AccessContext(CLINICIAN, Purpose.TREATMENT), "Patient/nobody")


def test_a_permit_for_one_category_opens_no_other(hospital: Hospital) -> None:
    twin = hospital.twins.ingest(
        AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), patient("p", record("Observation/o"))
    ).twin
    opened = hospital.twins.read(AccessContext(CLINICIAN, Purpose.TREATMENT), twin, {Category.LABS})
    assert [one.references[0] for one in opened] == ["Observation/o"]
    request = AccessRequest(CLINICIAN, Action.READ, Purpose.TREATMENT, twin, frozenset({Category.LABS}))
    permit = hospital.access.decide(request)
    widened = replace(permit, request=replace(request, categories=frozenset(Category)))
    with pytest.raises(PermitInvalid):
        hospital.vault.read_twin(widened)
    assert hospital.twins.feature_vector(permit) is None  # the permit does not cover features


def test_what_consent_forbids_is_withheld_and_said_so(hospital: Hospital) -> None:
    twin = hospital.twins.ingest(
        AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), patient("p", record("Observation/o"))
    ).twin
    hospital.consent(twin, Provision(effect="deny", categories=(Category.LABS,)))
    records, withheld = hospital.twins.read_permitted(AccessContext(CLINICIAN, Purpose.TREATMENT), "Patient/p")
    assert "Observation/o" not in {one.references[0] for one in records}
    assert withheld == {Category.LABS, Category.MONITORING, *SENSITIVE}
    with pytest.raises(AccessDenied):
        hospital.twins.read_permitted(AccessContext(VENDOR, Purpose.SIMILARITY), "Patient/p")


def test_a_cohort_is_who_consents_and_revocation_bites_at_once(hospital: Hospital) -> None:
    receipts = hospital.twins.ingest_all(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), generate_cohort(6, 5))
    twins = [one.twin for one in receipts if one.features is not None]
    assert len(twins) == 6
    reader: FeatureSource = CohortReader(hospital.twins, hospital.access, SYSTEM)
    assert reader.consenting() == []
    for twin in twins[:4]:
        hospital.consent(twin, SIMILARITY_YES)
    found = {twin: levels for twin, levels, *_ in reader.consenting()}
    assert found.keys() == set(twins[:4])
    assert all(found[one.twin] == one.features.levels for one in receipts[:4] if one.features)
    hospital.consent(twins[0], Provision(effect="deny"))
    before = len(hospital.trail.events)
    assert {twin for twin, *_ in reader.consenting()} == set(twins[1:4])
    asked = hospital.trail.events[before:]
    assert [event.decision for event in asked] == ["permit"] * 3  # who said nothing or no was not even tried
    assert {event.twin for event in asked} == set(twins[1:4])
    assert {event.action for event in asked} == {Action.COHORT}


def test_a_patient_of_whom_too_little_was_measured_enters_no_cohort(hospital: Hospital) -> None:
    schema = hospital.twins.schema.model_copy(update={"minimum_present": 4})
    twins = Twins(hospital.vault, hospital.store, hospital.access, hospital.clock, schema)
    readings = [
        Measurement(code, value, unit, DAY_MS)
        for code, value, unit in (("2339-0", 95, "mg/dL"), ("4548-4", 6.1, "%"), ("8867-4", 70, "/min"))
    ]
    made = [
        twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), patient(f"p{count}", measured=readings[:count]))
        for count in range(4)
    ]
    measured = [0 if one.features is None else len(one.features.readings) for one in made]
    assert measured == [1, 2, 3, 4]  # the patient's sex is a feature as well
    for one in made:
        hospital.consent(one.twin, SIMILARITY_YES)

    def cohort() -> set[TwinId]:
        return {twin for twin, *_ in CohortReader(twins, hospital.access, SYSTEM).consenting()}

    assert cohort() == {made[3].twin}
    twins.ingest(
        AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), patient("p2", record("Observation/o"), measured=readings)
    )
    assert cohort() == {made[2].twin, made[3].twin}  # as soon as enough was measured


def stay(hours: int, value: float) -> bytes:
    tensor = np.full((hours, len(SIGNALS)), np.nan, np.float32)
    tensor[0, 0] = value
    return encode_stay(tensor)


def test_a_study_reads_only_consenting_stays(hospital: Hospital) -> None:
    twins = [
        hospital.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), patient(name)).twin
        for name in ("a", "b", "c", "d")
    ]
    hospital.twins.keep_stays(
        AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT),
        [(twins[0], stay(3, 80)), (twins[1], stay(60, 90)), (twins[2], stay(3, 70))],
    )
    for twin in (twins[0], twins[1], twins[3]):
        hospital.consent(twin, RESEARCH_YES)
    source = StayReader(hospital.twins, hospital.vault, hospital.access, RESEARCHER)
    tensor = source.stays("study-7", ICU)
    assert tensor.shape == (2, 48, len(SIGNALS))
    assert tensor.dtype == np.float32
    assert sorted(tensor[:, 0, 0]) == [80, 90]
    assert np.isnan(tensor[:, 1:]).all()
    assert hospital.trail.events[-1].detail == (("study", "study-7"), ("network", "outside"))
    assert source.withdrawn() == frozenset()
    hospital.consent(twins[0], Provision(effect="deny", purposes=(Purpose.RESEARCH,)))
    assert [tensor[row, 0, 0] for row in source.withdrawn()] == [80]
    nobody = StayReader(hospital.twins, hospital.vault, hospital.access, CLINICIAN)
    assert nobody.stays("study-7").shape == (0, 48, len(SIGNALS))


def observation(name: str, category: Category, code: str, value: float, unit: str) -> ImportRecord:
    content = (
        f'{{"resourceType":"Observation","id":"{name}","status":"final","effectiveDateTime":"2024-03-01T10:00:00Z",'
        f'"code":{{"coding":[{{"system":"http://loinc.org","code":"{code}"}}]}},'
        f'"valueQuantity":{{"value":{value},"unit":"{unit}"}}}}'
    )
    return ImportRecord(f"Observation/{name}", "Observation", category, content.encode())


def test_a_study_reads_observations_where_there_is_no_stay_and_as_far_as_consent_goes(hospital: Hospital) -> None:
    heart, potassium = (ICU.names.index(name) for name in ("HR", "K"))
    seen_in = (Category.MONITORING, Category.VITALS, Category.LABS)
    all_research = Provision(effect="permit", purposes=(Purpose.RESEARCH,), categories=seen_in)
    twins = []
    for number, name in enumerate(("stayed", "both", "vitals-only", "said-nothing")):
        seen = observation(f"{name}-hr", Category.VITALS, "8867-4", 71 + number, "/min")
        tested = observation(f"{name}-k", Category.LABS, "2823-3", 4.5, "mmol/L")
        filed = AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT)
        twins.append(hospital.twins.ingest(filed, patient(name, seen, tested)).twin)
    hospital.twins.keep_stays(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), [(twins[0], stay(3, 80))])
    no_labs = Provision(effect="deny", purposes=(Purpose.RESEARCH,), categories=(Category.LABS,))
    hospital.consent(twins[0], all_research)
    hospital.consent(twins[1], all_research)
    hospital.consent(twins[2], all_research, no_labs)
    source = StayReader(hospital.twins, hospital.vault, hospital.access, RESEARCHER, measure=measured_in)
    tensor = source.stays("study-8", ICU)
    by_rate = {float(np.nanmax(row[:, heart])): row for row in tensor}
    assert sorted(by_rate) == [72, 73, 80]
    assert by_rate[72][47, potassium] == 4.5
    assert np.isnan(by_rate[73][:, potassium]).all()
    assert np.isnan(by_rate[80][:, potassium]).all()  # its monitored stay counts, and nothing besides
    assert source.withdrawn() == frozenset()
    hospital.consent(twins[1], no_labs, all_research)  # leave for one of the two is withdrawn
    assert [float(np.nanmax(tensor[row][:, heart])) for row in source.withdrawn()] == [72]
    table = table_schema("nothing", {"HR": (60, 100)})
    assert source.stays("study-9", table).shape == (0, 1, 1)  # its signals have no LOINC codes


def condition(name: str, code: str, status: str = "active") -> ImportRecord:
    content = (
        f'{{"resourceType":"Condition","id":"{name}","clinicalStatus":{{"coding":[{{"code":"{status}"}}]}},'
        f'"code":{{"coding":[{{"system":"http://hl7.org/fhir/sid/icd-10","code":"{code}"}}]}}}}'
    )
    return ImportRecord(f"Condition/{name}", "Condition", Category.CONDITIONS, content.encode())


def test_a_study_reads_conditions_as_far_as_consent_goes(hospital: Hospital) -> None:
    filed = AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT)
    given = {"ill": ("N18.5", "active"), "healed": ("N18.5", "resolved"), "silent": ("N18.5", "active"), "well": None}
    no_conditions = Provision(effect="deny", purposes=(Purpose.RESEARCH,), categories=(Category.CONDITIONS,))
    seen_in = (Category.MONITORING, Category.CONDITIONS)
    all_research = Provision(effect="permit", purposes=(Purpose.RESEARCH,), categories=seen_in)
    twins = {}
    for number, (name, coded) in enumerate(given.items()):
        records = [condition(f"{name}-c", *coded)] if coded else []
        twins[name] = hospital.twins.ingest(filed, patient(name, *records)).twin
        hospital.twins.keep_stays(filed, [(twins[name], stay(3, 70 + number))])
        hospital.consent(twins[name], *([no_conditions] if name == "silent" else []), all_research)
    source = StayReader(hospital.twins, hospital.vault, hospital.access, RESEARCHER)
    rows = {float(row[0, 0]): at for at, row in enumerate(source.stays("study-7", ICU))}
    told = source.conditions(recorded_in)
    ill = frozenset({"condition:http://hl7.org/fhir/sid/icd-10|N18.5"})
    assert [told[rows[rate]] for rate in (70, 71, 72, 73)] == [ill, frozenset(), frozenset(), frozenset()]
    assert hospital.trail.events[-1].detail == (("study", "study-7"), ("network", "outside"))
    assert source.withdrawn() == frozenset()
    hospital.consent(twins["ill"], no_conditions, all_research)  # whose group was read has no part in the next round
    assert source.withdrawn() == {rows[70]}


def test_a_stay_is_kept_in_versions_and_read_by_clinicians(hospital: Hospital) -> None:
    twin = hospital.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), patient("p")).twin
    assert hospital.twins.keep_stay(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), twin, stay(2, 1)).version == 1
    assert hospital.twins.keep_stay(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), twin, stay(2, 2)).version == 2
    assert [one.content for one in hospital.twins.read_stays(AccessContext(CLINICIAN, Purpose.TREATMENT), twin)] == [
        stay(2, 2)
    ]
    with pytest.raises(AccessDenied):
        hospital.twins.keep_stay(AccessContext(VENDOR, Purpose.RECORD_MANAGEMENT), twin, stay(2, 3))
    with pytest.raises(NotFound):
        hospital.twins.keep_stay(
            AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), TwinId("0199e0c2-0000-7000-8000-00000000000a"), stay(2, 3)
        )


def test_a_stored_vector_is_a_record_of_its_own_type(hospital: Hospital) -> None:
    receipt = hospital.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), patient("p"))
    request = AccessRequest(CLINICIAN, Action.READ, Purpose.TREATMENT, receipt.twin, frozenset(Category))
    permit = hospital.access.decide(replace(request, categories=frozenset({Category.FEATURES, Category.LABS})))
    assert hospital.vault.read_twin(permit) == []  # not among the records, whatever is asked for
    opened = hospital.vault.read_twin(permit, record_type=FEATURES_TYPE)
    assert [one.record_type for one in opened] == [FEATURES_TYPE]
    with pytest.raises(NotARecord):
        hospital.twins.read(AccessContext(CLINICIAN, Purpose.TREATMENT), receipt.twin, {Category.FEATURES})

"""Registered models over live twins: once an hour, in a clinician's name, as far as consent goes."""

from __future__ import annotations

import json
import sqlite3
from functools import partial
from typing import cast

import numpy as np
import pytest

from tests.integration.fhir.hospital import OFFICER
from tests.integration.live.ward import CARING, FILING, NURSE, Ward
from twinward.access.consent import Provision
from twinward.access.errors import AccessDenied, AccountDisabled
from twinward.access.interfaces import AccessContext, Principal
from twinward.core.clock import iso
from twinward.core.errors import BadInput, Conflict, NotFound
from twinward.core.vocabulary import Category, Purpose, Role, TwinId
from twinward.features.derivation import Measurement
from twinward.features.signal_schema import ICU
from twinward.features.stay_building import build_stay
from twinward.federation.detectors import build_detector
from twinward.federation.detectors.model_file import Model
from twinward.federation.study import StudyProtocol
from twinward.fhir.rest.service import FhirService
from twinward.live.alerts.models import Alert
from twinward.live.alerts.rules import Severity
from twinward.live.scoring.models import ScoredReport, Scoring, require_live
from twinward.live.scoring.service import LiveScoring
from twinward.live.scoring.stay import build_live_stay
from twinward.live.storage.columns import Columns
from twinward.node import Node
from twinward.node.live_scoring import RegisteredScorer, charted_in
from twinward.node.registered_models import thresholds_of

HOUR = 3_600_000
STUDY = StudyProtocol.for_dp_var("watch-1", ("st-anna", "northgate", "lakeside"), expected_patients=600, epsilon=3.0)
MODEL = Model(STUDY, build_detector(STUDY).untrained())
"""The residuals of one that has learnt nothing: how far a patient moves."""
CODES = ("8867-4", "8480-6", "9279-1", "59408-5")
LACTATE = "2524-7"
OBSERVATION_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
CALM = (80, 120, 16, 97)


def scoring(ward: Ward, model: Model = MODEL, *, altered: bool = False, disabled: bool = False) -> LiveScoring:
    def scorer_of(one: Scoring) -> RegisteredScorer:
        if altered:
            raise Conflict("watch-1.model is not the model that was registered")
        return RegisteredScorer(cast(Node, None), model, one.thresholds)

    def caller_of(name: str) -> Principal:
        if disabled:
            raise AccountDisabled("the account is disabled")
        return Principal(name, Role.CLINICIAN, "Kim", "icu")

    charted = partial(charted_in, ward.vault)
    return LiveScoring(ward.parts, ward.live.reader, ward.live.watch, scorer_of, caller_of, charted)


def measure(ward: Ward, who: str, *values: float) -> None:
    ward.send(*(ward.line(one, code=code, subject=f"Patient/{who}") for code, one in zip(CODES, values, strict=True)))


def to_next_hour(ward: Ward) -> int:
    """Ten minutes into it, when the last one is scored; gives its end."""
    end = (ward.clock.now_ms() // HOUR + 1) * HOUR
    ward.clock.advance(end + 600_000 - ward.clock.now_ms())
    return end


def test_an_hour_of_a_patient_is_scored_once_and_raises_one_alert_that_names_why(ward: Ward) -> None:
    ann, ben, cat = (ward.admit(one) for one in ("ann", "ben", "cat"))
    ward.consent(cat, Provision(effect="deny", purposes=(Purpose.TREATMENT,), roles=(Role.CLINICIAN,)))
    at_work = scoring(ward)
    with pytest.raises(AccessDenied):
        at_work.begin(AccessContext(OFFICER, Purpose.COMPLIANCE), "watch-1", "ab", {"": 0.005}, Severity.URGENT)
    at_work.begin(CARING, "watch-1", MODEL.hash().hex(), {"": 0.005}, Severity.URGENT)
    for who in ("ann", "ben", "cat"):
        measure(ward, who, *CALM)
    for _ in range(4):
        to_next_hour(ward)
        for who in ("ann", "ben", "cat"):
            measure(ward, who, *CALM)
    measure(ward, "ann", 170, 120, 16, 97)
    end = to_next_hour(ward)
    told = len(ward.trail.events)
    report = at_work.run()
    assert (report.scored, report.raised, report.withheld, report.problems) == (2, 1, 1, ())
    (alert,) = [one for one in ward.live.alerts.of(CARING, ann) if one.rule == "model:watch-1"]
    assert (alert.version, alert.severity, alert.raised_ms) == (MODEL.hash().hex(), "urgent", end)
    assert alert.because[0].signal == "heart_rate"
    assert ((alert.score or 0) > 0.005, alert.shares["heart_rate"] > 0.5) == (True, True)
    reads = [one for one in ward.trail.events[told:] if ("live", "scored") in one.detail]
    assert {(one.agent, one.twin, one.purpose) for one in reads} == {
        (NURSE.id, ann, Purpose.TREATMENT),
        (NURSE.id, ben, Purpose.TREATMENT),
    }
    assert not any("heart" in value for one in ward.trail.events[told:] for _, value in one.detail)
    assert ward.live.ward.of(CARING, [ann])[ann].models["watch-1"].is_up
    # the same hour again: by this process, by another one, by one that was started anew
    other = Ward(ward.folder, ward.provider)
    other.clock.at_ms = ward.clock.at_ms
    told = len(ward.trail.events)
    assert (at_work.run().scored, scoring(other).run().scored) == (0, 0)
    assert len(ward.trail.events) == told, "nobody is read for nothing"
    other.close()
    # two days later she is calm: over, by the same model
    ward.clock.advance(48 * HOUR)
    measure(ward, "ann", *CALM)
    to_next_hour(ward)
    assert at_work.run().raised == 0
    (alert,) = [one for one in ward.live.alerts.of(CARING, ann, all_of_them=True) if one.rule == "model:watch-1"]
    assert alert.over_ms is not None


def test_what_stands_in_a_models_way_is_told_and_ended(ward: Ward) -> None:
    ann = ward.admit("ann")
    scoring(ward).begin(CARING, "watch-1", "ab", {"": -1.0}, Severity.NOTICE)
    measure(ward, "ann", *CALM)
    to_next_hour(ward)
    for broken, problem in (
        (scoring(ward, altered=True), "watch-1.model is not the model that was registered"),
        (scoring(ward, disabled=True), "the account is disabled"),
    ):
        assert broken.run().problems == ("watch-1",)
        assert [found for _, found in broken.all(CARING)] == [problem]
    at_work = scoring(ward)
    assert (at_work.run().raised, at_work.run().raised) == (1, 0)
    ward.consent(ann, Provision(effect="deny", roles=(Role.CLINICIAN,), categories=(Category.VITALS,)))
    measure(ward, "ann", *CALM)
    to_next_hour(ward)
    told = len(ward.trail.events)
    assert (at_work.run(), at_work.run()) == (ScoredReport(), ScoredReport()), "laboratory values alone, of which none"
    assert len(ward.trail.events) == told + 1, "and that is not looked at again within the hour"
    assert ward.live.ward.of(CARING, [ann])[ann].alerts is None
    ward.consent(ann)
    (alert,) = [one for one in ward.live.alerts.of(CARING, ann) if one.rule == "model:watch-1"]
    assert alert.over_ms is not None, "nothing can be said any more"
    measure(ward, "ann", *CALM)
    to_next_hour(ward)
    assert at_work.run().raised == 1
    at_work.end(CARING, "watch-1")
    with pytest.raises(NotFound):
        at_work.end(CARING, "watch-1")
    alert = [one for one in ward.live.alerts.of(CARING, ann) if one.rule == "model:watch-1"][-1]
    assert alert.over_ms == ward.clock.now_ms()
    assert (at_work.all(CARING), ward.live.ward.of(CARING, [ann])[ann].models) == ([], {})


def test_who_is_withheld_and_what_no_number_comes_of_leave_no_alert_up_and_hold_up_nobody(ward: Ward) -> None:
    ann, at_work = ward.admit("ann"), scoring(ward)
    for threshold in (float("nan"), float("inf")):
        with pytest.raises(BadInput):
            at_work.begin(CARING, "watch-1", "ab", {"": -1.0, "sepsis": threshold}, Severity.NOTICE)
        card = f'{{"evaluation": {{"operating_point": {{"threshold": {threshold}}}}}}}'.replace("inf", "1e999")
        with pytest.raises(BadInput):
            thresholds_of(card.replace("nan", "NaN").encode(), MODEL, None)
    assert at_work.all(CARING) == []
    at_work.begin(CARING, "watch-1", "ab", {"": -1.0}, Severity.NOTICE)
    measure(ward, "ann", *CALM)
    to_next_hour(ward)
    assert at_work.run().raised == 1
    ward.consent(ann, Provision(effect="deny", purposes=(Purpose.TREATMENT,), roles=(Role.CLINICIAN,)))
    to_next_hour(ward)
    assert [at_work.run().withheld for _ in range(2)] == [1, 0], "settled with the alert that is over"
    ward.consent(ann)
    (alert,) = [one for one in ward.live.alerts.of(CARING, ann) if one.rule == "model:watch-1"]
    assert alert.over_ms is not None
    for bad in (np.nan, np.inf, 1e200):
        measure(ward, "ann", *CALM)
        to_next_hour(ward)
        at_work = scoring(ward, Model(STUDY, np.full_like(MODEL.parameters, bad)))
        assert (at_work.run().problems, at_work.run()) == ((), ScoredReport()), "once an hour"
    measure(ward, "ann", *CALM)


def test_a_score_by_disease_group_is_shown_to_who_may_see_conditions(ward: Ward) -> None:
    ann, at_work = ward.admit("ann"), scoring(ward)
    at_work.begin(CARING, "watch-1", "ab", {"": -1.0, "sepsis": -2.0}, Severity.NOTICE)
    measure(ward, "ann", *CALM)
    to_next_hour(ward)
    assert at_work.run().raised == 1
    (alert,) = [one for one in ward.live.alerts.of(CARING, ann) if one.rule == "model:watch-1"]
    assert alert.score is None, "an alert is for whoever may see what is measured"
    now, denied = ward.clock.now_ms(), Provision(effect="deny", categories=(Category.CONDITIONS,))
    for provisions, shown in (((), ["watch-1"]), ((denied,), [])):
        ward.consent(ann, *provisions)
        assert list(ward.live.ward.patient(CARING, ann, now - HOUR, now).now.models) == shown
    with sqlite3.connect(ward.folder / "live.db") as db:
        db.execute("UPDATE live_scoring SET sealed = x'00'")
    assert ward.live.ward.patient(CARING, ann, now - HOUR, now).alerts, "what was altered keeps no ward from view"


def test_a_stay_of_live_series_is_that_of_the_same_measurements() -> None:
    rng = np.random.default_rng(3)
    end, codes = 48 * HOUR, {"heart_rate": ("8867-4", "/min"), "fio2": ("3150-6", "%"), "glucose": ("2345-7", "mmol/L")}
    codes |= {"systolic": ("8480-6", "mm[Hg]"), "arterial_systolic": ("76215-3", "mm[Hg]")}
    runs, told = {}, []
    for name, (code, unit) in codes.items():
        # the arterial line and the cuff in hours of their own: which counts in one hour is tested below
        span = (0, 24 * HOUR) if name == "systolic" else (24 * HOUR, end) if name == "arterial_systolic" else (0, end)
        times = np.unique(rng.integers(*span, 40))
        times[-1] = span[1] - 1  # the reference ends with the newest measurement
        values = np.round(rng.uniform(20, 90, len(times)), 2)
        qualities = np.zeros(len(times), np.uint8)
        runs[name] = [Columns(times, np.arange(len(times)), values, qualities)]
        told += [
            Measurement(code, float(value), unit, int(at) + 1)
            for at, value in zip(times.tolist(), values.tolist(), strict=True)
        ]
    expected, found = build_stay(ICU, told), build_live_stay(ICU, runs, end)
    assert expected is not None
    assert found is not None
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    both = build_live_stay(ICU, {"systolic": runs["heart_rate"], "arterial_systolic": runs["fio2"]}, end)
    alone = build_live_stay(ICU, {"arterial_systolic": runs["fio2"]}, end)
    assert both is not None
    assert alone is not None
    column = ICU.names.index("SysABP")
    there = ~np.isnan(alone[:, column])
    np.testing.assert_array_equal(both[there, column], alone[there, column])
    assert (~np.isnan(both[:, column])).sum() > there.sum()
    (run,) = runs["heart_rate"]
    artefacts = Columns(run.times, run.seqs, run.values, np.full(len(run), 2, np.uint8))
    assert build_live_stay(ICU, {"heart_rate": [artefacts]}, end) is None


def test_models_of_years_and_of_what_no_monitor_measures_are_refused() -> None:
    for signals in ("checkup", "ecg"):
        with pytest.raises(BadInput):
            require_live(StudyProtocol.for_dp_var("a-1", STUDY.hospitals, signals=signals, epsilon=1.0).signals)


def chart(ward: Ward, who: str, code: str, value: float, unit: str, at_ms: int, **more: object) -> None:
    """What a laboratory files as an Observation."""
    quantity = {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}
    coding = {"coding": [{"system": "http://loinc.org", "code": code}]}
    laboratory = [{"coding": [{"system": OBSERVATION_CATEGORY, "code": "laboratory"}]}]
    said = {"resourceType": "Observation", "status": "final", "category": laboratory, "code": coding} | more
    subject = {"subject": {"reference": f"Patient/{who}"}, "effectiveDateTime": iso(at_ms), "valueQuantity": quantity}
    FhirService(ward.twins, ward.clock).writes.create(FILING, "Observation", json.dumps(said | subject).encode())


def test_what_a_laboratory_files_counts_in_the_hour_it_was_drawn(ward: Ward) -> None:
    ann, ben, cat = (ward.admit(one) for one in ("ann", "ben", "cat"))
    at_work = scoring(ward)
    at_work.begin(CARING, "watch-1", MODEL.hash().hex(), {"": 0.02}, Severity.URGENT)
    for _ in range(4):
        for who in ("ann", "ben", "cat"):
            measure(ward, who, *CALM)
            chart(ward, who, LACTATE, 1.0, "mmol/L", ward.clock.now_ms())
        to_next_hour(ward)
    for who in ("ann", "ben", "cat"):
        measure(ward, who, *CALM)
    now = ward.clock.now_ms()
    chart(ward, "ann", LACTATE, 11.0, "mmol/L", now)
    chart(ward, "ben", LACTATE, 11.0, "furlong", now)
    chart(ward, "ben", LACTATE, 11.0, "mmol/L", now, status="entered-in-error")
    chart(ward, "ben", LACTATE, 11.0, "mmol/L", now + HOUR)  # of the hour that follows
    chart(ward, "cat", LACTATE, 11.0, "mmol/L", now)
    ward.consent(cat, Provision(effect="deny", roles=(Role.CLINICIAN,), categories=(Category.LABS,)))
    to_next_hour(ward)
    told = len(ward.trail.events)
    assert (at_work.run().scored, len(up(ward, ann)), len(up(ward, ben)), len(up(ward, cat))) == (3, 1, 0, 0)
    (alert,) = up(ward, ann)
    assert (alert.because[0].signal, alert.because[0].time_ms, round(alert.because[0].value, 1)) == ("lactate", now, 11)
    assert alert.shares["lactate"] > 0.5
    reads = [one.twin for one in ward.trail.events[told:] if ("live", "scored") in one.detail]
    assert sorted(reads) == sorted([ann, ben, cat, cat][: len(reads)])


def up(ward: Ward, twin: TwinId) -> list[Alert]:
    """A model's alerts, as the node knows them: whoever may not see laboratory values is shown none."""
    with ward.database.reading() as tables:
        every = tables.alerts.of(ward.keyring.keys(twin))
    return [one for one in every if one.rule == "model:watch-1" and one.over_ms is None]

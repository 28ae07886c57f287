"""Reminders of medication: due, missed, charted late, ended, withheld, erased; once, whichever process looks."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.integration.fhir.hospital import OFFICER
from tests.integration.live.ward import CARING, FILING, NURSE, Ward
from twinward.access.consent import Provision
from twinward.access.errors import AccessDenied, AccountDisabled
from twinward.access.interfaces import AccessContext, Permit, Principal
from twinward.core.clock import iso
from twinward.core.errors import NotFound
from twinward.core.vocabulary import Category, Purpose, Role, TwinId
from twinward.fhir.mapping.medication_plans import charted_of, plan_of
from twinward.live.alerts.models import Alert
from twinward.live.medication.service import Chart, Reminders
from twinward.twins.models import ImportRecord, PatientImport

MINUTE, HOUR = 60_000, 3_600_000


def reminders(ward: Ward, *twins: TwinId, caller: Callable[[str], Principal] = lambda _name: NURSE) -> Reminders:
    def chart_of(permit: Permit) -> Chart:
        def trees(kind: str) -> list[Any]:
            return [json.loads(one.content) for one in ward.vault.read_twin(permit, record_type=kind)]

        plans = [one for one in map(plan_of, trees("MedicationRequest")) if one]
        return plans, [one for one in map(charted_of, trees("MedicationAdministration")) if one]

    return Reminders(ward.parts, ward.live.watch, chart_of, lambda: twins, caller, ZoneInfo("UTC"))


def file(ward: Ward, name: str, kind: str, **members: Any) -> None:
    content = {"resourceType": kind, "status": "active", "subject": {"reference": "Patient/ann"}} | members
    record = ImportRecord(f"{kind}/{content['id']}", kind, Category.MEDICATIONS, json.dumps(content).encode())
    ward.twins.ingest(FILING, PatientImport(f"Patient/{name}", (record,)))


def order(ward: Ward, name: str = "ann", request: str = "amoxi", **members: Any) -> None:
    repeat = {"frequency": 1, "period": 6, "periodUnit": "h"}
    made = {"id": request, "intent": "order", "authoredOn": iso(ward.clock.now_ms() + HOUR)}
    made |= {"dosageInstruction": [{"timing": {"repeat": repeat}}], "medicationCodeableConcept": {"text": request}}
    file(ward, name, "MedicationRequest", **(made | members))


def chart(ward: Ward, at_ms: int, request: str = "amoxi", status: str = "completed") -> None:
    reference = {"reference": f"MedicationRequest/{request}"}
    members = {"id": f"given-{at_ms}", "status": status, "request": reference, "effectiveDateTime": iso(at_ms)}
    file(ward, "ann", "MedicationAdministration", **members)


def shown(ward: Ward, twin: TwinId) -> list[tuple[str, bool]]:
    every = ward.live.alerts.of(CARING, twin, all_of_them=True)
    return [(one.rule.split(":")[1], one.over_ms is None) for one in every if one.rule.startswith("medication:")]


def test_a_dose_is_due_then_missed_then_charted_late(ward: Ward) -> None:
    ann = ward.admit("ann")
    at_work, begin = reminders(ward, ann), ward.clock.now_ms()
    with pytest.raises(AccessDenied):
        at_work.begin(AccessContext(OFFICER, Purpose.COMPLIANCE))
    at_work.begin(CARING)
    order(ward)
    order(ward, "ann", "prn", dosageInstruction=[{"asNeededBoolean": True}])
    assert (at_work.run().looked, at_work.run().looked, shown(ward, ann)) == (1, 0, []), "not looked at without need"
    ward.clock.advance(HOUR)
    assert at_work.run().raised == 1
    (alert,) = ward.live.alerts.of(CARING, ann)
    assert (alert.severity, alert.raised_ms, "amoxi; due" in alert.about) == ("notice", begin + HOUR, True)
    read = [one for one in ward.trail.events if ("live", "medication") in one.detail]
    assert {(one.agent, one.purpose, one.twin) for one in read} == {(NURSE.id, Purpose.TREATMENT, ann)}
    assert not any("amoxi" in value for one in ward.trail.events for _, value in one.detail)
    # another process, and one that was started anew, raise no second one
    other = Ward(ward.folder, ward.provider)
    other.clock.at_ms = ward.clock.at_ms
    assert reminders(other, ann).run().raised == 0
    other.close()
    ward.clock.advance(HOUR)
    assert at_work.run().raised == 1
    assert shown(ward, ann) == [("due", False), ("missed", True)]
    ward.clock.advance(16 * MINUTE)
    at_work.run()
    missed = ward.live.alerts.of(CARING, ann)[-1]
    assert (missed.severity, missed.escalated_ms) == ("urgent", ward.clock.now_ms())
    ward.live.alerts.acknowledge(CARING, missed.id)
    assert [one.rule for one in ward.live.alerts.of(CARING, ann)] == ["medication:due", "medication:missed"]
    chart(ward, begin + 2 * HOUR + 10 * MINUTE, status="not-done")  # withheld for a reason, charted now
    ward.clock.advance(5 * MINUTE)
    at_work.run()
    assert shown(ward, ann) == [("due", False), ("missed", False)]
    # the next dose is given early: nothing is raised of it
    chart(ward, begin + 6 * HOUR + 40 * MINUTE)
    ward.clock.advance(7 * HOUR)
    assert (at_work.run().raised, len(shown(ward, ann))) == (0, 2)
    # of the dose after that the order has ended
    file(ward, "ann", "MedicationRequest", id="amoxi", intent="order", status="stopped")
    ward.clock.advance(5 * HOUR)
    assert (at_work.run().raised, len(shown(ward, ann))) == (0, 2)


def test_who_may_not_be_read_is_not_reminded_of_and_sees_nothing(ward: Ward) -> None:
    ann, ben = ward.admit("ann"), ward.admit("ben")
    at_work = reminders(ward, ann, ben)
    at_work.begin(CARING)
    order(ward)
    order(ward, "ben", "ibu")
    ward.clock.advance(HOUR + MINUTE)
    assert at_work.run().raised == 2
    ward.send(ward.line(80, code="59408-5", subject="Patient/ann"))
    (dose, spo2) = ward.live.alerts.of(CARING, ann)
    ward.consent(ann, Provision(effect="deny", roles=(Role.CLINICIAN,), categories=(Category.MEDICATIONS,)))
    assert [one.id for one in ward.live.alerts.of(CARING, ann)] == [spo2.id]
    assert {one.twin for one in ward.live.ward.alerts(CARING).alerts if one.about} == {ben}
    assert [one.id for one in ward.live.ward.patient(CARING, ann, 0, 1).alerts or ()] == [spo2.id]
    with pytest.raises(AccessDenied):
        ward.live.alerts.acknowledge(CARING, dose.id)
    ward.clock.advance(HOUR)
    report = at_work.run()
    assert (report.withheld, report.raised) == (1, 1)
    ward.consent(ann)
    assert [one.over_ms is None for one in every(ward, ann)] == [False], "over when it was withheld"
    # erased with the category, and with the patient
    ward.keyring.shred(ann, {Category.MEDICATIONS})
    ward.live.closing.forget_shredded()
    assert [one.id for one in ward.live.alerts.of(CARING, ann)] == [spo2.id]
    ward.keyring.shred(ben)
    ward.live.closing.forget_shredded()
    assert at_work.run().raised == 0
    at_work.end(CARING)
    with pytest.raises(NotFound):
        at_work.end(CARING)


def test_an_account_that_is_disabled_reminds_nobody_and_one_altered_row_hides_no_other(ward: Ward) -> None:
    def disabled(_name: str) -> Principal:
        raise AccountDisabled("the account is disabled")

    ann = ward.admit("ann")
    at_work = reminders(ward, ann)
    at_work.begin(CARING)
    order(ward)
    order(ward, "ann", "ibu")
    ward.clock.advance(HOUR)
    assert reminders(ward, ann, caller=disabled).run().problem == "the account is disabled"
    assert at_work.run().raised == 2
    broken, sound = every(ward, ann)
    with sqlite3.connect(ward.folder / "live.db") as connection:
        connection.execute("UPDATE live_alert SET sealed = zeroblob(length(sealed)) WHERE id = ?", (broken.id,))
    looked = ward.live.alerts.looked_at(CARING)
    assert ([one.id for one in looked.alerts], looked.damaged) == ([sound.id], [broken.id])
    assert ward.live.alerts.looked_at(CARING, ann).damaged == [broken.id]
    assert ward.live.alerts.acknowledge(CARING, sound.id).acknowledged_by == NURSE.id


def every(ward: Ward, twin: TwinId) -> list[Alert]:
    return [one for one in ward.live.alerts.of(CARING, twin, all_of_them=True) if one.about]

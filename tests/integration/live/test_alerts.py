"""Alerts: raised with the reading, once; seen, silenced, escalated, over; tried on history; erased with the patient."""

from __future__ import annotations

import json
import sqlite3

import pytest

from tests.integration.fhir.hospital import OFFICER
from tests.integration.live.ward import CARING, FILING, Ward
from twinward.access.consent import Provision
from twinward.access.errors import AccessDenied
from twinward.access.interfaces import AccessContext
from twinward.core.errors import BadInput, Unavailable
from twinward.core.vocabulary import Action, Category, Purpose, Role
from twinward.live.alerts.rules import FILE_NAME, rules_of, shipped_rules
from twinward.live.errors import AlertConflict, AlertNotFound
from twinward.live.intake.lines import read_lines
from twinward.live.models import Outcome
from twinward.live.service import Live
from twinward.vault.errors import RecordDamaged

MINUTE = 60_000
SPO2 = "59408-5"


def spo2(ward: Ward, *values: float, who: str = "ann") -> None:
    for value in values:
        ward.clock.advance(MINUTE)
        ward.send(ward.line(value, code=SPO2, subject=f"Patient/{who}"))


def test_an_alert_is_raised_with_the_reading_and_told_to_the_log(ward: Ward) -> None:
    ann = ward.admit("ann")
    spo2(ward, 95, 86)
    (alert,) = ward.live.alerts.of(CARING, ann)
    assert (alert.rule, alert.severity, alert.times, alert.raised_ms) == (
        "spo2-low",
        "emergency",
        1,
        ward.clock.now_ms(),
    )
    assert [(one.signal, one.value) for one in alert.because] == [("spo2", 86)]
    (event,) = [one for one in ward.trail.events if ("live", "alert-raised") in one.detail]
    assert (event.agent, event.twin, event.action) == ("node", ann, Action.WRITE)
    said = [value for name, value in event.detail if name != "alert"]  # whose id is random
    assert not any("86" in value for value in said), "the log holds no clinical value"
    raw = b"".join(one.read_bytes() for one in ward.folder.glob("live.db*"))
    assert b"spo2-low" not in raw


def test_a_value_that_hangs_about_a_threshold_is_one_alert(ward: Ward) -> None:
    ann = ward.admit("ann")
    spo2(ward, 86, 91, 87, 92, 85)
    (alert,) = ward.live.alerts.of(CARING, ann)
    assert (alert.times, alert.over_ms) == (3, None)
    spo2(ward, 95)
    ward.clock.advance(11 * MINUTE)
    spo2(ward, 85)
    assert [one.times for one in ward.live.alerts.of(CARING, ann)] == [3, 1]


def test_the_life_of_an_alert(ward: Ward) -> None:
    ann = ward.admit("ann")
    spo2(ward, 86)
    (alert,) = ward.live.alerts.everywhere(CARING)
    ward.live.watch.tick()
    assert ward.live.alerts.of(CARING, ann)[0].escalated_ms is None
    with pytest.raises(BadInput):
        ward.live.alerts.silence(CARING, alert.id, 5, "no")
    with pytest.raises(AlertConflict):
        ward.live.alerts.silence(CARING, alert.id, 10_000, "the probe is being changed right now")
    ward.live.alerts.silence(CARING, alert.id, 10, "the probe is being changed right now")
    ward.clock.advance(6 * MINUTE)
    ward.live.watch.tick()
    assert ward.live.alerts.of(CARING, ann)[0].escalated_ms is None, "silenced"
    ward.clock.advance(5 * MINUTE)
    ward.live.watch.tick()
    escalated = ward.live.alerts.of(CARING, ann)[0].escalated_ms
    assert escalated == ward.clock.now_ms()
    assert ward.live.alerts.acknowledge(CARING, alert.id).acknowledged_by == "nurse-kim"
    with pytest.raises(AlertConflict):
        ward.live.alerts.acknowledge(CARING, alert.id)
    spo2(ward, 97)
    assert ward.live.alerts.of(CARING, ann) == []
    assert len(ward.live.alerts.of(CARING, ann, all_of_them=True)) == 1
    told = [value for one in ward.trail.events for name, value in one.detail if name == "live" and "alert-" in value]
    assert told == ["alert-raised", "alert-silenced", "alert-escalated", "alert-acknowledged"]


def test_what_rises_after_an_alert_that_was_seen_and_is_over_is_escalated_anew(ward: Ward) -> None:
    ann = ward.admit("ann")
    spo2(ward, 86)
    (first,) = ward.live.alerts.of(CARING, ann)
    ward.live.alerts.acknowledge(CARING, first.id)
    ward.clock.advance(MINUTE)
    spo2(ward, 97)
    ward.clock.advance(MINUTE)
    spo2(ward, 80)
    (second,) = ward.live.alerts.of(CARING, ann)
    assert (second.id != first.id, second.acknowledged_ms) == (True, None)
    ward.clock.advance(16 * MINUTE)
    ward.live.watch.tick()
    assert any(one.escalated_ms for one in ward.live.alerts.of(CARING, ann) if one.id == second.id)


def test_who_may_see_and_touch_them(ward: Ward) -> None:
    ann = ward.admit("ann")
    spo2(ward, 86)
    (alert,) = ward.live.alerts.of(CARING, ann)
    officer = AccessContext(OFFICER, Purpose.COMPLIANCE)
    for refused in (
        lambda: ward.live.alerts.of(officer, ann),
        lambda: ward.live.alerts.everywhere(officer),
        lambda: ward.live.alerts.acknowledge(officer, alert.id),
        lambda: ward.live.alerts.of(FILING, ann),
    ):
        with pytest.raises(AccessDenied):
            refused()
    with pytest.raises(AlertNotFound):
        ward.live.alerts.acknowledge(CARING, "nothing")
    for only_writes in (
        lambda: ward.live.alerts.acknowledge(FILING, alert.id),
        lambda: ward.live.alerts.silence(FILING, alert.id, 10, "the probe is being changed right now"),
    ):
        with pytest.raises(AccessDenied):
            only_writes()  # it would be shown what was measured
    ward.consent(ann, Provision(effect="deny", categories=(Category.LABS,)))
    for unseen in (lambda: ward.live.alerts.of(CARING, ann), lambda: ward.live.alerts.acknowledge(CARING, alert.id)):
        with pytest.raises(AccessDenied):
            unseen()
    assert ward.live.alerts.everywhere(CARING) == []


def test_what_stays_away_is_noticed_by_the_clock(ward: Ward) -> None:
    ann = ward.admit("ann")
    now = ward.clock.now_ms()
    ward.send(*(ward.line(70, subject="Patient/ann", at_ms=now - ago * MINUTE) for ago in (16, 8, 0)))
    ward.clock.advance(16 * MINUTE)
    ward.live.watch.tick()
    ward.live.watch.tick()
    (alert,) = ward.live.alerts.of(CARING, ann)
    assert (alert.rule, alert.times) == ("heart-rate-missing", 1)


@pytest.mark.parametrize("is_folder", [False, True])
def test_rules_that_are_wrong_are_no_fault_of_the_sender(ward: Ward, *, is_folder: bool) -> None:
    ward.admit("ann")
    file = ward.folder / FILE_NAME
    file.mkdir() if is_folder else file.write_text("version = 1")
    live = Live(ward.parts, rules=lambda: rules_of(ward.folder))
    with pytest.raises(BadInput):
        _ = live.watch.rules
    batch = read_lines(json.dumps(ward.line(86, code=SPO2, subject="Patient/ann")).encode())
    with pytest.raises(Unavailable):
        live.intake.take(FILING, "gw-1", batch)
    file.rmdir() if is_folder else file.unlink()
    assert live.intake.take(FILING, "gw-1", batch)[0].outcome is Outcome.STORED


def test_what_was_altered_of_one_patient_keeps_no_other_from_being_looked_at(ward: Ward) -> None:
    ann, ben = sorted((ward.admit("ann"), ward.admit("ben")))
    spo2(ward, 86)
    spo2(ward, 86, who="ben")
    with sqlite3.connect(ward.folder / "live.db") as file:
        file.execute("UPDATE live_monitor SET sealed = zeroblob(length(sealed)) WHERE twin = ?", (ann,))
    ward.clock.advance(16 * MINUTE)
    with pytest.raises(RecordDamaged):
        ward.live.watch.tick()
    assert ward.live.alerts.of(CARING, ben)[0].escalated_ms == ward.clock.now_ms()
    both = [ward.line(84, code=SPO2, subject=f"Patient/{who}") for who in ("ann", "ben")]
    assert [one.outcome for one in ward.send(*both)] == [Outcome.STORED] * 2, "readings of both are kept"
    with sqlite3.connect(ward.folder / "live.db") as file:
        file.execute("UPDATE live_alert SET sealed = zeroblob(length(sealed)) WHERE twin = ?", (ann,))
    found = ward.live.ward.alerts(CARING)
    assert ([one.twin for one in found.alerts], found.damaged) == ([ben], 1)


def test_a_no_to_the_node_is_not_told_again_at_each_look(ward: Ward) -> None:
    ann = ward.admit("ann")
    spo2(ward, 86)
    ward.consent(ann, Provision(effect="deny", roles=(Role.NODE,), categories=(Category.MONITORING,)))
    ward.clock.advance(16 * MINUTE)
    ward.live.watch.tick()
    told = len(ward.trail.events)
    ward.live.watch.tick()
    assert len(ward.trail.events) == told
    ward.consent(ann)
    ward.live.watch.tick()
    assert ward.live.alerts.of(CARING, ann)[0].escalated_ms == ward.clock.now_ms()


def test_history_says_what_live_said_and_raises_nothing(ward: Ward) -> None:
    ann = ward.admit("ann")
    begin = ward.clock.now_ms()
    spo2(ward, 95, 86, 91, 85)
    found = ward.live.alerts.back_test(CARING, ann, shipped_rules(), begin, ward.clock.now_ms() + 1)
    assert [(one.rule.name, (one.time_ms - begin) // MINUTE, one.rose) for one in found] == [
        ("spo2-low", 2, True),
        ("spo2-low", 3, False),
        ("spo2-low", 4, True),
    ]
    assert len(ward.live.alerts.of(CARING, ann)) == 1


def test_sent_twice_artefacts_and_what_comes_late_raise_nothing(ward: Ward) -> None:
    ann = ward.admit("ann")
    spo2(ward, 95)
    late = ward.line(80, code=SPO2, subject="Patient/ann", at_ms=ward.clock.now_ms() - MINUTE)
    artefact = ward.line(80, code=SPO2, subject="Patient/ann", quality="artefact", at_ms=ward.clock.now_ms() + 1)
    ward.send(late, artefact, late)
    assert ward.live.alerts.of(CARING, ann) == []


def test_a_file_of_a_year_raises_nothing(ward: Ward) -> None:
    ann, now = ward.admit("ann"), ward.clock.now_ms()
    day = 24 * 60 * MINUTE
    for ago in (365 * day, 364 * day, day + 2):
        ward.send(ward.line(80, code=SPO2, subject="Patient/ann", at_ms=now - ago))
        ward.send(ward.line(97, code=SPO2, subject="Patient/ann", at_ms=now - ago + 1))
    ward.live.watch.tick()
    assert ward.live.alerts.of(CARING, ann, all_of_them=True) == []
    ward.send(ward.line(80, code=SPO2, subject="Patient/ann", at_ms=now - day))
    assert len(ward.live.alerts.of(CARING, ann)) == 1


def test_erased_with_the_category_and_with_the_patient(ward: Ward) -> None:
    ann, ben = ward.admit("ann"), ward.admit("ben")
    spo2(ward, 86)
    spo2(ward, 86, who="ben")
    ward.keyring.shred(ann)
    ward.keyring.shred(ben, {Category.MONITORING})
    ward.live.closing.forget_shredded()
    assert ward.live.alerts.of(CARING, ben) == []
    with ward.database.reading() as tables:
        assert (tables.alerts.twins(), tables.alerts.monitored()) == ([], [])
    spo2(ward, 85, who="ben")
    assert len(ward.live.alerts.of(CARING, ben)) == 1
    ward.keyring.shred(ben, {Category.LABS})
    ward.live.closing.forget_shredded()
    assert len(ward.live.alerts.of(CARING, ben)) == 1, "nothing of labs was in it"
    ward.keyring.shred(ben, {Category.VITALS})
    ward.live.closing.forget_shredded()
    with ward.database.reading() as tables:
        assert (tables.alerts.twins(), tables.alerts.monitored()) == ([], []), "an alert quotes what was measured"

"""Twins of wards and hospitals, maintenance and what-if, on the small hospital."""

from __future__ import annotations

import pytest

from tests.integration.live.ward import CARING, FILING
from tests.integration.things.hospital import HOUR_MS, Equipped
from tests.integration.things.test_things import CHECKING
from twinward.access.consent import Provision
from twinward.access.errors import AccessDenied
from twinward.core.vocabulary import Action, Category, Role
from twinward.things.errors import BadThing
from twinward.things.models import Kind, Relation, What
from twinward.things.service import New
from twinward.things.wards import WardState
from twinward.things.what_if.baseline import ALL_WAIT, Changes

ILL = {"9279-1": 26, "59408-5": 90, "8867-4": 135}
WELL = {"9279-1": 16, "59408-5": 98, "8867-4": 70}


def state(ward: Equipped, name: str = "icu", context: object = CARING) -> WardState:
    found = ward.things.show(context, name).state  # type: ignore[arg-type]
    assert found is not None
    return found


def test_a_ward_is_what_its_beds_devices_and_patients_are_now(ward: Equipped) -> None:
    ward.equip()
    ann, ben = ward.admit("ann"), ward.admit("ben")
    assert (state(ward).census, state(ward).free, state(ward).lying) == (0, 2, ())
    ward.put("bed-1", ann)
    ward.put("vent-1", ann)
    ward.send(*(ward.line(value, code=code, subject="Patient/ann", device=None) for code, value in ILL.items()))
    ward.put("bed-2", ben)
    for name in ("icu", "st-mary"):
        found = state(ward, name)
        assert (found.beds, found.census, found.free, found.devices, found.in_use) == (2, 2, 0, 1, 1)
        assert found.acuity == {"low": 0, "medium": 0, "high": 1, "unknown": 1, "withheld": 0}
    assert [(one.bed, one.twin, one.score) for one in found.lying] == [("bed-1", ann, 9), ("bed-2", ben, None)]
    ward.clock.advance(11 * 60_000)
    before = len(ward.trail.events)
    assert state(ward) == state(ward)
    read = [one.twin for one in ward.trail.events[before:] if one.action is Action.READ]
    assert sorted(read) == sorted((ann, ben)), "each patient is an access, once for ten minutes"
    ward.consent(ann, Provision(effect="deny", categories=(Category.VITALS, Category.LABS, Category.MONITORING)))
    assert state(ward).acuity == {"low": 0, "medium": 0, "high": 0, "unknown": 1, "withheld": 1}
    ward.consent(ann, Provision(effect="deny", roles=(Role.CLINICIAN,)))
    seen = [state(ward).lying[0], *ward.things.history(CARING, "bed-1"), *ward.things.history(CARING, "vent-1")]
    seen += [ward.things.show(CARING, name).relations for name in ("bed-1", "vent-1")]
    assert ann not in repr(seen)
    assert repr(seen).count("withheld") == 5, "a patient's no is one to lists, too"
    assert state(ward, context=FILING).lying[0].twin == ann
    ward.clock.advance(5 * HOUR_MS)
    ward.consent(ann)
    assert (state(ward).acuity or {})["unknown"] == 2, "what was measured five hours ago tells nothing"
    ward.send(*(ward.line(value, code=code, subject="Patient/ben", device=None) for code, value in WELL.items()))
    assert (state(ward).acuity or {})["low"] == 1
    ward.keyring.shred(ben)
    assert ben not in repr(state(ward))
    ward.take("bed-2")
    assert state(ward).free == 1


def test_who_may_see_no_patient_is_told_no_small_number_and_no_patient(ward: Equipped) -> None:
    ward.equip()
    for number in range(3, 13):
        ward.things.add(FILING, New(f"bed-{number}", Kind.BED, "Bed"))
        ward.things.relations.relate(FILING, f"bed-{number}", Relation.PART_OF, "icu")
    ward.things.add(FILING, New("isolation", Kind.WARD, "Isolation"))
    ward.things.add(FILING, New("bed-0", Kind.BED, "Bed"))
    ward.things.relations.relate(FILING, "isolation", Relation.PART_OF, "st-mary")
    ward.things.relations.relate(FILING, "bed-0", Relation.PART_OF, "isolation")
    alone = [ward.things.properties(CHECKING, name)["census"] for name in ("isolation", "st-mary")]
    ward.put("bed-0", ward.admit("alone"))
    told_now = [ward.things.properties(CHECKING, name)["census"] for name in ("isolation", "st-mary")]
    assert alone == told_now == ["*", "*"], "of one bed, any other answer says who lies in it"
    assert state(ward, "st-mary").census == 1
    twins = [ward.admit(f"p{number}") for number in range(12)]
    for number, twin in enumerate(twins, 1):
        told = ward.things.properties(CHECKING, "icu")
        census = number - 1
        assert told["census"] == (0 if not census else "*" if census <= 7 else 10)
        assert told["free"] == (12 if not census else "*" if census <= 7 else 2)
        assert "acuity" not in told
        ward.put(f"bed-{number}", twin)
    assert state(ward).census == 12
    filing = state(ward, context=FILING)
    assert (filing.census, filing.acuity, len(filing.lying)) == (12, None, 12)
    told_state = repr(state(ward, context=CHECKING))
    assert not any(twin in told_state for twin in twins)
    with pytest.raises(AccessDenied):
        ward.things.what_if(CHECKING, "icu", Changes())


def test_hours_with_patients_and_faults_make_a_device_due(ward: Equipped) -> None:
    ward.equip()
    ann = ward.admit("ann")
    ward.put("vent-1", ann)
    ward.clock.advance(60 * HOUR_MS)
    shown = ward.things.show(FILING, "vent-1").service
    assert shown is not None
    assert (shown.used_h, shown.reason, shown.due_ms) == (60, "hours", ward.clock.now_ms() + 40 * HOUR_MS)
    told = ward.things.properties(CHECKING, "vent-1")
    assert "useHours" not in told
    assert told["serviceDue"] is None, "hours of use tell when it was with somebody"
    assert state(ward).due == ()
    ward.clock.advance(41 * HOUR_MS)
    assert state(ward).due == ("vent-1",)
    assert state(ward, context=CHECKING).due == ()
    ward.happen("vent-1", What.SERVICED)
    assert state(ward).due == ()
    ward.clock.advance(1)
    ward.happen("vent-1", What.FAULT)
    assert (state(ward).due, ward.things.properties(CHECKING, "icu")["equipmentDue"]) == (("vent-1",), 1)


def test_a_ward_is_asked_what_if_from_how_it_stands(ward: Equipped) -> None:
    ward.equip()
    twins = [ward.admit(f"p{number}") for number in range(13)]
    with pytest.raises(BadThing, match="too few patients came"):
        ward.things.what_if(FILING, "icu", Changes())
    for twin in twins[:12]:
        ward.put("bed-1", twin)
        ward.clock.advance(12 * HOUR_MS)
        ward.take("bed-1")
        ward.clock.advance(12 * HOUR_MS)
    ward.put("bed-2", twins[12])
    ward.clock.advance(HOUR_MS)
    before = len(ward.trail.events)
    asked = ward.things.what_if(FILING, "icu", Changes(), runs=10).scenario
    assert [dict(one.detail)["what"] for one in ward.trail.events[before:]] == ["what-if"]
    assert (asked.stages[0].places, asked.stages[0].mean_h, asked.stages[0].spread) == (2, 12, 0)
    assert asked.present_h == (1.0,)
    assert asked.arrivals_h == pytest.approx(13 / (12 * 24 + 1))
    more = ward.things.what_if(FILING, "icu", Changes(places=3, arrivals_h=1.0, waiting=ALL_WAIT, days=7), runs=10)
    assert (more.scenario.stages[0].places, more.scenario.waiting, more.scenario.days) == (3, None, 7)
    assert more.refused.mean == 0
    assert more.stages[0].wait_h.mean > 1
    with pytest.raises(BadThing):
        ward.things.what_if(FILING, "bed-1", Changes())

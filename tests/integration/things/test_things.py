"""Twins of things on the small hospital: what stands how, what happens to a patient and a thing at once, who may."""

from __future__ import annotations

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.integration.fhir.hospital import OFFICER, VENDOR
from tests.integration.live.ward import CARING, FILING
from tests.integration.things.hospital import HOUR_MS, Equipped
from twinward.access.consent import Provision
from twinward.access.errors import AccessDenied
from twinward.access.interfaces import AccessContext
from twinward.core.errors import StoreAltered
from twinward.core.vocabulary import Category, Purpose, TwinId
from twinward.live.assignments import WITHHELD
from twinward.live.errors import AssignmentConflict
from twinward.things.descriptions import CONTEXT, description
from twinward.things.errors import BadThing, NoSuchAffordance, ThingConflict, ThingNotFound
from twinward.things.models import Kind, Related, Relation, What
from twinward.things.service import New

CHECKING = AccessContext(OFFICER, Purpose.COMPLIANCE)
SCHEMA: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors/wot/td-json-schema-validation.json").read_text(encoding="utf-8")
)
VALID = jsonschema.Draft7Validator(SCHEMA)


def test_a_patients_stay_is_in_both_histories(ward: Equipped) -> None:
    ward.equip()
    ann = ward.admit("ann")
    ward.put("bed-1", ann)
    ward.put("vent-1", ann)
    ward.happen("vent-1", What.STARTED)
    ward.happen("saline", What.FILLED, amount=10)
    ward.happen("saline", What.USED, twin=ann, amount=3)
    ward.clock.advance(HOUR_MS)
    ward.happen("vent-1", What.STOPPED)
    ward.take("vent-1")
    ward.take("bed-1")
    assert ward.live.devices(FILING)[0].line.assignments[0].until_ms == ward.clock.now_ms(), "one truth with live"
    of_ann = [dict(one.detail) for one in ward.trail.events if one.twin == ann and one.decision == "permit"]
    told = [one.get("what") or one["live"] for one in of_ann if one.get("thing") or one.get("device")]
    assert told == [*("assigned-to related", "assigned", "started", "used", "stopped", "released", "assigned-to ended")]
    assert {one.categories for one in ward.trail.events if dict(one.detail).get("thing") == "saline" and one.twin} == {
        (Category.MEDICATIONS,)
    }
    (stay,) = (one for one in ward.things.history(FILING, "bed-1") if isinstance(one, Related) and one.target == ann)
    assert stay.until_ms == stay.from_ms + HOUR_MS
    history = ward.things.history(FILING, "vent-1")
    assert [one.relation if isinstance(one, Related) else one.what for one in history] == [
        *("located-in", "assigned-to", "started", "stopped")
    ]
    assert ward.things.show(FILING, "saline").thing.level == 7
    assert [one.target for one in ward.things.show(FILING, "bed-1").relations] == ["icu"]
    raw = b"".join(one.read_bytes() for one in ward.folder.glob("things.db*"))
    assert all(word not in raw for word in (b"vent-1", b"bed-1", ann.encode(), b"Saline"))


def test_consent_and_policy_are_asked_on_both_sides_and_nothing_is_left_half_done(ward: Equipped) -> None:
    ward.equip()
    ann = ward.admit("ann")
    ward.happen("saline", What.FILLED, amount=5)
    denied = (Category.ENCOUNTERS, Category.MONITORING, Category.MEDICATIONS)
    ward.consent(ann, Provision(effect="deny", categories=denied))
    for refused in (
        lambda: ward.put("bed-1", ann),
        lambda: ward.put("vent-1", ann),
        lambda: ward.happen("saline", What.USED, twin=ann, amount=1),
    ):
        before = len(ward.trail.events)
        with pytest.raises(AccessDenied):
            refused()
        assert [one.decision for one in ward.trail.events[before:]] == ["deny"]
    assert ward.things.show(FILING, "saline").thing.level == 5
    assert all(
        not ward.things.relations.assignments(ward.things.show(FILING, name).thing) for name in ("bed-1", "vent-1")
    )
    ward.put("bed-1", ward.admit("ben"))
    for refused in (
        lambda: ward.put("bed-1", ann),  # that it is taken, or that there is not so much, is told to who may ask
        lambda: ward.happen("saline", What.USED, twin=ann, amount=6),
    ):
        with pytest.raises(AccessDenied):
            refused()
    ward.consent(ann)
    ward.put("vent-1", ann)
    ward.consent(ann, Provision(effect="deny", categories=denied))
    with pytest.raises(AccessDenied):
        ward.happen("vent-1", What.STARTED)
    assert len(ward.things.history(FILING, "vent-1")) == 2
    # but nobody's no keeps a device or a bed on them
    ward.clock.advance(1)
    for name in ("vent-1", "bed-2"):
        if name == "bed-2":
            ward.consent(ann)
            ward.put(name, ann)
            ward.clock.advance(1)
            ward.consent(ann, Provision(effect="deny", categories=denied))
        assert ward.things.relations.end(FILING, name, Relation.ASSIGNED_TO).target == WITHHELD
        assert ward.trail.events[-1].twin is None


def test_who_may_look_and_who_may_change(ward: Equipped) -> None:
    ward.equip()
    ann = ward.admit("ann")
    ward.put("bed-1", ann)
    shown = ward.things.show(CHECKING, "bed-1")
    assert [one.relation for one in shown.relations] == ["part-of"], "an officer does not see who lies in it"
    assert ann in {one.target for one in ward.things.show(CARING, "bed-1").relations}
    assert len(ward.things.all(CHECKING)) == 6
    before = len(ward.trail.events)
    for looks in (
        lambda: ward.things.all(CHECKING),
        lambda: ward.things.show(CHECKING, "icu"),
        lambda: ward.things.describe(CHECKING, "icu", ""),
        lambda: ward.things.history(FILING, "icu"),
    ):
        looks()
    told = [(one.agent, dict(one.detail)["what"]) for one in ward.trail.events[before:]]
    assert told == [("officer", "listed"), ("officer", "shown"), ("officer", "described"), ("icu-gateway", "history")]
    before = len(ward.trail.events)
    for refused in (
        lambda: ward.things.history(CHECKING, "bed-1"),
        lambda: ward.things.add(CHECKING, New("x", Kind.BED, "X")),
        lambda: ward.things.relations.end(CHECKING, "bed-1", Relation.ASSIGNED_TO),
        lambda: ward.things.all(AccessContext(VENDOR, Purpose.SIMILARITY)),
        lambda: ward.things.show(AccessContext(VENDOR, Purpose.SIMILARITY), "nothing"),
    ):
        with pytest.raises(AccessDenied):
            refused()
    assert [one.decision for one in ward.trail.events[before:]] == ["deny"] * 5
    with pytest.raises(ThingNotFound):
        ward.things.show(FILING, "nothing")


def test_what_cannot_be_is_said_and_changes_nothing(ward: Equipped) -> None:
    ward.equip()
    ann, ben = ward.admit("ann"), ward.admit("ben")
    ward.put("bed-1", ann)
    now, relations = ward.clock.now_ms(), ward.things.relations
    for error, wrong in (
        (ThingConflict, lambda: ward.put("bed-1", ben)),
        (ThingConflict, lambda: ward.put("bed-2", ann)),
        (ThingConflict, lambda: ward.take("bed-1")),  # at the moment it began
        (ThingConflict, lambda: ward.take("bed-2")),
        (ThingConflict, lambda: relations.relate(FILING, "bed-1", Relation.PART_OF, "icu")),
        (BadThing, lambda: relations.relate(FILING, "icu", Relation.PART_OF, "bed-1")),
        (BadThing, lambda: relations.relate(FILING, "icu", Relation.ASSIGNED_TO, ann)),
        (BadThing, lambda: ward.put("bed-2", ben, now + 1)),
        (ThingNotFound, lambda: relations.relate(FILING, "bed-3", Relation.PART_OF, "icu")),
        (ThingNotFound, lambda: relations.relate(FILING, "bed-2", Relation.PART_OF, "icu-2")),
        (ThingConflict, lambda: ward.things.add(FILING, New("icu", Kind.WARD, "Again"))),
        (BadThing, lambda: ward.things.add(FILING, New("a b", Kind.WARD, "Blank"))),
        (BadThing, lambda: ward.things.add(FILING, New("w", Kind.WARD, "a\x1b[2J"))),
        (BadThing, lambda: ward.things.add(FILING, New("w", Kind.WARD, "W", "pump"))),
        (BadThing, lambda: ward.things.add(FILING, New("w", Kind.WARD, "W", service_days=3))),
        (ThingConflict, lambda: ward.happen("vent-1", What.STARTED)),
        (NoSuchAffordance, lambda: ward.happen("icu", What.FAULT)),
        (BadThing, lambda: ward.happen("saline", What.USED, amount=1)),
        (BadThing, lambda: ward.happen("saline", What.FILLED, amount=0)),
        (ThingConflict, lambda: ward.happen("saline", What.USED, twin=ann, amount=1)),
        (BadThing, lambda: ward.happen("vent-1", What.FAULT, twin=ann)),
    ):
        permitted = sum(one.decision == "permit" for one in ward.trail.events)
        with pytest.raises(error):
            wrong()
        assert sum(one.decision == "permit" for one in ward.trail.events) == permitted, "nothing is told of as done"
    ward.clock.advance(HOUR_MS)
    ward.take("bed-1", now + 10)
    with pytest.raises(ThingConflict):
        ward.put("bed-1", ben, now + 9)
    with pytest.raises(ThingConflict):
        ward.put("bed-2", ann, now + 9)
    ward.put("bed-1", ben, now + 10)
    ward.put("vent-1", ann)
    with pytest.raises(AssignmentConflict):
        ward.put("vent-1", ben)
    ward.happen("vent-1", What.STARTED)
    with pytest.raises(ThingConflict):
        ward.happen("vent-1", What.STARTED)


def test_two_processes_put_one_patient_into_one_bed(ward: Equipped) -> None:
    ward.equip()
    patients = [ward.admit(f"p{number}") for number in range(4)]
    stores = [ward.another() for _ in patients]

    def race(place: int) -> bool:
        try:
            stores[place].relations.relate(FILING, "bed-1", Relation.ASSIGNED_TO, patients[place])
        except ThingConflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(race, range(4)))
    assert won.count(True) == 1
    (stay,) = ward.things.relations.assignments(ward.things.show(FILING, "bed-1").thing)
    assert stay.target == patients[won.index(True)]
    told = [one for one in ward.trail.events if dict(one.detail).get("what") == "assigned-to related"]
    assert [one.twin for one in told if one.decision == "permit"] == [stay.target]
    for one in stores:
        one.close()


def test_an_erased_patient_is_named_no_longer(ward: Equipped) -> None:
    ward.equip()
    ann = ward.admit("ann")
    ward.put("bed-1", ann)
    ward.put("vent-1", ann)
    ward.happen("vent-1", What.STARTED)
    ben = ward.admit("ben")
    ward.put("bed-2", ben)
    ward.keyring.shred(ann)
    assert [one.twin for at in ward.live.devices(FILING) for one in at.line.assignments] == ["erased"]

    def told() -> list[str]:
        return [repr(ward.things.history(FILING, name)) for name in ("bed-1", "vent-1")]

    before = told()
    assert all(ann not in one and "erased" in one for one in before)
    assert ward.things.forget_erased() == 2, "the stay and the start; the assignment is the live room's"
    assert (ward.things.forget_erased(), told()) == (0, before), "shown as before, and no row names the patient"
    ward.clock.advance(1000)
    told_before = len(ward.trail.events)
    stopped = ward.happen("vent-1", What.STOPPED)
    assert (stopped.twin, ward.trail.events[-1].twin) == ("erased", None), "what runs can be stopped, and names nobody"
    for again in (lambda: ward.happen("saline", What.USED, twin=ann, amount=1), lambda: ward.put("bed-2", ann)):
        with pytest.raises(ThingConflict, match="erased"):
            again()
    assert len(ward.trail.events) == told_before + 1
    assert ward.things.relations.assignments(ward.things.show(FILING, "bed-2").thing)[0].target == ben
    ward.clock.advance(HOUR_MS)
    assert ward.take("bed-1").until_ms == ward.clock.now_ms(), "and the bed can be given to somebody else"
    ward.take("bed-2")
    ward.put("bed-1", ben)


def test_what_was_written_by_others_is_no_row(ward: Equipped) -> None:
    ward.equip()
    ward.happen("saline", What.FILLED, amount=1)
    for change, looks in (
        ("UPDATE thing_happening SET target = zeroblob(16)", lambda: ward.things.history(FILING, "saline")),
        ("UPDATE thing_relation SET is_open = 0", lambda: ward.things.history(FILING, "bed-1")),
        ("UPDATE thing SET revision = revision + 1", lambda: ward.things.all(FILING)),
    ):
        looks()
        with sqlite3.connect(ward.folder / "things.db") as file:
            file.execute(change)
        with pytest.raises(StoreAltered, match=r"things\.db"):
            looks()


def test_each_kind_is_described_as_the_web_of_things_has_it(ward: Equipped) -> None:
    ward.equip()
    ann = ward.admit("ann")
    ward.put("vent-1", ann)
    for thing in ward.things.all(FILING):
        described = ward.things.describe(CHECKING, thing.name, "https://st-mary.example")
        assert described == description(thing, "https://st-mary.example")
        assert ann not in json.dumps(described)
        assert described["@context"][0] == CONTEXT
        older = described | {"@context": [SCHEMA["definitions"]["thing-context-w3c-uri"]["enum"][0]]}
        VALID.validate(json.loads(json.dumps(older)))
    broken = {name: one for name, one in older.items() if name != "security"}
    with pytest.raises(jsonschema.ValidationError):
        VALID.validate(broken)


def test_names_are_kept_apart_from_patients(ward: Equipped) -> None:
    """A bed that is called as a patient's twin is is not that patient."""
    ward.equip()
    ann = ward.admit("ann")
    ward.things.add(FILING, New(ann, Kind.WARD, "Odd"))
    ward.things.add(FILING, New("bed-9", Kind.BED, "Bed"))
    ward.things.relations.relate(FILING, "bed-9", Relation.PART_OF, TwinId(ann))
    ward.put("bed-1", ann)
    assert [one.thing for one in ward.things.show(FILING, ann).contains] == ["bed-9"]

"""Each kind of thing is told of everywhere: what it may be in, what happens to it, what its description says."""

from __future__ import annotations

import pytest

from twinward.core.vocabulary import Category
from twinward.things.descriptions import PROPERTIES, description
from twinward.things.interactions import OF_KIND
from twinward.things.maintenance import service_of
from twinward.things.models import BETWEEN, TYPES, Kind, Thing
from twinward.things.shown import Shown
from twinward.things.wards import WardState


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_of_thing_is_told_of_everywhere(kind: Kind) -> None:
    type_ = TYPES[kind][0] if TYPES[kind] else ""
    thing = Thing("0", "x", kind, "X", type_, 0, "somebody", 500 if kind is Kind.DEVICE else 0, 30)
    assert isinstance(thing.category, Category)
    described = description(thing, "https://node.example")
    assert list(described["properties"]) == list(PROPERTIES[kind])
    assert list(described.get("actions", {})) == [what.value for what in OF_KIND[kind]]
    maintained = "serviceDue" in PROPERTIES[kind]
    state = WardState(0, 3, 1, 2, {"low": 1}, 0, 0, (), ()) if "beds" in PROPERTIES[kind] else None
    shown = Shown(thing, (), (), service_of(thing, [], [], 0) if maintained else None, state)
    assert shown.properties().keys() <= PROPERTIES[kind].keys()
    below_all = not any(kind is one for one, _ in BETWEEN)
    assert below_all is (kind is Kind.HOSPITAL), "every kind but the highest is in another, or part of it"

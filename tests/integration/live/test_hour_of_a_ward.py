"""The demo's hour of a ward: each reading once, the alert of the one who deteriorates, nothing of the others."""

from __future__ import annotations

from pathlib import Path

from tests.integration.console.fixtures import build
from tests.integration.live.ward import CARING
from twinward.demo.display import Silent
from twinward.demo.ward import hour_of_a_ward
from twinward.things.models import Happening


def test_the_one_who_deteriorates_and_nobody_else_raises_an_alert(tmp_path: Path) -> None:
    house = build(tmp_path / "home", patients=3)
    try:
        ward = hour_of_a_ward(house.node, Silent(), house.twins, 7)
        shown = house.node.things.show(CARING, "ward-3").state
        history = house.node.things.history(CARING, "ventilator-1")
    finally:
        house.node.close()
    assert (ward.beds, ward.stored, ward.again, ward.elsewhere) == (3, 3 * 60 * 4, 3 * 60 * 4, 0)
    assert any(one.startswith("news2-high") for one in ward.raised)
    assert shown is not None
    assert (shown.beds, shown.census, shown.in_use) == (3, 3, 4), "monitors are with whom they were assigned to"
    assert (shown.acuity or {})["high"] == 1, "who deteriorates"
    assert [one.what for one in history if isinstance(one, Happening)] == ["started"]

"""The demo's hour of a ward: each reading once, the alert of the one who deteriorates, nothing of the others."""

from __future__ import annotations

from pathlib import Path

from tests.integration.console.fixtures import build
from twinward.demo.display import Silent
from twinward.demo.ward import hour_of_a_ward


def test_the_one_who_deteriorates_and_nobody_else_raises_an_alert(tmp_path: Path) -> None:
    house = build(tmp_path / "home", patients=3)
    try:
        ward = hour_of_a_ward(house.node, Silent(), house.twins, 7)
    finally:
        house.node.close()
    assert (ward.beds, ward.stored, ward.again, ward.elsewhere) == (3, 3 * 60 * 4, 3 * 60 * 4, 0)
    assert any(one.startswith("news2-high") for one in ward.raised)

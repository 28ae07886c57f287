"""A small ward's things, and what three hospitals offer and need: for pages that show them."""

from __future__ import annotations

from tests.integration.console.fixtures import OFFICER, House
from twinward.access.interfaces import AccessContext, Principal
from twinward.core.vocabulary import Purpose, Role
from twinward.node.study_approvals import abroad, member
from twinward.things.interactions import Report
from twinward.things.models import Kind, Relation, What
from twinward.things.service import New
from twinward_contracts.bindings import ListingKind

FILING = AccessContext(Principal("ward-system", Role.SYSTEM), Purpose.RECORD_MANAGEMENT)
LENDING = AccessContext(OFFICER, Purpose.OPERATIONS)
DAY_S = 86_400


def equip(house: House) -> None:
    """A ward of two beds, one taken; a ventilator; saline."""
    things = house.node.things
    for new in (
        New("st-mary", Kind.HOSPITAL, "St. Mary's"),
        New("icu", Kind.WARD, "Intensive care"),
        New("bed-1", Kind.BED, "bed-1"),
        New("bed-2", Kind.BED, "bed-2"),
        New("vent-1", Kind.DEVICE, "Ventilator 1", "ventilator", service_days=180),
        New("saline", Kind.STOCK, "Saline", "medication", unit="bag"),
    ):
        things.add(FILING, new)
    for name, relation, target in (
        ("icu", Relation.PART_OF, "st-mary"),
        ("bed-1", Relation.PART_OF, "icu"),
        ("bed-2", Relation.PART_OF, "icu"),
        ("vent-1", Relation.LOCATED_IN, "bed-1"),
        ("saline", Relation.LOCATED_IN, "icu"),
        ("bed-1", Relation.ASSIGNED_TO, house.twins[-1]),
    ):
        things.relations.relate(FILING, name, relation, target)
    things.interactions.record(FILING, "saline", Report(What.FILLED, amount=40))


def break_down(house: House) -> None:
    """The ventilator has a fault; later than it was added."""
    house.node.things.interactions.record(FILING, "vent-1", Report(What.FAULT, note="the alarm does not sound"))


def lend(house: House) -> None:
    """An offer here, a request of another hospital, a promise that was not yet sent off."""
    node, now_s = house.node, house.node.clock.now_ms() // 1000
    node.consortium.open_exchange()
    other = next(one for one in node.settings.witnesses if one != node.settings.tenant)
    offer = node.exchange.enter(LENDING, ListingKind.OFFER, "ventilator", 5, now_s + 7 * DAY_S)
    with member(node, other) as one:
        desk, by = one.node.exchange, abroad(LENDING, one, node)
        need = desk.enter(by, ListingKind.REQUEST, "ventilator", 3, now_s + 6 * DAY_S)
    node.exchange.promise(LENDING, offer.number, need.number, 2, now_s + DAY_S, now_s + 2 * DAY_S)

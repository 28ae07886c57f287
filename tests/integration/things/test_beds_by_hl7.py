"""Beds follow a ward's ADT: into one, into the next, out of the last; what is in the way is said, and nothing taken."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.live.test_hl7 import MRN, Interface, pid
from tests.integration.live.ward import FILING
from tests.integration.things.hospital import Equipped
from twinward.access.consent import Provision
from twinward.core.vocabulary import Category
from twinward.fhir.rest.service import FhirService
from twinward.live.hl7.desk import Hl7Desk, Hl7Source
from twinward.live.hl7.people import authorities_of
from twinward.node.hl7 import Hl7Records, hospital_of
from twinward.things.errors import ThingConflict
from twinward.things.models import Kind, Related
from twinward.things.service import New


class Bedded(Interface):
    """An interface engine of a ward whose beds are known."""

    ward: Equipped

    @property
    def desk(self) -> Hl7Desk:
        records = Hl7Records(FhirService(self.ward.twins, self.ward.clock), self.ward.access)
        hospital = hospital_of(records, self.ward.live.subjects, self.ward.things.relations)
        known = authorities_of({"STMARY": MRN, "": MRN}, "https://stmary.example/visits")
        return Hl7Desk(self.ward.live, hospital, FILING, Hl7Source("adt", known))

    def move(self, event: str, place: str, mrn: str = "7") -> list[str]:
        self.ward.clock.advance(1_000)
        visit = f"PV1|1|I|{place}||||||||||||||||V{mrn}"
        return self.tell(f"ADT^{event}", f"EVN||{self.at()}", pid(mrn), visit)

    def beds(self) -> dict[str, str]:
        """Who lies where, by MRN."""
        twins = {self.twin(mrn): mrn for mrn in ("7", "8") if mrn in self.met}
        found = {}
        for name in ("bed-1", "bed-2", "icu-3-bed-2"):
            now = self.ward.things.relations.current(self.ward.things.show(FILING, name).thing)
            if now is not None:
                found[name] = twins[now.target]  # type: ignore[index]
        return found

    met: tuple[str, ...] = ("7", "8")


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Bedded]:
    ward = Equipped(tmp_path)
    ward.equip()
    ward.things.add(FILING, New("icu-3-bed-2", Kind.BED, "Window"))
    made = Bedded(ward)
    for mrn in ("7", "8"):
        made.tell("ADT^A04", pid(mrn))
    yield made
    ward.close()


def test_a_transfer_moves_the_bed_and_a_discharge_frees_it(sender: Bedded) -> None:
    assert (sender.move("A01", "ICU^^Bed 1"), sender.beds()) == (["AA"], {"bed-1": "7"})
    assert (sender.move("A02", "ICU^3^Bed 2"), sender.beds()) == (["AA"], {"icu-3-bed-2": "7"}), "the most exact"
    assert (sender.move("A02", "ICU^3^Bed 2"), sender.beds()) == (["AA"], {"icu-3-bed-2": "7"}), "where they are"
    assert (sender.move("A01", "ICU^^Bed 1", "8"), sender.beds()) == (["AA"], {"bed-1": "8", "icu-3-bed-2": "7"})
    # a bed that is taken stays whose it is; all else of the message was done
    assert sender.move("A02", "ICU^^Bed 1") == ["AA", "PV1^1^3 W"]
    assert sender.beds() == {"bed-1": "8", "icu-3-bed-2": "7"}
    assert (sender.move("A02", "THEATRE^^table 9"), sender.beds()) == (["AA"], {"bed-1": "8"}), "left all the same"
    assert (sender.move("A03", "ICU^^Bed 1", "8"), sender.beds()) == (["AA"], {})
    assert sender.move("A01", "ICU^^") == ["AA"]
    assert sender.beds() == {}


def test_who_wants_no_encounter_filed_is_put_into_no_bed(sender: Bedded) -> None:
    sender.move("A01", "ICU^^Bed 1")
    sender.ward.consent(sender.twin("7"), Provision(effect="deny", categories=(Category.ENCOUNTERS,)))
    assert sender.move("A02", "ICU^^Bed 2") == ["AR", "MSH^1 E"]
    assert sender.beds() == {"bed-1": "7"}
    sender.ward.live.assign(FILING, "monitor-1", sender.twin("7"))
    assert sender.move("A03", "ICU^^Bed 1") == ["AR", "MSH^1 E"], "it is not filed"
    assert sender.beds() == {}, "but the bed and the monitor are the next one's"
    assert sender.ward.live.line_of("monitor-1").at(sender.ward.clock.now_ms()) is None


def test_a_bed_that_two_want_at_once_is_ones_and_the_other_keeps_theirs(sender: Bedded) -> None:
    ward, twins = sender.ward, [sender.twin("7"), sender.twin("8")]
    rooms = [ward.things.relations, ward.another().relations]  # as two processes have it
    for relations, twin, own in zip(rooms, twins, ("bed-1", "bed-2"), strict=True):
        relations.lay(FILING, twin, [own])
    start = threading.Barrier(2)

    def moved(number: int, bed: str) -> str:
        start.wait()
        try:
            rooms[number].lay(FILING, twins[number], [bed])
        except ThingConflict:
            return ""
        return bed

    with ThreadPoolExecutor(2) as pool:
        for _ in range(8):
            got = list(pool.map(moved, (0, 1), ("icu-3-bed-2", "icu-3-bed-2")))
            assert sorted(got) == ["", "icu-3-bed-2"]
            assert sorted(sender.beds().values()) == ["7", "8"], "nobody lies in none"
            list(pool.map(moved, (0, 1), ("bed-1", "bed-2")))
            assert sender.beds() == {"bed-1": "7", "bed-2": "8"}
    done = [event for event in ward.trail.events if ("thing", "icu-3-bed-2") in event.detail]
    stays = [one for one in ward.things.history(FILING, "icu-3-bed-2") if isinstance(one, Related)]
    assert len([one for one in done if ("what", "assigned-to related") in one.detail]) == len(stays), "no race is told"

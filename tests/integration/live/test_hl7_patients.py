"""Whose an HL7 message is: no message about one patient reaches another, however it names them."""

from __future__ import annotations

import pytest

from tests.integration.live.test_hl7 import HOUR, MRN, Interface, pid
from tests.integration.live.ward import FILING, Ward
from twinward.access.consent import Provision
from twinward.core.errors import Unavailable
from twinward.core.vocabulary import Category, TwinId
from twinward.fhir.mapping.records import identifier_key
from twinward.live.assignments import AssignmentLine

NATIONAL = "&https://national.example/id&URI"


@pytest.fixture
def sender(ward: Ward) -> Interface:
    return Interface(ward)


def rate(sender: Interface, value: int) -> str:
    return f"OBX|1|NM|8867-4^^LN||{value}|/min|||||F|||{sender.at(500)}"


def test_results_behind_a_second_patient_are_not_the_firsts(sender: Interface) -> None:
    for mrn in ("7", "8"):
        sender.tell("ADT^A04", pid(mrn))
    lines = (pid("7"), rate(sender, 61), pid("8"), rate(sender, 99))
    assert sender.tell("ORU^R01", *lines) == ["AE", "PID^2 E"]
    assert sender.rates(sender.twin("7")) == []
    twice = (pid("7"), "MRG|8^^^STMARY", pid("7"), "MRG|9^^^STMARY")
    assert sender.tell("ADT^A40", *twice) == ["AE", "PID^2 E"], "one of two mergers would be lost"


@pytest.mark.slow
def test_a_new_identifier_beside_a_known_one_makes_no_second_patient(sender: Interface) -> None:
    sender.tell("ADT^A04", pid("7"))
    twin = sender.twin("7")
    both = f"PID|||N7^^^{NATIONAL}~7^^^STMARY||Poe^Ann"
    assert sender.tell("ADT^A08", both) == ["AA"]
    assert sender.twin("7") == twin, "an identifier of two patients would be nobody's"
    assert sender.patient("7")["name"][0]["family"] == "Poe"
    sender.tell("ADT^A04", pid("8"))
    assert sender.tell("ADT^A08", "PID|||7^^^STMARY~8^^^STMARY||Mallory^M") == ["AE", "PID^1^3 E"]
    assert sender.patient("7")["name"][0]["family"] == "Poe"


@pytest.mark.slow
@pytest.mark.parametrize("named", ["&other.example&DNS", "&xy:a,https://stmary.example/mrn&URI", "&&L"])
def test_an_authority_that_is_unknown_is_not_the_usual_one(sender: Interface, named: str) -> None:
    assert sender.tell("ADT^A04", f"PID|||7^^^{named}||Doe^Jane") == ["AE", "PID^1^3 E"]
    assert not sender.ward.live.subjects([identifier_key("Patient", MRN, "7")])


@pytest.mark.slow
def test_a_merger_holds_for_every_identifier_of_who_is_gone(sender: Interface) -> None:
    for mrn in ("7", "8"):
        sender.tell("ADT^A04", f"PID|||{mrn}^^^STMARY~N{mrn}^^^{NATIONAL}||Doe^Jane")
    assert sender.tell("ADT^A40", pid("8"), "MRG|7^^^STMARY") == ["AA"]
    assert sender.tell("ORU^R01", f"PID|||N7^^^{NATIONAL}", rate(sender, 61)) == ["AA"]
    assert sender.tell("ORU^R01", f"PID|||7^^^STMARY~N7^^^{NATIONAL}", rate(sender, 62)) == ["AA"]
    assert sender.rates(sender.twin("7")) == []
    assert len(sender.rates(sender.twin("8"))) == 2
    circle = (f"PID|||N7^^^{NATIONAL}", f"MRG|N8^^^{NATIONAL}")
    assert sender.tell("ADT^A40", *circle) == ["AE", "MRG^1^1 E"]


@pytest.mark.slow
def test_devices_are_handed_over_together_or_not_at_all(sender: Interface, monkeypatch: pytest.MonkeyPatch) -> None:
    for mrn in ("7", "8"):
        sender.tell("ADT^A04", pid(mrn))
    for device in ("m-1", "m-2"):
        sender.ward.live.assign(FILING, device, sender.twin("8"), sender.ward.clock.now_ms() - HOUR)
    begun: list[str] = []
    assigned = AssignmentLine.assigned

    def dies_at_the_second(self: AssignmentLine, twin: TwinId, from_ms: int, by: str) -> AssignmentLine:
        begun.append(twin)
        if len(begun) == 2:
            raise Unavailable("it is gone")
        return assigned(self, twin, from_ms, by)

    monkeypatch.setattr(AssignmentLine, "assigned", dies_at_the_second)
    assert sender.tell("ADT^A40", pid("7"), "MRG|8^^^STMARY", control_id="m") == ["AE", "MSH^1 E"]
    assert sender.tell("ADT^A40", pid("7"), "MRG|8^^^STMARY", control_id="m") == ["AA"]
    now = [one.line.current.twin for one in sender.ward.live.devices(FILING) if one.line.current]
    assert now == [sender.twin("7")] * 2


@pytest.mark.slow
def test_a_merger_that_the_survivors_consent_refuses_does_nothing(sender: Interface) -> None:
    for mrn in ("7", "8"):
        sender.tell("ADT^A04", pid(mrn))
    sender.ward.live.assign(FILING, "m-1", sender.twin("8"))
    sender.ward.consent(sender.twin("7"), Provision(effect="deny", categories=(Category.MONITORING,)))
    assert sender.tell("ADT^A40", pid("7"), "MRG|8^^^STMARY") == ["AR", "MSH^1 E"]
    assert sender.patient("8")["active"] is True
    (device,) = sender.ward.live.devices(FILING)
    assert device.line.current is not None
    assert device.line.current.twin == sender.twin("8")


@pytest.mark.slow
def test_who_was_merged_into_one_who_is_erased_is_forgotten(sender: Interface) -> None:
    for mrn in ("7", "8"):
        sender.tell("ADT^A04", pid(mrn))
    prior, survivor = sender.twin("8"), sender.twin("7")
    sender.tell("ADT^A40", pid("7"), "MRG|8^^^STMARY")
    sender.ward.live.closing.forget_shredded()
    kept = sender.ward.live.messages.merged(prior)
    assert kept is not None
    assert (kept.value, kept.twin) == ("7", survivor)
    sender.ward.keyring.shred(survivor)
    sender.ward.live.closing.forget_shredded()
    assert sender.ward.live.messages.merged(prior, identifier_key("Patient", MRN, "8")) is None


@pytest.mark.slow
def test_an_order_that_is_not_understood_is_not_said_to_be_taken(sender: Interface) -> None:
    sender.tell("ADT^A04", pid("7"))
    second = ("ORC|NW|1", "OBR|1|1||X^Y^L", "OBR|2|2||X^Y^L")
    assert sender.tell("ORM^O01", pid("7"), *second) == ["AE", "OBR^2 E"]
    assert sender.tell("ORM^O01", pid("7"), "ORC|NW|1", "ORC|NW|2", "OBR|1|2||X^Y^L") == ["AE", "ORC^2 E"]


@pytest.mark.slow
def test_two_placers_orders_of_one_number_are_two(sender: Interface) -> None:
    for mrn in ("7", "8"):
        sender.tell("ADT^A04", pid(mrn))
    for mrn, placer in (("7", "LAB"), ("8", "RIS"), ("7", "RIS X")):
        order = (pid(mrn), f"ORC|NW|1^{placer}", f"OBR|1|1^{placer}||X^Y^L")
        assert sender.tell("ORM^O01", *order) == ["AA"]

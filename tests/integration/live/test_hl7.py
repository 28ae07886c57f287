"""HL7 v2 over MLLP, on a real socket: what each message does, what its sender is told, and that it counts once."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.integration.live.ward import CARING, FILING, Ward
from twinward.access.consent import Provision
from twinward.core.errors import Unavailable
from twinward.core.vocabulary import Action, Category, TwinId
from twinward.fhir.mapping.records import identifier_key
from twinward.fhir.rest.service import FhirService
from twinward.fhir.search.conditional import read_condition
from twinward.live.errors import AssignmentConflict, MessageConflict
from twinward.live.hl7 import desk as desk_module
from twinward.live.hl7.desk import Hl7Desk, Hl7Source
from twinward.live.hl7.framing import FrameReader, framed
from twinward.live.hl7.listener import MllpListener
from twinward.live.hl7.people import authorities_of
from twinward.live.intake.turns import Turns
from twinward.live.models import Merger
from twinward.live.timeseries import Span
from twinward.node.hl7 import Hl7Records, hospital_of

MRN = "https://stmary.example/mrn"
HOUR = 3_600_000


class Interface:
    """A laboratory's or a ward's interface engine."""

    def __init__(self, ward: Ward) -> None:
        self.ward = ward
        self._number = 0

    @property
    def desk(self) -> Hl7Desk:
        records = Hl7Records(FhirService(self.ward.twins, self.ward.clock), self.ward.access)
        hospital = hospital_of(records, self.ward.live.subjects)
        known = authorities_of({"STMARY": MRN, "": MRN}, "https://stmary.example/visits")
        return Hl7Desk(self.ward.live, hospital, FILING, Hl7Source("adt", known))

    def message(self, kind: str, *lines: str, control_id: str = "") -> bytes:
        self._number += 1
        head = f"MSH|^~\\&|LAB|STMARY|TW|H|{self.at()}||{kind}|{control_id or self._number}|P|2.5.1"
        return "".join(f"{line}\r" for line in (head, *lines)).encode()

    def at(self, ago_ms: int = 0) -> str:
        return datetime.fromtimestamp((self.ward.clock.now_ms() - ago_ms) / 1000, UTC).strftime("%Y%m%d%H%M%S+0000")

    def tell(self, kind: str, *lines: str, control_id: str = "") -> list[str]:
        return self.said(self.desk.answer(self.message(kind, *lines, control_id=control_id)))

    @staticmethod
    def said(answer: bytes) -> list[str]:
        """MSA-1, and of each ERR where and how grave."""
        segments = [one.split("|") for one in answer.decode().split("\r") if one]
        assert segments[0][0] == "MSH"
        return [segments[1][1], *(f"{one[2]} {one[4]}" for one in segments[2:])]

    def twin(self, mrn: str) -> TwinId:
        key = identifier_key("Patient", MRN, mrn)
        return self.ward.live.subjects([key])[key]

    def rates(self, twin: TwinId) -> list[float]:
        now = self.ward.clock.now_ms()
        return [one.value for one in self.ward.live.series(CARING, twin, "heart_rate", Span(now - HOUR, now + 1))]

    def patient(self, mrn: str) -> dict[str, Any]:
        """The Patient, as a clinician reads it."""
        service = FhirService(self.ward.twins, self.ward.clock)
        condition = read_condition("Patient", f"identifier={MRN}|{mrn}", base="")
        (record,) = service.search.find(CARING, condition).records
        return dict(json.loads(record.content))


@pytest.fixture
def sender(ward: Ward) -> Interface:
    return Interface(ward)


def pid(mrn: str, name: str = "Doe^Jane") -> str:
    return f"PID|||{mrn}^^^STMARY^MR||{name}||19700203|F"


def rate(value: object, mrn: str = "7", at: str = "", status: str = "F") -> tuple[str, str]:
    return pid(mrn), f"OBX|1|NM|8867-4^^LN||{value}|/min|||||{status}|||{at}"


def test_an_admission_makes_a_patient_and_results_are_theirs(sender: Interface) -> None:
    assert sender.tell("ADT^A01", pid("7"), "PV1||I|ICU^2^B" + "|" * 16 + "V1") == ["AA"]
    assert sender.tell("ORU^R01", *rate(61, at=sender.at(1000))) == ["AA"]
    assert sender.rates(sender.twin("7")) == [61]


def test_a_patient_known_from_elsewhere_keeps_what_pid_does_not_say(sender: Interface) -> None:
    known = {"resourceType": "Patient", "id": "ann", "identifier": [{"system": MRN, "value": "7"}], "gender": "male"}
    content = json.dumps(known | {"telecom": [{"system": "phone", "value": "555"}]}).encode()
    FhirService(sender.ward.twins, sender.ward.clock).writes.create(FILING, "Patient", content)
    before = len(sender.ward.trail.events)
    assert sender.tell("ADT^A08", pid("7", "Roe^Ann")) == ["AA"]
    told = [(one.agent, one.action) for one in sender.ward.trail.events[before:]]
    assert ("icu-gateway", Action.WRITE) in told
    found = sender.patient("7")
    assert (found["name"][0]["family"], found["gender"], found["birthDate"]) == ("Roe", "female", "1970-02-03")
    assert found["telecom"][0]["value"] == "555"
    sender.ward.consent(sender.twin("7"), Provision(effect="deny", categories=(Category.DEMOGRAPHICS,)))
    assert sender.tell("ADT^A08", pid("7", "Poe^Ann")) == ["AR", "MSH^1 E"]


def test_sent_again_a_message_counts_once_even_with_another_time_and_after_a_restart(sender: Interface) -> None:
    sender.tell("ADT^A04", pid("7"))
    lines = rate(61, at=sender.at(1000))
    assert sender.tell("ORU^R01", *lines, control_id="a") == ["AA"]
    sender.ward.clock.at_ms += 5_000
    assert sender.tell("ORU^R01", *lines, control_id="a") == ["AA"]
    twin = sender.twin("7")
    sender.ward = sender.ward.reopen()
    assert sender.tell("ORU^R01", *lines, control_id="a") == ["AA"]
    assert sender.rates(twin) == [61]
    assert sender.tell("ORU^R01", *lines, control_id="b") == ["AA"]
    assert sender.rates(twin) == [61, 61], "another control id is another message"
    sender.ward.close()


def test_a_control_id_with_another_content_is_refused(sender: Interface) -> None:
    sender.tell("ADT^A04", pid("7"))
    assert sender.tell("ORU^R01", *rate(61, at=sender.at(1000)), control_id="a") == ["AA"]
    assert sender.tell("ORU^R01", *rate(62, at=sender.at(1000)), control_id="a") == ["AR", "MSH^1^10 E"]
    assert sender.rates(sender.twin("7")) == [61]
    sender.ward.clock.at_ms += 31 * 24 * HOUR
    assert sender.tell("ORU^R01", *rate(63, at=sender.at(1000)), control_id="a") == ["AA"], "a month later it is new"


def test_what_cannot_be_placed_is_kept_apart_and_said_and_replayed(sender: Interface) -> None:
    assert sender.tell("ORU^R01", *rate(61, at=sender.at(1000))) == ["AA", "OBX^1 W"]
    sender.tell("ADT^A04", pid("7"))
    held = sender.ward.live.quarantine(FILING)
    assert [one.reason for one in held] == ["unknown-subject"]
    sender.ward.live.replay(FILING, held)
    assert sender.rates(sender.twin("7")) == [61]
    assert sender.tell("ORU^R01", *rate("high", at=sender.at(1000))) == ["AA", "OBX^1 W"]
    assert sender.tell("ORU^R01", *rate(61, at=sender.at(1000), status="C")) == ["AA", "OBX^1 W"]
    assert sender.rates(sender.twin("7")) == [61]


@pytest.mark.parametrize(
    ("kind", "lines", "said"),
    [
        ("ADT^A17", [pid("7")], ["AR", "MSH^1^9 E"]),
        ("SIU^S12", [pid("7")], ["AR", "MSH^1^9 E"]),
        ("ADT^A08", [], ["AE", "PID^1 E"]),
        ("ADT^A08", ["PID|||7^^^ELSEWHERE"], ["AE", "PID^1^3 E"]),
        ("ADT^A08", ["PID|||7 $ 8^^^STMARY"], ["AE", "PID^1^3 E"]),
        ("ADT^A01", [pid("7")], ["AE", "PV1^1 E"]),
        ("ADT^A01", [pid("7"), "PV1||I"], ["AE", "PV1^1^19 E"]),
        ("ADT^A40", [pid("7"), "MRG|8^^^STMARY"], ["AE", "PID^1^3 E"]),
        ("ORM^O01", [pid("7"), "ORC|NW"], ["AE", "MSH^1^9 E"]),
    ],
)
def test_a_message_that_is_not_taken_says_where_and_changes_nothing(
    sender: Interface, kind: str, lines: list[str], said: list[str]
) -> None:
    assert sender.tell(kind, *lines) == said
    assert not sender.ward.live.subjects([identifier_key("Patient", MRN, "7")])


def test_a_birth_date_that_is_none_is_said_and_changes_nothing(sender: Interface) -> None:
    assert sender.tell("ADT^A04", pid("7")) == ["AA"]
    assert sender.tell("ADT^A08", "PID|||7^^^STMARY^MR||Doe^Jane||19700230|F") == ["AA", "PID^1^7 W"]
    assert sender.patient("7")["birthDate"] == "1970-02-03"


def test_who_leaves_takes_no_device_along(sender: Interface) -> None:
    sender.tell("ADT^A01", pid("7"), "PV1||I|ICU" + "|" * 16 + "V1")
    sender.ward.live.assign(FILING, "m-1", sender.twin("7"), sender.ward.clock.now_ms() - HOUR)
    assert sender.tell("ADT^A03", pid("7"), "PV1||I|ICU" + "|" * 16 + "V1") == ["AA"]
    sender.ward.clock.at_ms += 60_000
    said = sender.tell("ORU^R01", f"OBX|1|NM|8867-4^^LN||61|/min|||||F|||{sender.at(1000)}||||m-1")
    assert said == ["AA", "OBX^1 W"]
    assert sender.rates(sender.twin("7")) == []


def test_after_a_merger_results_and_devices_are_the_survivors(sender: Interface) -> None:
    for mrn in ("7", "8", "9"):
        sender.tell("ADT^A04", pid(mrn))
    sender.ward.live.assign(FILING, "m-1", sender.twin("8"), sender.ward.clock.now_ms() - HOUR)
    assert sender.tell("ADT^A40", pid("7"), "MRG|8^^^STMARY", control_id="m") == ["AA"]
    assert sender.tell("ADT^A40", pid("7"), "MRG|8^^^STMARY", control_id="m") == ["AA"]
    assert sender.tell("ADT^A40", pid("9"), "MRG|7^^^STMARY") == ["AA"]
    sender.ward.clock.at_ms += 60_000
    assert sender.tell("ORU^R01", *rate(61, mrn="8", at=sender.at(1000))) == ["AA"]
    device = f"OBX|1|NM|8867-4^^LN||62|/min|||||F|||{sender.at(500)}||||m-1"
    assert sender.tell("ORU^R01", device) == ["AA"]
    assert sorted(sender.rates(sender.twin("9"))) == [61, 62]
    assert sender.rates(sender.twin("8")) == []
    assert sender.tell("ADT^A40", pid("8"), "MRG|9^^^STMARY") == ["AE", "MRG^1^1 E"], "no circle"


def test_of_two_opposite_mergers_that_come_at_once_one_is_taken(sender: Interface) -> None:
    twins = {}
    for mrn in ("7", "8"):
        sender.tell("ADT^A04", pid(mrn))
        twins[mrn] = sender.twin(mrn)
    live = sender.ward.live
    one = Merger((identifier_key("Patient", MRN, "7"), twins["7"]), MRN, "8", twins["8"])
    other = Merger((identifier_key("Patient", MRN, "8"), twins["8"]), MRN, "7", twins["7"])
    live.assign(FILING, "m-1", twins["8"])
    live.hand_over(FILING, twins["7"], twins["8"], one)
    with pytest.raises(MessageConflict):
        live.hand_over(FILING, twins["8"], twins["7"], other)
    assert live.line_of("m-1").assignments[-1].twin == twins["8"], "nothing of the other was done"
    with pytest.raises(AssignmentConflict, match="merged"):
        live.assign(FILING, "m-2", twins["7"])
    assert sender.tell("ADT^A40", pid("7"), "MRG|8^^^STMARY^MR")[0] == "AE"


def test_identifiers_of_two_patients_are_nobodys(sender: Interface) -> None:
    for mrn in ("7", "8"):
        sender.tell("ADT^A04", pid(mrn))
    obx = rate(61, at=sender.at(1000))[1]
    assert sender.tell("ORU^R01", "PID|||7^^^STMARY~8^^^STMARY", obx) == ["AE", "PID^1^3 E"]


def test_consent_says_no_to_a_message_as_a_whole(sender: Interface) -> None:
    sender.tell("ADT^A04", pid("7"))
    twin = sender.twin("7")
    sender.ward.consent(twin, Provision(effect="deny", categories=(Category.LABS,)))
    potassium = f"OBX|2|NM|2823-3^^LN||4.1|mmol/L|||||F|||{sender.at(1000)}"
    lines = (*rate(61, at=sender.at(1000)), potassium)
    assert sender.tell("ORU^R01", *lines, control_id="a") == ["AR", "MSH^1 E"]
    assert sender.rates(twin) == []
    sender.ward.consent(twin)
    assert sender.tell("ORU^R01", *lines, control_id="a") == ["AA"], "the sender still had it"
    assert sender.rates(twin) == [61]


@contextmanager
def listening(desk: Hl7Desk, **bounds: float) -> Iterator[Callable[[], socket.socket]]:
    listener, stopped = MllpListener("127.0.0.1", 0, desk, **bounds), threading.Event()
    thread = threading.Thread(target=listener.serve, args=(stopped.is_set,))
    thread.start()
    try:
        yield lambda: socket.create_connection(("127.0.0.1", listener.port), timeout=10)
    finally:
        stopped.set()
        thread.join()


def asked(connection: socket.socket, message: bytes) -> bytes:
    connection.sendall(message)
    reader = FrameReader()
    while True:
        some = connection.recv(65536)
        assert some, "it hung up"
        if found := reader.feed(some):
            return found[0]


def test_over_a_socket_each_message_is_answered_in_its_order(sender: Interface) -> None:
    with listening(sender.desk) as connect, connect() as one, connect() as two:
        assert sender.said(asked(one, framed(sender.message("ADT^A04", pid("7"))))) == ["AA"]
        assert sender.said(asked(two, b"noise" + framed(b"rubbish"))) == ["AE", "MSH^1^1 E"]
        split = framed(sender.message("ORU^R01", *rate(61, at=sender.at(1000))))
        one.sendall(split[:20])
        assert sender.said(asked(one, split[20:])) == ["AA"]
        two.sendall(b"\x0b" + b"x" * (1024 * 1024 + 70_000))
        assert b"MSA|AR" in asked(two, b"")
    assert sender.rates(sender.twin("7")) == [61]


def test_a_message_that_never_ends_holds_no_connection(sender: Interface, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twinward.live.hl7.listener.WITHIN_MESSAGE_S", 0.1)
    with listening(sender.desk) as connect, connect() as slow, pytest.raises(OSError, match=r"."):  # noqa: PT012
        for _ in range(100):  # a byte at a time, each well within the time of a look
            slow.sendall(b"\x0b")
            slow.settimeout(0.02)
            with contextlib.suppress(TimeoutError):
                if slow.recv(1) == b"":
                    raise ConnectionError("it hung up")


def test_messages_that_come_at_once_share_a_commit_and_each_is_answered_for_itself(
    sender: Interface, monkeypatch: pytest.MonkeyPatch
) -> None:
    for mrn in ("7", "8"):
        sender.tell("ADT^A04", pid(mrn))
    sender.ward.consent(sender.twin("8"), Provision(effect="deny", categories=(Category.VITALS,)))
    intake, sizes, begun = sender.ward.live.intake, list[int](), threading.Event()
    taken = intake._take_jobs

    def watched(context: Any, source: str, jobs: Any) -> None:
        if not sizes:
            begun.wait(5)
        sizes.append(len(jobs))
        taken(context, source, jobs)

    monkeypatch.setattr(intake, "_take_jobs", watched)
    desk = sender.desk
    good = [sender.message("ORU^R01", *rate(60 + one, at=sender.at(1000 * (one + 1)))) for one in range(6)]
    refused = sender.message("ORU^R01", *rate(99, "8", sender.at(1000)))
    another = sender.message("ORU^R01", *rate(98, at=sender.at(1000)), control_id=good[0].split(b"|")[9].decode())
    apart = sender.message("ORU^R01", *rate("none", at=sender.at(1000)))

    def answers(messages: list[bytes]) -> list[list[str]]:
        with ThreadPoolExecutor(len(messages)) as pool:
            found = [pool.submit(desk.answer, one) for one in messages]
            while len(getattr(next(iter(intake._together.values()), None), "_waiting", ())) < len(messages) - 1:
                time.sleep(0.002)
            begun.set()
            return [sender.said(one.result()) for one in found]

    assert answers([*good, good[1]]) == [["AA"]] * 7
    assert sorted(sender.rates(sender.twin("7"))) == [60, 61, 62, 63, 64, 65], "each once"
    assert (sizes[0], max(sizes)) == (1, 6), "the others shared one commit"
    begun.clear()
    sizes.clear()
    mixed = answers([sender.message("ORU^R01", *rate(70, at=sender.at(90_000))), refused, another, apart])
    assert [one[0] for one in mixed] == ["AA", "AR", "AR", "AA"]
    assert sorted(sender.rates(sender.twin("7"))) == [60, 61, 62, 63, 64, 65, 70]
    assert len(sender.ward.live.quarantine(FILING)) == 1


def test_who_rests_too_long_or_takes_too_many_connections_is_hung_up_on(
    sender: Interface, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twinward.live.hl7.listener.MOST_OF_ADDRESS", 2)
    monkeypatch.setattr("twinward.live.hl7.listener._LOOK_S", 0.02)
    with listening(sender.desk, idle_s=1.0) as connect, connect() as one, connect() as two, connect() as three:
        three.settimeout(5)
        assert three.recv(1) == b"", "one address has two"
        assert sender.said(asked(one, framed(sender.message("ADT^A04", pid("7"))))) == ["AA"]
        for idle in (one, two):
            idle.settimeout(5)
            assert idle.recv(1) == b""
        with connect() as four:  # and there is room again
            assert sender.said(asked(four, framed(sender.message("ADT^A08", pid("7"))))) == ["AA"]


def test_a_store_that_does_not_answer_is_told_without_its_place(
    sender: Interface, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise Unavailable("/srv/twinward/live.db is not to be opened")

    monkeypatch.setattr(sender.ward.live.intake, "take_message", broken)
    answer = sender.desk.answer(sender.message("ORU^R01", *rate(61, at=sender.at(1000))))
    assert sender.said(answer) == ["AE", "MSH^1 E"]
    assert b"srv" not in answer


def test_while_commits_are_slow_what_waits_is_bounded_and_told_to_come_again(
    sender: Interface, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender.tell("ADT^A04", pid("7"))
    at_work, most, lock, slow = 0, 0, threading.Lock(), threading.Event()
    read = desk_module.read_message

    def counted(raw: bytes) -> Any:
        nonlocal at_work, most
        message = read(raw)
        if len(message.segments) > 1:  # cut whole, not only its header
            with lock:
                at_work += 1
                most = max(most, at_work)
        return message

    taken = sender.ward.live.intake._take_jobs

    def slowly(*args: Any) -> None:
        slow.wait(10)
        taken(*args)

    monkeypatch.setattr(desk_module, "read_message", counted)
    monkeypatch.setattr(sender.ward.live.intake, "_take_jobs", slowly)
    desk = sender.desk
    desk._turns = Turns(4, 0.3, "messages")
    sent = [sender.message("ORU^R01", *rate(60 + one, at=sender.at(1000 * (one + 1)))) for one in range(16)]
    with ThreadPoolExecutor(len(sent)) as pool:
        answers = [pool.submit(desk.answer, one) for one in sent]
        while sum(one.done() for one in answers) < 12:
            time.sleep(0.01)
        slow.set()
        said = [one.result() for one in answers]
    assert most == 4
    refused = [one for one, answer in zip(sent, said, strict=True) if sender.said(answer)[0] == "AE"]
    assert len(refused) == 12
    named = [answer.split(b"\r")[1].split(b"|")[2] for answer in said]
    assert named == [one.split(b"|")[9] for one in sent], "each answer names its message"
    assert all(sender.said(desk.answer(one)) == ["AA"] for one in sent)
    assert sorted(sender.rates(sender.twin("7"))) == list(range(60, 76)), "each once"

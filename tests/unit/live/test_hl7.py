"""HL7 v2 read: character sets, escapes, repetitions, moments, results; what is wrong is told by its field."""

from __future__ import annotations

from datetime import UTC
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward.live.hl7.acknowledgement import Acknowledgement, Code, Remark, acknowledge
from twinward.live.hl7.errors import Hl7Fault, Where
from twinward.live.hl7.framing import FrameReader, FrameTooLarge, framed
from twinward.live.hl7.message import read_message
from twinward.live.hl7.movements import order_entries, patient_said, visit_entry
from twinward.live.hl7.people import Authorities, Identifier
from twinward.live.hl7.results import readings_of
from twinward.live.hl7.times import day, moment_ms
from twinward.live.intake.lines import Fault
from twinward.live.models import Quality, Reading

MSH = "MSH|^~\\&|LAB|STMARY|TW|H|20260131083000+0000||{}|42|P|2.5.1|||||{}|\r"
KNOWN = Authorities({"STMARY": "https://stmary.example/mrn", "": "https://stmary.example/mrn"}, "urn:example:visits")


def message(kind: str, *lines: str, charset: str = "", encoding: str = "ascii") -> bytes:
    head = f"MSH|^~\\&|LAB|STMARY|TW|H|20260131083000+0000||{kind}|42|P|2.5.1||||||{charset}\r"
    return head.encode() + "".join(f"{line}\r" for line in lines).encode(encoding)


def result(obx: str, *before: str) -> Reading | Fault:
    (found,) = readings_of(read_message(message("ORU^R01", *before, obx)), "Patient/1", None)
    return found


@pytest.mark.parametrize(
    ("charset", "encoding"),
    [("8859/1", "iso8859-1"), ("8859/15", "iso8859-15"), ("UNICODE UTF-8", "utf-8"), ("UNICODE UTF-8~8859/1", "utf-8")],
)
def test_a_name_is_read_in_the_character_set_that_msh_18_names(charset: str, encoding: str) -> None:
    read = read_message(message("ADT^A08", "PID|||1||Müller^Zoë", charset=charset, encoding=encoding))
    assert (read.first("PID").text(5), read.first("PID").text(5, 2)) == ("Müller", "Zoë")


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (b"", "MSH-1"),
        (b"PID|1", "MSH-1"),
        (b"MSH|^~\\^|LAB\r", "MSH-2"),
        (message("ADT^A08", "PID|||1||Müller", encoding="latin-1"), "MSH-18"),
        (message("ADT^A08", "PID|||1||Müller", charset="UNICODE UTF-8", encoding="latin-1"), "MSH-18"),
        (message("ADT^A08", charset="ISO IR87"), "MSH-18"),
        (message("ADT^A08").replace(b"|42|", b"||"), "MSH-10"),
        (message("ADT^A08", "no segment"), "MSH"),
        (message("ADT^A08", "PID|" + "~" * 60_000), "MSH"),
        (message("ADT^A08", "PID|||7\x00^^^STMARY"), "PID-3"),
        (message("ADT^A08").replace(b"|42|", b"|4\x1b2|"), "MSH-10"),
    ],
)
def test_what_cannot_be_read_is_told_by_its_field(raw: bytes, place: str) -> None:
    with pytest.raises(Hl7Fault) as told:
        read_message(raw)
    assert str(told.value.where) == place


def test_escapes_mean_what_the_standard_says_and_others_stand() -> None:
    read = read_message(message("ADT^A08", r"PID|||1||A\S\B\T\C\F\D\R\E\E\\X41\ \Zxx\^\H\x\N\ "))
    assert read.first("PID").text(5) == r"A^B&C|D~E\A \Zxx" + "\\"
    assert read.first("PID").text(5, 2) == "x"


def test_fields_components_and_repetitions() -> None:
    pid = read_message(message("ADT^A08", 'PID|||7^^^STMARY^MR~8^^^B&1.2.3&ISO^PI||""')).first("PID")
    assert [pid.text(3, 1, 1, n) for n in (1, 2, 3)] == ["7", "8", ""]
    assert pid.text(3, 4, 2, 2) == "1.2.3"
    assert (pid.repetitions(3), pid.repetitions(4), pid.repetitions(99), pid.text(5)) == (2, 0, 0, "")
    assert KNOWN.identifiers(pid, 3) == [
        Identifier("https://stmary.example/mrn", "7"),
        Identifier("urn:oid:1.2.3", "8"),
    ]


def test_a_result_is_a_reading() -> None:
    found = result(
        "OBX|1|NM|150456^MDC_PULS_OXIM_SAT_O2^MDC^59408-5^SpO2^LN||97.5|262688^MDC_DIM_PERCENT^MDC|||||F|||20260131093000+0100||||monitor-7^GW"
    )
    assert found == Reading(
        0, "Patient/1", "", "urn:iso:std:iso:11073:10101|150456", (97.5,), 0, "%", 1769848200000, Quality.GOOD
    )


def test_where_pid_names_nobody_the_device_does() -> None:
    raw = message("ORU^R01", "OBR|1||||||20260131083000", "OBX|1|NM|8867-4^^LN||61|bpm|||||P|||||||monitor-7")
    (found,) = readings_of(read_message(raw), "", None)
    assert isinstance(found, Reading)
    assert (found.device, found.subject, found.unit, found.quality) == ("monitor-7", "", "/min", Quality.QUESTIONABLE)


@pytest.mark.parametrize(
    ("obx", "place"),
    [
        ("OBX|1|ST|8867-4^^LN||high|/min|||||F|||20260131083000", "OBX-2"),
        ("OBX|1|NM|8867-4^^LN||61~62|/min|||||F|||20260131083000", "OBX-5"),
        ("OBX|1|NM|8867-4^^LN||1e3|/min|||||F|||20260131083000", "OBX-5"),
        ("OBX|1|NM|8867-4^^LN||NaN|/min|||||F|||20260131083000", "OBX-5"),
        ("OBX|1|NM|8867-4^^LN||61||||||F|||20260131083000", "OBX-6"),
        ("OBX|1|NM|||61|/min|||||F|||20260131083000", "OBX-3"),
        ("OBX|1|NM|8867-4^^LN||61|/min|||||C|||20260131083000", "OBX-11"),
        ("OBX|1|NM|8867-4^^LN||61|/min|||||F|||20260131", "OBX-14"),
        ("OBX|1|NM|8867-4^^LN||61|/min|||||F", "OBX-14"),
        ("OBX|1|NM|8867-4^^LN||61|/min|||||F|||20260231083000", "OBX-14"),
        ("OBX|1|NM|8867-4^^LN||61|/min|||||F|||20260131256100+0000", "OBX-14"),
        ("OBX|1|NM|8867-4^^LN||61|/min|||||F|||20260131083000+2561", "OBX-14"),
        ("OBX|1|NM|8867-4^^LN||61|/min|||||F|||20260131083000-0060", "OBX-14"),
        ("OBX|1|NM|8867-4^^LN||61^62|/min|||||F|||20260131083000", "OBX-5"),
        ("OBX|1|NM|8867-4^^LN||61&62|/min|||||F|||20260131083000", "OBX-5"),
        (f"OBX|1|NM|8310-5^^LN||98.6|{'m' * 41}|||||F|||20260131083000", "OBX-6"),
    ],
)
def test_a_result_that_cannot_be_placed_says_which_field(obx: str, place: str) -> None:
    found = result(obx)
    assert isinstance(found, Fault)
    assert found.detail.startswith(place)
    assert found.content


def test_no_result_is_no_reading() -> None:
    raw = message("ORU^R01", "OBX|1|NM|8867-4^^LN||||||||X", "OBX|2|NM|8867-4^^LN||||||||O")
    assert list(readings_of(read_message(raw), "Patient/1", None)) == []


def test_moments_have_an_offset_or_a_zone_and_no_doubt() -> None:
    where, berlin = Where("OBX", 1, 14), ZoneInfo("Europe/Berlin")
    assert moment_ms("202601310830", where, berlin) == moment_ms("20260131073000.000+0000", where, None)
    assert moment_ms("20260701083000", where, berlin) == moment_ms("20260701063000-0000", where, None)
    for text in ("20251026023000", "20260329023000"):  # there twice, and never
        with pytest.raises(Hl7Fault, match="offset"):
            moment_ms(text, where, berlin)
    with pytest.raises(Hl7Fault, match="no offset"):
        moment_ms("20260131083000", where, None)


def test_a_patient_says_only_what_the_message_says() -> None:
    pid = read_message(message("ADT^A08", "PID|||7||Doe^Jane^Q||19700203|F|||1 Main^^Town^^123")).first("PID")
    change = patient_said(pid, [Identifier("urn:x:mrn", "7")])
    assert change.members == {
        "name": [{"use": "official", "family": "Doe", "given": ["Jane", "Q"]}],
        "birthDate": "1970-02-03",
        "gender": "female",
        "address": [{"line": ["1 Main"], "city": "Town", "postalCode": "123"}],
    }
    bare = patient_said(read_message(message("ADT^A08", "PID|||7")).first("PID"), [Identifier("urn:x:mrn", "7")])
    assert bare.members == {}


def test_a_visit_moves_and_ends() -> None:
    raw = message("ADT^A02", "PID|||7", "PV1||I|ICU^2^B|||WARD^1^A" + "|" * 13 + "V9" + "|" * 25 + "20260131080000")
    visit = KNOWN.visit(read_message(raw).first("PV1"))
    assert visit == Identifier("urn:example:visits", "V9")
    entry = visit_entry(read_message(raw), visit, Identifier("urn:x:mrn", "7"), None)
    assert entry["request"]["method"] == "PUT"
    assert entry["resource"]["class"]["code"] == "IMP"
    assert entry["resource"]["period"] == {"start": "2026-01-31T08:00:00.000Z"}
    assert entry["resource"]["location"] == [
        {"location": {"display": "WARD / 1 / A"}, "status": "completed"},
        {"location": {"display": "ICU / 2 / B"}, "status": "active"},
    ]
    over = visit_entry(read_message(raw.replace(b"A02", b"A03")), visit, Identifier("urn:x:mrn", "7"), None)
    assert over["resource"]["status"] == "finished"
    assert over["resource"]["period"]["end"] == "2026-01-31T08:30:00.000Z"


def test_an_order_is_known_by_its_placer_number() -> None:
    raw = message("ORM^O01", "PID|||7", "ORC|CA|77", "OBR|1|77||2160-0^Creatinine^LN")
    (entry,) = order_entries(read_message(raw), Identifier("urn:x:mrn", "7"), Authorities())
    assert entry["resource"]["identifier"] == [{"system": "urn:x:mrn/orders", "value": "77"}]
    assert entry["resource"]["status"] == "revoked"


def test_an_answer_names_the_control_id_and_the_field_and_ends_where_it_should() -> None:
    read = read_message(message("ORU^R01"))
    told = Acknowledgement(Code.ERROR, (Remark(102, Where("OBX", 3, 5), "a | b\r\x1c"),))
    lines = acknowledge(told, read, 0, "own").decode().split("\r")
    assert lines[0].startswith("MSH|^~\\&|TW|H|LAB|STMARY|19700101000000+0000||ACK^R01^ACK|own|P|2.5.1|")
    assert lines[1:] == ["MSA|AE|42", r"ERR||OBX^3^5|102^^HL70357|E|||a \F\ b", ""]


@given(
    st.lists(st.binary(max_size=40).filter(lambda one: b"\x0b" not in one and b"\x1c" not in one), max_size=5),
    st.data(),
)
def test_blocks_come_out_whole_however_the_bytes_arrive(messages: list[bytes], data: st.DataObject) -> None:
    stream = b"noise".join([b"", *map(framed, messages)])
    reader, found = FrameReader(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += reader.feed(stream[:size])
        stream = stream[size:]
    assert found == messages
    assert not reader.is_within


def test_a_block_that_never_ends_is_bounded() -> None:
    reader = FrameReader(10)
    assert reader.feed(framed(b"x" * 10)) == [b"x" * 10]
    with pytest.raises(FrameTooLarge):
        reader.feed(b"\x0b" + b"x" * 11)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(some: bytes) -> None:
    for raw in (some, b"MSH|^~\\&|A|B|C|D|20260131083000||ORU^R01|1|P|2.5\r" + some):
        try:
            read = read_message(raw)
            list(readings_of(read, "Patient/1", None))
        except Hl7Fault:
            pass


def test_an_offset_that_is_nowhere_is_no_offset_of_anybody() -> None:
    obx = "OBX|1|NM|8867-4^^LN||61|/min|||||F|||20260131083000"
    raw = message("ORU^R01", obx).split(b"|")
    for wrong in (b"20260131083000+2561", b"20260131083000-9999"):
        raw[6] = wrong
        with pytest.raises(Hl7Fault) as told:
            list(readings_of(read_message(b"|".join(raw)), "Patient/1", UTC))
        assert str(told.value.where) == "MSH-7"


def test_a_part_of_an_identifier_is_nobodys() -> None:
    for wrong in ("7&8^^^STMARY", "9^^^STMARY~7&8^^^STMARY"):
        pid = read_message(message("ADT^A08", f"PID|||{wrong}")).first("PID")
        with pytest.raises(Hl7Fault, match="one part"):
            KNOWN.identifiers(pid, 3)


def test_a_unit_is_what_its_code_says_not_what_stands_beside_it() -> None:
    for written, meant in (
        ("[degF]^CEL^UCUM", "[degF]"),
        ("x^BPM", "x"),
        ("1^MDC_DIM_DEGC^MDC", "Cel"),
    ):
        found = result(f"OBX|1|NM|8310-5^^LN||98|{written}|||||F|||20260131083000")
        assert isinstance(found, Reading)
        assert found.unit == meant


def test_a_date_may_be_a_year_or_a_month() -> None:
    told = {"1970": "1970", "197002": "1970-02", "19700203": "1970-02-03", "197002031530": "1970-02-03"}
    assert {one: day(one) for one in told} == told
    assert [day(one) for one in ("197013", "19700230", "0000", "1970-02-03", "", "19")] == [""] * 6


def test_no_escape_makes_a_control_character() -> None:
    read = read_message(message("ADT^A08", r"PID|||1||A\X00\B\X1C0D\C\X0A\D"))
    assert read.first("PID").text(5) == "A\\X00\\B\\X1C0D\\C\nD"

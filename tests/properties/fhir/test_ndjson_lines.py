"""Lines of NDJSON that are read together, or alone by a struct, say what the strict way says of them, or nothing.

Whatever either way passes over goes the strict way, so a fault is only a line that is taken otherwise than that: one
that it refuses, or files, names, reads or keeps differently.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.ingest import ndjson, observations, patients
from twinward.core.errors import BadInput
from twinward.fhir.bulk.ndjson_reader import NdjsonReader

WANTED = ("8302-2", "2339-0", "8867-4", "2947-0")
MANY = ndjson(list(observations(patients(2, random.Random(5)), 8, random.Random(6)))).splitlines()

UCUM = b'"system":"http://unitsofmeasure.org"'
CONFIDENTIAL = b'{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"R"}'
QUOTES = b"\\u0022" * 4
"""Four quotes in a string and none in its text: as many as a member that stands twice has too many."""


def quantity(number: str | bytes, unit: bytes = b'"unit":"mg/dL",' + UCUM + b',"code":"mg/dL"') -> bytes:
    value = number.encode() if isinstance(number, str) else number
    return b'{"value":' + value + (b"," + unit if unit else b"") + b"}"


def refers(reference: str | bytes, *more: bytes) -> bytes:
    said = reference.encode() if isinstance(reference, str) else reference
    return b"{" + b",".join([b'"reference":"' + said + b'"', *more]) + b"}"


PLAIN = {
    "resourceType": b'"Observation"',
    "id": b'"o1"',
    "status": b'"final"',
    "code": b'{"coding":[{"system":"http://loinc.org","code":"2339-0"}]}',
    "subject": refers("Patient/p"),
    "encounter": refers("Encounter/e"),
    "effectiveDateTime": b'"2025-06-01T10:00:00Z"',
    "issued": b'"2025-06-01T11:00:00.5+02:00"',
    "valueQuantity": quantity("95.25"),
}
"""Members of a line of the common shape, as they are written."""

ABSENT = b""

TAKEN_NUMBERS = ("-9.5", "1.1e-300", "9.9e299", "1E5", "1e+5", "1." + "0" * 25, "1" + "0" * 22, "1e22")
ODD_NUMBERS = (
    *("0", "-0", "0.0", "0e300", "0e301", "0e999", "1e300", "-1e300", "1e301", "-1e301", "1e308", "1e309"),
    *("1e-300", "1e-301", "-1e-301", "5e-324", "1e-999", "1." + "0" * 26, "1." + "0" * 62, "1." + "0" * 63),
    *("1" + "0" * 63, "1" + "0" * 64, "1." + "0" * 500, "01", "+1", ".5", "1.", "-", "1e", "NaN", "Infinity"),
    *("null", '"1"', "true", "[1]", " 1 "),
)
TAKEN_UNITS = (
    b"",
    b'"unit":"mg/dL"',
    b'"unit":"mmol/L",' + UCUM + b',"code":"mmol/L"',
    b'"unit":"mg/dL",' + UCUM + b',"code":"mmol/L"',
    b'"unit":"mg/dL","system":"http://other.example","code":"mg/dL"',
    b'"unit":"HIV-1 RNA copies/mL"',
    b'"system":"http://snomed.info/sct","code":"86406008"',
)
ODD_UNITS = (
    b'"code":"mg/dL"',
    b'"unit":""',
    b'"unit":" "',
    b'"code":" x"',
    b'"unit":null',
    b'"unit":"m\\u0067/dL"',
    b'"unit":"' + QUOTES + b'"',
    b'"comparator":"<","unit":"mg/dL"',
    b'"unit":"mg/dL","unit":"mg/dL"',
    b'"unit":"mg/dL","value":95',
)
REFERENCES = (
    *("\\ud800", "\\ud800\\udc00", "\\udc00\\ud800", "Encounter/\\ud83d\\ude00", "\\u0000", "\\x41", "\\"),
    *("Encounter/e", "Encounter/e/_history/2", "Encounter", "Encounter/", "Encounter/" + "x" * 65, "Encounter/é"),
    *("urn:uuid:00000000-0000-4000-8000-00000000000e", "urn:oid:1.2.3", "https://h.example/fhir/Encounter/e"),
    *("#", "#e", "", " ", "x y", "\x7f", "\x85", "\xa0", "\ufeff", "\uffff", "a\tb", QUOTES.decode(), "Encounter\\/e"),
    *("Patient/q", "Encounter?identifier=x|y", "Encounter?", "Nonsense?x=y", "https://h.example/Encounter?x=y"),
    *("Practitioner?identifier=http://hl7.org/fhir/sid/us-npi|9", "Patient?name=somebody"),
)
OWNERS = (
    *("Patient/q", "Patient/p/_history/1", "Patient/", "Patient/" + "x" * 64, "Patient/" + "x" * 65, "Patient/é"),
    *("Patient/p ", "Patient/P", "patient/p", "#p", "", "urn:uuid:00000000-0000-4000-8000-00000000000a", "Group/g"),
    *("https://h.example/fhir/Patient/p", "Patient?identifier=x", "Patient/p\\u0000", "P\\u0061tient/p"),
)
DISPLAYS = (b'"display":"somebody"', b'"display":""', b'"display":"HIV clinic"', b'"type":"Encounter"')
TIMES = (
    *("2025", "2025-06", "2025-06-01", "2025-06-01T10:00Z", "2025-06-01T10:00:00", "2025-06-01T10:00:60Z"),
    *("2025-06-01T24:00:00Z", "2025-02-29T10:00:00Z", "2024-02-29T10:00:00+14:00", "2025-06-01T10:00:00+14:01"),
    *("0000-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2025-06-01 10:00:00Z"),
    *("2025-06-01T10:00:00." + "9" * 9 + "Z", "", "2025-06-01t10:00:00z", "2025-06-01T10:00:00-00:00", " "),
)
DATED = b'{"versionId":"3","lastUpdated":"2025-06-01T10:00:00Z","tag":[{"code":"x"}]}'

OTHERS: dict[str, Sequence[bytes]] = {
    "resourceType": (b'"Patient"', b'"observation"', b'"Observ\\u0061tion"', ABSENT),
    "id": (b'"o2"', b'"' + b"x" * 64 + b'"', b'"' + b"x" * 65 + b'"', b'""', b'"a b"', b'"\\u006f1"', b"1", ABSENT),
    "status": (b'"amended"', b'"entered-in-error"', b'"preliminary"', b'"banana"', b'""', b'"fin\xffal"', ABSENT),
    "code": (
        b'{"coding":[{"system":"http://loinc.org","code":"8302-2"},{"system":"http://loinc.org","code":"2339-0"}]}',
        b'{"text":"HIV test"}',
        b'{"coding":[]}',
        b'{"text":"x","extension":[{"url":"http://x.example","valueReference":{"reference":"Group?name=x"}}]}',
        b'{"text":"x","text":"x"}',
        b"null",
        ABSENT,
    ),
    "category": (b'[{"text":"laboratory"}]', b"[]", b'[{"coding":[{"code":"social-history"}]}]'),
    "subject": (
        *map(refers, OWNERS),
        *(refers("Patient/p", display) for display in DISPLAYS),
        refers("Patient/p", b'"reference":"Patient/q"'),
        b'{"display":"somebody"}',
        ABSENT,
    ),
    "encounter": (
        *map(refers, REFERENCES),
        *(refers("Encounter/e", display) for display in DISPLAYS),
        b'{"identifier":{"value":"x"}}',
        b"null",
        b"{}",
        ABSENT,
    ),
    "performer": tuple(b"[" + refers(one) + b"]" for one in REFERENCES),
    "effectiveDateTime": (*(json.dumps(one).encode() for one in TIMES), b"null", ABSENT),
    "issued": (*(json.dumps(one).encode() for one in TIMES), b"null", ABSENT),
    "valueQuantity": (
        *map(quantity, TAKEN_NUMBERS + ODD_NUMBERS),
        *(quantity("95.25", unit) for unit in TAKEN_UNITS + ODD_UNITS),
        b"{}",
        b'{"unit":"mg/dL"}',
        ABSENT,
    ),
    "valueString": (b'"HIV"', b'""', b'"x"'),
    "valueCodeableConcept": (b'{"text":"HIV"}', b'{"text":"x"}', b"null"),
    "interpretation": (b'[{"text":"HIV"}]', b'[{"text":"x"}]', b'[{"text":""}]', b"[]", b'{"text":"x"}'),
    "referenceRange": (b'[{"text":"HIV"}]', b'[{"text":"x"}]', b"[{}]", b'[{"low":' + quantity("1e301") + b"}]"),
    "component": (b"[]", b'[{"code":{"text":"x"},"valueQuantity":' + quantity("1e301") + b"}]"),
    "meta": (
        DATED,
        DATED.replace(b'"3"', b'"4"'),
        b'{"tag":[{"code":"x"}]}',
        b'{"lastUpdated":"yesterday"}',
        b'{"versionId":"3","versionId":"3"}',
        b'{"security":[' + CONFIDENTIAL + b"]}",
        b'{"extension":[{"url":"http://x.example","valueReference":{"reference":"Group?name=x"}}]}',
        b"{}",
    ),
    "contained": (b'[{"resourceType":"Encounter","id":"e","status":"finished","class":{"code":"AMB"}}]',),
    "note": (b'[{"text":"x"}]',),
    "_status": (b'{"extension":[{"url":"http://x.example","valueString":"x"}]}',),
    "st\\u0061tus": (b'"final"',),
}
"""By member, what may stand there instead, right or wrong: at each bound, and one past it."""

AIMED = (*sorted(OTHERS), *("valueQuantity", "encounter", "subject", "meta") * 4)
"""Members in the share in which they are changed."""

WRAPPINGS = (
    *((b"", b""), (b" ", b""), (b"", b" \t"), (b"", b"\r"), (b"\r\n", b"\r\n"), (b"", b"\x0c"), (b"", b"\xc2\xa0")),
    *((b"", b"\x00"), (b"\xef\xbb\xbf", b""), (b"", b"}"), (b"[", b"]")),
)
BETWEEN = (b",", b",", b",", b" , ", b",\r", b",\x0b", b",,")


def written(members: Sequence[tuple[str, bytes]], between: bytes = b",") -> bytes:
    """A line of members in their order; those that are absent left out."""
    return (
        b"{" + between.join(b'"' + name.encode() + b'":' + value for name, value in members if value != ABSENT) + b"}"
    )


def line(**changes: bytes) -> bytes:
    return written(list({**PLAIN, **changes}.items()))


@st.composite
def written_lines(draw: st.DrawFn, base: dict[str, bytes]) -> bytes:
    """A line that differs from a common one in few things: its id most often, and no more than two members."""
    members = {**base, "id": draw(st.sampled_from([b'"o1"', b'"o2"', b'"o3"']))}
    for name in draw(st.lists(st.sampled_from(AIMED), max_size=2)):
        members[name] = draw(st.sampled_from(OTHERS[name]))
    order = list(members.items())
    oddity = draw(st.sampled_from(["", "", "", "order", "twice", "between", "wrapped"]))
    between, (before, after) = b",", WRAPPINGS[0]
    if oddity == "order":
        order = draw(st.permutations(order))
    elif oddity == "twice":
        name, value = draw(st.sampled_from(order))
        again = draw(st.sampled_from([value, b'""', b'"x"', b"1", b"null", *OTHERS.get(name, ())]))
        order.insert(draw(st.integers(0, len(order))), (name, again))
    elif oddity == "between":
        between = draw(st.sampled_from(BETWEEN))
    elif oddity == "wrapped":
        before, after = draw(st.sampled_from(WRAPPINGS))
    return before + written(order, between) + after


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """Lines of one or two common shapes, so that forms come again, each changed here and there."""
    bases = [PLAIN]
    if draw(st.booleans()):
        name = draw(st.sampled_from(AIMED))
        bases.append({**PLAIN, name: draw(st.sampled_from(OTHERS[name]))})
    return [draw(written_lines(draw(st.sampled_from(bases)))) for _ in range(draw(st.integers(1, 8)))]


def taken_as_the_strict_way_takes_them(reader: NdjsonReader, lines: Sequence[bytes]) -> tuple[int, int]:
    """How many lines are taken together, and how many alone; fails where the strict way says otherwise."""
    strict = NdjsonReader(WANTED)
    together = reader.read_ahead(lines)
    alone = [reader._fast(one) for one in lines]
    for text, *records in zip(lines, together, alone, strict=True):
        for record in records:
            if record is None:
                continue
            said = strict._strict(text)
            assert said is not None
            wanted = tuple(one for one in said.readings if one.code in WANTED)
            assert record == said._replace(readings=wanted)
    return sum(one is not None for one in together), sum(one is not None for one in alone)


def learned(*lines: bytes) -> NdjsonReader:
    reader = NdjsonReader(WANTED)
    reader.read_ahead(lines or [line(), line(encounter=ABSENT)])
    return reader


def test_each_bound_by_itself_is_taken_as_the_strict_way_takes_it() -> None:
    reader = learned()
    for name, others in OTHERS.items():
        for value in others:
            changed = line(**{name: value})
            taken_as_the_strict_way_takes_them(reader, [changed])
            taken_as_the_strict_way_takes_them(reader, [changed, line(), changed])
            if name in ("valueString", "valueCodeableConcept", "component"):
                bare = line(valueQuantity=ABSENT)
                instead = line(**{"valueQuantity": ABSENT, name: value})
                taken_as_the_strict_way_takes_them(reader, [bare, instead, bare])
    members = list(PLAIN.items())
    for at, (name, value) in enumerate(members):
        for again in (value, b'""', b"null", ABSENT):
            taken_as_the_strict_way_takes_them(reader, [written([*members[:at], (name, again), *members[at:]])])
    for between in BETWEEN:
        for before, after in WRAPPINGS:
            taken_as_the_strict_way_takes_them(reader, [before + written(members, between) + after])


@given(streams(), st.booleans())
def test_many_lines_together_say_what_each_alone_says_the_strict_way(lines: list[bytes], is_known: bool) -> None:
    """All at once; and one by one, for a line that lets nothing be taken beside it hides what it would be taken as."""
    taken_as_the_strict_way_takes_them(learned() if is_known else NdjsonReader(WANTED), lines)
    reader = learned()
    for one in lines:
        taken_as_the_strict_way_takes_them(reader, [one])


def test_plain_lines_are_all_read_together() -> None:
    again = [one.replace(b'"id":"', b'"id":"2') for one in MANY]
    odd = MANY[0].replace(b'"status"', b'"status":"final","status"')
    assert None not in NdjsonReader(WANTED).read_ahead(MANY + again)
    assert NdjsonReader(WANTED).read_ahead([*MANY, odd])[-1] is None
    near = [line(valueQuantity=quantity(number)) for number in TAKEN_NUMBERS]
    near += [line(encounter=refers(one)) for one in REFERENCES[7:16]]
    assert taken_as_the_strict_way_takes_them(learned(), near) == (len(near), len(near))


@pytest.mark.parametrize(
    ("odd", "is_refused"),
    [
        (line(valueQuantity=quantity("0e999")), True),
        (line(valueQuantity=quantity("1e301")), True),
        (line(valueQuantity=quantity("-1e301")), True),
        (line(valueQuantity=quantity("1e-301")), True),
        (line(valueQuantity=quantity("0")), False),
        (line(valueQuantity=quantity("1." + "0" * 63)), True),
        (line(valueQuantity=quantity("1." + "0" * 62)), False),
        (line(encounter=refers("#e")), True),
        (line(encounter=refers("")), True),
        (line(encounter=refers("#")), False),
        (line(encounter=refers("Encounter?identifier=x|y")), True),
        (line(performer=b"[" + refers("Practitioner?identifier=x|y") + b"]"), True),
        (line(encounter=refers("Encounter\\/e")), False),
        (line(**{"st\\u0061tus": b'"final"', "status": ABSENT}), False),
        (line(**{"st\\u0061tus": b'"final"'}), True),
    ],
)
def test_a_line_of_a_known_form_that_is_the_strict_ways_to_judge_is_left_to_it(odd: bytes, is_refused: bool) -> None:
    reader = learned()
    assert reader.read_ahead([line(), odd])[1] is None
    assert reader.read_ahead([odd]) == [None]
    if is_refused:
        with pytest.raises(BadInput):
            reader.read(odd)
    else:
        assert reader.read(odd) is not None


def test_quotes_that_one_line_has_too_many_are_not_made_up_for_by_anothers_escapes() -> None:
    twice = line().replace(b'"status"', b'"status":"final","status"')
    escaped = line(encounter=refers(QUOTES))
    both = line(encounter=refers(QUOTES)).replace(b'"id"', b'"id":"","id"')
    assert learned().read_ahead([twice, escaped]) == [None, None]
    assert learned().read_ahead([both]) == [None]
    for refused in (twice, both):
        with pytest.raises(BadInput):
            learned().read(refused)


@pytest.mark.parametrize(("before", "after"), [(b"", b" "), (b"\t", b""), (b"", b"\r"), (b"\r\n ", b" \r\n")])
def test_whitespace_around_a_line_is_kept_by_neither_way(before: bytes, after: bytes) -> None:
    around = before + line() + after
    assert taken_as_the_strict_way_takes_them(learned(), [around, line()]) == (2, 2)


def test_units_that_differ_between_lines_alike_are_each_their_own() -> None:
    units = [quantity("95.25", unit) for unit in TAKEN_UNITS]
    lines = [line(), line(valueQuantity=ABSENT), *(line(valueQuantity=one) for one in units)]
    for reader in (learned(), learned(*lines)):
        assert taken_as_the_strict_way_takes_them(reader, lines) == (len(lines), len(lines))
    assert len({record.readings for record in learned().read_ahead(lines) if record is not None}) == 4


def test_a_version_of_another_server_is_left_out_however_often_it_comes() -> None:
    dated = [line(meta=DATED, id=b'"o%d"' % number) for number in range(3)]
    for reader in (learned(), learned(*dated)):
        assert taken_as_the_strict_way_takes_them(reader, dated)[0] == len(dated)
        assert not any(b"versionId" in one.content for one in reader.read_ahead(dated) if one is not None)


@pytest.mark.slow
def test_real_observations_are_taken_as_the_strict_way_takes_them(shared_data: Path) -> None:
    texts = [gzip.decompress(path.read_bytes()) for path in sorted((shared_data / "synthea-r4").glob("*.json.gz"))]
    entries = [entry.resource for text in texts for entry in msgspec.json.decode(text, type=_Bundle).entry]
    lines = [msgspec.json.format(bytes(one), indent=-1) for one in entries]
    lines = [one for one in lines if one.startswith(b'{"resourceType":"Observation"')]
    assert len(lines) > 2_000
    named = [
        re.sub(rb'("subject":\{"reference":")urn:uuid:', rb"\1Patient/", one).replace(b"urn:uuid:", b"Encounter/")
        for one in lines
    ]
    for some in (lines, named):
        reader = NdjsonReader(WANTED)
        counts = [taken_as_the_strict_way_takes_them(reader, some[at : at + 512]) for at in range(0, len(some), 512)]
    assert sum(together for together, _ in counts) > len(named) / 2
    examples = [
        msgspec.json.format(path.read_bytes(), indent=-1)
        for path in sorted((shared_data / "fhir-r4-examples").glob("Observation-*.json"))
    ]
    assert examples
    taken_as_the_strict_way_takes_them(NdjsonReader(WANTED), examples + examples)


class _Entry(msgspec.Struct):
    resource: msgspec.Raw


class _Bundle(msgspec.Struct):
    entry: list[_Entry]


@pytest.mark.slow
def test_values_that_are_known_to_be_right_or_wrong_are_taken_as_the_strict_way_takes_them(shared_data: Path) -> None:
    folder = shared_data / "fhir-primitives"
    values = [value for path in sorted(folder.glob("*.ndjson")) for value in path.read_bytes().splitlines() if value]
    naughty = json.loads((shared_data / "naughty-strings" / "blns.json").read_bytes())
    values += [json.dumps(one, ensure_ascii=False).encode() for one in naughty]
    assert len(values) > 600
    reader = learned()
    for value in values:
        reference = b'{"reference":' + value + b"}"
        for name in ("id", "status", "effectiveDateTime", "issued", "valueString", "encounter", "subject", "performer"):
            written_there = {"encounter": reference, "subject": reference, "performer": b"[" + reference + b"]"}
            taken_as_the_strict_way_takes_them(reader, [line(**{name: written_there.get(name, value)})])
        for unit in (b'"unit":' + value, b'"code":' + value):
            taken_as_the_strict_way_takes_them(reader, [line(valueQuantity=quantity("95.25", unit))])
        taken_as_the_strict_way_takes_them(reader, [line(valueQuantity=quantity(value))])

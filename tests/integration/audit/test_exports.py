"""A patient's accesses as files people open: a spreadsheet, a printed page, a FHIR Bundle."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fhir.resources.R4B.auditevent import AuditEvent
from fhir.resources.R4B.bundle import Bundle

from tests.integration.audit.pdf_text import text_of
from tests.integration.audit.test_audit_trail import ANNA, BERT, EVENT
from tests.integration.audit.test_completeness import House, open_house
from twinward.audit.exports import ENDINGS, MEDIA_TYPES, ExportFormat, Printing, render
from twinward.audit.exports.csv_table import COLUMNS
from twinward.audit.exports.document import AccessDocument
from twinward.audit.exports.fhir_bundle import INDEX_SYSTEM, LEAF_SYSTEM
from twinward.audit.exports.typeface import Typeface
from twinward.core.errors import Unavailable
from twinward.core.vocabulary import TwinId
from twinward_crypto.testing.memory_provider import MemoryKeyProvider
from twinward_ledger.proofs.access_report import AccessReport
from twinward_ledger.proofs.report_verifier import verify_report

UNSEEN = TwinId("01941f29-7c00-7000-8000-00000000dead")
"""A patient whom nobody has accessed yet."""
ODD = (
    replace(EVENT, agent="=HYPERLINK(1)", unit='"quoted", ward', reason="line\nbreak; Größe ≥ 3 Ω"),
    replace(EVENT, decision="deny", reason="", detail=(("justification", "+1+1\r\n@x"),)),
    replace(EVENT, unit="", categories=(), agent="漢字 \u202e evil"),
)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Anna's accesses with everything odd in them, Bert's erased."""
    with open_house(tmp_path_factory.mktemp("exports"), MemoryKeyProvider()) as house:
        house.keyring.reserve([UNSEEN])
        house.audit.record([*ODD, replace(EVENT, twin=BERT), replace(EVENT, twin=BERT)])
        house.audit.checkpoint_and_anchor()
        house.keyring.shred(BERT)
        yield house


@pytest.fixture
def document(house: House) -> AccessDocument:
    return house.document(ANNA)


@pytest.mark.parametrize("form", ExportFormat)
@pytest.mark.parametrize("twin", [ANNA, BERT, UNSEEN])
def test_every_form_of_every_report(house: House, form: ExportFormat, twin: TwinId) -> None:
    assert render(house.document(twin), form)
    assert MEDIA_TYPES[form]
    assert ENDINGS[form].startswith(".")


def test_the_proof_is_the_report(house: House, document: AccessDocument) -> None:
    verdict = verify_report(AccessReport.parse(render(document, ExportFormat.PROOF)), house.consortium.policy())
    assert [row.index for row in verdict.rows] == [0, 1, 2]


# --- CSV ---------------------------------------------------------------------------------------------------------


def rows_of(document: AccessDocument) -> list[dict[str, str]]:
    content = render(document, ExportFormat.CSV)
    assert content.startswith(b"\xef\xbb\xbf")  # without it Excel reads UTF-8 as something else
    text = content.decode("utf-8-sig")
    assert text.endswith("\r\n")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def test_a_csv_reads_back(house: House, document: AccessDocument) -> None:
    rows = rows_of(document)
    assert [tuple(row) for row in rows] == [COLUMNS] * 3
    assert [row["index"] for row in rows] == ["0", "1", "2"]
    assert rows[0]["unit"] == '"quoted", ward'
    assert rows[0]["reason"] == "line\nbreak; Größe ≥ 3 Ω"
    assert [row["decision"] for row in rows] == ["permit", "deny", "permit"]
    assert rows[0]["leaf"] == house.consortium.log.store.entry(0).leaf.hex()
    assert [(row["decision"], row["agent"]) for row in rows_of(house.document(BERT))] == [("erased", "")] * 2
    assert rows_of(house.document(UNSEEN)) == []


def test_no_cell_is_a_formula(document: AccessDocument) -> None:
    rows = rows_of(document)
    assert rows[0]["agent"] == "'=HYPERLINK(1)"
    assert rows[1]["justification"] == "'+1+1\\x0d\n@x"
    for row in rows:
        assert not any(value.startswith(("=", "+", "-", "@", "\t", "\r")) for value in row.values())


# --- FHIR --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("twin", [ANNA, BERT, UNSEEN])
def test_the_bundle_is_fhir_r4(house: House, twin: TwinId) -> None:
    raw = render(house.document(twin), ExportFormat.FHIR)
    bundle = Bundle.model_validate_json(raw)
    assert bundle.type == "collection"
    for entry in json.loads(raw).get("entry", []):
        AuditEvent.model_validate(entry["resource"])
    addresses = [entry["fullUrl"] for entry in json.loads(raw).get("entry", [])]
    assert len(set(addresses)) == len(addresses)


def test_each_audit_event_says_who_whom_and_where_in_the_log(house: House, document: AccessDocument) -> None:
    told = json.loads(render(document, ExportFormat.FHIR))["entry"][1]["resource"]
    said = {one["url"]: one for one in told["extension"]}
    assert said[INDEX_SYSTEM]["valueString"] == "1"
    assert base64.b64decode(said[LEAF_SYSTEM]["valueBase64Binary"]) == house.consortium.log.store.entry(1).leaf
    assert told["agent"][0]["who"]["identifier"]["value"] == "dr-osei"
    assert told["outcome"] == "8"
    assert told["entity"][0]["what"]["identifier"]["value"] == ANNA
    assert told["entity"][0]["role"]["code"] == "1"


def test_an_erased_event_keeps_its_place(house: House) -> None:
    told = json.loads(render(house.document(BERT), ExportFormat.FHIR))["entry"][0]["resource"]
    assert "erased" in told["outcomeDesc"]
    assert told["agent"][0]["who"]["extension"][0]["valueCode"] == "unknown"


# --- PDF ---------------------------------------------------------------------------------------------------------


def pages_of(pdf: bytes) -> int:
    return len(re.findall(rb"/Type /Page\b", pdf))


def drawn(pdf: bytes) -> bytes:
    """The content streams, which hold glyphs, not letters: enough to see that pages are not empty."""
    streams = re.findall(rb"stream\n(.*?)\nendstream", pdf, re.DOTALL)
    return b"".join(zlib.decompress(one) for one in streams if one[:1] == b"x")


def test_a_pdf_has_as_many_pages_as_it_needs(house: House, document: AccessDocument) -> None:
    short = render(document, ExportFormat.PDF)
    assert short.startswith(b"%PDF-")
    assert pages_of(short) == 1
    assert len(drawn(short)) > 2000
    many = replace(document, rows=document.rows * 40)
    assert pages_of(render(many, ExportFormat.PDF)) > 4
    assert pages_of(render(house.document(UNSEEN), ExportFormat.PDF)) == 1
    assert render(document, ExportFormat.PDF) == short  # nothing of the clock or of chance in it


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x00\x1b[31m \u202eabc \ud800", r"\x00\x1b[31m \u202eabc \ud800"),
        ("患者昏迷", r"\u60a3\u8005\u660f\u8ff7"),
        ("🦠 𝔊", r"\U0001f9a0 \U0001d50a"),
        ("мать, Größe ≥ 3 Ω", "мать, Größe ≥ 3 Ω"),
        ("חולה", "הלוח"),  # from right to left, as it is read
        ("a" * 200, "aaaa\naaaa"),
    ],
)
def test_a_pdf_leaves_no_character_out(document: AccessDocument, text: str, shown: str) -> None:
    event = document.rows[0].event
    assert event is not None
    row = replace(document.rows[0], event=replace(event, reason=text))
    assert shown in text_of(render(replace(document, rows=(row,)), ExportFormat.PDF))


def test_what_dejavu_lacks_is_printed_in_a_font_of_the_hospitals_own(document: AccessDocument) -> None:
    event = document.rows[0].event
    stix = Typeface().files[0].with_name("STIXGeneral.ttf")
    assert event is not None
    row = replace(document.rows[0], event=replace(event, reason="𝔊 患"))
    said = text_of(render(replace(document, rows=(row,)), ExportFormat.PDF, Printing((stix,))))
    assert r"𝔊 \u60a3" in said


def test_what_is_no_font_is_named(document: AccessDocument, tmp_path: Path) -> None:
    (tmp_path / "font.ttf").write_bytes(b"no font at all")
    for path in (tmp_path / "font.ttf", tmp_path / "missing.ttf", tmp_path):
        with pytest.raises(Unavailable, match="cannot be read as a font") as caught:
            render(document, ExportFormat.PDF, Printing((path,)))
        assert "print_fonts" in caught.value.hint


def test_a_long_row_goes_on_and_a_short_one_stays_whole(document: AccessDocument) -> None:
    event = document.rows[0].event
    assert event is not None
    words = [f"w{number:04}" for number in range(900)]
    long = replace(document.rows[0], event=replace(event, reason=" ".join(words)))
    told: list[int] = []
    many = replace(document, rows=(*document.rows * 6, long, *document.rows))
    pdf = render(many, ExportFormat.PDF, Printing(told=told.append))
    assert re.findall(r"w\d{4}", text_of(pdf)) == words
    assert told == list(range(1, len(many.rows) + 1))
    assert pages_of(pdf) - text_of(pdf).count("What, and why") in (0, 1)  # the last page may have only what follows

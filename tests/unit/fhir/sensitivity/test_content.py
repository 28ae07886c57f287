"""Sensitive content is recognised by content: case by case, and measured. ``python -m tests.checks.sensitivity``."""

from __future__ import annotations

import base64
import json
import sys
from typing import Any

import pytest

from tests.checks.sensitivity import measured
from tests.vectors.sensitivity.cases import CASES, ICD10CM, MISSED, SHAPES, Case, concept, of
from twinward.core.vocabulary import SENSITIVE, Category
from twinward.fhir.bulk.ndjson_reader import NdjsonReader
from twinward.fhir.mapping.categories import categories_needed, categories_of_type, category_of
from twinward.fhir.sensitivity.content import sensitivities_of, sensitivities_of_content
from twinward.fhir.sensitivity.terminologies import code_sets, expanded, tables_of_all
from twinward.fhir.validation.validator import faults


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_case_is_recognised_and_ordinary_care_is_not(case: Case) -> None:
    told = sensitivities_of(case.resource)
    assert told >= case.told
    if not case.told:
        assert not told


def test_recall_and_false_alarms_are_measured_and_printed(capsys: pytest.CaptureFixture[str]) -> None:
    result = measured(CASES, MISSED)
    with capsys.disabled():
        sys.stdout.write(f"\n{result}\n")
    assert result.positives >= 200
    assert result.negatives >= 80
    assert result.recall >= 0.97
    assert result.false_alarm_rate <= 0.01


@pytest.mark.parametrize("case", MISSED, ids=lambda case: case.name)
def test_what_is_known_to_be_missed_is_missed(case: Case) -> None:
    """A miss that is recognised now goes to the cases: the page that tells of the misses must be true."""
    assert not sensitivities_of(case.resource)


def attached(text: str) -> dict[str, Any]:
    data = base64.b64encode(text.encode()).decode()
    return of("DocumentReference", content=[{"attachment": {"contentType": "text/plain", "data": data}}])


@pytest.mark.slow
@pytest.mark.parametrize("filler", ["the wound is dry. ", "the wound is d\u00fcrr. "])
def test_a_long_text_is_looked_at_to_its_end(filler: str) -> None:
    filler *= 1_000_000 // len(filler)
    for before in ("", filler, filler + "the wound heals "):
        assert sensitivities_of(attached(before + "known schizophrenia")) == {Category.PSYCHIATRY}
    assert not sensitivities_of(attached(filler + "the wound is dry"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("known &#" + "0" * 5000 + "115;chizophrenia", {Category.PSYCHIATRY}),
        ("<p title='known &#" + "0" * 5000 + "115;chizophrenia'>", {Category.PSYCHIATRY}),
        ("&#" + "9" * 5000 + ";", set()),
        ("<p title='&#" + "9" * 5000 + ";'>", set()),
    ],
    ids=["zeros", "zeros in an attribute", "nines", "nines in an attribute"],
)
def test_a_character_of_thousands_of_digits_is_read_and_stops_nothing(text: str, told: set[Category]) -> None:
    assert sensitivities_of(attached(text)) == told


@pytest.mark.parametrize(
    "case",
    [one for one in CASES if one.resource["resourceType"] == "Observation" and not faults(one.resource, "")],
    ids=lambda case: case.name,
)
def test_bulk_lines_are_filed_as_single_writes_are(case: Case) -> None:
    body = case.resource | {"effectiveDateTime": "2026-01-01T00:00:00Z"}
    body.pop("contained", None)
    line = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    reader = NdjsonReader(())
    filed = [reader.read(line).category for _ in range(2)]  # the second time from what was remembered
    assert filed == [category_of(body)] * 2


def test_what_falls_under_several_is_filed_under_one_and_needs_leave_for_all() -> None:
    both = of("Observation", component=[{"code": concept(ICD10CM, "B20")}, {"code": concept(ICD10CM, "F32.1")}])
    assert category_of(both) is Category.PSYCHIATRY
    content = json.dumps(both).encode()
    needed = {Category.PSYCHIATRY, Category.HIV, Category.LABS}
    assert categories_needed("Observation", Category.PSYCHIATRY, content) == needed
    assert categories_needed("Observation", Category.LABS, content) == needed  # filed by an earlier release


def test_what_cannot_be_read_needs_leave_for_everything() -> None:
    assert sensitivities_of_content("Observation", b"not json") == SENSITIVE
    assert sensitivities_of_content("Observation", b"[]") == SENSITIVE
    assert not sensitivities_of_content("Features", b"not json")
    assert not sensitivities_of_content("Observation", b"")  # a deletion


def test_a_patients_own_record_stays_findable_and_is_still_looked_into() -> None:
    patient = of("Patient", name=[{"family": "Mania", "given": ["Viola"]}], address=[{"text": "Psychiatry Lane 1"}])
    assert not sensitivities_of(patient)
    hiding = patient | {"contained": [SHAPES["Condition.code"](concept(ICD10CM, "F20.0"))]}
    assert category_of(hiding) is Category.DEMOGRAPHICS
    assert categories_needed("Patient", Category.DEMOGRAPHICS, json.dumps(hiding).encode()) > {Category.PSYCHIATRY}


def test_what_a_hospital_shares_tells_of_nobody() -> None:
    assert not sensitivities_of({"resourceType": "Organization", "name": "Clinic of Psychiatry"})
    assert not sensitivities_of({"resourceType": "Medication", "code": concept(None, "N05AH02")})


def test_a_search_of_any_type_asks_leave_for_every_sensitive_category() -> None:
    for kind in ("Condition", "Observation", "MedicationRequest", "Claim", "Basic", "Consent"):
        assert categories_of_type(kind) >= SENSITIVE


def test_every_set_cites_its_source_and_holds_what_it_says() -> None:
    found = dict(tables_of_all())
    assert found.keys() == SENSITIVE
    for tables in found.values():
        assert all(len(table["source"]) > 10 for table in tables.values())
        assert {"labels", "icd-10", "icd-11", "snomed", "loinc", "words"} <= tables.keys()
    assert expanded("F08-F11") == ["F08", "F09", "F10", "F11"]
    assert expanded("N07B") == ["N07B"]
    for name, shape in (("snomed", 6), ("loinc", 4)):
        assert all(len(code) >= shape and code.replace("-", "").isdigit() for code in code_sets()[name].codes)


def encoded(text: str, charset: str = "utf-8") -> str:
    return base64.b64encode(text.encode(charset)).decode()


CDA = '<ClinicalDocument><value code="F20.0" codeSystem="2.16.840.1.113883.6.90"/></ClinicalDocument>'
HIDDEN_IN_A_FILE = {
    "letter in Latin-1": encoded("Diagnose: Schizophrenie, schwere Störung", "latin-1"),
    "letter in UTF-16": encoded("Diagnosis: schizophrenia", "utf-16"),
    "CDA, a code": encoded(CDA),
    "CDA, a display": encoded(
        CDA.replace("F20.0", "x").replace("codeSystem", "displayName='Schizophrenia' codeSystem")
    ),
    "JSON, escaped": encoded('{"note": "\\u0073chizophrenia"}'),
    "JSON, a code": encoded(json.dumps({"code": concept(ICD10CM, "F20.0")})),
    "HL7 v2, a code": encoded("MSH|^~\\&|\rDG1|1|I10|F20.0^^I10\r"),
}


@pytest.mark.parametrize("data", HIDDEN_IN_A_FILE.values(), ids=HIDDEN_IN_A_FILE)
def test_a_text_file_is_read_whatever_its_format_and_letters(data: str) -> None:
    for content in (
        [{"attachment": {"contentType": "text/plain", "data": data}}],
        [{"attachment": {"url": f"data:text/plain;base64,{data}"}}],
        [{"extension": [{"url": "http://example.org/x", "valueBase64Binary": data}]}],
    ):
        assert Category.PSYCHIATRY in sensitivities_of(of("DocumentReference", content=content))


@pytest.mark.parametrize(
    "elements",
    [
        {"valueQuantity": {"value": 30, "unit": "HIV-1 RNA copies/mL"}},
        {"code": {"coding": [{"system": "http://house.example/tests", "code": "HIV_AB"}]}},
        {"code": {"coding": [{"code": "HIV1POS"}]}},
        {"identifier": [{"system": "http://house.example/orders", "value": "HIV-clinic-12"}]},
        {"text": {"div": "<div>H<b>I</b>V positive</div>"}},
        {"text": {"div": "<div>H<!-- -->IV positive</div>"}},
        {"text": {"div": "<div title='HIV positive'>x</div>"}},
        {"note": [{"text": "H\u200bI\u00adV positive"}]},
        {"note": [{"text": "The patient is HI-\n  V positive"}]},
        {"content": [{"attachment": {"url": "http://house.example/%48IV-result.pdf"}}]},
    ],
)
def test_words_are_read_in_units_house_codes_and_broken_up(elements: dict[str, object]) -> None:
    assert Category.HIV in sensitivities_of(of("Observation", **elements))


def test_a_text_that_told_nothing_elsewhere_hides_no_code_and_no_file() -> None:
    hidden = {"valueCode": "58214004", "linkId": "44250-9", "data": encoded("schizophrenia")}
    assert not sensitivities_of(of("Observation", note=[{"text": text} for text in hidden.values()]))
    for name, text in hidden.items():
        assert sensitivities_of(of("Observation", extension=[{"url": "http://example.org/x", name: text}])), name


def test_a_file_nested_too_deep_to_look_into_may_be_anything() -> None:
    content = [{"attachment": {"data": encoded('{"a":' * 20_000)}}]
    assert sensitivities_of(of("DocumentReference", content=content)) == SENSITIVE

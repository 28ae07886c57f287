"""How names are compared, and that every coded element has the system that its binding implies."""

from __future__ import annotations

import unicodedata

import pytest
from fhir.resources.R4B import get_fhir_model_class
from hypothesis import given
from hypothesis import strategies as st

from twinward.fhir.json.values import folded
from twinward.fhir.resource_types import R4_ONLY, R4_TYPES
from twinward.fhir.search.parameters import parameters_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Müller", "MULLER"),
        ("Mu\u0308ller", "M\u00fcller"),
        ("Straße", "STRASSE"),
        ("Ørsted", "orsted"),
        ("Łukasz", "lukasz"),
        ("İstanbul", "istanbul"),
        ("Nguyễn", "nguyen"),
        ("Σίσυφος", "ΣΙΣΥΦΟΣ"),
        ("O\u2019Brien", "O'Brien"),
        ("O'Brien", "obrien"),
        ("Smith-Jones", "Smith  Jones"),
        ("Smith\u2011Jones", "smith\tjones"),
        ("ＡＢＣ", "abc"),
        ("\ufb01nch", "finch"),
        ("A\u00adnna", "Anna"),
        ("한", unicodedata.normalize("NFD", "한")),
    ],
)
def test_these_are_spelled_alike(one: str, other: str) -> None:
    assert folded(one) == folded(other) != ""


@pytest.mark.parametrize(("one", "other"), [("かな", "がな"), ("सज", "सज़"), ("한", "하"), ("кот", "кит")])
def test_another_letter_is_another(one: str, other: str) -> None:
    assert folded(one) != folded(other)
    assert not folded(one).startswith(folded(other))


@given(st.text(max_size=20))
def test_normal_forms_and_case_never_matter(text: str) -> None:
    once = folded(text)
    assert folded(once) == once
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert folded(unicodedata.normalize(form, text)) == once  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", sorted(R4_TYPES - R4_ONLY))
def test_every_element_that_is_searched_is_one_of_the_type(kind: str) -> None:
    fields = get_fhir_model_class(kind).model_fields
    for name, one in parameters_of(kind).items():
        if name not in ("patient", "subject"):  # of every type that may have one
            looked_at = {element.partition(".")[0] for element in one.elements}
            assert {
                element for element in looked_at if element not in fields and f"{element}_fhir" not in fields
            } == set()


_WITH_TOKENS = [
    kind
    for kind in sorted(R4_TYPES - R4_ONLY)
    if any(one.kind == "token" and name not in ("_id", "identifier") for name, one in parameters_of(kind).items())
]


@pytest.mark.parametrize("kind", _WITH_TOKENS)
def test_every_code_that_is_searched_implies_a_system(kind: str) -> None:
    fields = get_fhir_model_class(kind).model_fields
    for name, one in parameters_of(kind).items():
        first = one.elements[0] if one.elements else ""
        if one.kind == "token" and first in fields and name not in ("_id", "identifier"):
            assert bool(one.system) == ("Code()" in str(fields[first].annotation)), f"{kind}.{first}"

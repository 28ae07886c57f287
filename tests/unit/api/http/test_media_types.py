"""Accept, Content-Type and the weights of codings, row by row: what is asked for, and what it is answered with."""

from __future__ import annotations

import pytest

from twinward.api.http.representation import codings_taken
from twinward.core.errors import BadInput, UnsupportedMedia
from twinward.core.media_types import preferred, require_taken

FHIR = ("application/fhir+json", "application/json", "text/json")


@pytest.mark.parametrize(
    ("accept", "label"),
    [
        ("", FHIR[0]),
        (" , ", FHIR[0]),
        ("*/*", FHIR[0]),
        ("application/*", FHIR[0]),
        ("APPLICATION/FHIR+JSON", FHIR[0]),
        ("application/json", FHIR[1]),
        ("text/*", FHIR[2]),
        ("application/fhir+xml", None),
        ("application/fhir+xml, application/fhir+json;q=0.1", FHIR[0]),
        ("application/fhir+xml,*/*;q=0.001", FHIR[0]),
        ("application/fhir+json;q=0.1,application/json;q=0.2", FHIR[1]),
        ("application/fhir+json;q=0, */*", FHIR[1]),
        ("application/json, */*;q=0", FHIR[1]),
        ("*/*;q=0", None),
        ("application/*;q=0.0", None),
        ("application/fhir+json; fhirVersion=4.0", "application/fhir+json; fhirVersion=4.0"),
        ('application/fhir+json; fhirversion="4.0";q=0.3', "application/fhir+json; fhirVersion=4.0"),
        ("application/fhir+json; fhirVersion=5.0", None),
        ("application/fhir+json; fhirVersion=3.0, application/json; fhirVersion=3.0", None),
        ("application/fhir+json; fhirVersion=3.0, application/fhir+json", FHIR[0]),
        ("application/fhir+json; charset=UTF-8", FHIR[0]),
        ("application/fhir+json; charset=utf-16", None),
        ('application/json; profile="a, b; q=0"', FHIR[1]),
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", FHIR[0]),  # what Java's own client sends
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", FHIR[0]),  # a browser
        ("json", None),
        ("application/json;q=2", None),
        ("application/json;q=.", None),
        ("application/fhir+json;=", None),
    ],
)
def test_what_is_asked_for_is_what_is_answered(accept: str, label: str | None) -> None:
    chosen = preferred(accept, FHIR)
    assert (chosen and chosen.label) == label


def test_of_kinds_that_are_liked_alike_the_one_that_is_named_wins() -> None:
    offers = ("application/json", "text/event-stream")
    for accept, name in (
        ("text/event-stream", "text/event-stream"),
        ("text/event-stream, */*", "text/event-stream"),
        ("*/*", "application/json"),
        ("application/json, text/event-stream", "application/json"),
        ("application/json;q=0.5, text/event-stream", "text/event-stream"),
    ):
        chosen = preferred(accept, offers)
        assert chosen is not None
        assert chosen.name == name


def test_a_header_without_end_is_refused_and_an_odd_one_costs_nothing() -> None:
    with pytest.raises(BadInput, match="4096"):
        preferred("a/b," * 2000, FHIR)
    with pytest.raises(BadInput, match="4096"):
        codings_taken("gzip," * 1000)
    for odd in ('"' * 4000, ";" * 4000, "a/b" + ';x="' * 900, 'a/b;x="' + "\\" * 3900, "," * 4000):
        preferred(odd, FHIR)


@pytest.mark.parametrize("said", ["application/fhir+json", "application/json; charset=utf-8", 'application/JSON;x="é"'])
def test_a_body_of_a_kind_that_is_taken_is_taken(said: str) -> None:
    assert require_taken([said], FHIR[:2]) in FHIR


@pytest.mark.parametrize(
    "said",
    [
        [],
        [""],
        ["application/fhir+xml"],
        ["application/json;charset=latin1"],
        ["application/json; fhirVersion=3.0"],
        ["application/json", "application/json"],
        ["application/json, text/plain"],
        ["*/*"],
        ["application/*"],
        ["application/json;" + "x" * 5000],
    ],
)
def test_any_other_body_is_refused_and_told_what_is_taken(said: list[str]) -> None:
    with pytest.raises(UnsupportedMedia) as refused:
        require_taken(said, FHIR[:2])
    assert refused.value.taken == FHIR[:2]


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        (None, "identity"),
        ("", "identity"),
        ("gzip", "gzip identity"),
        ("GZip", "gzip identity"),
        ("x-gzip", "gzip identity"),
        ("gzip, deflate, br, zstd", "zstd gzip identity"),
        ("gzip;q=0.5, zstd;q=0.1", "gzip zstd identity"),
        ("identity, gzip;q=0.5", "identity gzip"),
        ("*", "zstd gzip identity"),
        ("*;q=0.1, zstd;q=0", "gzip identity"),
        ("br", "identity"),
        ("gzip;q=0", "identity"),
        ("gzip, *;q=0", "gzip"),
        ("gzip, identity;q=0", "gzip"),
        ("*;q=0", ""),
        ("identity;q=0", ""),
        ("gzip;q=much", "identity"),
    ],
)
def test_codings_are_taken_in_the_order_they_are_liked(header: str | None, taken: str) -> None:
    assert " ".join(codings_taken(header)) == taken

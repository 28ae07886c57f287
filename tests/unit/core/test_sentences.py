"""Sentences that know what they were made of: said again in German, by another clock, and copied whole."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward.console.viewer import Language, Viewer, in_words, shown, viewed_by
from twinward.core.sentences import Moment, Sentence, counted, joined, listed, of_numbers, sentence

VIENNA = Viewer(Language.GERMAN, "Europe/Vienna")
AT_MS = Moment(1_767_225_600_000)


def test_in_english_it_is_text_like_any_other() -> None:
    said = sentence("{name} has co-signed everything", name="lakeside")
    assert said == "lakeside has co-signed everything"
    assert sentence("the last backup is of {at}", at=AT_MS) == "the last backup is of 2026-01-01 00:00 UTC"
    assert (joined(["a"]), joined(["a", "b", "c"]), listed([]), listed(["x", "y"])) == ("a", "a; b; c", "", "x, y")


@pytest.mark.parametrize(
    ("count", "english", "german"),
    [
        (1, "1 breach is open", "1 Datenpanne ist offen"),
        (1200, "1200 breaches are open", "1.200 Datenpannen sind offen"),
    ],
)
def test_it_counts_in_each_language(count: int, english: str, german: str) -> None:
    said = counted("{count} breach is open", "{count} breaches are open", count)
    assert said == english
    with viewed_by(VIENNA):
        assert in_words(said) == german


def test_what_it_was_made_of_is_said_again_but_values_never_are() -> None:
    said = sentence(
        "{visit} grew from {seen} to {signed} events",
        visit=sentence("Since your last visit ({seen_at}) the signed log", seen_at=AT_MS),
        seen=1,
        signed=2,
    )
    with viewed_by(VIENNA):
        assert in_words(said).startswith("Seit Ihrem letzten Besuch (01.01.2026, 01:00 CET)")
        assert in_words(sentence("the account {account}", account="read")) == "das Konto read"
        assert shown(sentence("the account {account}", account="a\u202eb")) == "das Konto a\\u202eb"
    assert "{" in sentence("the account {account}", account="{0.__class__}")


def test_it_is_copied_and_sent_whole() -> None:
    said = sentence("the account {account}", account="{braces}")
    for other in (copy.deepcopy(said), pickle.loads(pickle.dumps(said))):
        assert isinstance(other, Sentence)
        assert (other, other.template, other.values) == (said, said.template, {"account": "{braces}"})


@given(st.text() | st.from_regex(r"[a-z ]{0,9}[0-9]{1,12}\.{0,3}[0-9]{0,3}[a-z{} ]{0,9}", fullmatch=True))
def test_a_librarys_text_stays_as_it_is_whatever_stands_in_it(text: str) -> None:
    assert of_numbers(text) == text


@pytest.mark.parametrize(
    ("text", "template", "values"),
    [
        ("leaf 3 is missing", "leaf {n0} is missing", {"n0": 3}),
        ("leaves 3..17 were rewritten", "leaves {n0}..{n1} were rewritten", {"n0": 3, "n1": 17}),
        ("key log+1a2b of v0.1 in {x}", "key log+1a2b of v0.1 in {{x}}", {}),
        ("page 007 of 70", "page 007 of {n0}", {"n0": 70}),
    ],
)
def test_its_numbers_are_its_values_and_no_part_of_a_name(text: str, template: str, values: dict[str, int]) -> None:
    said = of_numbers(text)
    assert (said.template, dict(said.values)) == (template, values)
    with viewed_by(VIENNA):
        assert in_words(of_numbers("leaf 1200 is missing")) == "Blatt 1.200 fehlt"

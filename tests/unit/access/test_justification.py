"""What justifies an emergency: a sentence in any script, and nothing that is typed to get past the rule."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward.access import justification
from twinward.core.errors import BadInput

SENTENCES = {
    "English": "found unconscious",
    "German": "Herzstillstand im Schockraum",
    "French": "arrêt cardiaque à l'arrivée",
    "Spanish": "paciente inconsciente",
    "Portuguese": "parada cardíaca",
    "Polish": "pacjent nieprzytomny po wypadku",
    "Finnish": "tajuton potilas",
    "Hungarian": "eszméletlen beteg",
    "Turkish": "hastanın bilinci kapalı",
    "Vietnamese": "bệnh nhân bất tỉnh",
    "Greek": "ο ασθενής είναι αναίσθητος",
    "Russian": "без сознания, передозировка",
    "Ukrainian": "пацієнт непритомний",
    "Armenian": "հիվանդն անգիտակից է",
    "Georgian": "პაციენტი უგონოდ არის",
    "Hebrew": "המטופל חסר הכרה",
    "Arabic": "المريض فاقد الوعي",
    "Persian": "بیمار بیهوش است",
    "Urdu": "مریض بے ہوش ہے",
    "Hindi": "मरीज़ बेहोश है",
    "Bengali": "রোগী অজ্ঞান",
    "Tamil": "நோயாளி மயக்கம்",
    "Thai": "ผู้ป่วยหมดสติ",
    "Khmer": "អ្នកជំងឺសន្លប់",
    "Burmese": "လူနာသတိလစ်",
    "Amharic": "ታካሚው ራሱን ስቷል",
    "Korean": "의식 없음",
    "Japanese": "意識不明",
    "Japanese kana": "いしきがない",
    "Chinese": "病人昏迷不醒",
    "Chinese, short": "心跳停",
    "Traditional Chinese": "病患失去意識",
    "with numbers": "GCS 3, intubated, no history",
    "upper case": "CARDIAC ARREST",
}
EVASIONS = [
    *("", "   ", "..........", "- - - - - -", "0123456789", "11/29 03:36", "!!!???!!!???", "\N{AMBULANCE}" * 12),
    *("aaaaaaaaaaaa", "AaAaAaAaAaAa", "xxxxxxxxxxxy", "a.a.a.a.a.a.a.", "ab ab ab ab ab", "test test test test"),
    *("asdfasdfasdf", "e\u0301" * 8, "昏昏昏昏昏昏", "急急急急", "昏迷昏迷昏迷", "ああああああああ", "x", "emerg"),
    *("a\u0300\u0301\u0302\u0303\u0304", "\u0300\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308", "\u200b" * 20),
    *("\ufeff\u2060\u200d\u200c\u00ad" * 4, "\u202e" * 12, "\u3000" * 10),
]


@pytest.mark.parametrize("language", SENTENCES)
def test_a_real_sentence_justifies_in_every_script(language: str) -> None:
    sentence = SENTENCES[language]
    for form in ("NFC", "NFD"):
        assert justification.fault(unicodedata.normalize(form, sentence)) == ""
    assert justification.is_sufficient(f"  {sentence}.\n")


@pytest.mark.parametrize("text", EVASIONS, ids=ascii)
def test_what_says_nothing_is_refused_and_the_refusal_says_what_is_missing(text: str) -> None:
    assert "say" in justification.fault(text)


@given(st.sampled_from(sorted(SENTENCES.values())), st.text(max_size=20))
def test_more_words_never_make_a_sentence_insufficient(sentence: str, more: str) -> None:
    assert justification.is_sufficient(f"{sentence} {more}")
    assert justification.is_sufficient(f"{more} {sentence}")


@given(st.text(alphabet=st.characters(categories=("P", "S", "N", "Z")), max_size=200))
def test_no_amount_of_punctuation_and_digits_justifies(text: str) -> None:
    assert not justification.is_sufficient(text)


@given(st.text(min_size=1, max_size=6), st.integers(2, 40))
def test_no_repetition_says_more_than_what_is_repeated(unit: str, times: int) -> None:
    if not justification.is_sufficient(unit):
        assert not justification.is_sufficient(unit * times)


@given(st.text(max_size=60))
def test_tidying_is_done_once_and_leaves_nothing_that_reorders_or_breaks_a_line(text: str) -> None:
    tidied = justification.tidy(text)
    assert justification.tidy(tidied) == tidied
    assert justification.fault(tidied) == justification.fault(text)
    assert not any(unicodedata.category(char) == "Cc" or char in "\u202a\u202e\u2066\u2069" for char in tidied)


def test_a_justification_is_bounded() -> None:
    assert justification.bounded(" x" * 500) == ("x " * 500).strip()
    with pytest.raises(BadInput, match="1000"):
        justification.bounded("病" * 1001)

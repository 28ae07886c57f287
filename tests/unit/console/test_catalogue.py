"""Other languages than English: every message is there, says the same values and the same markup, and no more."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.checks.catalogue import PLACEHOLDER, TRANSLATED, catalogue, forms, messages
from twinward.console.viewer import Language

MARKUP = re.compile(r"<[^>]+>")


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_message_is_translated_and_none_is_left_over(language: Language) -> None:
    kept = {tuple(one.id) if isinstance(one.id, list) else one.id: one for one in catalogue(language) if one.id}
    assert set(kept) == set(messages()), "run: python -m tests.checks.catalogue"
    lacking = [one.id for one in kept.values() if one.fuzzy or not all(forms(one.string))]
    assert lacking == [], "these wait for a translation in locales"


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_translation_says_the_same_values_in_the_same_markup(language: Language) -> None:
    for one in catalogue(language):
        for said, meant in zip(forms(one.string), forms(one.id), strict=True) if one.id else ():
            for pattern in (PLACEHOLDER, MARKUP):
                assert Counter(pattern.findall(said)) == Counter(pattern.findall(meant)), (one.id, said)
            assert said[-1:] in ".?!:…" if meant[-1:] in ".?!:…" else said[-1:] not in ".?!:…", (one.id, said)


def test_messages_are_found_where_they_stand() -> None:
    found = messages()
    assert found["Skip to content"].endswith("templates/layout.html")
    assert found["for research"].endswith("wording.py")
    assert ("%(count)s recovery code is left.", "%(count)s recovery codes are left.") in found

"""By which language and clock a page is made, and that what people wrote stays text in any of them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward.console.pages import TEMPLATES, said
from twinward.console.preferences import Preferences, Theme
from twinward.console.viewer import (
    Language,
    Viewer,
    day,
    gettext,
    minute,
    ngettext,
    number,
    spoken,
    viewed_by,
    viewer,
    zones,
)
from twinward.core.errors import Conflict

NEW_YEAR_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
SUMMER_MS = 1_782_864_000_000  # 2026-07-01T00:00:00Z
BERLIN = Viewer(Language.GERMAN, "Europe/Berlin")


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", None), ("*", None), ("fr", None), ("de", "de"), ("DE-at", "de"), ("en-GB, de;q=0.9", "en"),
        ("fr, de;q=0.8, en;q=0.9", "en"), ("de;q=0, en;q=0.1", "en"), ("de;q=x", None), ("de;q=2", None),
        ("de;q=nan", None), ("fr,de", "de"), (", ,;;=", None), ("x" * 600 + ",de", None),
    ],
)  # fmt: skip
def test_the_best_language_of_a_browser_that_is_spoken(header: str, language: str | None) -> None:
    assert spoken(header) == language


@given(st.text(max_size=600))
def test_any_header_is_read(header: str) -> None:
    assert spoken(header) in (None, *Language)


@pytest.mark.parametrize(
    ("whose", "at_ms", "text"),
    [
        (Viewer(), NEW_YEAR_MS, "2026-01-01 00:00 UTC"),
        (Viewer(Language.ENGLISH, "America/New_York"), NEW_YEAR_MS, "2025-12-31 19:00 EST"),
        (BERLIN, NEW_YEAR_MS, "01.01.2026, 01:00 CET"),
        (BERLIN, SUMMER_MS, "01.07.2026, 02:00 CEST"),
        (Viewer(Language.ENGLISH, "Asia/Kathmandu"), SUMMER_MS, "2026-07-01 05:45 +0545"),
    ],
)
def test_a_moment_by_the_viewers_clock_and_the_same_moment_for_machines(whose: Viewer, at_ms: int, text: str) -> None:
    with viewed_by(whose):
        instant = "2026-01-01T00:00:00Z" if at_ms == NEW_YEAR_MS else "2026-07-01T00:00:00Z"
        assert minute(at_ms) == f'<time datetime="{instant}">{text}</time>'


def test_days_and_numbers_are_the_viewers() -> None:
    with viewed_by(Viewer(Language.ENGLISH, "America/New_York")):
        assert "2025-12-31<" in day(NEW_YEAR_MS)
        assert number(1_234_567) == "1,234,567"
    with viewed_by(BERLIN):
        assert ">01.01.2026<" in day(NEW_YEAR_MS)
        assert number(1_234_567) == "1.234.567"


@pytest.mark.parametrize("language", Language)
def test_nothing_said_is_nothing_in_any_language(language: Language) -> None:
    with viewed_by(Viewer(language)):
        assert gettext("") == ""
        assert said(Conflict("it is over")) == "It is over."


def test_a_viewer_counts_for_as_long_as_it_is_said() -> None:
    with viewed_by(BERLIN):
        assert gettext("Sign in") == "Anmelden"
        with viewed_by(Viewer()):
            assert gettext("Sign in") == "Sign in"
        assert viewer() == BERLIN
        assert gettext("a text that is in no catalogue") == "a text that is in no catalogue"
        words = ("%(count)s recovery code is left.", "%(count)s recovery codes are left.")
        assert [ngettext(*words, n)[:41] for n in (1, 2)] == [
            "%(count)s Wiederherstellungscode ist übri", "%(count)s Wiederherstellungscodes sind üb",
        ]  # fmt: skip
    assert viewer() == Viewer()


@pytest.mark.parametrize("whose", [Viewer(), BERLIN])
def test_what_people_wrote_stays_text_and_visible_in_a_sentence(whose: Viewer) -> None:
    with viewed_by(whose):
        made = TEMPLATES.from_string("{% trans name=name %}Welcome, {{ name }}{% endtrans %}").render(
            name="<b>%(x)s\u202e{{1}}"
        )
    assert made.endswith(r", &lt;b&gt;%(x)s\u202e{{1}}")
    assert re.match("Welcome|Willkommen", made)


def test_zones_are_places_and_utc_and_what_a_cookie_says_is_one_of_them() -> None:
    assert {"UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"} <= set(zones())
    assert not {"posix/Europe/Berlin", "Etc/GMT+1", "GMT", "../x"} & set(zones())
    chosen = Preferences(Theme.DARK, Language.GERMAN, "Europe/Berlin")
    assert Preferences.of(chosen.cookie()) == chosen
    assert Preferences.of("zone=../../etc/passwd&language=xx") == Preferences()
    assert chosen.viewer("en", "UTC") == BERLIN
    assert Preferences().viewer("de", "Asia/Tokyo") == Viewer(Language.GERMAN, "Asia/Tokyo")
    assert Preferences().viewer("", "UTC") == Viewer()

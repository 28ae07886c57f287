"""What a browser keeps of its user's choices: read as it was written, and whatever else a cookie says is not said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward.console.preferences import Preferences, Theme


@pytest.mark.parametrize("theme", list(Theme))
def test_what_was_kept_is_read_again(theme: Theme) -> None:
    assert Preferences.of(Preferences(theme).cookie()) == Preferences(theme)


@pytest.mark.parametrize(
    "cookie", ["", "theme", "theme=", "theme=blue", "theme=dark;x", "dark", "theme=%00", "theme=dark" + "&x=y" * 60]
)
def test_a_cookie_that_says_nothing_offered_says_nothing(cookie: str) -> None:
    assert Preferences.of(cookie) == Preferences()


@given(st.text(max_size=300))
def test_any_cookie_is_read_as_a_choice_that_is_offered(cookie: str) -> None:
    assert Preferences.of(cookie).theme in set(Theme)

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward_crypto.errors import ProviderLocked
from twinward_crypto.providers._breather import FIRST_PAUSE_S, LONGEST_PAUSE_S, Breather


class Hand:
    """A clock turned by hand."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def is_asked(breather: Breather) -> bool:
    try:
        breather.require_rested()
    except ProviderLocked:
        return False
    return True


@given(st.lists(st.booleans(), max_size=30))
def test_it_is_left_alone_longer_each_time_and_never_for_ever(answers: list[bool]) -> None:
    now, expected_s = Hand(), 0.0
    breather = Breather("the service", now)
    for answered in answers:
        assert is_asked(breather)
        if answered:
            breather.answered()
            expected_s = 0.0
            continue
        breather.failed()
        expected_s = min(max(2 * expected_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        now.at += expected_s - 0.01
        assert not is_asked(breather)
        now.at += 0.02


def test_an_answer_ends_the_pause_for_all() -> None:
    breather = Breather("the service", Hand())
    breather.failed()
    with pytest.raises(ProviderLocked, match=r"the service did not answer just now; it is asked again in 1 s"):
        breather.require_rested()
    breather.answered()
    breather.require_rested()

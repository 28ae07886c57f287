"""What waits is bounded."""

from __future__ import annotations

import pytest

from twinward.live.errors import IntakeBusy
from twinward.live.intake.turns import Turns


def test_one_more_than_may_be_is_told_to_come_again_and_a_place_is_given_back() -> None:
    turns = Turns(2, 0, "messages")
    with turns.one(), turns.one(), pytest.raises(IntakeBusy), turns.one():
        pass
    with turns.one(), pytest.raises(KeyError), turns.one():
        raise KeyError
    with turns.one(), turns.one():
        pass

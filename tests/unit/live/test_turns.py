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


def test_one_account_leaves_places_to_others() -> None:
    turns = Turns(4, 0, "messages", 2)
    with turns.one("a"), turns.one("a"):
        with pytest.raises(IntakeBusy), turns.one("a"):
            pass
        with turns.one("b"), turns.one("b"), pytest.raises(IntakeBusy), turns.one("c"):
            pass
    with turns.one("a"), turns.one("a"), turns.one("b"):
        pass

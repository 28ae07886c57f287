"""Looking again: what a condition was true of may be another version by the time that it is written."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from twinward.twins.errors import VersionMismatch

T = TypeVar("T")
_MOST_LOOKS = 3
"""How often a condition is looked at that is true of something else each time it is to be written."""


class Moved(VersionMismatch):
    """What was looked at is another version by now: it has to be looked at again."""


def moved() -> Moved:
    """Made in one place, so that every door says it alike."""
    return Moved("somebody else wrote first", hint="read it again and repeat the change")


def look_again(look: Callable[[], T]) -> T:
    """What a look and its write come to, looked at again where somebody else wrote in between. Raises ``Moved``."""
    for _ in range(_MOST_LOOKS - 1):
        with suppress(Moved):
            return look()
    return look()

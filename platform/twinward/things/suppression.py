"""Counts of patients for who may not see patients: small numbers are not told, others are rounded.

The rule of England's Hospital Episode Statistics (NHS Digital, HES Analysis Guide, "Disclosure control"): 1 to 7 is
``*``, all above to the nearest 5, zero is zero. Where there are seven places or fewer, zero is ``*``, too: of one bed
anything else would say that somebody lies in it. What is told of a whole is made of what is told of its parts, and of
the hidden ones taken together: no difference of the two is a hidden number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

SMALL: Final = 7
_STEP: Final = 5
HIDDEN: Final = "*"

Count = int | str
"""Exact or rounded; or ``HIDDEN``."""


def suppressed(count: int, places: int) -> Count:
    """A count of patients in so many places as it may be told to anybody."""
    if places <= SMALL or 0 < count <= SMALL:
        return HIDDEN
    return (count + _STEP // 2) // _STEP * _STEP


def together(parts: Iterable[tuple[int, int]]) -> Count:
    """The count of a whole, from those of its parts and their places.

    Hidden parts are added up and told rounded, where they cannot all be at their least, nor all at their most: each of
    them may then still be one number or another.
    """
    told, hidden, least, most = 0, 0, 0, 0
    for count, places in parts:
        shown = suppressed(count, places)
        if isinstance(shown, str):
            hidden, least, most = hidden + count, least + (places > SMALL), most + min(places, SMALL)
        else:
            told += shown
    if not most:
        return told
    rest = suppressed(hidden, most)
    return told + rest if not isinstance(rest, str) and least < rest < most else HIDDEN


def remaining(places: int, told: Count) -> Count:
    """What is free of so many places, told by nothing but what is told already."""
    return HIDDEN if isinstance(told, str) else max(0, places - told)

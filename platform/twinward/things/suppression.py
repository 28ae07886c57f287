"""Counts of patients for who may not see patients: small numbers are not told, others are rounded.

The rule of England's Hospital Episode Statistics (NHS Digital, HES Analysis Guide, "Disclosure control"): 1 to 7 is
``*``, all above to the nearest 5, zero is zero. Since nothing is exact, no hidden number comes out as a difference of
shown ones, of wards and their hospital, say.
"""

from __future__ import annotations

from typing import Final

SMALL: Final = 7
_STEP: Final = 5
HIDDEN: Final = "*"

Count = int | str
"""Exact or rounded; or ``HIDDEN``."""


def suppressed(count: int) -> Count:
    """A count of patients as it may be told to anybody."""
    if count == 0:
        return 0
    return HIDDEN if count <= SMALL else (count + _STEP // 2) // _STEP * _STEP


def remaining(places: int, told: Count) -> Count:
    """What is free of so many places, told by nothing but what is told already."""
    return HIDDEN if isinstance(told, str) else max(0, places - told)

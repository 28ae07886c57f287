"""What is found and what is told, as similarity search itself sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from twinward.core.vocabulary import TwinId

Groups: TypeAlias = frozenset[frozenset[TwinId]]
"""Disjoint sets of twins that a vendor was told and must never be able to tell apart further."""


@dataclass(frozen=True, slots=True)
class Match:
    """A twin within the threshold, as the gate sees it.

    ``squared_distance`` is in quantised units; None where the mode tells membership only (matrix).
    """

    twin: TwinId
    squared_distance: int | None


@dataclass(frozen=True, slots=True)
class Release:
    """What a vendor is given: handles that mean nothing to anyone else, and no exact distance.

    Attributes:
        handles: pseudonyms of the matches that consent lets out, different for every vendor and epoch.
        count: how many handles, None where nothing is told.
        withheld: one sentence saying what is missing and why. It depends on nobody who is not told.
        groups: what the vendor was ever told, this answer included.
    """

    handles: tuple[str, ...]
    count: int | None
    withheld: str = ""
    groups: Groups = field(default=frozenset(), repr=False)

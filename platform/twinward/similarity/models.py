"""What is found and what is told, as similarity search itself sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from twinward.core.vocabulary import TwinId
from twinward.protocol.terms import Mode

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


@dataclass(frozen=True, slots=True)
class Asked:
    """How a query was asked, and how much its answer is to say: ``tell`` is None for handles, "count" for a number."""

    mode: Mode
    tell: Literal["count"] | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """One answer of a mode that tells matches.

    Attributes:
        handles: of whom is told, in an order drawn anew for each answer.
        count: how many, None where nothing is told.
        withheld: one sentence saying what is missing and why.
        left: queries left in the epoch.
        tells: as of ``Asked.tell``: "count" has no handles.
    """

    handles: tuple[str, ...]
    count: int | None
    withheld: str
    left: int
    tells: Literal["count"] | None = None


@dataclass(frozen=True, slots=True)
class Distances:
    """One answer of vendor-key mode: encrypted distances, and each row's handle, empty where consent keeps it back."""

    bundle: bytes = field(repr=False)
    handles: tuple[str, ...]
    withheld: str
    left: int


@dataclass(frozen=True, slots=True)
class PatientRecords:
    """One patient's records of some categories, sealed to a vendor's key."""

    handle: str
    categories: tuple[str, ...]
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReleasedRecords:
    """Records that consent let out. ``withheld`` says so where somebody's are missing; ``until_s`` is their end."""

    patients: tuple[PatientRecords, ...]
    withheld: str
    left: int
    until_s: int | None = None

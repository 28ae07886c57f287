"""What similarity asks of other domains, and the policy that decides what leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from twinward.vocabulary import TwinId


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
        count: how many twins matched, None where the policy withholds it.
        withheld: one sentence saying why something is missing, empty if nothing is.
    """

    handles: tuple[str, ...]
    count: int | None
    withheld: str = ""


class ReleasePolicy(Protocol):
    """Decides what of a result may leave. Pure: same input, same output."""

    def release(self, matches: Sequence[Match], *, vendor: str, epoch: int, releasable: frozenset[TwinId]) -> Release:
        """Turn matches into what the vendor gets. ``releasable`` are the twins whose consent lets a handle out."""
        ...


class QueryBudget(Protocol):
    """A vendor's query allowance per epoch, kept on the ledger so that no node can forget a spend."""

    def spend(self, vendor: str, epoch: int, amount: int = 1) -> int:
        """Spend before scoring; return what is left. Raises ``BudgetExhausted`` (a ``Refused``), spending nothing."""
        ...

    def remaining(self, vendor: str, epoch: int) -> int:
        """What is left."""
        ...


class FeatureSource(Protocol):
    """Where a cohort's vectors come from: each read goes through its own permit."""

    def consenting(self) -> Sequence[tuple[TwinId, Sequence[int]]]:
        """The quantised vectors of every twin whose consent allows similarity search now."""
        ...

"""What of a result may leave. Pure; every refusal says why in one sentence a vendor may read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from twinward.similarity.interfaces import Match, Release
from twinward.vocabulary import TwinId

Handles = Callable[[str, TwinId], str]
"""(vendor, twin) -> handle, under the epoch's secret."""


@dataclass(frozen=True, slots=True)
class MinimumCount:
    """Implements ``ReleasePolicy``: nothing about fewer than ``minimum`` patients, handles by consent only.

    * Fewer than ``minimum`` matches, none included: no handle, no count. None and one look alike.
    * Otherwise the count, and the handles of those whose consent lets them out, if these are ``minimum`` or more.
    * Handles are sorted, so their order tells no distance. No distance is ever released.

    What stays open: two queries whose balls differ by one patient tell that patient's handle apart (differencing).
    The budget bounds how often that can be tried.
    """

    minimum: int
    handles: Handles = field(repr=False)

    def release(self, matches: Sequence[Match], *, vendor: str, epoch: int, releasable: frozenset[TwinId]) -> Release:
        """Turn matches into what the vendor gets."""
        if len(matches) < self.minimum:
            return Release(
                (), None, f"fewer than {self.minimum} patients match in epoch {epoch}; the count is withheld"
            )
        allowed = sorted(self.handles(vendor, match.twin) for match in matches if match.twin in releasable)
        if len(allowed) < self.minimum:
            return Release((), len(matches), f"fewer than {self.minimum} of the matching patients let a handle out")
        if len(allowed) < len(matches):
            return Release(tuple(allowed), len(matches), "some matching patients let no handle out")
        return Release(tuple(allowed), len(matches))

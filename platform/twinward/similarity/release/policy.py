"""What of a result may leave. Pure; every refusal says why in one sentence a vendor may read.

**Groups.** The patients a vendor was ever told of fall into groups of ``minimum`` or more, and no answer ever splits a
group below that: whatever a vendor asks, each patient shares its whole history of answers with at least
``minimum - 1`` others. So two queries whose balls differ by one patient (differencing), or many balls that meet in
one (trackers, trilateration by thresholds), tell nobody apart. The price is rounding: from the second query on, an
answer holds whole groups. A first answer is exact, and the same question gets the same answer.

**Over epochs** groups stay. Who comes to a ball between two epochs is new alone, and told only with ``minimum - 1``
others who are new as well; who leaves its ball stays in its group's answers; of who leaves the cohort a vendor sees
that a group is smaller, or, below ``minimum``, told no more. Groups count only who is in the cohort (``present``);
the others keep their place (``with_absent``).

Nothing a vendor reads, sentences and counts included, depends on anybody who is not told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from twinward.core.vocabulary import TwinId
from twinward.similarity.models import Groups, Match, Release

Handles = Callable[[str, TwinId], str]
"""(vendor, twin) -> handle, under the epoch's secret."""


@dataclass(frozen=True, slots=True)
class MinimumCount:
    """Implements ``ReleasePolicy``: never fewer than ``minimum`` patients, never fewer told apart, by consent only.

    * Fewer than ``minimum`` matches, none included: no handle, no count. None and one look alike.
    * A group of earlier answers is told if at least half of it matches, unless both halves have ``minimum`` or more:
      then it is split for good.
    * Matches never told before are a new group, if ``minimum`` or more of them let a handle out.
    * Of a group those are told whose consent lets a handle out now, if they are ``minimum`` or more.
    * Handles are sorted: a function of the set alone, so that a policy stays pure. ``ReleaseService`` shuffles them for
      each answer. No distance is ever released.
    """

    minimum: int
    handles: Handles = field(repr=False)

    def candidates(self, matches: Sequence[Match], told: Groups = frozenset()) -> frozenset[TwinId]:
        """Whose consent is to be asked: everybody who would be told."""
        return frozenset[TwinId]().union(*self._pieces(matches, told))

    def release(
        self,
        matches: Sequence[Match],
        *,
        vendor: str,
        epoch: int,
        releasable: frozenset[TwinId],
        told: Groups = frozenset(),
    ) -> Release:
        """Turn matches into what the vendor gets, and the groups that later answers must keep."""
        known = frozenset[TwinId]().union(*told)
        groups, out = set(told), set[TwinId]()
        for piece in self._pieces(matches, told):
            allowed = piece & releasable
            if len(allowed) < self.minimum:
                continue
            out |= allowed
            if piece <= known:
                groups = {part for group in groups for part in (group & piece, group - piece) if part}
            else:
                groups.add(allowed)
        if not out:
            sentence = f"nothing is told about fewer than {self.minimum} patients; this holds until epoch {epoch} ends"
            return Release((), None, sentence, told)
        sentence = (
            "patients whose consent lets no handle out are left out"
            f"; fewer than {self.minimum} are never told apart, so later answers hold whole groups, in every epoch"
        )
        return Release(tuple(sorted(self.handles(vendor, twin) for twin in out)), len(out), sentence, frozenset(groups))

    def _pieces(self, matches: Sequence[Match], told: Groups) -> list[frozenset[TwinId]]:
        """The groups, or parts of them, and the new group that this answer consists of."""
        matched = frozenset(match.twin for match in matches)
        if len(matched) < self.minimum:
            return []
        pieces = [self._rounded(matched & group, group) for group in told]
        fresh = matched.difference(*told)
        if len(fresh) >= self.minimum:
            pieces.append(fresh)
        return [piece for piece in pieces if len(piece) >= self.minimum]

    def _rounded(self, inside: frozenset[TwinId], group: frozenset[TwinId]) -> frozenset[TwinId]:
        if min(len(inside), len(group) - len(inside)) >= self.minimum:
            return inside
        return group if 2 * len(inside) >= len(group) else frozenset()


def present(groups: Groups, cohort: frozenset[TwinId]) -> Groups:
    """Of each group who is in the cohort."""
    return frozenset(group & cohort for group in groups) - {frozenset()}


def with_absent(before: Groups, after: Groups, cohort: frozenset[TwinId]) -> Groups:
    """The groups after an answer about ``present(before, cohort)``, with who is absent in a part of its own group."""
    parts = set(after)
    for group in before:
        absent = group - cohort
        if absent:
            home = min((part for part in parts if part & group), key=sorted, default=frozenset[TwinId]())
            parts = (parts - {home}) | {home | absent}
    return frozenset(parts)

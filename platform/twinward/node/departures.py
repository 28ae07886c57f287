"""Who has to leave a running cohort: patients who withdrew, and those of whom something was erased, in any process.

Nothing is pushed from process to process. Whoever answers looks before each answer whether anything was decided since
it looked last: the consents' own moment, and the number of the newest erasure in the keyring. Together they cost 0.2 ms
where nothing happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from twinward.access.consent import ConsentStore
from twinward.access.interfaces import NODE, AccessControl, AccessRequest
from twinward.core.vocabulary import Action, Category, Purpose, TwinId
from twinward.vault.keys.keyring import Keyring

INDEX_FOLDER = "encrypted-indexes"
"""In a home: what of a cohort is kept between starts, encrypted."""


def forget_indexes(home: Path) -> None:
    """Delete them: somebody in them has to go."""
    from twinward.similarity.scoring.placement import forget_kept

    forget_kept(home / INDEX_FOLDER)


@dataclass(frozen=True, slots=True)
class Moment:
    """What was decided so far: the newest erasure's number, and the consents' moment."""

    erasures: int
    consents: tuple[object, ...]


class Departures:
    """Looks at what every process on this home has decided.

    Args:
        consents: what patients allow.
        keyring: whose erasures count.
        access: says whether a twin may be in a cohort.
    """

    def __init__(self, consents: ConsentStore, keyring: Keyring, access: AccessControl) -> None:
        self._consents, self._keyring, self._access = consents, keyring, access

    def now(self) -> Moment:
        """This moment. Raises ``Unavailable`` where it cannot be known: then nothing may be told."""
        erasures = self._keyring.newest_erasure()
        return Moment(erasures, self._consents.moment())

    def erased(self, since: Moment) -> frozenset[TwinId]:
        """Twins of which something was erased since: features go with every category they may come from."""
        return self._keyring.erased_since(since.erasures)

    def of(self, twins: Sequence[TwinId], since: Moment) -> frozenset[TwinId]:
        """Who of a cohort's twins may not be in it any more. A look: nothing is logged."""
        refused = {twin for twin in twins if not self.may_stay(twin)}
        return self.erased(since).intersection(twins) | refused

    def may_stay(self, twin: TwinId) -> bool:
        """Whether policy and consent would let a twin into a cohort now."""
        request = AccessRequest(NODE, Action.COHORT, Purpose.SIMILARITY, twin, frozenset({Category.FEATURES}))
        return self._access.may(request)

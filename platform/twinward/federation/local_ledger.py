"""A ledger in memory, for a study over a researcher's own open data: it binds as the consortium's does, and dies with
the process. No hospital's patients are behind it, so no budget of theirs is spent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from twinward.core.errors import Conflict, NotFound
from twinward.federation.models import COHORT, ReservedPrivacy
from twinward_contracts.names import name_id


@dataclass
class LocalLedger:
    """``PrivacyBudget``, ``Reservations`` and ``ModelRegistry`` of one process."""

    _reserved: list[ReservedPrivacy] = field(default_factory=list)
    _settled: set[int] = field(default_factory=set)
    _registered: set[int] = field(default_factory=set)

    def reserve(self, fingerprint: bytes, hospitals: Sequence[str], inverse_variance_micros: int) -> int:
        """A reservation's number. Raises ``Conflict``: this protocol was run before."""
        if self.of_study(fingerprint) is not None:
            raise Conflict("this protocol was run before", hint="a new run is a new study, with its own study_id")
        names = frozenset(name_id(name) for name in hospitals)
        number = len(self._reserved) + 1
        self._reserved.append(
            ReservedPrivacy(number, fingerprint, name_id(COHORT), names, inverse_variance_micros, live=True)
        )
        return number

    def of_study(self, fingerprint: bytes) -> ReservedPrivacy | None:
        """The reservation made for a protocol."""
        for one in self._reserved:
            if one.study == fingerprint:
                live = one.number not in self._settled
                return ReservedPrivacy(one.number, one.study, one.cohort, one.hospitals, one.micros, live)
        return None

    def commit(self, reservation: int) -> None:
        """Settle it. Raises ``NotFound``, ``Conflict``."""
        if not 1 <= reservation <= len(self._reserved):
            raise NotFound(f"there is no reservation {reservation}")
        if reservation in self._settled:
            raise Conflict(f"reservation {reservation} is settled")
        self._settled.add(reservation)

    burn = commit

    def register(
        self,
        reservation: int,
        model_hash: bytes,  # noqa: ARG002
        card_hash: bytes,  # noqa: ARG002
        epsilon_micros: int,  # noqa: ARG002
        delta_e12: int,  # noqa: ARG002
    ) -> int:
        """Count the model. Raises ``Conflict``: not settled, or registered before."""
        if reservation not in self._settled or reservation in self._registered:
            raise Conflict(f"reservation {reservation} pays for no model, or for one that is registered")
        self._registered.add(reservation)
        return len(self._registered)

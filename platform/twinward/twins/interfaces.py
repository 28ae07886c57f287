"""What twins ask of storage beyond the vault, what a bulk import asks of twins, and what they tell meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from twinward.access.interfaces import AccessContext
from twinward.core.turns import Turn
from twinward.core.vocabulary import TwinId
from twinward.features.schema import FeatureSchema
from twinward.twins.models import PatientImport, Receipt
from twinward.twins.read.search import RecordSearch


class TwinList(Protocol):
    """Who can list the twins that are kept (opaque ids: nothing is opened). Every ``RecordStore`` can."""

    def twins(self, start: str = "", most: int | None = None) -> Sequence[TwinId]:
        """The twins that have a row, by id: from ``start`` on, so many at most, or all."""
        ...


class SingleImport(Protocol):
    """What a bulk import leaves to ``Twins``: what changed goes the way of every update."""

    schema: FeatureSchema
    writing: Turn

    @property
    def search(self) -> RecordSearch:
        """Logs what a write was answered."""
        ...

    def ingest(self, context: AccessContext, source: PatientImport) -> Receipt:
        """Take one import in, all or nothing."""
        ...


Progress = Callable[[Receipt], None]
"""Called after each import that landed."""

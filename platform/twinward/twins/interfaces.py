"""What twins ask of storage beyond the vault, and what they tell while a long import runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from twinward.core.vocabulary import TwinId
from twinward.twins.models import Receipt


class TwinList(Protocol):
    """Who can list the twins that are kept (opaque ids: nothing is opened). Every ``RecordStore`` can."""

    def twins(self) -> Sequence[TwinId]:
        """Every twin that has a row."""
        ...


Progress = Callable[[Receipt], None]
"""Called after each import that landed."""

"""What twins ask of the vault beyond ``RecordVault``, and what they tell while a long import runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from twinward.twins.models import Receipt
from twinward.vault.interfaces import RecordVault
from twinward.vocabulary import TwinId


class TwinVault(RecordVault, Protocol):
    """A vault that can list the twins it holds (opaque ids: nothing is opened)."""

    def twins(self) -> Sequence[TwinId]:
        """Every twin that has a record."""
        ...


Progress = Callable[[Receipt], None]
"""Called after each import that landed."""

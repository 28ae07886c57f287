"""What each vendor was told in the running epoch: the groups that the release policy must keep.

Kept outside the process (sealed by the composition root) and written before an answer leaves, so that a restart does
not let a vendor begin anew. Format: JSON, ``{"epoch": 1, "told": {"<vendor>": [["<twin>", ...], ...]}}``.
"""

from __future__ import annotations

import threading
from typing import Protocol

import msgspec

from twinward.similarity.errors import SecretsUnreadable
from twinward.similarity.interfaces import Groups
from twinward.vocabulary import TwinId


class Drawer(Protocol):
    """Where the book is kept: sealed, durable on return, readable by this node only."""

    def load(self) -> bytes | None:
        """What was kept last, None for nothing."""
        ...

    def save(self, content: bytes) -> None:
        """Replace it, whole or not at all. Raises ``Unavailable`` if it cannot: then nothing is answered."""
        ...


class _Content(msgspec.Struct, forbid_unknown_fields=True):
    epoch: int
    told: dict[str, list[list[TwinId]]]


class Book:
    """One epoch's groups, by vendor.

    Args:
        epoch: which epoch; what is kept of another one is over and ignored.
        drawer: where it is kept; None keeps it in memory only.

    Raises:
        SecretsUnreadable: what is kept does not parse: fail closed.
    """

    def __init__(self, epoch: int, drawer: Drawer | None = None) -> None:
        self._epoch, self._drawer = epoch, drawer
        self.lock = threading.RLock()
        """Held from reading a vendor's groups to writing them back."""
        self._told: dict[str, Groups] = {}
        kept = drawer.load() if drawer is not None else None
        if kept is not None:
            content = _parse(kept)
            if content.epoch == epoch:
                self._told = {
                    vendor: frozenset(frozenset(group) for group in groups) for vendor, groups in content.told.items()
                }

    def told(self, vendor: str) -> Groups:
        """What this vendor was told."""
        return self._told.get(vendor, frozenset())

    def write(self, vendor: str, groups: Groups) -> None:
        """Keep a vendor's groups, durably; before the answer leaves."""
        if groups == self.told(vendor):
            return
        after = self._told | {vendor: groups}
        if self._drawer is not None:
            told = {name: [[*sorted(group)] for group in each] for name, each in after.items()}
            self._drawer.save(msgspec.json.encode(_Content(self._epoch, told)))
        self._told = after


def _parse(kept: bytes) -> _Content:
    try:
        return msgspec.json.decode(kept, type=_Content)
    except (msgspec.DecodeError, RecursionError) as error:
        raise SecretsUnreadable("what vendors were told in this epoch cannot be read: nothing more is told") from error

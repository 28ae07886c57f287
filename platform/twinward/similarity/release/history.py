"""What each vendor was ever told: the groups that the release policy must keep, and the running epoch's handles.

Kept outside the process (sealed by the composition root) and written before an answer leaves, so that neither a restart
nor a new epoch lets a vendor begin anew: handles change with the epoch, patients stay, and two epochs' answers that
differ by who came or left would name them. A handle that was not told in the running epoch opens nothing. Format: JSON,
``{"epoch": 1, "told": {"<vendor>": [["<twin>", ...], ...]}, "handed": {"<vendor>": ["<twin>", ...]}, "closed":
{"<vendor>": ["<twin>", ...]}}`` with the epoch it was last written in, which ``handed`` is about.

Where a history was lost, nobody knows its groups any more, and any new grouping of whoever was told could split an old
one below the minimum. So a history that is begun anew *closes* them: a vendor is told nothing more about whom it may
have been told of before. The others were in no answer, so they are grouped as ever.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Protocol

import msgspec

from twinward.core.vocabulary import TwinId
from twinward.similarity.errors import SecretsUnreadable
from twinward.similarity.models import Groups


class HistoryStore(Protocol):
    """Where the history is kept: sealed, durable on return, readable by this node only."""

    def load(self) -> bytes | None:
        """What was kept last, None for nothing."""
        ...

    def save(self, content: bytes) -> None:
        """Replace it, whole or not at all. Raises ``Unavailable`` if it cannot: then nothing is answered."""
        ...


class _Content(msgspec.Struct, forbid_unknown_fields=True):
    epoch: int
    told: dict[str, list[list[TwinId]]]
    handed: dict[str, list[TwinId]] = {}
    closed: dict[str, list[TwinId]] = {}


class ReleaseHistory:
    """Groups by vendor, over all epochs, and the handles that each was told in the running one.

    Args:
        epoch: the running one.
        store: where it is kept; None keeps it in memory only.

    Raises:
        SecretsUnreadable: what is kept does not parse: fail closed.
    """

    def __init__(self, epoch: int, store: HistoryStore | None = None) -> None:
        self.epoch, self._store = epoch, store
        self.lock = threading.RLock()
        """Held from reading a vendor's groups to writing them back."""
        self._told: dict[str, Groups] = {}
        self._handed: dict[str, frozenset[TwinId]] = {}
        self._closed: dict[str, frozenset[TwinId]] = {}
        kept = store.load() if store is not None else None
        if kept is not None:
            content = _parse(kept)
            self._told = {
                vendor: frozenset(frozenset(group) for group in groups) for vendor, groups in content.told.items()
            }
            self._closed = {vendor: frozenset(twins) for vendor, twins in content.closed.items()}
            if content.epoch == epoch:
                self._handed = {vendor: frozenset(twins) for vendor, twins in content.handed.items()}

    def told(self, vendor: str) -> Groups:
        """The groups that this vendor was told."""
        return self._told.get(vendor, frozenset())

    def closed(self, vendor: str) -> frozenset[TwinId]:
        """About whom answers with groups tell this vendor nothing any more: a lost history may have known them."""
        return self._closed.get(vendor, frozenset())

    def handed(self, vendor: str) -> frozenset[TwinId]:
        """Everybody whose handle of this epoch the vendor was told."""
        return self._handed.get(vendor, frozenset())

    def write(self, vendor: str, groups: Groups, handed: frozenset[TwinId] = frozenset()) -> None:
        """Keep a vendor's groups, and whose handles it is told, durably; before the answer leaves."""
        with self.lock:
            handles = self.handed(vendor) | handed
            if groups == self.told(vendor) and handles == self.handed(vendor):
                return
            told, all_handles = self._told | {vendor: groups}, self._handed | {vendor: handles}
            if self._store is not None:
                self._store.save(
                    msgspec.json.encode(
                        _Content(
                            self.epoch,
                            {name: [[*sorted(group)] for group in each] for name, each in told.items()},
                            {name: sorted(twins) for name, twins in all_handles.items()},
                            {name: sorted(twins) for name, twins in self._closed.items()},
                        )
                    )
                )
            self._told, self._handed = told, all_handles


def begun_anew(closed: Mapping[str, frozenset[TwinId]]) -> bytes:
    """The content of a history in place of a lost one: by vendor, about whom nothing more is told."""
    return msgspec.json.encode(_Content(0, {}, {}, {name: sorted(twins) for name, twins in closed.items()}))


def _parse(kept: bytes) -> _Content:
    try:
        return msgspec.json.decode(kept, type=_Content)
    except (msgspec.DecodeError, RecursionError) as error:
        raise SecretsUnreadable("what vendors were told cannot be read: nothing more is told") from error

"""The keys of one log. A log may change its key: its name, its entries and its history go on.

Keys stand in the order in which the log took them up. While it changes over, it may sign with the old key and the new
one (c2sp.org/signed-note allows several under one name). Whoever has seen it sign with one key believes none before it
any more: otherwise a key that was replaced, perhaps because it was stolen, could still speak for the log.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from twinward_crypto.errors import InvalidSignature
from twinward_ledger.errors import MalformedCheckpoint
from twinward_ledger.formats.checkpoint import Checkpoint, open_checkpoint
from twinward_ledger.formats.note import Note, VerifierKey


@dataclass(frozen=True, slots=True)
class LogKeys:
    """One log's keys.

    Attributes:
        keys: oldest first, all under the log's name; at least one.
        retired: those of them that sign no more. What they signed once is still known to be the log's.
    """

    keys: tuple[VerifierKey, ...]
    retired: frozenset[VerifierKey] = frozenset()

    @classmethod
    def by_origin(cls, keys: Iterable[VerifierKey], retired: Iterable[VerifierKey] = ()) -> dict[str, Self]:
        """The keys of several logs, by the logs' names; each log's in the order given, the retired ones first."""
        gone = tuple(retired)
        found: dict[str, dict[VerifierKey, None]] = {}
        for key in (*gone, *keys):
            found.setdefault(key.name, {})[key] = None
        return {name: cls(tuple(own), frozenset(gone) & own.keys()) for name, own in found.items()}

    @property
    def origin(self) -> str:
        """The log's name."""
        return self.keys[-1].name

    def open(self, data: bytes) -> tuple[Checkpoint, Note, VerifierKey]:
        """Read a checkpoint that the log signed, with the newest of its keys that did; every one that did is checked.

        Raises:
            MalformedCheckpoint: it does not parse, or is another log's.
            InvalidSignature: none of its keys signed it, or one's signature does not verify.
        """
        present = {(line.name, line.key_id) for line in Note.parse(data).signatures}
        signed = [key for key in self.keys if (key.name, key.key_id) in present]
        for key in signed or self.keys[-1:]:
            checkpoint, note = open_checkpoint(data, key)
        return checkpoint, note, key

    def replaced(self, key: VerifierKey, seen: bytes | None) -> bool:
        """Whether a key is one that the log signs with no more: retired, or older than the key of what was ``seen``."""
        if key in self.retired:
            return True
        if seen is None:
            return False
        try:
            newest = self.open(seen)[2]
        except (InvalidSignature, MalformedCheckpoint):  # by a key that is not listed any more, so of a past one
            return False
        return self.keys.index(key) < self.keys.index(newest)

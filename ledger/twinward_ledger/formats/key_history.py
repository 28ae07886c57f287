"""The keys with which one log has signed, and which of them counts for which size.

A log may change its key: its name, its entries and its history go on. The first checkpoint under the new key bears both
signatures over one tree head, which is what ties the new key to the old one. From that size on the new key counts, and
up to it the old one: whoever holds a key that was replaced, perhaps because it was stolen, can say nothing about a
larger tree.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from twinward_crypto.errors import InvalidSignature, MalformedKey
from twinward_ledger.formats.checkpoint import Checkpoint, open_checkpoint
from twinward_ledger.formats.note import Algorithm, Note, VerifierKey

MAX_EARLIER_KEYS = 256


@dataclass(frozen=True, slots=True)
class EarlierKey:
    """A key that was replaced: ``until`` is the largest size it counts for, and the first of the key after it."""

    key: VerifierKey
    until: int


@dataclass(frozen=True, slots=True)
class KeyHistory:
    """One log's keys.

    Attributes:
        newest: the key in force.
        earlier: those before it, the oldest first, all under the log's name.
    """

    newest: VerifierKey
    earlier: tuple[EarlierKey, ...] = ()

    def __post_init__(self) -> None:
        """Raises ``MalformedKey`` for keys that cannot have followed one another."""
        keys, sizes = self.keys, [0, *(one.until for one in self.earlier)]
        if len(self.earlier) > MAX_EARLIER_KEYS:
            raise MalformedKey(f"a log has replaced at most {MAX_EARLIER_KEYS} keys")
        if len({key.public_key for key in keys}) < len(keys) or len({key.name for key in keys}) > 1:
            raise MalformedKey("the keys of one log have its name, and none of them comes twice")
        if self.earlier and any(key.algorithm is not Algorithm.ED25519 for key in keys):
            raise MalformedKey("a log signs with plain Ed25519 keys")
        if any(later <= sooner for sooner, later in pairwise(sizes)):
            raise MalformedKey("each key of a log was replaced at a larger size than the one before it")

    @property
    def origin(self) -> str:
        """The log's name."""
        return self.newest.name

    @property
    def keys(self) -> tuple[VerifierKey, ...]:
        """All of them, the oldest first."""
        return (*(one.key for one in self.earlier), self.newest)

    def replaced_by(self, key: VerifierKey, at: int) -> Self:
        """This history after another key came into force. Raises ``MalformedKey``."""
        return type(self)(key, (*self.earlier, EarlierKey(self.newest, at)))

    def open(self, data: bytes) -> tuple[Checkpoint, Note]:
        """Read a checkpoint that the log signed with the key that counts for its size.

        Every key of the log that signed it is checked.

        Raises:
            MalformedCheckpoint: it does not parse, or is another log's.
            InvalidSignature: no key of the log signed it, a signature of one does not verify, or the newest that
                signed does not count for that size.
        """
        checkpoint, note, _ = self.open_by(data)
        return checkpoint, note

    def open_by(self, data: bytes) -> tuple[Checkpoint, Note, VerifierKey]:
        """As ``open``, with the newest key that signed it."""
        present = {(line.name, line.key_id) for line in Note.parse(data).signatures}
        signed = [key for key in self.keys if (key.name, key.key_id) in present]
        for key in signed or [self.newest]:
            checkpoint, note = open_checkpoint(data, key)
        self._require_counts(key, checkpoint.size)
        return checkpoint, note, key

    def sealed_by(self, note: Note) -> tuple[VerifierKey, ...]:
        """The keys that may have sealed an export with this checkpoint: the newest that signed it, and later ones."""
        present = {(line.name, line.key_id) for line in note.signatures}
        places = [place for place, key in enumerate(self.keys) if (key.name, key.key_id) in present]
        return self.keys[max(places, default=len(self.earlier)) :]

    def _require_counts(self, key: VerifierKey, size: int) -> None:
        place = self.keys.index(key)
        since = self.earlier[place - 1].until if place else 0
        if size < since:
            raise InvalidSignature(f"signed with a key that {self.origin} uses from size {since} on only")
        if place < len(self.earlier) and size > self.earlier[place].until:
            until = self.earlier[place].until
            raise InvalidSignature(f"signed with a key that {self.origin} replaced at size {until}")

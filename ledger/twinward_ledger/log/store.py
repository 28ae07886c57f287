"""What a store of the log must do. Backends stand in ``stores/``; all pass ``testing/store_conformance.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from twinward_ledger.errors import LogCorrupt, MalformedLeaf, NoSuchEntry
from twinward_ledger.log.tiles import TileId

MAX_LEAF_BYTES = 65_535
"""What an entry bundle of c2sp.org/tlog-tiles can hold."""

MAX_BODY_BYTES = 1 << 20
TAG_BYTES = 16
MAX_TAGS = 64
_DAMAGED = b"\x00"
"""Neither a leaf nor a body: no version begins so."""
_PICKED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log as it is stored.

    Attributes:
        leaf: the leaf's exact bytes; hashed into the tree, never changed.
        body: the sealed event; opaque here, erasable without touching the tree.
        tags: blind-index tags (16 bytes each) under which the entry is found again.
    """

    leaf: bytes
    body: bytes
    tags: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A log's key was replaced.

    Attributes:
        number: 1 for the first change.
        size: from which the new key counts.
        key: the new one, as it is written.
        note: the checkpoint of that size, signed with the key before and with the new one.
    """

    number: int
    size: int
    key: str
    note: bytes


def check_entry(entry: Entry) -> None:
    """Raise ``MalformedLeaf`` unless every store could hold the entry. Stores call it before they touch anything."""
    if not 0 < len(entry.leaf) <= MAX_LEAF_BYTES:
        raise MalformedLeaf(f"a leaf is 1 to {MAX_LEAF_BYTES} bytes, not {len(entry.leaf)}")
    if len(entry.body) > MAX_BODY_BYTES:
        raise MalformedLeaf(f"an event body is at most {MAX_BODY_BYTES} bytes, not {len(entry.body)}")
    if len(entry.tags) > MAX_TAGS or not {TAG_BYTES}.issuperset(map(len, entry.tags)):
        raise MalformedLeaf(f"an entry has at most {MAX_TAGS} tags of {TAG_BYTES} bytes each")


def entries_of(rows: Iterable[tuple[int, bytes, bytes | None, bytes | None]], start: int, stop: int) -> list[Entry]:
    """Rows (index, leaf, body, joined tags) as the entries of ``start <= index < stop``; ``LogCorrupt`` for a gap."""
    found = [(index, _entry(leaf, body, tags)) for index, leaf, body, tags in rows]
    for expected, index in zip(range(start, stop), [index for index, _ in found] + [-1], strict=False):
        if index != expected:
            raise LogCorrupt(f"leaf {expected} is missing", first_bad_index=expected)
    return [entry for _, entry in found]


def picked_of(
    rows: Callable[[Sequence[int]], Iterable[tuple[int, bytes, bytes | None, bytes | None]]],
    indices: Sequence[int],
    size: int,
) -> list[Entry]:
    """``LogStore.picked`` out of what reads rows (index, leaf, body, joined tags) of some indices, rising."""
    outside = next((index for index in indices if not 0 <= index < size), None)
    if outside is not None:
        raise NoSuchEntry(f"there is no entry {outside}: the log holds {size}")
    entries = []
    for start in range(0, len(indices), _PICKED_AT_ONCE):
        wanted = indices[start : start + _PICKED_AT_ONCE]
        found = {index: _entry(leaf, body, tags) for index, leaf, body, tags in rows(wanted)}
        missing = next((index for index in wanted if index not in found), None)
        if missing is not None:
            raise LogCorrupt(f"leaf {missing} is missing", first_bad_index=missing)
        entries += [found[index] for index in wanted]
    return entries


def _entry(leaf: bytes, body: bytes | None, tags: bytes | None) -> Entry:
    return Entry(_bytes(leaf), _bytes(body), _split(_bytes(tags)))


def _bytes(held: bytes | None) -> bytes:
    """What a row holds. SQLite keeps a number or a text, too, where somebody wrote one: that is damaged."""
    return b"" if held is None else held if isinstance(held, bytes) else _DAMAGED


def _split(tags: bytes) -> tuple[bytes, ...]:
    return tuple(tags[start : start + TAG_BYTES] for start in range(0, len(tags), TAG_BYTES))


class LogStore(Protocol):
    """Durable, append-only storage of entries, tree nodes and the latest signed checkpoint.

    ``append`` returns only once the entries would survive a power cut. Whatever goes wrong inside a backend
    comes out as ``LogUnavailable``; an index outside the log is ``NoSuchEntry``; a row that must be there and is not,
    ``LogCorrupt``. Safe to share between threads.
    """

    def append(self, entries: Sequence[Entry]) -> range:
        """Append all entries in one durable step, all or none; return their indices.

        Raises ``MalformedLeaf`` for an entry beyond the bounds of ``check_entry``.
        """
        ...

    def size(self) -> int:
        """How many entries the log holds."""
        ...

    def root(self) -> bytes:
        """The RFC 6962 root over all leaves (32 bytes)."""
        ...

    def node(self, level: int, index: int) -> bytes:
        """The hash of the complete subtree of ``2**level`` leaves that starts at leaf ``index * 2**level``."""
        ...

    def tile(self, tile: TileId) -> bytes:
        """A tile's hashes (``tiles``), as far as there are any; what of it stands never changes."""
        ...

    def leaves(self, start: int, stop: int) -> Iterator[bytes]:
        """The exact leaf bytes of ``start <= index < stop``, as far as there are any."""
        ...

    def entry(self, index: int) -> Entry:
        """One entry; its body is empty where it was erased."""
        ...

    def entries(self, start: int, stop: int) -> list[Entry]:
        """The entries of ``start <= index < stop``, as far as there are any, in one look: for hundreds at a time.

        Raises ``LogCorrupt`` at a row below the log's size that is missing.
        """
        ...

    def picked(self, indices: Sequence[int]) -> list[Entry]:
        """The entries at some indices, in their order, in few looks: for thousands at a time.

        Raises ``NoSuchEntry``, ``LogCorrupt``.
        """
        ...

    def find(self, tag: bytes, *, before: int | None = None, limit: int = 100) -> list[int]:
        """Indices that carry a tag, newest first, below ``before``."""
        ...

    def erase_body(self, index: int) -> None:
        """Delete one entry's body for good. The leaf, and so every proof, stands."""
        ...

    def save_checkpoint(self, size: int, note: bytes, *, key_changes: int | None = None) -> None:
        """Keep a signed checkpoint; one of the same size replaces it (it gained cosignatures).

        Args:
            size: its size.
            note: it.
            key_changes: how many changes of the key the signer knows; None does not ask.

        Raises:
            Rollback: for a smaller size than the newest one's, or a larger one than the log's.
            KeyReplaced: the log's key was changed more often than the signer knows. Nothing was kept.
        """
        ...

    def change_key(self, change: KeyChange) -> None:
        """Keep a change of the log's key together with its checkpoint, in one durable step, or neither.

        Raises:
            Rollback: as ``save_checkpoint``.
            KeyReplaced: this is not the change after the newest one kept.
        """
        ...

    def key_changes(self) -> list[KeyChange]:
        """Every change of the log's key, the oldest first."""
        ...

    def checkpoint(self) -> bytes | None:
        """The newest signed checkpoint, whole."""
        ...

    def checkpoints(self) -> list[tuple[int, bytes]]:
        """Every size a checkpoint was kept for, with its note, oldest first."""
        ...

    def close(self) -> None:
        """Give back every file and connection."""
        ...

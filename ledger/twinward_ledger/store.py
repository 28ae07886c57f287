"""What a store of the log must do. Backends stand in ``stores/``; all pass ``testing/store_conformance.py``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol


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


class LogStore(Protocol):
    """Durable, append-only storage of entries, tree nodes and the latest signed checkpoint.

    ``append`` returns only once the entries would survive a power cut. Whatever goes wrong inside a backend
    comes out as ``LogUnavailable``.
    """

    def append(self, entries: Sequence[Entry]) -> range:
        """Append all entries in one durable step; return their indices."""
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

    def leaves(self, start: int, stop: int) -> Iterator[bytes]:
        """The exact leaf bytes of ``start <= index < stop``."""
        ...

    def entry(self, index: int) -> Entry:
        """One entry; its body is empty where it was erased."""
        ...

    def find(self, tag: bytes, *, before: int | None = None, limit: int = 100) -> list[int]:
        """Indices that carry a tag, newest first, below ``before``."""
        ...

    def erase_body(self, index: int) -> None:
        """Delete one entry's body for good. The leaf, and so every proof, stands."""
        ...

    def save_checkpoint(self, size: int, note: bytes) -> None:
        """Keep a signed checkpoint. Saving a smaller size than the newest one is refused."""
        ...

    def checkpoint(self) -> bytes | None:
        """The newest signed checkpoint, whole."""
        ...

    def close(self) -> None:
        """Give back every file and connection."""
        ...

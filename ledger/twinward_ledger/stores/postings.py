"""Which entries carry which tag, packed: one row for all that a transaction adds under a tag. Pure: no storage.

A row holds the smallest index and, for it and each further one, the distance from it as a 32-bit big-endian number.
Entries come in groups and tags repeat in them (a role, an action), so a batch of a thousand events makes a hundred rows
instead of five thousand, and finding still reads newest first.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from sys import byteorder

from twinward_ledger.errors import LogCorrupt
from twinward_ledger.log.store import Entry

MAX_INDICES = 1024
"""In one row, so that reading the newest few under a common tag reads little."""

_ALONE = bytes(4)

Posting = tuple[bytes, int, bytes]
"""Tag, first index, packed distances."""


def of_entries(entries: Iterable[tuple[int, Entry]]) -> list[Posting]:
    """The rows for entries with their indices, ascending; a tag that is repeated in an entry counts once."""
    found: dict[bytes, list[int]] = {}
    for index, entry in entries:
        for tag in entry.tags if len(set(entry.tags)) == len(entry.tags) else set(entry.tags):
            if tag in found:
                found[tag].append(index)
            else:
                found[tag] = [index]
    return [row for tag in sorted(found) for row in of_tag(tag, found[tag])]


def of_tag(tag: bytes, indices: Sequence[int]) -> Iterator[Posting]:
    """The rows of one tag's ascending indices."""
    start = 0
    while start < len(indices):
        first, stop = indices[start], start + MAX_INDICES
        part = [index - first for index in indices[start:stop]]
        yield tag, first, _packed(part)
        start = stop


def unpack(first: int, distances: bytes) -> list[int]:
    """A row's indices, ascending. Raises ``LogCorrupt`` for what ``of_tag`` did not write."""
    if distances == _ALONE:
        return [first]
    if not isinstance(distances, bytes) or not distances or len(distances) % len(_ALONE):
        raise LogCorrupt("the index of tags has a row that no log writes", first_bad_index=None)
    numbers = array("I", distances)
    if byteorder == "little":
        numbers.byteswap()
    return [first + distance for distance in numbers]


def _packed(distances: Sequence[int]) -> bytes:
    numbers = array("I", distances)
    if byteorder == "little":
        numbers.byteswap()
    return numbers.tobytes()

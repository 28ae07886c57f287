"""A log as static files (c2sp.org/tlog-tiles): what anybody may fetch, the same over HTTP and in a folder.

==================================  ==============================================================================
``checkpoint``                      the newest checkpoint that is published (see ``LogFiles``)
``tile/<L>/<N>[.p/<W>]``            tile N of tile level L, whole (256 hashes) or its first W hashes
``tile/entries/<N>[.p/<W>]``        the leaves under level-0 tile N, each after its length as u16
==================================  ==============================================================================

``<N>`` is written in groups of three digits, all but the last with an ``x`` before it: 1234067 is ``x001/x234/067``.
Only what the published checkpoint covers is there; everything but ``checkpoint`` never changes once it is. A leaf says
what kind of thing happened in which minute, and nothing about anybody (``leaf``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from twinward_crypto.errors import InvalidSignature
from twinward_ledger.errors import LogCorrupt, MalformedCheckpoint, NoSuchEntry, QuorumNotReached
from twinward_ledger.formats.checkpoint import Checkpoint
from twinward_ledger.formats.policy import QuorumPolicy
from twinward_ledger.log.log import Log
from twinward_ledger.log.tiles import TILE_HEIGHT, TILE_WIDTH

CHECKPOINT = "checkpoint"
TEXT = "text/plain; charset=utf-8"
BINARY = "application/octet-stream"
MAX_LEVEL = 63

_PATH = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)/(?P<index>(?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class LogFile:
    """One file. ``immutable`` ones are whole and never change; partial tiles are superseded, the checkpoint changes."""

    path: str
    content: bytes
    media_type: str
    immutable: bool


@dataclass(frozen=True, slots=True)
class Tile:
    """Which tile. ``level`` None is an entry bundle; ``width`` 1 to 256."""

    level: int | None
    index: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """Its path under the log's prefix."""
        level = "entries" if self.level is None else str(self.level)
        partial = f".p/{self.width}" if self.width < TILE_WIDTH else ""
        return f"tile/{level}/{_index_path(self.index)}{partial}"

    @classmethod
    def parse(cls, path: str) -> Tile:
        """Read a path, which must be in its one canonical spelling. Raises ``NoSuchEntry`` for any other."""
        found = _PATH.fullmatch(path)
        if not found:
            raise NoSuchEntry("no such file of a log")
        level = None if found["level"] == "entries" else int(found["level"])
        tile = cls(level, int(found["index"].replace("/", "").replace("x", "")), int(found["width"] or TILE_WIDTH))
        if (level or 0) > MAX_LEVEL or tile.path != path:
            raise NoSuchEntry("no such file of a log")
        return tile

    def within(self, size: int) -> bool:
        """Whether a tree of ``size`` leaves has this tile at this width."""
        complete = size >> (TILE_HEIGHT * (self.level or 0))  # complete subtrees of this level
        return self.index * TILE_WIDTH + self.width <= complete


class LogFiles:
    """The files of one log.

    What is published is the newest checkpoint that a quorum of the policy has cosigned: nobody is shown a tree that the
    witnesses might yet refuse.
    """

    def __init__(self, log: Log, policy: QuorumPolicy) -> None:
        self._log = log
        self._policy = policy
        self._published: tuple[Checkpoint, bytes] | None = None

    def checkpoint(self) -> tuple[Checkpoint, bytes]:
        """The published checkpoint and its note.

        Raises:
            NoSuchEntry: no checkpoint has its quorum yet.
            LogCorrupt: what the store holds is not a checkpoint this log signed.
        """
        newest = self._log.store.checkpoint()
        if newest is not None and (self._published is None or newest != self._published[1]):
            opened = self._opened(newest)
            if opened is None and self._published is None:
                notes = (note for _, note in reversed(self._log.store.checkpoints()))
                opened = next(filter(None, map(self._opened, notes)), None)
            self._published = opened or self._published
        if self._published is None:
            raise NoSuchEntry("no checkpoint is cosigned by a quorum yet")
        return self._published

    def read(self, path: str) -> LogFile:
        """One file by its path under the log's prefix. Raises ``NoSuchEntry`` for whatever is not there."""
        checkpoint, note = self.checkpoint()
        if path == CHECKPOINT:
            return LogFile(path, note, TEXT, immutable=False)
        tile = Tile.parse(path)
        if not tile.within(checkpoint.size):
            raise NoSuchEntry("no such file of a log")
        return self._file(tile)

    def all(self) -> Iterator[LogFile]:
        """Every file of the published checkpoint, the checkpoint itself last: whoever copies them never lacks one."""
        checkpoint, note = self.checkpoint()
        for tile in tiles_of(checkpoint.size):
            yield self._file(tile)
        yield LogFile(CHECKPOINT, note, TEXT, immutable=False)

    def _file(self, tile: Tile) -> LogFile:
        content = self._entries(tile) if tile.level is None else self._hashes(tile.level, tile)
        return LogFile(tile.path, content, BINARY, immutable=tile.width == TILE_WIDTH)

    def _hashes(self, level: int, tile: Tile) -> bytes:
        first = tile.index * TILE_WIDTH
        return b"".join(self._log.store.node(TILE_HEIGHT * level, first + place) for place in range(tile.width))

    def _entries(self, tile: Tile) -> bytes:
        first = tile.index * TILE_WIDTH
        leaves = list(self._log.store.leaves(first, first + tile.width))
        if len(leaves) != tile.width:
            raise LogCorrupt("leaves below the published size are missing", first_bad_index=first + len(leaves))
        return b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in leaves)

    def _opened(self, data: bytes) -> tuple[Checkpoint, bytes] | None:
        """A kept note, if a quorum cosigned it."""
        try:
            checkpoint, note = self._log.open(data)
            self._policy.require(note)
        except QuorumNotReached:
            return None
        except (InvalidSignature, MalformedCheckpoint) as error:
            raise LogCorrupt(f"the checkpoint kept is not this log's: {error}", first_bad_index=None) from error
        return checkpoint, data


def tiles_of(size: int) -> Iterator[Tile]:
    """The tiles and entry bundles of a tree of ``size`` leaves, level by level, the partial one of each last."""
    for level in (None, *range(MAX_LEVEL + 1)):
        complete = size >> (TILE_HEIGHT * (level or 0))
        if not complete:
            return
        whole, rest = divmod(complete, TILE_WIDTH)
        yield from (Tile(level, index) for index in range(whole))
        if rest:
            yield Tile(level, whole, rest)


def _index_path(index: int) -> str:
    digits = str(index)
    digits = digits.rjust(-(-len(digits) // 3) * 3, "0")
    groups = [digits[start : start + 3] for start in range(0, len(digits), 3)]
    return "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])

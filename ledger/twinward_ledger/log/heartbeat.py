"""Heartbeats: a log promises to be heard from, so that silence shows.

A heartbeat is a leaf of its own kind whose 32 bytes hide nothing: ``"twinward/heartbeat/1"`` zero-padded to 28 bytes,
then u32 seconds: *from now on there will be an entry at least this often*. It stands until the next heartbeat says
otherwise; 0 takes the promise back. Anybody with the leaves (they are served as files, ``tlog_tiles``) can hold the
log to it: a stretch without entries that is longer than promised is a gap, in which the node was off, or entries are
missing that should be there.

Leaves tell whole minutes, so a gap is seen when it exceeds the promise by more than a minute.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from twinward_ledger.errors import MalformedLeaf
from twinward_ledger.formats.leaf import MINUTE_MS, Leaf, LeafKind
from twinward_ledger.log.store import Entry

LABEL = b"twinward/heartbeat/1".ljust(28, b"\0")
MAX_INTERVAL_S = 2**32 - 1
_SLACK_S = 60
CLOCK_SLACK_MS = 5 * MINUTE_MS
"""How far times may go back without a word: several processes write, and clocks are set right by seconds."""
_AHEAD_MS = 24 * 60 * MINUTE_MS
"""A clock set back by more was far ahead: what it said until then would hide every silence until it comes."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch in which a log broke its promise.

    Attributes:
        after: index of the last entry before it.
        from_ms, to_ms: the minutes of the entries around it; ``to_ms`` is now where it has not ended.
        promised_s: how often there should have been an entry.
        ended: whether an entry came after it.
    """

    after: int
    from_ms: int
    to_ms: int
    promised_s: int
    ended: bool


@dataclass(frozen=True, slots=True)
class ClockStep:
    """A place where a log's times go back.

    Attributes:
        after: index of the last entry before it.
        from_ms, to_ms: that entry's minute, and the next one's; ``to_ms`` is now where none came yet.
        ended: whether an entry came after it.
    """

    after: int
    from_ms: int
    to_ms: int
    ended: bool


def heartbeat(at_ms: int, interval_s: int) -> Entry:
    """A heartbeat as an entry. Raises ``MalformedLeaf`` for an interval that has no encoding."""
    if not 0 <= interval_s <= MAX_INTERVAL_S:
        raise MalformedLeaf(f"a heartbeat promises 0 to {MAX_INTERVAL_S} seconds")
    return Entry(Leaf.at(at_ms, LeafKind.HEARTBEAT, LABEL + interval_s.to_bytes(4, "big")).encode(), b"")


def promise(leaf: Leaf) -> int | None:
    """What a heartbeat promises, in seconds; None for a leaf that is none.

    Raises:
        MalformedLeaf: it is of a heartbeat's kind and says nothing that is known.
    """
    if leaf.kind is not LeafKind.HEARTBEAT:
        return None
    if not leaf.commitment.startswith(LABEL):
        raise MalformedLeaf("a heartbeat of an unknown kind")
    return int.from_bytes(leaf.commitment[len(LABEL) :], "big")


def find_gaps(leaves: Iterable[bytes], *, now_ms: int | None = None) -> Iterator[Gap]:
    """Every stretch that is longer than was promised at its beginning.

    Args:
        leaves: all leaves of the log, in order.
        now_ms: when they were read; None does not ask whether the log is silent now.

    Raises:
        MalformedLeaf: a leaf does not parse.
    """
    promised, last_ms, index = 0, 0, -1
    for index, data in enumerate(leaves):
        leaf = Leaf.decode(data)
        at_ms = leaf.minute * MINUTE_MS
        if index and _broken(promised, last_ms, at_ms):
            yield Gap(index - 1, last_ms, at_ms, promised, ended=True)
        said = promise(leaf)
        promised = promised if said is None else said
        last_ms = at_ms if at_ms < last_ms - _AHEAD_MS else max(last_ms, at_ms)  # several writers, or a clock set back
    if index >= 0 and now_ms is not None and _broken(promised, last_ms, now_ms):
        yield Gap(index, last_ms, now_ms, promised, ended=False)


def find_clock_steps(leaves: Iterable[bytes], *, now_ms: int | None = None) -> Iterator[ClockStep]:
    """Every place where the log's times go back: its clock was ahead until there, or was set back wrongly.

    Args:
        leaves: all leaves of the log, in order.
        now_ms: when they were read; also names a newest entry that is dated later.

    Raises:
        MalformedLeaf: a leaf does not parse.
    """
    last_ms, index = 0, -1
    for index, data in enumerate(leaves):
        at_ms = Leaf.decode(data).minute * MINUTE_MS
        if at_ms < last_ms - CLOCK_SLACK_MS:
            yield ClockStep(index - 1, last_ms, at_ms, ended=True)
            last_ms = at_ms
        last_ms = max(last_ms, at_ms)
    if index >= 0 and now_ms is not None and now_ms < last_ms - CLOCK_SLACK_MS:
        yield ClockStep(index, last_ms, now_ms, ended=False)


def _broken(promised_s: int, from_ms: int, to_ms: int) -> bool:
    return promised_s > 0 and to_ms - from_ms > (promised_s + _SLACK_S) * 1000

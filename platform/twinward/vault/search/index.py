"""Finding a twin's records by the search index, which is filled as it is searched and never trusted to be whole.

What is kept beside the records is a cache. Each search reads one state of storage: which heads no block has, which
others there are, which segments have no block. It opens the blocks and

1. takes what no block has (new records, new versions, segments of an import) as uncovered: it is opened and described;
2. holds the heads that are said to be covered, each with its version, against the records that the blocks are of,
   those left out that are uncovered. If they differ, by a row that was cut out, altered, put back or changed in its
   mark, no block of heads of this category counts: all of its heads are opened, and the index is made anew.

So a match may cost more to find, and is not missed. A block is bound to its id, twin, category and edition and opens
nowhere else; a segment's names the segment, and what a block says is always held against the record it leads to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import merge
from itertools import dropwhile, pairwise
from typing import TypeVar

import numpy as np

from twinward.core.clock import Clock
from twinward.core.ids import uuid7
from twinward.core.vocabulary import RecordId
from twinward.vault.errors import RecordDamaged
from twinward.vault.interfaces import Describing, Record, RecordStore
from twinward.vault.keys.twin_keys import TwinKeys
from twinward.vault.models import Covering, IndexState, Member, SealedBlock, StoredVersion
from twinward.vault.records.sealer import Opening
from twinward.vault.search.block import MOST, Block, BlockSealer, Entry
from twinward.vault.search.facets import Rank, Wanted
from twinward_crypto.keys import TenantId

LEAST = 32
"""Uncovered heads of a category that are worth a block; fewer are opened by each search."""

OPENED = 512
"""Records opened at once to be described."""

Opener = Callable[[], Opening]
"""Makes an ``Opening`` of the twin: each forgets what it opened when it is let go."""
_Some = TypeVar("_Some")
Head = tuple[RecordId, int]


@dataclass(slots=True)
class _Part:
    """The index of one category.

    Attributes:
        tag: the category's.
        heads: blocks of records with heads, by id.
        segments: blocks of segments, by the segments' ids.
        tail: heads that no block has.
        bare: segments without a block.
        anew: the blocks of heads did not hold.
        fresh: what was described just now, in blocks that are not stored yet.
    """

    tag: bytes
    heads: dict[str, Block] = field(default_factory=dict)
    segments: dict[str, Block] = field(default_factory=dict)
    tail: Sequence[Head] = ()
    bare: Sequence[str] = ()
    anew: bool = False
    fresh: list[Entry] = field(default_factory=list)

    def blocks(self) -> Iterator[Block]:
        """All of them."""
        yield from self.heads.values()
        yield from self.segments.values()
        yield from map(Block.of, _chunks(self.fresh, MOST))


class SearchIndex:
    """One tenant's search index.

    Args:
        store, clock, tenant: the vault's.
        describing: says what records are searched by.
    """

    def __init__(self, store: RecordStore, clock: Clock, tenant: TenantId, describing: Describing) -> None:
        self._store = store
        self._clock = clock
        self._describing = describing
        self._sealer = BlockSealer(tenant, describing.edition)

    def find(
        self,
        wanted: Wanted,
        keys: TwinKeys,
        tags: Sequence[bytes],
        opener: Opener,
        after: Record | RecordId | None = None,
    ) -> Iterator[Rank]:
        """The ranks of the records of these categories that may match, in order: those after a version's or, without
        an order, after a record id.

        Raises:
            RecordDamaged: a record that no block has does not open in its place.
        """
        state = self._store.index_state(keys.twin, tags)
        parts = [self._part(tag, state, keys) for tag in tags]
        for part in parts:
            self._describe(part, opener)
            self._keep(part, keys)
        blocks = [block for part in parts for block in part.blocks()]
        newest = _newest(blocks)
        walks = []
        for block in blocks:
            chosen = block.matches(wanted)
            if newest:
                versions = zip(block.ids, block.versions, strict=True)
                chosen &= np.array([newest.get(record_id, version) <= version for record_id, version in versions])
            walks.append(block.ranks(wanted, chosen))
        if after is None:
            return _each_once(merge(*walks), "")
        last = self._rank(wanted, after) if isinstance(after, Record) else (0, 0, 0, after)
        return dropwhile(last.__ge__, _each_once(merge(*walks), last[-1]))

    def _rank(self, wanted: Wanted, record: Record) -> Rank:
        """Where an opened version stands in the order asked for."""
        name = None if wanted.order is None else wanted.order[0]
        moments = self._describing.facets(record).moments
        return wanted.rank(str(record.record_id), [(begin, end) for of, begin, end in moments if of == name])

    def _part(self, tag: bytes, state: IndexState, keys: TwinKeys) -> _Part:
        part, category = _Part(tag), keys.category_of(tag)
        names = {segment_id for segment_id, of_tag in state.segments if of_tag == tag}
        for sealed in state.blocks:
            if sealed.category_tag == tag:
                with suppress(RecordDamaged):  # of an earlier edition, or altered: it is as if it were not there
                    block = self._sealer.open(sealed, category, keys)
                    (part.segments if sealed.block_id in names else part.heads)[sealed.block_id] = block
        part.bare = sorted(names - part.segments.keys())
        part.tail = [(record_id, version) for record_id, version, of_tag in state.uncovered if of_tag == tag]
        if _held(part) != state.covered.get(tag, ""):
            part.anew, part.heads = True, {}
            part.tail = self._store.heads_of(keys.twin, tag)
        return part

    def _describe(self, part: _Part, opener: Opener) -> None:
        """Open and describe what no block has."""
        for some in _chunks(part.tail, OPENED):
            places = self._store.newest([record_id for record_id, _ in some])
            part.fresh += self._entries(places, opener())
        for segment_id in part.bare:
            for segment in self._store.segments([segment_id]):
                members = (Member(segment, at, *segment.place(at)) for at in range(segment.size))
                part.segments[segment_id] = Block.of(list(self._entries(members, opener())))

    def _entries(self, places: Iterable[StoredVersion], opening: Opening) -> Iterator[Entry]:
        for place in places:
            yield place.record_id, place.version, self._describing.facets(opening.record(place))

    def _keep(self, part: _Part, keys: TwinKeys) -> None:
        """Store what was described, where it is worth it. What cannot be stored now is described again next time."""
        category, at_ms = keys.category_of(part.tag), self._clock.now_ms()

        def sealed(name: str, block: Block) -> SealedBlock:
            return self._sealer.seal(name, block, category, keys)

        bare = [name for name in part.bare if name in part.segments]
        made = [sealed(name, part.segments[name]) for name in bare]
        if not part.anew and len(part.tail) < LEAST:
            if made:
                self._store.cover(Covering(keys.twin, part.tag, made, segments=bare))
            return
        bare_heads = {record_id for record_id, _ in part.tail}
        taken = [name for name, one in part.heads.items() if len(one.ids) < MOST or not bare_heads.isdisjoint(one.ids)]
        left = [entry for name in taken for entry in part.heads[name].entries() if entry[0] not in bare_heads]
        entries = sorted([*left, *part.fresh], key=lambda entry: entry[0])
        made += [sealed(uuid7(at_ms), Block.of(some)) for some in _chunks(entries, MOST)]
        heads = [(RecordId(record_id), version) for record_id, version, _ in part.fresh]
        self._store.cover(Covering(keys.twin, part.tag, made, heads, bare, taken, part.anew))


def _held(part: _Part) -> str:
    """The records that blocks of heads have and that are not uncovered, each with its version, as ``IndexState`` says
    those of heads. Nothing is summed up: of two heads that were altered, one could make up for the other.
    """
    bare = {record_id for record_id, _ in part.tail}
    blocks = sorted(part.heads.values(), key=lambda block: block.ids[0])
    if all(one.ids[-1] < another.ids[0] for one, another in pairwise(blocks)):
        return "".join(block.heads(bare) for block in blocks)
    said = (
        f"{record_id} {version} "
        for block in blocks
        for record_id, version in zip(block.ids, block.versions, strict=True)
        if record_id not in bare
    )
    return "".join(sorted(said))


def _newest(blocks: Sequence[Block]) -> Mapping[str, int]:
    """The newest versions of records that have more than one."""
    found: dict[str, int] = {}
    for block in blocks:
        if max(block.versions) > 1:
            for record_id, version in zip(block.ids, block.versions, strict=True):
                found[record_id] = max(version, found.get(record_id, 0))
    return found


def _each_once(ranks: Iterable[Rank], left_out: str) -> Iterator[Rank]:
    """The first rank of each record but one."""
    told = {left_out}
    for rank in ranks:
        if rank[-1] not in told:
            told.add(rank[-1])
            yield rank


def _chunks(some: Sequence[_Some], most: int) -> Iterator[Sequence[_Some]]:
    return (some[start : start + most] for start in range(0, len(some), most))

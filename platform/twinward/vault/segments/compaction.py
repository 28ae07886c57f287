"""Compaction: versions that stand in rows of their own move into sealed segments, a tenth of the size.

Each step reads, seals anew, and swaps in one transaction that checks that what it read is still so: whoever writes in
between wins, and the step is left for the next run. Interrupted at any point, by ``kill -9`` as well, every version
is in a row or in a segment, never in both and never in neither; running again goes on. Nothing leaves the vault: no
permit is asked for, and none of what is opened on the way is handed out.

What stays in rows: records larger than ``LARGEST_BYTES`` (an attachment gains nothing); records that changed category
(erasing one of the categories must be able to take all versions); groups too small to be worth a segment.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from twinward.core.clock import Clock
from twinward.core.errors import NotFound
from twinward.core.vocabulary import TwinId
from twinward.vault.interfaces import RecordStore
from twinward.vault.keys.keyring import Keyring
from twinward.vault.keys.twin_keys import TwinKeys
from twinward.vault.models import MAX_MEMBERS, Compaction, Member, SealedRow, SealedSegment
from twinward.vault.records.sealer import Sealer, hash_of
from twinward.vault.segments.sealer import SegmentSealer, Version
from twinward_crypto.keys import TenantId

LEAST = 16
"""Versions in rows that make a segment worth its own overhead."""

SMALL = 64
"""Segments of fewer members are merged with what comes later."""

LARGEST_BYTES = 1024 * 1024
SEGMENT_BYTES = 4 * 1024 * 1024
"""Contents after which a segment is closed, however few members it has."""

_VERSIONS_AT_ONCE = 2_000
"""Rows that one transaction swaps, about: a step holds up writers for some tens of milliseconds."""

Progress = Callable[[int, int], None]
"""Called with (twins looked at, twins in all)."""


@dataclass(frozen=True, slots=True)
class CompactionReport:
    """What a run did, or with ``dry_run`` would do.

    Attributes:
        twins: how many it changed.
        rows: versions moved out of rows.
        merged: small segments that were replaced.
        segments: segments made; -1 where a dry run cannot know.
        bytes_before, bytes_after: of the envelopes concerned.
        busy: twins left for the next run, since somebody wrote to them meanwhile.
    """

    twins: int = 0
    rows: int = 0
    merged: int = 0
    segments: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    busy: int = 0


@dataclass(slots=True)
class _Group:
    """What of one twin and category goes into segments together."""

    rows: list[SealedRow] = field(default_factory=list)
    segments: list[SealedSegment] = field(default_factory=list)

    @property
    def is_worth_it(self) -> bool:
        members = sum(segment.size for segment in self.segments)
        several = len(self.segments) + bool(self.rows) > 1
        return len(self.rows) >= LEAST or (several and len(self.rows) + members >= SMALL)


class Compactor:
    """Compacts one tenant's records. Safe beside writers and readers in any process.

    Args:
        store, keyring, clock, tenant: the vault's.
    """

    def __init__(self, store: RecordStore, keyring: Keyring, clock: Clock, tenant: TenantId) -> None:
        self._store = store
        self._keyring = keyring
        self._clock = clock
        self._rows = Sealer(tenant, keyring.tag)
        self._segments = SegmentSealer(tenant, self._rows.reference_tag, self._rows.fingerprint_of)

    def run(
        self,
        twins: Iterable[TwinId] | None = None,
        *,
        dry_run: bool = False,
        tidy: bool = True,
        progress: Progress | None = None,
    ) -> CompactionReport:
        """Compact these twins' records, or everybody's.

        Args:
            twins: whose; None is everybody.
            dry_run: count only.
            tidy: give the room back to the disk afterwards, which rewrites a SQLite file; else it is used again.
            progress: told how far it is.

        Raises:
            RecordDamaged: a version does not open in its place; what was done before stays done.
            VaultUnavailable: as above.
        """
        wanted = self._store.twins() if twins is None else list(dict.fromkeys(twins))  # named twice is planned once
        report = CompactionReport(segments=-1 if dry_run else 0)
        steps: list[Compaction] = []
        for done, twin in enumerate(wanted, start=1):
            step = self._step(twin, seal=not dry_run)
            if step is not None:
                steps.append(step)
            if dry_run:
                report, steps = _added(report, steps, sealed=False), []
            elif done == len(wanted) or sum(len(one.rows) for one in steps) >= _VERSIONS_AT_ONCE:
                report, steps = self._swap(report, steps), []
            if progress is not None:
                progress(done, len(wanted))
        if tidy and not dry_run:
            self._store.forget_deleted()
        return report

    def _swap(self, report: CompactionReport, steps: list[Compaction]) -> CompactionReport:
        if steps and self._store.compact(_joined(steps)):
            return _added(report, steps)
        for step in steps:  # somebody wrote to one of these twins: the others need not wait
            done = self._store.compact(step)
            report = _added(report, [step]) if done else replace(report, busy=report.busy + 1)
        return report

    def _step(self, twin: TwinId, *, seal: bool) -> Compaction | None:
        try:
            return self._planned(twin, self._keyring.keys(twin), seal=seal)
        except NotFound:
            return None  # shredded, all or in part: what is left of it is about to be purged

    def _planned(self, twin: TwinId, keys: TwinKeys, *, seal: bool) -> Compaction | None:
        rows, segments, heads = self._store.compactable(twin)
        groups = [group for group in _groups(rows, segments) if group.is_worth_it]
        if not groups:
            return None
        made = [segment for group in groups for segment in self._sealed(group, heads, keys)] if seal else []
        taken = [row for group in groups for row in group.rows]
        return Compaction(taken, [segment for group in groups for segment in group.segments], made)

    def _sealed(self, group: _Group, heads: dict[str, int], keys: TwinKeys) -> Iterator[SealedSegment]:
        versions = [self._from_row(row, heads, keys) for row in group.rows]
        versions += [one for segment in group.segments for one in self._from_segment(segment, heads, keys)]
        versions.sort(key=lambda one: (str(one.record.record_id), one.record.version))
        for chunk in _chunks(versions):
            yield self._segments.seal_versions(chunk, keys, at_ms=self._clock.now_ms())

    def _from_row(self, row: SealedRow, heads: dict[str, int], keys: TwinKeys) -> Version:
        record = self._rows.open(row, keys)
        newest = heads.get(row.record_id) == row.version
        return Version(record, row.previous_hash, hash_of(row), newest, row.fingerprint or b"")

    def _from_segment(self, segment: SealedSegment, heads: dict[str, int], keys: TwinKeys) -> Iterator[Version]:
        for position, opened in enumerate(self._segments.open(segment, keys)):
            member = Member(segment, position, *segment.place(position))
            record = self._segments.record_of(member, opened, keys)
            newest = heads.get(member.record_id, member.version) == member.version
            yield Version(record, opened.previous_hash, opened.hash, newest, member.fingerprint)


def _groups(rows: Sequence[SealedRow], segments: Sequence[SealedSegment]) -> list[_Group]:
    """Rows and small segments by category, without records that must stay in rows."""
    categories: dict[str, set[bytes]] = defaultdict(set)
    large: set[str] = set()
    for row in rows:
        categories[row.record_id].add(row.category_tag)
        if len(row.sealed) > LARGEST_BYTES:
            large.add(row.record_id)
    for segment in segments:
        for position in range(segment.size):
            record_id = segment.place(position)[0]
            if record_id in categories:
                categories[record_id].add(segment.category_tag)
    groups: dict[bytes, _Group] = defaultdict(_Group)
    for row in rows:
        if len(categories[row.record_id]) == 1 and row.record_id not in large:
            groups[row.category_tag].rows.append(row)
    for segment in segments:
        if segment.size < SMALL:
            groups[segment.category_tag].segments.append(segment)
    return list(groups.values())


def _chunks(versions: Sequence[Version]) -> Iterator[Sequence[Version]]:
    start, size = 0, 0
    for index, version in enumerate(versions):
        length = len(version.record.content)
        if index > start and (index - start == MAX_MEMBERS or size + length > SEGMENT_BYTES):
            yield versions[start:index]
            start, size = index, 0
        size += length
    yield versions[start:]


def _joined(steps: Sequence[Compaction]) -> Compaction:
    return Compaction(
        [row for step in steps for row in step.rows],
        [segment for step in steps for segment in step.segments],
        [segment for step in steps for segment in step.made],
    )


def _added(report: CompactionReport, steps: Sequence[Compaction], *, sealed: bool = True) -> CompactionReport:
    joined = _joined(steps)
    before = sum(len(row.sealed) for row in joined.rows) + sum(len(one.sealed) for one in joined.segments)
    return replace(
        report,
        twins=report.twins + len(steps),
        rows=report.rows + len(joined.rows),
        merged=report.merged + len(joined.segments),
        segments=report.segments + len(joined.made) if sealed else report.segments,
        bytes_before=report.bytes_before + before,
        bytes_after=report.bytes_after + sum(len(one.sealed) for one in joined.made),
    )

"""Opening what stands in one twin's places: rows, and members of segments."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from twinward.core.vocabulary import Category
from twinward.vault.errors import RecordDamaged
from twinward.vault.interfaces import Member, Place, Record, SealedRow
from twinward.vault.keys.twin_keys import TwinKeys
from twinward.vault.records.sealer import Sealer, hash_of
from twinward.vault.segments.payload import OpenMember
from twinward.vault.segments.sealer import SegmentSealer
from twinward_crypto.errors import OpenError


class Opening:
    """Opens places of one twin, each segment once. It holds plaintext: it lives as long as one call of the vault."""

    def __init__(self, rows: Sealer, segments: SegmentSealer, keys: TwinKeys) -> None:
        self.keys = keys
        self._rows = rows
        self._segments = segments
        self._opened: dict[str, list[OpenMember]] = {}

    def record(self, place: Place) -> Record:
        """The record that stands there. Raises ``RecordDamaged``."""
        if isinstance(place, SealedRow):
            return self._rows.open(place, self.keys)
        return self._segments.record_of(place, self._member(place), self.keys)

    def hash_of(self, place: Place) -> bytes:
        """What the next version is chained to."""
        if isinstance(place, SealedRow):
            return hash_of(place)
        return self._segments.hash_of(place, self._member(place), self.keys)

    def type_of(self, place: Place) -> str:
        """The record's type. Raises ``RecordDamaged``."""
        if isinstance(place, Member):
            return self._member(place).record_type
        try:
            return self.keys.type_of(place.type_tag)
        except OpenError:
            raise RecordDamaged(f"record {place.record_id} carries a type tag that is not its twin's") from None

    def require_chain(self, places: Sequence[Place], may_open: Collection[Category]) -> None:
        """Raise ``RecordDamaged`` unless these are all versions of a record, each chained to the one before.

        A link to or from a version inside a segment is held against what the segment seals. It is left out where that
        segment's category is none of ``may_open``: nothing is opened that the permit does not cover.
        """
        expected: bytes | None = b""
        for version, place in enumerate(places, start=1):
            opens = isinstance(place, SealedRow) or self.keys.category_of(place.category_tag) in may_open
            previous = None if not opens else self._previous_of(place)
            broken = None not in (previous, expected) and previous != expected
            if place.version != version or broken:
                raise RecordDamaged(f"the history of record {place.record_id} is broken at version {version}")
            expected = self.hash_of(place) if opens and version < len(places) else None

    def _previous_of(self, place: Place) -> bytes:
        return place.previous_hash if isinstance(place, SealedRow) else self._member(place).previous_hash

    def _member(self, place: Member) -> OpenMember:
        segment = place.segment
        opened = self._opened.get(segment.segment_id)
        if opened is None:
            opened = self._opened[segment.segment_id] = self._segments.open(segment, self.keys)
        return opened[place.position]


def type_tags(place: Place) -> tuple[bytes, ...]:
    """The tags of the types that may stand there. Opens nothing."""
    return (place.type_tag,) if isinstance(place, SealedRow) else place.segment.type_tags

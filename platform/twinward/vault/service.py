"""The vault: records sealed at rest, opened only against a permit.

Order of checks on every walk: the permit (genuine, fresh, its action, its twin), then the row's twin, then the permit
again for the row's category, and only then the envelope. A record of another twin than the permit's is "not found",
so that a permit is no oracle for what else exists. What is kept where, ``Locator`` finds: that wants no permit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

from twinward.access.interfaces import Permit, PermitVerifier
from twinward.core.clock import Clock
from twinward.core.vocabulary import RECORD_CATEGORIES, Action, Category, RecordId, TwinId
from twinward.vault.errors import (
    MalformedRecord,
    PermitDoesNotOpen,
    RecordDamaged,
    RecordLarge,
    TwinNotFound,
    VaultUnavailable,
    no_record,
    not_released,
)
from twinward.vault.interfaces import Describing, Draft, Record, RecordStore, Release
from twinward.vault.keys.keyring import Keyring
from twinward.vault.keys.twin_keys import TwinKeys
from twinward.vault.locator import Locator
from twinward.vault.models import StoredVersion
from twinward.vault.records.sealer import Opening, Sealer, type_tags
from twinward.vault.records.writer import Writer
from twinward.vault.search.facets import Rank, Wanted
from twinward.vault.segments.sealer import SegmentSealer
from twinward_crypto.errors import ParameterError
from twinward_crypto.keys import TenantId

if TYPE_CHECKING:
    from twinward.vault.search.index import SearchIndex

OPENING_ACTIONS = frozenset(
    {Action.READ, Action.SEARCH, Action.EXPORT, Action.COHORT, Action.COUNT, Action.TRAIN, Action.BREAK_GLASS}
)
"""Actions whose permits open records. A permit to write does not: whoever updates a record it has to read, asks."""

_FIRST_STRETCH, _FIRST_FOUND, _LONGEST_STRETCH = 64, 32, 1024
"""Records that storage is asked for at once by who walks: a page's first, then twice as many each time."""


class Vault(Locator):
    """A ``RecordVault`` over a store and a keyring. It holds no state of its own and may be shared between threads."""

    def __init__(
        self,
        store: RecordStore,
        keyring: Keyring,
        verifier: PermitVerifier,
        clock: Clock,
        tenant: TenantId,
        release: Release | None = None,
        describing: Callable[[], Describing] | None = None,
    ) -> None:
        sealer = Sealer(tenant, keyring.tag)
        super().__init__(store, keyring, sealer)
        self._verifier = verifier
        self._release = release
        self._describing, self._clock, self._tenant = describing, clock, tenant
        self._segments = SegmentSealer(tenant, sealer.reference_tag, sealer.fingerprint_of)
        self._writer = Writer(store, keyring, verifier, clock, sealer, self._segments)

    @cached_property
    def _index(self) -> SearchIndex | None:
        """What records are searched by; None where nobody can say it."""
        if self._describing is None:
            return None
        from twinward.vault.search.index import SearchIndex  # its columns are numpy's: where somebody searches

        return SearchIndex(self._store, self._clock, self._tenant, self._describing())

    def create_twin(self, permit: Permit) -> None:
        """Make the key of the permit's twin.

        Raises:
            Refused: the permit is not one to write, or names no twin.
            TwinExists, TwinShredded: its name was used before.
            VaultUnavailable: nothing was made.
        """
        self.create_twins([permit])

    def create_twins(self, permits: Sequence[Permit]) -> None:
        """Make the keys of many permits' twins in one durable step, all or none. Raises as ``create_twin``."""
        self._keyring.create_all([self._twin_of(permit, Action.WRITE) for permit in permits])

    def expect_twins(self, twins: Sequence[TwinId]) -> None:
        """Make keys for twins about to be created, so that the events of their making can be sealed: bulk only.

        Raises:
            TwinShredded: one of these names was used before.
            VaultUnavailable: nothing was made.
        """
        self._keyring.reserve(twins)

    def fetch_keys(self, twins: Collection[TwinId]) -> None:
        """Unwrap many twins' keys together, for what follows: bulk only. Raises ``VaultUnavailable``."""
        self._keyring.fetch(twins)

    def write(self, permit: Permit, records: Sequence[Record]) -> list[Record]:
        """Seal records and store them in one durable step, all or none.

        A record without an id is new. One with an id follows its newest version, which ``version`` must name unless
        it is 0. Returned records carry id, version and time.

        Raises:
            Refused: the permit does not cover writing one of them, or the category a record would leave.
            MalformedRecord: a part beyond its bound, or another type than the record had.
            TwinNotFound, TwinShredded, RecordNotFound: nowhere to write to.
            VersionConflict: somebody else wrote first, also another record under the name of one that is ``alone``.
            VaultUnavailable: nothing was stored.
        """
        return self.write_many([(permit, records)])[0]

    def write_many(
        self,
        batch: Sequence[tuple[Permit, Sequence[Record]]],
        drafts: Sequence[tuple[Permit, Sequence[Draft]]] = (),
    ) -> list[list[Record]]:
        """``write`` for many permits, all or none in one durable step. Raises as ``write``.

        Args:
            batch: records, each sealed into a row of its own.
            drafts: new records, sealed together into segments.
        """
        return self._writer.write_many(
            [(self._twin_of(permit, Action.WRITE), permit, records) for permit, records in batch],
            [(self._twin_of(permit, Action.WRITE), permit, some) for permit, some in drafts],
        )

    def read(self, permit: Permit, record_id: RecordId, *, most_bytes: int | None = None) -> Record:
        """Open the newest version of one record of the permit's twin.

        Raises:
            RecordLarge: it is sealed in more than ``most_bytes``.
            Refused: the permit does not cover it.
            NotReleased: it tells of more, and leave for that was refused.
            RecordNotFound, TwinShredded: nothing to open.
            RecordDamaged: it does not open in its place.
        """
        twin = self._twin_of_opening(permit)
        row = self._store.latest(record_id)
        if row is None or row.twin != twin:
            raise no_record(record_id)
        if most_bytes is not None and row.sealed_bytes > most_bytes:
            raise RecordLarge("this record is larger than what is opened here")
        opening = Opening(self._sealer, self._segments, self._keys_for_opening(twin))
        opened = self._open_all(permit, [row], opening)
        if not opened:
            raise not_released()
        return opened[0]

    def read_history(
        self, permit: Permit, record_id: RecordId, *, versions: Collection[int] | None = None
    ) -> list[Record]:
        """Open every version of a record, oldest first, and check that each is chained to the one before.

        With ``versions`` only those are opened, so that the permit need not cover what the others are about. Left out
        is what tells of more than there is leave for.

        Raises:
            Refused: the permit does not cover every version.
            RecordNotFound, TwinShredded: nothing to open.
            RecordDamaged: a version is missing or does not open in its place.
        """
        twin = self._twin_of_opening(permit)
        rows = self._store.history(record_id)
        if not rows or any(row.twin != twin for row in rows):
            raise no_record(record_id)
        opening = Opening(self._sealer, self._segments, self._keys_for_opening(twin))
        opening.require_chain(rows, permit.request.categories)
        wanted = rows if versions is None else [row for row in rows if row.version in versions]
        return self._open_all(permit, wanted, opening)

    def read_twin(self, permit: Permit, *, record_type: str | None = None) -> list[Record]:
        """Open every record of the permit's twin and categories, of one type or of all, by record id.

        What the node derived is no record: it is opened by its type alone, by whoever makes features of it.

        Raises:
            Refused: the permit opens nothing.
            TwinNotFound, TwinShredded: no such twin.
            MalformedRecord: a record type that cannot be.
            RecordDamaged: a record does not open in its place.
        """
        twin = self._twin_of_opening(permit)
        keys = self._keyring.keys(twin)
        categories = permit.request.categories if record_type else permit.request.categories & RECORD_CATEGORIES
        tags = [keys.category_tag(category) for category in sorted(categories)]
        if not tags:
            return []
        rows = self._store.of_twin(twin, tags)
        if record_type is not None:
            wanted = _type_tag(keys, record_type)
            rows = (row for row in rows if wanted in type_tags(row))
        opened = self._open_all(permit, rows, Opening(self._sealer, self._segments, keys))
        return opened if record_type is None else [one for one in opened if one.record_type == record_type]

    def read_some(self, permit: Permit, record_ids: Collection[RecordId]) -> list[Record]:
        """Open those of these records that are of the permit's twin and categories, by record id; others are left out.

        Raises as ``read_twin``.
        """
        twin = self._twin_of_opening(permit)
        keys = self._keyring.keys(twin)
        tags = {keys.category_tag(category) for category in permit.request.categories}
        rows = (row for record_id in sorted(record_ids) if (row := self._store.latest(record_id)) is not None)
        wanted = [row for row in rows if row.twin == twin and row.category_tag in tags]
        return self._open_all(permit, wanted, Opening(self._sealer, self._segments, keys))

    def walk_twin(self, permit: Permit, record_type: str, after: str = "") -> Iterator[Record]:
        """Open the permit's twin's records of one type one by one, by record id: those after one.

        Storage is asked for as many as are walked, a stretch at a time, so a page costs what it shows however many
        records there are. Each stretch is one state of storage.

        Raises as ``read_twin``: what the permit and the twin say before the first record, the rest as it is walked.
        """
        twin = self._twin_of_opening(permit)
        keys = self._keyring.keys(twin)
        tags = [keys.category_tag(category) for category in sorted(permit.request.categories)]
        wanted = _type_tag(keys, record_type)
        rows = (row for row in self._stretches(twin, tags, after) if wanted in type_tags(row))
        opened = self._opened(permit, rows, Opening(self._sealer, self._segments, keys))
        return (one for one in opened if one.record_type == record_type)

    def search_twin(
        self, permit: Permit, wanted: Wanted, after: Record | RecordId | None = None
    ) -> Iterator[tuple[Rank, Record]]:
        """Open the permit's twin's records that its search index finds, with their ranks, in the order of these.

        They are a superset of the matches: whoever asks looks at each. As many are opened as are walked.

        Args:
            permit, wanted: whose, and what.
            after: a version, or (without an order) a record id: what follows it is given, and nothing of its record.

        Raises as ``walk_twin``.
        """
        twin = self._twin_of_opening(permit)
        keys = self._keyring.keys(twin)
        categories = sorted(permit.request.categories)
        for category in categories:  # blocks are opened before the first record is
            self._verifier.require(permit, action=permit.request.action, twin=twin, category=category)
        tags = [keys.category_tag(category) for category in categories]
        if self._index is None:
            raise VaultUnavailable("this vault was opened without a search index")
        if not tags:
            return iter(())
        found = self._index.find(wanted, keys, tags, lambda: Opening(self._sealer, self._segments, keys), after)
        return self._found(permit, wanted, found, Opening(self._sealer, self._segments, keys))

    def _found(
        self, permit: Permit, wanted: Wanted, found: Iterator[Rank], opening: Opening
    ) -> Iterator[tuple[Rank, Record]]:
        size = _FIRST_FOUND
        while ranks := {RecordId(rank[-1]): rank for rank in islice(found, size)}:
            places = {place.record_id: place for place in self._store.newest(ranks)}
            size = min(2 * size, _LONGEST_STRETCH)
            there = (places[record_id] for record_id in ranks if record_id in places)
            ours = (
                place
                for place in there
                if place.twin == opening.keys.twin and self._is_covered(permit, place, opening.keys)
            )
            for record in self._opened(permit, ours, opening):
                if record.record_type == wanted.record_type and record.record_id is not None:
                    yield ranks[record.record_id], record

    def _is_covered(self, permit: Permit, place: StoredVersion, keys: TwinKeys) -> bool:
        """Whether a record is of the permit's categories: it may have moved since it was found."""
        return keys.category_of(place.category_tag) in permit.request.categories

    def _stretches(self, twin: TwinId, category_tags: Sequence[bytes], after: str) -> Iterator[StoredVersion]:
        last: str | None = after if category_tags else None
        size = _FIRST_STRETCH
        while last is not None:
            stretch = self._store.stretch(twin, category_tags, last, size)
            yield from stretch.places
            last, size = stretch.last, min(2 * size, _LONGEST_STRETCH)

    def close(self) -> None:
        """Give back the databases and forget the cached keys."""
        self._store.close()
        self._keyring.close()

    def _twin_of(self, permit: Permit, action: Action) -> TwinId:
        twin = permit.request.twin
        self._verifier.require(permit, action=action, twin=twin, category=None)
        if twin is None:
            raise PermitDoesNotOpen("this permit names no twin")
        return twin

    def _twin_of_opening(self, permit: Permit) -> TwinId:
        action = permit.request.action
        if action not in OPENING_ACTIONS:
            raise PermitDoesNotOpen(f"a permit to {action.value} opens no record", hint="ask for a permit to read")
        return self._twin_of(permit, action)

    def _keys_for_opening(self, twin: TwinId) -> TwinKeys:
        try:
            return self._keyring.keys(twin)
        except TwinNotFound:
            raise RecordDamaged(f"twin {twin} has records and no key: the keyring is another's, or older") from None

    def _open_all(self, permit: Permit, rows: Iterable[StoredVersion], opening: Opening) -> list[Record]:
        return list(self._opened(permit, rows, opening))

    def _opened(self, permit: Permit, rows: Iterable[StoredVersion], opening: Opening) -> Iterator[Record]:
        """Open rows, each only after the permit was checked for its category (once per category).

        What a record tells of may be more than the category it is filed under: without leave for that it is left out.
        """
        covered: set[Category] = set()
        refused: set[Category] = set()
        for row in rows:
            category = opening.keys.category_of(row.category_tag)
            if category not in covered:
                self._verifier.require(permit, action=permit.request.action, twin=row.twin, category=category)
                covered.add(category)
            record = opening.record(row)
            if self._may_be_shown(permit, record, covered, refused):
                yield record

    def _may_be_shown(self, permit: Permit, record: Record, covered: set[Category], refused: set[Category]) -> bool:
        """Whether there is leave for all a record tells of, asking once for each category that no permit covers yet."""
        if self._release is None:
            return True
        needed = self._release.needed(record)
        covered |= needed & permit.request.categories  # the permit is genuine: its own category was checked
        missing = needed - covered - refused
        if missing and not needed & refused:
            for further in self._release.further(permit, missing):
                for category in further.request.categories & missing:
                    self._verifier.require(further, action=permit.request.action, twin=record.twin, category=category)
                    covered.add(category)
            refused |= missing - covered
        return needed <= covered


def _type_tag(keys: TwinKeys, record_type: str) -> bytes:
    try:
        return keys.type_tag(record_type)
    except ParameterError as error:
        raise MalformedRecord(f"no record has such a type: {error}") from None

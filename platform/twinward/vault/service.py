"""The vault: records sealed at rest, opened only against a permit.

Order of checks on every walk: the permit (genuine, fresh, its action, its twin), then the row's twin, then the permit
again for the row's category, and only then the envelope. A record of another twin than the permit's is "not found",
so that a permit is no oracle for what else exists. What is kept where is found by blind tags: that opens nothing, and
wants no permit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from twinward.access.interfaces import Permit, PermitVerifier
from twinward.core.clock import Clock
from twinward.core.errors import NotFound
from twinward.core.vocabulary import RECORD_CATEGORIES, Action, Category, RecordId, TwinId
from twinward.vault.errors import (
    CategoryShredded,
    MalformedRecord,
    PermitDoesNotOpen,
    RecordDamaged,
    TwinNotFound,
    no_record,
    not_released,
)
from twinward.vault.interfaces import Change, Draft, Place, Record, RecordHead, RecordStore, Release, Span
from twinward.vault.keys.keyring import Keyring
from twinward.vault.keys.twin_keys import TwinKeys
from twinward.vault.models import Found, Moment, StoredVersion
from twinward.vault.records.sealer import Opening, Sealer, type_tags
from twinward.vault.records.writer import Writer
from twinward.vault.segments.sealer import SegmentSealer
from twinward_crypto.errors import OpenError, ParameterError
from twinward_crypto.keys import TenantId

OPENING_ACTIONS = frozenset(
    {Action.READ, Action.SEARCH, Action.EXPORT, Action.COHORT, Action.TRAIN, Action.BREAK_GLASS}
)
"""Actions whose permits open records. A permit to write does not: whoever updates a record it has to read, asks."""


class Vault:
    """A ``RecordVault`` over a store and a keyring. It holds no state of its own and may be shared between threads."""

    def __init__(
        self,
        store: RecordStore,
        keyring: Keyring,
        verifier: PermitVerifier,
        clock: Clock,
        tenant: TenantId,
        release: Release | None = None,
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._verifier = verifier
        self._release = release
        self._sealer = Sealer(tenant, keyring.tag)
        self._segments = SegmentSealer(tenant, self._sealer.reference_tag, self._sealer.fingerprint_of)
        self._writer = Writer(store, keyring, verifier, clock, self._sealer, self._segments)

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

    def read(self, permit: Permit, record_id: RecordId) -> Record:
        """Open the newest version of one record of the permit's twin.

        Raises:
            Refused: the permit does not cover it.
            NotReleased: it tells of more, and leave for that was refused.
            RecordNotFound, TwinShredded: nothing to open.
            RecordDamaged: it does not open in its place.
        """
        twin = self._twin_of_opening(permit)
        row = self._store.latest(record_id)
        if row is None or row.twin != twin:
            raise no_record(record_id)
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

    def locate(self, reference: str) -> Place | None:
        """Where a reference such as ``Patient/123`` is kept: the last record by id if several carry it. Opens nothing.

        Raises as ``locate_many``.
        """
        return self.locate_many([reference]).get(reference)

    def locate_many(
        self, references: Collection[str], fingerprint: Callable[[str], str] | None = None
    ) -> dict[str, Place]:
        """Where each reference is kept, and whether the newest version there has its fingerprint. Opens nothing.

        Storage is asked once. References that are not kept are left out.

        Args:
            references: what is looked for.
            fingerprint: gives a reference's; called for those that are kept only. Without it nothing matches.

        Raises:
            CategoryShredded: an old backup brought back what stands there.
            RecordDamaged: a category tag is not its twin's.
        """
        found = self._find(references)
        matching = self._matching(found, fingerprint) if fingerprint is not None and found else frozenset()
        keys = {twin: self._keys_if_any(twin) for twin in {one.twin for one in found.values()}}
        places: dict[str, Place] = {}
        for reference, one in found.items():
            of_twin = keys[one.twin]
            category = None if of_twin is None else of_twin.category_of(one.category_tag)
            places[reference] = Place(one.twin, one.record_id, one.version, category, reference in matching)
        return places

    def twins_of(self, references: Collection[str]) -> dict[str, TwinId]:
        """The twin that keeps each reference; those that are not kept are left out. Asks for no twin's key."""
        found = self._find(references)
        return {reference: one.twin for reference, one in found.items()}

    def locate_all(self, reference: str) -> list[tuple[TwinId, RecordId]]:
        """Every record whose newest version carries a reference, by record id. Opens nothing."""
        found = self._store.find(self._sealer.reference_tag(reference))
        rows = [self._store.latest(record_id) for record_id in found]
        return [(row.twin, row.record_id) for row in rows if row is not None]

    def heads(self, reference: str) -> list[RecordHead]:
        """Every version of the record a reference is kept under, oldest first; none if it is not. Opens nothing."""
        found = self._find([reference]).get(reference)
        if found is None:
            return []
        twin, record_id = found.twin, found.record_id
        keys = self._keys_if_any(twin)
        rows = self._store.history(record_id)
        categories = [None if keys is None else keys.category_of(row.category_tag) for row in rows]
        return [
            RecordHead(twin, record_id, row.version, category, row.committed_at_ms)
            for row, category in zip(rows, categories, strict=True)
        ]

    def timeline(self, span: Span, limit: int) -> list[Change]:
        """The newest versions of a stretch of time, of all twins, newest first, as many as ``limit``. Opens nothing.

        Raises:
            RecordDamaged: a tag is not of its twin.
        """
        moments = self._store.timeline(span, limit)
        keys = {twin: self._keys_if_any(twin) for twin in {moment.twin for moment in moments}}
        return [_change(moment, keys[moment.twin]) for moment in moments]

    def record_types(self, twin: TwinId) -> frozenset[str]:
        """The types of a twin's records, read off their tags. Opens nothing.

        Raises:
            TwinNotFound, TwinShredded: no such twin.
            RecordDamaged: a tag is not this twin's.
        """
        keys = self._keyring.keys(twin)
        try:
            return frozenset(keys.type_of(tag) for row in self._store.of_twin(twin) for tag in type_tags(row))
        except OpenError:
            raise RecordDamaged(f"a record of twin {twin} carries a type tag that is not its twin's") from None

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
        """Open rows, each only after the permit was checked for its category (once per category).

        What a record tells of may be more than the category it is filed under: without leave for that it is left out.
        """
        covered: set[Category] = set()
        refused: set[Category] = set()
        opened = []
        for row in rows:
            category = opening.keys.category_of(row.category_tag)
            if category not in covered:
                self._verifier.require(permit, action=permit.request.action, twin=row.twin, category=category)
                covered.add(category)
            record = opening.record(row)
            if self._may_be_shown(permit, record, covered, refused):
                opened.append(record)
        return opened

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

    def _matching(self, found: Mapping[str, Found], fingerprint: Callable[[str], str]) -> frozenset[str]:
        """The references whose newest version has the fingerprint that is given for it."""
        wanted = {reference: fingerprint(reference) for reference in found}
        matching = {one for one, text in wanted.items() if found[one].fingerprint == self._sealer.fingerprint_of(text)}
        # Rows from before there were fingerprints are found under them instead.
        older = self._find([text for one, text in wanted.items() if one not in matching])
        return frozenset(
            one
            for one, text in wanted.items()
            if one in matching or (text in older and older[text].record_id == found[one].record_id)
        )

    def _find(self, references: Collection[str]) -> dict[str, Found]:
        """What each reference finds; those that find nothing are left out."""
        tags = {reference: self._sealer.reference_tag(reference) for reference in references}
        found = self._store.find_many(list(tags.values())) if tags else {}
        return {reference: found[tag] for reference, tag in tags.items() if tag in found}

    def _keys_if_any(self, twin: TwinId) -> TwinKeys | None:
        with contextlib.suppress(NotFound):
            return self._keyring.keys(twin)
        return None  # shredded, or damaged: whoever goes on to open it is told which


def _change(moment: Moment, keys: TwinKeys | None) -> Change:
    """A moment as its twin's keys read its tags."""
    category, types = None, frozenset[str]()
    try:
        if keys is not None:
            category = keys.category_of(moment.category_tag)
            types = frozenset(map(keys.type_of, moment.type_tags))
    except CategoryShredded:
        category = None  # nothing of it opens any more
    except OpenError:
        raise RecordDamaged(f"a record of twin {moment.twin} carries a type tag that is not its twin's") from None
    at_ms, record_id, version = moment.at
    return Change(RecordHead(moment.twin, record_id, version, category, at_ms), types)


def _type_tag(keys: TwinKeys, record_type: str) -> bytes:
    try:
        return keys.type_tag(record_type)
    except ParameterError as error:
        raise MalformedRecord(f"no record has such a type: {error}") from None

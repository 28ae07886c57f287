"""Where records are, found by blind tags: that opens nothing, and wants no permit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping

from twinward.core.errors import NotFound
from twinward.core.vocabulary import RecordId, TwinId
from twinward.vault.errors import CategoryShredded, RecordDamaged
from twinward.vault.interfaces import Change, Place, RecordHead, RecordStore, Span
from twinward.vault.keys.keyring import Keyring
from twinward.vault.keys.twin_keys import TwinKeys
from twinward.vault.models import Found, Moment
from twinward.vault.records.sealer import Sealer, type_tags
from twinward_crypto.errors import OpenError


class Locator:
    """The part of the vault that finds. It holds no state of its own and may be shared between threads."""

    def __init__(self, store: RecordStore, keyring: Keyring, sealer: Sealer) -> None:
        self._store = store
        self._keyring = keyring
        self._sealer = sealer

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
        self._keyring.fetch(twins := {one.twin for one in found.values()})
        keys = {twin: self._keys_if_any(twin) for twin in twins}
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
        self._keyring.fetch(twins := {moment.twin for moment in moments})
        keys = {twin: self._keys_if_any(twin) for twin in twins}
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

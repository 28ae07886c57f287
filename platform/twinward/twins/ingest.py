"""Taking imports in: what is new, what changed, what is already kept. Decides nothing about access."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from twinward.twins import references as names
from twinward.twins.errors import BelongsToAnother, VersionMismatch
from twinward.twins.features import FeatureVector, to_content
from twinward.twins.models import FEATURES_TYPE, ImportRecord, PatientImport, Stored
from twinward.vault.interfaces import Record, RecordVault
from twinward.vocabulary import Category, RecordId, TwinId


class Plan:
    """What one import would write to one twin, found through blind tags only: nothing is opened to make it."""

    def __init__(self, vault: RecordVault, twin: TwinId, source: PatientImport, *, is_new: bool) -> None:
        """Compare an import with what is kept.

        Raises:
            BelongsToAnother: one of its references is kept under another twin.
        """
        self.twin = twin
        self.records: list[Record] = []
        self._vault = vault
        self._changes: list[tuple[str, str]] = []
        self._left: set[Category] = set()
        self._kept = self._find(source, is_new=is_new)
        for one in source.records:
            self._plan(one, is_new=is_new, keep=source.keep_existing)

    @property
    def categories(self) -> frozenset[Category]:
        """What the permit to write must cover: what the records are, and what they were."""
        return frozenset(record.category for record in self.records) | self._left

    def add_features(self, vector: FeatureVector, existing: RecordId | None) -> bool:
        """Write the twin's feature vector along with the rest; False if this very vector is kept already."""
        reference, content = names.features_of(self.twin), to_content(vector)
        same = names.as_content(reference, Category.FEATURES, content)
        if existing is not None and self._vault.locate(same) is not None:
            return False
        references = (reference, names.features_under(self.twin, vector.schema), same)
        self.records.append(
            Record(self.twin, FEATURES_TYPE, Category.FEATURES, content, references, record_id=existing)
        )
        self._changes.append((reference, "created" if existing is None else "updated"))
        return True

    def stored(self, written: Iterable[Record]) -> tuple[Stored, ...]:
        """The outcome per reference, in the order of the import."""
        versions = iter(written)
        return tuple(
            Stored(reference, change, 0 if change == "unchanged" else next(versions).version)
            for reference, change in self._changes
        )

    def _plan(self, one: ImportRecord, *, is_new: bool, keep: bool) -> None:
        if one.follows is not None:
            require_version(self._vault, one.reference, one.follows)
        # The likeliest answer first: most of what is imported again has not changed.
        if not (is_new or keep) and self._locate(one, names.as_content(one.reference, one.category, one.content)):
            self._changes.append((one.reference, "unchanged"))
            return
        existing = self._locate(one, one.reference)
        if existing is not None and keep:
            self._changes.append((one.reference, "unchanged"))
            return
        if existing is not None:
            self._left |= kept_categories(self._vault, one.reference)
        references = names.references_of(one.reference, one.category, one.content, one.found_by)
        record = Record(self.twin, one.record_type, one.category, one.content, references, record_id=existing)
        # Whoever writes between the check and the write makes the vault refuse this version.
        self.records.append(replace(record, version=one.follows or 0))
        self._changes.append((one.reference, "created" if existing is None else "updated"))

    def _find(self, source: PatientImport, *, is_new: bool) -> dict[str, tuple[TwinId, RecordId]]:
        """Where the records are kept that the plan will ask for; in two queries, however many there are."""
        same: dict[str, ImportRecord] = {}
        if not (is_new or source.keep_existing):
            same = {names.as_content(one.reference, one.category, one.content): one for one in source.records}
        kept = self._vault.locate_many(list(same))
        unchanged = {same[name].reference for name in kept}
        others = [one.reference for one in source.records if one.reference not in unchanged]
        return kept | self._vault.locate_many(others)

    def _locate(self, one: ImportRecord, name: str) -> RecordId | None:
        kept = self._kept.get(name)
        if kept is None:
            return None
        if kept[0] != self.twin:
            raise BelongsToAnother(
                f"{one.reference} is already kept under another patient",
                hint="ids are unique within a node: give the resource another id",
            )
        return kept[1]


def require_version(vault: RecordVault, reference: str, version: int) -> None:
    """Raise ``VersionMismatch`` unless this is the newest version of the record; 0 is that there is none."""
    heads = vault.heads(reference)
    newest = heads[-1].version if heads else 0
    if newest != version:
        raise VersionMismatch(
            f"{reference} is at version {newest}, not {version}" if newest else f"{reference} does not exist",
            hint="read it again and repeat the change on what is there now",
        )


def kept_categories(vault: RecordVault, reference: str) -> frozenset[Category]:
    """The category a record has now, found without opening it; every category for one that was not imported."""
    for category in Category:
        if vault.locate(names.in_category(reference, category)) is not None:
            return frozenset({category})
    return frozenset(Category)

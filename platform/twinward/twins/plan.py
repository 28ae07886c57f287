"""What one import would write: what is new, what changed, what is already kept. Decides nothing about access."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from twinward.access.interfaces import Permit
from twinward.feature_schema import FeatureSchema
from twinward.twins import references as names
from twinward.twins.errors import BelongsToAnother, VersionMismatch
from twinward.twins.features import FeatureVector, from_content, merge, to_content
from twinward.twins.models import FEATURES_TYPE, ImportRecord, PatientImport, Stored
from twinward.vault.interfaces import Record, RecordVault
from twinward.vocabulary import Category, RecordId, TwinId


class Plan:
    """What one import would write to one twin, found through blind tags only: nothing is opened to make it."""

    def __init__(self, vault: RecordVault, twin: TwinId, source: PatientImport) -> None:
        """Compare an import with what is kept.

        Raises:
            BelongsToAnother: one of its references is kept under another twin.
        """
        self.twin = twin
        self.records: list[Record] = []
        self._vault = vault
        self._changes: list[tuple[str, str]] = []
        self._left: set[Category] = set()
        marks = {one.reference: names.as_content(one.reference, one.category, one.content) for one in source.records}
        # One query, however many records there are.
        self._kept = vault.kept(marks.keys(), marks.__getitem__)
        for one in source.records:
            self._plan(one, keep=source.keep_existing)

    @property
    def categories(self) -> frozenset[Category]:
        """What the permit to write must cover: what the records are, and what they were."""
        return frozenset(record.category for record in self.records) | self._left

    def add_features(self, vector: FeatureVector, existing: RecordId | None) -> bool:
        """Write the twin's feature vector along with the rest; False if this very vector is kept already."""
        record = features_record(self.twin, vector, existing)
        reference, mark = record.references[0], record.mark or ""
        if existing is not None and self._vault.kept([reference], lambda _: mark)[reference].marked:
            return False
        self.records.append(record)
        self._changes.append((reference, "created" if existing is None else "updated"))
        return True

    def stored(self, written: Iterable[Record]) -> tuple[Stored, ...]:
        """The outcome per reference, in the order of the import."""
        versions = iter(written)
        return tuple(
            Stored(reference, change, 0 if change == "unchanged" else next(versions).version)
            for reference, change in self._changes
        )

    def _plan(self, one: ImportRecord, *, keep: bool) -> None:
        if one.follows is not None:
            require_version(self._vault, one.reference, one.follows)
        kept = self._kept.get(one.reference)
        if kept is not None and kept.twin != self.twin:
            raise BelongsToAnother(
                f"{one.reference} is already kept under another patient",
                hint="ids are unique within a node: give the resource another id",
            )
        if kept is not None and (keep or kept.marked):
            self._changes.append((one.reference, "unchanged"))
            return
        if kept is not None:
            self._left |= frozenset(Category) if kept.category is None else {kept.category}
        existing = None if kept is None else kept.record_id
        references = (one.reference, *one.found_by)
        mark = names.as_content(one.reference, one.category, one.content)
        # Whoever writes between the check and the write makes the vault refuse this version.
        self.records.append(
            Record(
                self.twin,
                one.record_type,
                one.category,
                one.content,
                references,
                record_id=existing,
                version=one.follows or 0,
                mark=mark,
            )
        )
        self._changes.append((one.reference, "created" if existing is None else "updated"))


@dataclass(frozen=True, slots=True)
class FeatureNews:
    """What an import says about a twin's features.

    Attributes:
        schema: of the features.
        vector: from what the import carries.
        existing: the record of the features kept so far, if there is one.
        joins_older: that record is readable under this schema, so the news joins what it says.
        whole: the import carries the patient's own record: it may stand in for what was kept.
    """

    schema: FeatureSchema
    vector: FeatureVector
    existing: RecordId | None
    joins_older: bool
    whole: bool

    def into(self, plan: Plan, older: FeatureVector | None) -> FeatureVector | None:
        """Put the features as they are now into the plan; None where they stay as they were."""
        vector = self.vector if older is None else merge(self.schema, older, self.vector)
        if older is None and self.existing is not None and not self.whole:
            return None  # a part of the record must not displace what was derived from all of it
        return vector if plan.add_features(vector, self.existing) else None


def read_features(vault: RecordVault, schema: FeatureSchema, permit: Permit) -> FeatureVector | None:
    """The features that are kept of the permit's twin; None if there are none.

    Raises:
        FeaturesUnreadable: stored under another schema.
    """
    records = vault.read_twin(permit, record_type=FEATURES_TYPE)
    return from_content(schema, records[0].content) if records else None


def features_record(twin: TwinId, vector: FeatureVector, existing: RecordId | None) -> Record:
    """A feature vector as the record that keeps it, found under the twin and under its schema."""
    reference, content = names.features_of(twin), to_content(vector)
    references = (reference, names.features_under(twin, vector.schema))
    mark = names.as_content(reference, Category.FEATURES, content)
    return Record(twin, FEATURES_TYPE, Category.FEATURES, content, references, record_id=existing, mark=mark)


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
    """The category a record has now, found without opening it: none where its twin's key is gone, and nothing opens;
    every category for a reference that is not kept."""
    kept = vault.kept([reference]).get(reference)
    if kept is None:
        return frozenset(Category)
    return frozenset() if kept.category is None else frozenset({kept.category})

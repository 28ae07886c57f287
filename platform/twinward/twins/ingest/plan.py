"""What one import would write: what is new, what changed, what is already kept. Decides nothing about access."""

from __future__ import annotations

from collections.abc import Iterable

from twinward.core.vocabulary import Category, TwinId
from twinward.twins import references as names
from twinward.twins.errors import AlreadyImported, BelongsToAnother, VersionMismatch
from twinward.twins.models import IfKept, ImportRecord, PatientImport, Stored
from twinward.vault.interfaces import Place, Record, RecordVault


class Plan:
    """What one import would write to one twin, found through blind tags only: nothing is opened to make it."""

    def __init__(self, vault: RecordVault, twin: TwinId, source: PatientImport) -> None:
        """Compare an import with what is kept.

        Raises:
            BelongsToAnother: one of its references is kept under another twin.
            AlreadyImported: one of them is kept, and the import does not say what becomes of it.
        """
        self.twin = twin
        self.records: list[Record] = []
        self.retold: set[str] = set()
        """Names of records that were kept, and get a new version."""
        self.passed: set[str] = set()
        """Names of records that stay as they are, whatever the import says."""
        self._vault = vault
        self._changes: list[tuple[str, str]] = []
        self._began: set[str] = set()
        self._left: set[Category] = set()
        fingerprints = {
            one.reference: names.as_content(one.reference, one.category, one.content) for one in source.records
        }
        # One query, however many records there are.
        self._kept = vault.locate_many(fingerprints.keys(), fingerprints.__getitem__)
        for one in source.records:
            self._plan(one)

    @property
    def categories(self) -> frozenset[Category]:
        """What the permit to write must cover: what the records are, and what they were."""
        return frozenset(record.category for record in self.records) | self._left

    def add_features(self, record: Record) -> bool:
        """Write the twin's features (``features_record``) along with the rest; False if just this is kept already."""
        reference, fingerprint, existing = record.references[0], record.fingerprint or "", record.record_id
        if existing is not None and self._vault.locate_many([reference], lambda _: fingerprint)[reference].matches:
            return False
        self.records.append(record)
        self._changes.append((reference, "created" if existing is None else "updated"))
        return True

    def stored(self, written: Iterable[Record]) -> tuple[Stored, ...]:
        """The outcome per reference, in the order of the import."""
        versions = iter(written)
        return tuple(
            Stored(reference, change, 0 if change == "unchanged" else next(versions).version, reference in self._began)
            for reference, change in self._changes
        )

    def _plan(self, one: ImportRecord) -> None:
        if one.follows is not None:
            require_version(self._vault, one.reference, one.follows)
        kept = self._kept.get(one.reference)
        if kept is None:
            self._write(one, None)
            return
        if kept.twin != self.twin:
            raise BelongsToAnother(
                f"{one.reference} is already kept under another patient",
                reference=one.reference,
                hint="ids are unique within a node: give the resource another id",
            )
        if not stays(one.reference, one.if_kept, is_same=kept.matches):
            self.retold.add(one.reference)
            self._left |= kept.categories or frozenset(Category)
            self._write(one, kept)
            return
        self._changes.append((one.reference, "unchanged"))
        if not kept.matches:
            self.passed.add(one.reference)

    def _write(self, one: ImportRecord, kept: Place | None) -> None:
        """Plan a new record, or a new version of what is kept."""
        if kept is None or (one.content != names.DELETED and self._is_deleted(one.reference, kept)):
            self._began.add(one.reference)
        # Whoever writes between the check and the write makes the vault refuse this version, or this name.
        self.records.append(
            Record(
                self.twin,
                one.record_type,
                one.category,
                one.content,
                (one.reference, *one.found_by),
                record_id=None if kept is None else kept.record_id,
                version=0 if kept is None else kept.version,
                fingerprint=names.as_content(one.reference, one.category, one.content),
                alone=True,
            )
        )
        self._changes.append((one.reference, "created" if kept is None else "updated"))

    def _is_deleted(self, reference: str, kept: Place) -> bool:
        """Whether what is kept says that it was deleted. Opens nothing."""
        if kept.category is None:
            return False
        fingerprint = names.deleted(reference, kept.category)
        found = self._vault.locate_many([reference], lambda _: fingerprint).get(reference)
        return found is not None and found.matches


def stays(reference: str, if_kept: IfKept, *, is_same: bool) -> bool:
    """Whether what is kept under an import's reference stays as it is.

    Raises:
        AlreadyImported: it is for the import to say, and it does not.
    """
    if if_kept is IfKept.REFUSE or (if_kept is IfKept.REFUSE_OTHER and not is_same):
        raise AlreadyImported(reference, is_other=if_kept is IfKept.REFUSE_OTHER)
    return is_same or if_kept is IfKept.SKIP


def require_version(vault: RecordVault, reference: str, version: int) -> None:
    """Raise ``VersionMismatch`` unless this is the newest version of the record; 0 is that there is none."""
    heads = vault.heads(reference)
    newest = heads[-1].version if heads else 0
    if newest != version:
        raise VersionMismatch(
            f"{reference} is at version {newest}, not {version}" if newest else f"{reference} does not exist",
            hint="read it again and repeat the change on what is there now",
        )

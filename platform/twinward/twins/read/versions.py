"""The versions of one record: each read, the whole history, and the version that says it was deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twinward.access.interfaces import AccessContext, AccessControl
from twinward.core.turns import Turn
from twinward.core.vocabulary import Action, Category
from twinward.twins import references as names
from twinward.twins.errors import RecordDeleted, RecordNotFound, VersionMismatch
from twinward.twins.models import NOTHING_KEPT, ImportRecord, PatientImport, Receipt, Standing
from twinward.vault.errors import not_released
from twinward.vault.interfaces import Record, RecordHead, RecordVault

Take = Callable[[AccessContext, PatientImport], Receipt]
"""Takes one import in: ``Twins.ingest``."""
Guard = Callable[[Standing], None]
"""Called with how a reference stands before it is changed; raises ``VersionMismatch`` to stop it."""


class Versions:
    """What was, as far as the principal may see it. Every method asks access control before anything is opened."""

    def __init__(self, vault: RecordVault, access: AccessControl, take: Take, writing: Turn) -> None:
        self._vault = vault
        self._access = access
        self._take = take
        self._writing = writing

    def newest(self, reference: str) -> RecordHead | None:
        """What may be known of the newest version without opening it; None where the reference is not kept."""
        heads = self._vault.heads(reference)
        return heads[-1] if heads else None

    def stored(self, reference: str) -> dict[int, int]:
        """When each version was stored, in ms, whoever may see it. Opens nothing: for who has seen one of them."""
        return {head.version: head.committed_at_ms for head in self._vault.heads(reference)}

    def standing(self, reference: str) -> Standing:
        """How a reference stands. Opens nothing; whoever writes on it looks within ``Twins.writing``."""
        head = self.newest(reference)
        if head is None:
            return Standing()
        return Standing(head.version, head.committed_at_ms, self.is_deleted(reference, head))

    def is_deleted(self, reference: str, head: RecordHead) -> bool:
        """Whether the newest version is a deletion. Opens nothing."""
        for category in _categories([head]):
            fingerprint = names.deleted(reference, category)
            kept = self._vault.locate_many([reference], {reference: fingerprint}.__getitem__).get(reference)
            if kept is not None and kept.matches:
                return True
        return False

    def read(self, context: AccessContext, reference: str, version: int) -> Record:
        """Open one version.

        Raises:
            AccessDenied: as ``Twins.read_reference``.
            RecordNotFound: no such record or version.
            RecordDeleted: this version is the deletion.
        """
        found = [head for head in self._vault.heads(reference) if head.version == version]
        if not found:
            self._access.decide(context.request(Action.READ, detail=NOTHING_KEPT))
            raise RecordNotFound("no such version is kept under this reference")
        record = self._open(context, found)[0]
        if record.content == names.DELETED:
            raise RecordDeleted("this version is the deletion of the record", hint="an earlier one can be read")
        return record

    def history(self, context: AccessContext, reference: str) -> list[Record]:
        """Open the versions this principal may see, newest first. A deletion has no content.

        Raises:
            AccessDenied: none of them may be seen.
            RecordNotFound: there never was such a record.
        """
        heads = self._vault.heads(reference)
        if not heads:
            self._access.decide(context.request(Action.READ, detail=NOTHING_KEPT))
            raise RecordNotFound("no record was ever kept under this reference")
        return self._open(context, heads)[::-1]

    def delete(self, context: AccessContext, reference: str, *, guard: Guard | None = None) -> RecordHead:
        """Write the version that says it was deleted; what is deleted already stays as it is. Its history remains.

        What the twin's features took from it goes with it.

        Args:
            context, reference: who deletes what, and why.
            guard: a condition on how it stands.

        Raises:
            AccessDenied: the principal may not write it.
            RecordNotFound: there never was such a record.
            VersionMismatch: the guard says so.
        """
        self._access.require(context.request(Action.WRITE))
        with self._writing:
            head = self.newest(reference)
            if head is None:
                self._access.decide(context.request(Action.WRITE, detail=NOTHING_KEPT))
                raise RecordNotFound("no record is kept under this reference")
            standing = self.standing(reference)
            try:
                if guard is not None:
                    guard(standing)
            except VersionMismatch:
                self._note(context, head, "other-version")
                raise
            if standing.deleted:
                self._note(context, head, "deleted-already")
                return head
            return self._delete(context, reference, head)

    def _delete(self, context: AccessContext, reference: str, head: RecordHead) -> RecordHead:
        category = min(Category) if head.category is None else head.category
        kind = reference.partition("/")[0]
        tombstone = ImportRecord(reference, kind, category, names.DELETED, follows=head.version)
        receipt = self._take(context, PatientImport(reference, (tombstone,)))
        return RecordHead(head.twin, head.record_id, receipt.stored[0].version, category, receipt.at_ms)

    def _note(self, context: AccessContext, head: RecordHead, answer: str) -> None:
        """Log what a deletion was answered that deleted nothing, as ``RecordSearch.note`` does for other writes."""
        told = (("answered", answer),)
        categories = frozenset(_categories([head]))
        request = context.request(Action.WRITE, head.twin, categories, detail=told)
        self._access.decide(request)

    def _open(self, context: AccessContext, heads: list[RecordHead]) -> list[Record]:
        """Open those of one record's versions that may be seen, at least one."""
        twin, wanted = heads[0].twin, _categories(heads)
        request = context.request(Action.READ, twin, wanted)
        opened: list[Record] = []
        for permit in self._access.decide_part(request):
            seen = {head.version for head in heads if head.category in permit.request.categories}
            opened += self._vault.read_history(permit, heads[0].record_id, versions=seen)
        if not opened:
            raise not_released()
        return sorted(opened, key=lambda record: record.version)


def _categories(heads: Iterable[RecordHead]) -> frozenset[Category]:
    """What a permit for these versions must cover: everything where the twin's key is gone and nobody can tell."""
    found = frozenset(head.category for head in heads)
    return frozenset(Category) if None in found else frozenset(one for one in found if one is not None)

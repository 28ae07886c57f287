"""The versions of one record: each read, the whole history, and the version that says it was deleted."""

from __future__ import annotations

from collections.abc import Iterable

from twinward.access.interfaces import AccessControl, AccessRequest, Principal
from twinward.twins import references as names
from twinward.twins.errors import RecordDeleted, RecordNotFound, VersionMismatch
from twinward.twins.gate import permitted, require_in_general
from twinward.vault.interfaces import Record, RecordHead, RecordVault
from twinward.vocabulary import Action, Category, Purpose


class Versions:
    """What was, as far as the principal may see it. Every method asks the gate before anything is opened."""

    def __init__(self, vault: RecordVault, access: AccessControl) -> None:
        self._vault = vault
        self._access = access

    def newest(self, reference: str) -> RecordHead | None:
        """What may be known of the newest version without opening it; None where the reference is not kept."""
        heads = self._vault.heads(reference)
        return heads[-1] if heads else None

    def is_deleted(self, reference: str, head: RecordHead) -> bool:
        """Whether the newest version is a deletion. Opens nothing."""
        for category in _categories([head]):
            mark = names.deleted(reference, category)
            kept = self._vault.kept([reference], {reference: mark}.__getitem__).get(reference)
            if kept is not None and kept.marked:
                return True
        return False

    def read(
        self, principal: Principal, purpose: Purpose, reference: str, version: int, *, justification: str = ""
    ) -> Record:
        """Open one version.

        Raises:
            AccessDenied: as ``Twins.read_reference``.
            RecordNotFound: no such record or version.
            RecordDeleted: this version is the deletion.
        """
        found = [head for head in self._vault.heads(reference) if head.version == version]
        if not found:
            require_in_general(self._access, principal, Action.READ, purpose, justification)
            raise RecordNotFound("no such version is kept under this reference")
        record = self._open(principal, purpose, found, justification)[0]
        if record.content == names.DELETED:
            raise RecordDeleted("this version is the deletion of the record", hint="an earlier one can be read")
        return record

    def history(
        self, principal: Principal, purpose: Purpose, reference: str, *, justification: str = ""
    ) -> list[Record]:
        """Open the versions this principal may see, newest first. A deletion has no content.

        Raises:
            AccessDenied: none of them may be seen.
            RecordNotFound: there never was such a record.
        """
        heads = self._vault.heads(reference)
        if not heads:
            require_in_general(self._access, principal, Action.READ, purpose, justification)
            raise RecordNotFound("no record was ever kept under this reference")
        return self._open(principal, purpose, heads, justification)[::-1]

    def delete(
        self, principal: Principal, purpose: Purpose, reference: str, *, follows: int | None = None
    ) -> RecordHead:
        """Write the version that says it was deleted; what is deleted already stays as it is. Its history remains.

        A twin's feature vector is not derived anew: it keeps the values it took from the record.

        Raises:
            AccessDenied: the principal may not write it.
            RecordNotFound: there never was such a record.
            VersionMismatch: ``follows`` is not its newest version.
        """
        require_in_general(self._access, principal, Action.WRITE, purpose)
        head = self.newest(reference)
        if head is None:
            raise RecordNotFound("no record is kept under this reference")
        if follows not in (None, head.version):
            raise VersionMismatch(
                f"{reference} is at version {head.version}, not {follows}", hint="read it again, then decide"
            )
        if self.is_deleted(reference, head):
            return head
        categories = frozenset(_categories([head]))
        permit = self._access.decide(AccessRequest(principal, Action.WRITE, purpose, head.twin, categories))
        category = min(categories) if head.category is None else head.category
        tombstone = Record(
            twin=head.twin,
            record_type=reference.partition("/")[0],
            category=category,
            content=names.DELETED,
            references=(reference,),
            record_id=head.record_id,
            version=head.version,
            mark=names.deleted(reference, category),
        )
        written = self._vault.write(permit, [tombstone])[0]
        return RecordHead(head.twin, head.record_id, written.version, category, written.committed_at_ms)

    def _open(
        self, principal: Principal, purpose: Purpose, heads: list[RecordHead], justification: str
    ) -> list[Record]:
        """Open those of one record's versions that may be seen, at least one."""
        twin, wanted = heads[0].twin, _categories(heads)
        request = AccessRequest(principal, Action.READ, purpose, twin, wanted, justification)
        # With nothing allowed the gate is asked for everything, so that the refusal is logged and explained.
        requests = permitted(self._access, request) or [request]
        opened: list[Record] = []
        for one in requests:
            seen = {head.version for head in heads if head.category in one.categories}
            opened += self._vault.read_history(self._access.decide(one), heads[0].record_id, versions=seen)
        return sorted(opened, key=lambda record: record.version)


def _categories(heads: Iterable[RecordHead]) -> frozenset[Category]:
    """What a permit for these versions must cover: everything where the twin's key is gone and nobody can tell."""
    found = frozenset(head.category for head in heads)
    return frozenset(Category) if None in found else frozenset(one for one in found if one is not None)

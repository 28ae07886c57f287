"""What of the vault's records may be shown, by their content: every door that opens a record goes through this."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from twinward.access.interfaces import AccessControl, Permit
from twinward.core.vocabulary import Category
from twinward.fhir.mapping.categories import categories_needed
from twinward.vault.interfaces import Record


class ReleaseByContent:
    """The ``Release`` of a node: a record needs leave for what it is filed under and for all that it tells of.

    So it does not matter under what a record was filed: by an earlier release that knew fewer codes, or under one of
    several categories that it falls under.
    """

    def __init__(self, access: AccessControl) -> None:
        self._access = access

    def needed(self, record: Record) -> frozenset[Category]:
        """Every category that leave is needed for, to be shown this record."""
        return categories_needed(record.record_type, record.category, record.content)

    def further(self, permit: Permit, categories: Collection[Category]) -> Sequence[Permit]:
        """Permits for further categories, as far as the gate gives them."""
        return self._access.decide_further(permit, categories)

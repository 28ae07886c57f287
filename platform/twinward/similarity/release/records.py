"""Records of released handles, sealed to the vendor's public key: one ``export`` decision per patient, by consent.

How they are sealed: ``twinward.protocol.sealed_records``. The hospital's own log holds, with every decision, the
SHA-256 of the key that was sealed to. A record is released as it was imported: what names a patient is in it, so it
goes out only where that patient's consent covers its category for this vendor.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from twinward.access.interfaces import Principal, require_records
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Category
from twinward.protocol.sealed_records import ReleasedRecord, seal_records
from twinward.similarity.errors import QueryMalformed
from twinward.similarity.interfaces import OpenedRecord, QueryBudget, RecordSource
from twinward.similarity.models import PatientRecords, ReleasedRecords
from twinward.similarity.release.service import ReleaseService
from twinward_crypto.disclosure import seal_to
from twinward_crypto.errors import MalformedKey

MAX_PATIENT_BYTES = 12 << 20
"""Of one patient's records at once; whoever has more is asked for in fewer categories."""
_WITHHELD = "patients whose consent lets none of these categories out to you, or who have no such record, are missing"


@dataclass(frozen=True, slots=True)
class RecordRelease:
    """Gives out the records behind handles.

    Attributes:
        source: who opens them, patient by patient, by consent.
        release: which handles this epoch's vendors were told.
        budget: one request costs one query, spent before anything is opened.
        binding: of the cohort.
        until_s: until when what is given out may be used, in seconds since 1970.
    """

    source: RecordSource
    release: ReleaseService
    budget: QueryBudget
    binding: bytes
    until_s: int

    def answer(
        self, principal: Principal, epoch: int, handles: Sequence[str], names: Sequence[str], recipient: bytes
    ) -> ReleasedRecords:
        """Open what consent lets out and seal it, patient by patient.

        Raises:
            NotFound: a handle that was not told to this vendor in this epoch: nothing is spent or opened.
            QueryMalformed: an unknown category, or no usable public key: nothing is spent or opened.
            NotARecord: ``features`` is among the categories: nothing is spent or opened.
            BudgetExhausted: no query is left: nothing is opened.
            BadInput: one patient's records are too many at once.
        """
        categories = _categories(names)
        require_records(categories)
        try:
            seal_to(recipient, b"")
        except MalformedKey as error:
            raise QueryMalformed(str(error), hint="`twinward vendor keygen` makes a key pair") from error
        twins = self.release.resolve_all(principal.id, handles)
        left = self.budget.spend(principal.id, epoch)
        key = hashlib.sha256(recipient).hexdigest()
        detail = (("epoch", str(epoch)), ("sealed to", key), ("until", str(self.until_s)))
        sealed = []
        for handle, twin in twins.items():
            records = self.source.export(principal, twin, categories, detail)
            if records:
                sealed.append(self._sealed(handle, records, recipient))
        withheld = _WITHHELD if len(sealed) < len(twins) else ""
        return ReleasedRecords(tuple(sealed), withheld, left, self.until_s)

    def _sealed(self, handle: str, records: Sequence[OpenedRecord], recipient: bytes) -> PatientRecords:
        if sum(len(record.content) for record in records) > MAX_PATIENT_BYTES:
            raise BadInput("one patient has too many records for one answer", hint="ask for fewer categories at once")
        told = [ReleasedRecord(one.record_type, one.category.value, one.content) for one in records]
        data = seal_records(recipient, told, binding=self.binding, handle=handle, until_s=self.until_s)
        categories = tuple(sorted({record.category.value for record in records}))
        return PatientRecords(handle, categories, data)


def _categories(names: Sequence[str]) -> frozenset[Category]:
    try:
        return frozenset(Category(name) for name in names)
    except ValueError:
        known = ", ".join(category.value for category in Category)
        raise QueryMalformed("an unknown category of records", hint=f"categories are: {known}") from None

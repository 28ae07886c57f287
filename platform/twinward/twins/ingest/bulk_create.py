"""Creating many new patients' twins at once: four durable steps a batch, however many patients are in it.

The order is that of ``Twins.ingest``: the events of writing are in the log before any twin exists. A batch that fails
on the way leaves reserved keys and logged intentions, but no record: they can be created again under new names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twinward.access.interfaces import AccessContext, AccessControl, Permit
from twinward.core.clock import Clock
from twinward.core.ids import new_twin_id
from twinward.core.vocabulary import Action, Category, TwinId
from twinward.twins import references as names
from twinward.twins.errors import BelongsToAnother
from twinward.twins.models import STAY_TYPE, ImportRecord
from twinward.vault.interfaces import Record, RecordVault


@dataclass(frozen=True, slots=True)
class NewPatient:
    """A new patient: the patient's own record, and the first stay (``features.monitored_stays.encode_stay``)."""

    patient: ImportRecord
    stay: bytes


def bulk_create(
    vault: RecordVault, access: AccessControl, clock: Clock, context: AccessContext, patients: Sequence[NewPatient]
) -> list[TwinId]:
    """Make the twins of new patients and seal what is known of them; return the twins in order.

    Raises:
        BelongsToAnother: one of the patients is kept already; nothing was written.
        AccessDenied: the principal may not write here; nothing was written.
    """
    if vault.twins_of([one.patient.reference for one in patients]):
        raise BelongsToAnother("one of these patients is kept already", hint="import changes of known patients")
    twins = [new_twin_id(clock.now_ms()) for _ in patients]
    requests = [
        context.request(Action.WRITE, twin, (one.patient.category, Category.MONITORING))
        for twin, one in zip(twins, patients, strict=True)
    ]
    access.require(*requests[:1])
    vault.expect_twins(twins)
    # New twins have no consent yet, so one that is refused now is refused by a policy changed this very moment.
    permits = access.decide_all(requests)
    vault.create_twins(permits)
    vault.write_many([_records(permit, twin, one) for permit, twin, one in zip(permits, twins, patients, strict=True)])
    return twins


def _records(permit: Permit, twin: TwinId, new: NewPatient) -> tuple[Permit, list[Record]]:
    patient = new.patient
    fingerprint = names.as_content(patient.reference, patient.category, patient.content)
    references = (patient.reference, *patient.found_by)
    record = Record(twin, patient.record_type, patient.category, patient.content, references, fingerprint=fingerprint)
    stay = Record(twin, STAY_TYPE, Category.MONITORING, new.stay, (names.stay_of(twin, "1"),))
    return permit, [record, stay]

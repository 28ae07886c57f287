"""The vault's errors. None carries plaintext, a key or a reference that names a patient.

TwinwardError
├── BadInput ── MalformedRecord       a record that cannot be stored as it is
├── NotFound ── TwinNotFound          no such twin
│            ├─ TwinShredded          its key was destroyed on purpose; nothing of it opens again
│            ├─ CategoryShredded      the same, of one category
│            └─ RecordNotFound        no such record, or not one of the permit's twin
├── Conflict ── TwinExists
│            ├─ VersionConflict       somebody else wrote first
│            └─ RecordLarge           it takes longer to open than whoever asked would wait for now
├── Refused ─── PermitDoesNotOpen     the permit is for an action that opens nothing
│            └─ NotReleased           the record tells of more than there is leave for
├── Unavailable ─ VaultUnavailable    a database or the key service does not answer; nothing was done
└── RecordDamaged (exit 8)            stored bytes do not open: altered, moved, or another key
"""

from __future__ import annotations

from twinward.core.errors import BadInput, Conflict, NotFound, Refused, TwinwardError, Unavailable
from twinward.core.sentences import sentence
from twinward.core.vocabulary import RecordId


class MalformedRecord(BadInput):
    """A record cannot be stored as it is."""


class TwinNotFound(NotFound):
    """There is no such twin."""


class TwinShredded(NotFound):
    """The twin's key was destroyed on purpose. What was sealed under it is gone for good."""


class CategoryShredded(NotFound):
    """The category's key was destroyed on purpose. What was sealed under it is gone for good."""


class RecordNotFound(NotFound):
    """There is no such record, or it is not one of the permit's twin."""


class TwinExists(Conflict):
    """The twin was created before."""


class VersionConflict(Conflict):
    """A version exists already, or the one it follows does not."""


class RecordLarge(Conflict):
    """A record is sealed in more bytes than whoever asked would open now. It is nobody's to be told of."""


class PermitDoesNotOpen(Refused):
    """A permit for an action that opens no record."""


class NotReleased(Refused):
    """The record tells of more than its category, and leave for that was refused. It is opened and not shown."""


class VaultUnavailable(Unavailable):
    """A database of the vault or its key service does not answer. Nothing was done."""


class RecordDamaged(TwinwardError):
    """Stored bytes do not open in their place: altered, moved, rolled back, or sealed under another key."""

    exit_code = 8
    http_status = 503

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint or "compare the database with a backup, and find out who wrote to it")


def not_released() -> NotReleased:
    """What is said of a record that tells of more than there is leave for: nothing of what that is."""
    return NotReleased(
        "this record tells of something that needs the patient's explicit consent",
        hint="ask for consent to its category, or break the glass in an emergency",
    )


def no_record(record_id: RecordId) -> RecordNotFound:
    """What is said of a record that is not kept, and in the same words of one that is another twin's."""
    return RecordNotFound(sentence("no record {record_id} of this permit's twin", record_id=record_id))

"""The vault's errors. None carries plaintext, a key or a reference that names a patient.

TwinwardError
├── BadInput ── MalformedRecord       a record that cannot be stored as it is
├── NotFound ── TwinNotFound          no such twin
│            ├─ TwinShredded          its key was destroyed on purpose; nothing of it opens again
│            ├─ CategoryShredded      the same, of one category
│            └─ RecordNotFound        no such record, or not one of the permit's twin
├── Conflict ── TwinExists
│            └─ VersionConflict       somebody else wrote first
├── Refused ─── PermitDoesNotOpen     the permit is for an action that opens nothing
├── Unavailable ─ VaultUnavailable    a database or the key service does not answer; nothing was done
└── RecordDamaged                     stored bytes do not open: altered, moved, or another key
"""

from __future__ import annotations

from twinward.errors import BadInput, Conflict, NotFound, Refused, TwinwardError, Unavailable


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


class PermitDoesNotOpen(Refused):
    """A permit for an action that opens no record."""


class VaultUnavailable(Unavailable):
    """A database of the vault or its key service does not answer. Nothing was done."""


class RecordDamaged(TwinwardError):
    """Stored bytes do not open in their place: altered, moved, rolled back, or sealed under another key."""

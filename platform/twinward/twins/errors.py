"""Twins' part of the error tree.

TwinwardError
├── BadInput
│   └── TooMuchAtOnce          more would have to be looked at than one request may ask for
├── NotFound
│   ├── TwinNotFound           no twin for this patient
│   ├── RecordNotFound         no record under this reference
│   ├── RecordDeleted          there was one; its newest version is a deletion (HTTP 410)
│   └── RevisionNotFound       the twin never had this revision, or was not there yet
└── Conflict
    ├── AlreadyImported        a record of an import is kept, and nobody said what becomes of it
    ├── BelongsToAnother       a reference is already kept under another twin
    ├── FollowedTooSlowly      more changes than a subscriber takes; it must begin anew
    └── VersionMismatch        the newest version is not the one the change was made to (HTTP 412)
"""

from __future__ import annotations

from twinward.core.errors import BadInput, Conflict, NotFound


class TooMuchAtOnce(BadInput):
    """More would have to be looked at than one request may ask for. Nothing was told."""


class TwinNotFound(NotFound):
    """No twin for this patient. ``reference`` is the patient's; the message does not tell it."""

    def __init__(self, message: str, *, reference: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reference = reference


class RecordNotFound(NotFound):
    """No record is kept under this reference."""


class RevisionNotFound(NotFound):
    """The twin never had this revision, or was not there yet at this time."""


class AlreadyImported(Conflict):
    """A record of an import is kept already, and the import does not say what becomes of it. Nothing was written.

    ``reference`` is the one.
    """

    def __init__(self, reference: str, *, is_other: bool) -> None:
        how = "is kept already, and says something else" if is_other else "was imported before"
        hint = "say which is meant: --again skip leaves what is kept, update writes a new version, new makes another"
        super().__init__(f"{reference} {how}", hint=hint)
        self.reference = reference


class BelongsToAnother(Conflict):
    """The reference is already kept under another twin. Nothing was written.

    ``reference`` is the one; a way in that raises this logs that it was told (``RecordSearch.note``).
    """

    def __init__(self, message: str, *, reference: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reference = reference


class RecordDeleted(NotFound):
    """The newest version of the record is a deletion; its history is still there."""

    http_status = 410


class VersionMismatch(Conflict):
    """The newest version is not the one the change was made to. Nothing was written."""

    http_status = 412


class FollowedTooSlowly(Conflict):
    """A subscriber takes its events slower than twins change. It must begin anew."""

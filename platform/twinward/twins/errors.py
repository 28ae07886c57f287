"""Twins' part of the error tree.

TwinwardError
├── BadInput
│   └── FeaturesUnreadable     a stored feature vector that this version cannot read
├── NotFound
│   ├── TwinNotFound           no twin for this patient
│   ├── RecordNotFound         no record under this reference
│   ├── RecordDeleted          there was one; its newest version is a deletion (HTTP 410)
│   └── RevisionNotFound       the twin never had this revision, or was not there yet
└── Conflict
    ├── BelongsToAnother       a reference is already kept under another twin
    ├── FollowedTooSlowly      more changes than a subscriber takes; it must begin anew
    └── VersionMismatch        the newest version is not the one the change was made to (HTTP 412)
"""

from __future__ import annotations

from twinward.errors import BadInput, Conflict, NotFound


class FeaturesUnreadable(BadInput):
    """A stored feature vector that is malformed or was made under another feature schema."""


class TwinNotFound(NotFound):
    """No twin for this patient."""


class RecordNotFound(NotFound):
    """No record is kept under this reference."""


class RevisionNotFound(NotFound):
    """The twin never had this revision, or was not there yet at this time."""


class BelongsToAnother(Conflict):
    """The reference is already kept under another twin. Nothing was written."""


class RecordDeleted(NotFound):
    """The newest version of the record is a deletion; its history is still there."""

    http_status = 410


class VersionMismatch(Conflict):
    """The newest version is not the one the change was made to. Nothing was written."""

    http_status = 412


class FollowedTooSlowly(Conflict):
    """A subscriber takes its events slower than twins change. It must begin anew."""

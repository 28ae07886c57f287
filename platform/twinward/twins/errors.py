"""Twins' part of the error tree.

TwinwardError
├── BadInput
│   └── FeaturesUnreadable     a stored feature vector that this version cannot read
├── NotFound
│   ├── TwinNotFound           no twin for this patient
│   └── RecordNotFound         no record under this reference
└── Conflict
    └── BelongsToAnother       a reference is already kept under another twin
"""

from __future__ import annotations

from twinward.errors import BadInput, Conflict, NotFound


class FeaturesUnreadable(BadInput):
    """A stored feature vector that is malformed or was made under another feature schema."""


class TwinNotFound(NotFound):
    """No twin for this patient."""


class RecordNotFound(NotFound):
    """No record is kept under this reference."""


class BelongsToAnother(Conflict):
    """The reference is already kept under another twin. Nothing was written."""

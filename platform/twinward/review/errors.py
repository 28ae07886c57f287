"""The review's errors.

TwinwardError
├── NotFound ─── NoSuchVisit     no visit of a patient's record begins with that event
├── Conflict ─── ReviewConflict  it was closed already, or no question waits
└── Refused  ─── OwnAccess       nobody reviews what they did themselves
"""

from __future__ import annotations

from twinward.core.errors import Conflict, NotFound, Refused


class NoSuchVisit(NotFound):
    """No visit of a patient's record begins with that event."""


class ReviewConflict(Conflict):
    """The review is closed already, or no question waits for this answer."""


class OwnAccess(Refused):
    """Nobody reviews what they did themselves."""

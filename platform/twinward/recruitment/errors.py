"""What goes wrong with a contact request.

TwinwardError
├── BadInput ─ ContactInvalid     what was entered does not say what it must
├── NotFound ─ NoSuchContact      there is no request of this name, or it is nobody's business
└── Conflict ─ ContactConflict    it was decided on already, or another one stands on this count
"""

from __future__ import annotations

from twinward.core.errors import BadInput, Conflict, NotFound


class ContactInvalid(BadInput):
    """What was entered does not say what it must. Nothing was logged."""


class NoSuchContact(NotFound):
    """There is no request of this name."""


class ContactConflict(Conflict):
    """The request was decided on already, or another one stands on this count. Nothing was logged."""

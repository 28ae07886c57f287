"""What goes wrong with a breach's case.

TwinwardError
├── BadInput ─ BreachInvalid     what was entered does not say what it must
├── NotFound ─ NoSuchBreach      there is no case of this name
└── Conflict ─ BreachConflict    the case is closed, or lacks what this step stands on
"""

from __future__ import annotations

from twinward.core.errors import BadInput, Conflict, NotFound


class BreachInvalid(BadInput):
    """What was entered does not say what it must. Nothing was logged."""


class NoSuchBreach(NotFound):
    """There is no case of this name."""


class BreachConflict(Conflict):
    """The case is closed, or lacks what this step stands on. Nothing was logged."""

"""What can go wrong with twins of things. None of it names a patient.

TwinwardError
├── BadInput
│   └── BadThing            a kind, a relation or an amount that cannot be
├── NotFound
│   ├── ThingNotFound       no thing of this name
│   └── NoSuchAffordance    the thing has no such property or action
└── Conflict
    └── ThingConflict       the thing does not stand as that step wants it
"""

from __future__ import annotations

from twinward.core.errors import BadInput, Conflict, NotFound


class BadThing(BadInput):
    """A kind, a relation or an amount that cannot be."""


class ThingNotFound(NotFound):
    """There is no thing of this name."""


class NoSuchAffordance(NotFound):
    """The thing has no such property or action: its description names those it has."""


class ThingConflict(Conflict):
    """The thing does not stand as that step wants it: a bed is taken, stock has run out, a name is in use."""


def no_such_thing() -> ThingNotFound:
    """The error for a name that no thing has; a page shows it, too."""
    return ThingNotFound("there is no such thing", hint="`twinward thing list` names them all")

"""What can go wrong with live data. None of it carries a value or names a patient.

TwinwardError
├── BadInput
│   └── BadQuery              a span, a step or an aggregate that cannot be
├── NotFound
│   ├── SignalUnknown         no such signal
│   ├── DeviceUnknown         nothing was ever assigned or sent under this name
│   ├── NothingMeasured       the twin has no value of it (then)
│   └── AlertNotFound         no such alert
├── Conflict
│   ├── AssignmentConflict    the device is with somebody else then, or readings stand in the way
│   ├── AlertConflict         the alert does not stand as that step wants it
│   └── MessageConflict       a message's name was settled with another content
├── Refused
│   └── MessageRefused        policy or consent says no to a part of it
└── Unavailable
    └── Busy
        ├── IntakeBusy        as many batches wait as may; the sender keeps its own
        └── QuarantineFull    what cannot be placed has no room; the sender keeps it
"""

from __future__ import annotations

from twinward.core.errors import BadInput, Busy, Conflict, NotFound, Refused


class BadQuery(BadInput):
    """A span, a step or an aggregate that cannot be."""


class SignalUnknown(NotFound):
    """No signal of this name is known here."""


class DeviceUnknown(NotFound):
    """Nothing was ever assigned or sent under this name."""


class NothingMeasured(NotFound):
    """The twin has no value of this signal then."""


class AlertNotFound(NotFound):
    """There is no such alert."""


class AlertConflict(Conflict):
    """The alert does not stand as that step wants it, or the time cannot be."""


class AssignmentConflict(Conflict):
    """The device is with somebody else then, or readings that were placed stand in the way."""


class IntakeBusy(Busy):
    """As many batches wait as may. Nothing was taken: the sender keeps what it has and tries again."""


class QuarantineFull(Busy):
    """There is no room for what cannot be placed. Nothing was taken."""


class MessageConflict(Conflict):
    """A message's name was settled with another content. Nothing was taken: one of the two would be lost."""


class MessageRefused(Refused):
    """Policy or consent says no to a part of a message. Nothing of it was taken."""

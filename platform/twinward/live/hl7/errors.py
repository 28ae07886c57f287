"""What is wrong with a message, as an acknowledgement says it.

TwinwardError
└── BadInput
    └── Hl7Fault    a message that cannot be read, or is not taken here
"""

from __future__ import annotations

from typing import Final, NamedTuple

from twinward.core.errors import BadInput

SEQUENCE: Final = 100
MISSING: Final = 101
DATA_TYPE: Final = 102
NOT_IN_TABLE: Final = 103
TYPE_NOT_TAKEN: Final = 200
EVENT_NOT_TAKEN: Final = 201
MODE_NOT_TAKEN: Final = 202
VERSION_NOT_TAKEN: Final = 203
UNKNOWN_KEY: Final = 204
DUPLICATE_KEY: Final = 205
INTERNAL: Final = 207
# Numbers of table 0357.


class Where(NamedTuple):
    """A place in a message: segment, which one of its kind, field (0: all of it). 1 is the first."""

    segment: str
    number: int = 1
    field: int = 0

    def __str__(self) -> str:
        return f"{self.segment}-{self.field}" if self.field else self.segment


class Hl7Fault(BadInput):
    """A message that is not taken. Its text names a place, never what stands there.

    Args:
        number: of table 0357.
        where: what is wrong.
        text: what an integrator has to do about it.
    """

    def __init__(self, number: int, where: Where, text: str) -> None:
        super().__init__(text, hint="mend the message, or how its sender is configured, and send it again")
        self.number = number
        self.where = where

    @property
    def is_rejection(self) -> bool:
        """Whether no message of this kind is taken, so that sending it again is in vain."""
        return self.number in (TYPE_NOT_TAKEN, EVENT_NOT_TAKEN, MODE_NOT_TAKEN, VERSION_NOT_TAKEN, DUPLICATE_KEY)

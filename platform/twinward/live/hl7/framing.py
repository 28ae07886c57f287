"""MLLP: where a message begins and ends on a connection.

HL7 Minimal Lower Layer Protocol, release 1: ``<VT> message <FS><CR>``. Bytes between blocks are nobody's and are
passed over, as the protocol says; a block that never ends is bounded.
"""

from __future__ import annotations

from typing import Final

from twinward.core.errors import BadInput

MAX_MESSAGE_BYTES: Final = 1024 * 1024
_BEGIN: Final = b"\x0b"
_END: Final = b"\x1c\r"


class FrameTooLarge(BadInput):
    """A block is longer than may be. What is left of the connection cannot be told apart: it ends."""


class FrameReader:
    """Cuts a stream into messages.

    Args:
        most_bytes: of one message.
    """

    def __init__(self, most_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._most_bytes = most_bytes
        self._rest = bytearray()
        self._looked = 0

    @property
    def is_within(self) -> bool:
        """Whether a message has begun and has not ended."""
        return bool(self._rest)

    def feed(self, some: bytes) -> list[bytes]:
        """What came: the messages that ended with it, in order. Raises ``FrameTooLarge``."""
        self._rest += some
        found: list[bytes] = []
        while True:
            begin = self._rest.find(_BEGIN)
            if begin < 0:
                self._rest.clear()
                return found
            if begin > 0:
                del self._rest[:begin]
                self._looked = 0
            end = self._rest.find(_END, max(1, self._looked - 1))
            if (end if end >= 0 else len(self._rest)) - 1 > self._most_bytes:
                raise FrameTooLarge(f"a message has {self._most_bytes} bytes at most", hint="send it in parts")
            if end < 0:
                self._looked = len(self._rest)
                return found
            found.append(bytes(self._rest[1:end]))
            del self._rest[: end + len(_END)]
            self._looked = 0


def framed(message: bytes) -> bytes:
    """One message as a block."""
    return _BEGIN + message + _END

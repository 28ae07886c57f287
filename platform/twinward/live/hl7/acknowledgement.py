"""Acknowledgements: what a sender is told of its message. HL7 v2.5.1, chapter 2.9 and 2.15; tables 0008 and 0357."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from twinward.core.clock import iso
from twinward.live.hl7.errors import Where
from twinward.live.hl7.message import Message

_ESCAPES: Final = str.maketrans({"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "~": "\\R\\", "&": "\\T\\"})


class Code(StrEnum):
    """MSA-1, table 0008."""

    ACCEPTED = "AA"
    """Everything is durable: nothing need be sent again."""
    ERROR = "AE"
    """Nothing was taken: what ERR names is to be mended, or it is to be sent again later."""
    REJECTED = "AR"
    """Nothing was taken: such a message is not taken here."""


@dataclass(frozen=True, slots=True)
class Remark:
    """An ERR segment. ``number`` is of table 0357; ``severity`` E, W or I. ``text`` repeats nothing of the message."""

    number: int
    where: Where
    text: str
    severity: str = "E"


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """An answer to one message."""

    code: Code
    remarks: tuple[Remark, ...] = field(default=())


def acknowledge(answer: Acknowledgement, message: Message | None, at_ms: int, own_id: str) -> bytes:
    """An answer as bytes, in UTF-8.

    Args:
        message: what is answered; None where it could not be read, so the answer names no control id.
        at_ms, own_id: of the answer.
    """
    stamp = re.sub(r"[-:T]", "", iso(at_ms)[:19]) + "+0000"
    back = ["", "", "", ""]
    trigger, control_id, version, mode = "", "", "2.5.1", "P"
    if message is not None:
        back = [message.header.text(number) for number in (5, 6, 3, 4)]
        trigger, control_id = message.kind.partition("^")[2], message.control_id
        version, mode = message.header.text(12) or version, message.header.text(11) or mode
    kind = f"ACK^{_escaped(trigger)}^ACK" if trigger else "ACK"
    head = [*map(_escaped, back), stamp, "", kind, _escaped(own_id), _escaped(mode), _escaped(version)]
    lines = [
        "|".join(["MSH", "^~\\&", *head, "", "", "", "", "", "UNICODE UTF-8"]),
        f"MSA|{answer.code}|{_escaped(control_id)}",
    ]
    for one in answer.remarks:
        where = f"{one.where.segment}^{one.where.number}" + (f"^{one.where.field}" if one.where.field else "")
        lines.append(f"ERR||{where}|{one.number}^^HL70357|{one.severity}|||{_escaped(one.text)}")
    return ("\r".join(lines) + "\r").encode()


def _escaped(text: str) -> str:
    """A text between delimiters; what would end a segment or a block is left out."""
    safe = "".join(one for one in text if one >= " ")[:200]
    return safe.translate(_ESCAPES)

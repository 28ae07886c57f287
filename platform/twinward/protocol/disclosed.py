"""A patient's records as a hospital hands them to one recipient: a file that the recipient's private key alone opens.

File (integers big-endian)::

    offset  bytes  field
    0       4      magic     "TWDR"
    4       1      version   0x01
    5       8      index     the event of the disclosure in the hospital's access log
    13      2      length of the log's origin
    15      n      origin    UTF-8, e.g. "twinward.example/st-anna/access-log"
    15+n           sealed    HPKE (``twinward_crypto.disclosure``), info "twinward/records/1", AAD = all bytes before

What is sealed is padded canonical JSON ``{"twin": id, "records": [{"id", "type", "category", "version",
"committed_at_ms", "content": base64}, …]}``; ``content`` are the very bytes that came into the vault. Who made the file
is not signed: its log says so, and ``twinward audit check-proof`` proves that.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from dataclasses import dataclass, field

from twinward.core.errors import BadInput
from twinward.protocol.sealed_records import RecipientKeys
from twinward_crypto.canonical import canonicalize
from twinward_crypto.disclosure import seal_to
from twinward_crypto.errors import MalformedKey, OpenError, ParameterError
from twinward_crypto.padding import pad

MAGIC = b"TWDR"
VERSION = 1
INFO = b"twinward/records/1"
MAX_FILE_BYTES = 65 << 20
MAX_ORIGIN_BYTES = 512
_HEAD = struct.Struct(">4sBQH")


@dataclass(frozen=True, slots=True)
class DisclosedRecord:
    """One record. ``content`` is exactly what came into the hospital's vault."""

    id: str
    type: str
    category: str
    version: int
    committed_at_ms: int
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class DisclosedRecords:
    """What a file holds.

    Attributes:
        origin: the hospital's access log.
        index: the event in it that says that these were disclosed, to whom and why.
        twin: the hospital's opaque name for the patient.
        records: by id.
    """

    origin: str
    index: int
    twin: str
    records: tuple[DisclosedRecord, ...] = field(repr=False)

    def seal(self, recipient_public: bytes) -> bytes:
        """The file, for the holder of the recipient's private key.

        Raises:
            BadInput: not a recipient's public key, or more than fits one file.
        """
        origin = self.origin.encode()
        head = _HEAD.pack(MAGIC, VERSION, self.index, len(origin)) + origin
        plain = {"twin": self.twin, "records": [_as_json(one) for one in self.records]}
        try:
            return head + seal_to(recipient_public, pad(canonicalize(plain)), info=INFO, aad=head)
        except MalformedKey:
            hint = "`twinward disclosure public` writes one"
            raise BadInput("this is no recipient's public key", hint=hint) from None
        except ParameterError:
            raise BadInput("these records do not fit one file", hint="disclose fewer categories at once") from None


def open_disclosed(data: bytes, keys: RecipientKeys) -> DisclosedRecords:
    """Open a file that a hospital sealed to ``keys``.

    Raises:
        BadInput: not such a file; sealed to another key; altered. Which, it does not say.
    """
    if not _HEAD.size < len(data) <= MAX_FILE_BYTES:
        raise _not_opened()
    magic, version, index, length = _HEAD.unpack_from(data)
    end = _HEAD.size + length
    if magic != MAGIC or version != VERSION or length > MAX_ORIGIN_BYTES:
        raise _not_opened()
    try:
        plain = json.loads(keys.open(data[end:], info=INFO, aad=data[:end]))
        records = tuple(_from_json(one) for one in plain["records"])
        return DisclosedRecords(data[_HEAD.size : end].decode(), index, str(plain["twin"]), records)
    except (OpenError, KeyError, TypeError, ValueError):
        raise _not_opened() from None


def _as_json(record: DisclosedRecord) -> dict[str, str | int]:
    return {
        "id": record.id,
        "type": record.type,
        "category": record.category,
        "version": record.version,
        "committed_at_ms": record.committed_at_ms,
        "content": base64.b64encode(record.content).decode("ascii"),
    }


def _from_json(one: dict[str, str | int]) -> DisclosedRecord:
    try:
        content = base64.b64decode(str(one["content"]), validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None
    texts = (str(one["id"]), str(one["type"]), str(one["category"]))
    return DisclosedRecord(*texts, int(one["version"]), int(one["committed_at_ms"]), content)


def _not_opened() -> BadInput:
    return BadInput("this file does not open with these keys", hint="was it sealed to this key, and is it unaltered?")

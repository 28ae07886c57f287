"""One patient's released records in an answer: sealed to the vendor's public key, for one handle.

Sealed content: RFC 8785 JSON ``{"records": [{"category", "content", "type"}], "until_s"}``, content as base64,
``until_s`` the end of their use in seconds since 1970 or null, padded to a size bucket, under HPKE
(``twinward_crypto.disclosure``) with info "twinward/similarity/records/v1" and as associated data the answer's
binding (32 bytes) and the handle (16 bytes). A handle is one vendor's, so it names the vendor.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from twinward_crypto.canonical import canonicalize
from twinward_crypto.disclosure import seal_to
from twinward_crypto.padding import pad

_INFO = b"twinward/similarity/records/v1"


class RecipientKeys(Protocol):
    """The private half of what is sealed to. ``twinward.client.VendorKeys`` are."""

    def open(self, sealed: bytes, *, info: bytes, aad: bytes) -> bytes:
        """Open, and take the padding off. Raises ``OpenError``, one for every cause."""
        ...


@dataclass(frozen=True, slots=True)
class ReleasedRecord:
    """One record, as it was imported."""

    record_type: str
    category: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class OpenedRecords:
    """One patient's records, and until when they may be used, in seconds since 1970; None where that is not said."""

    records: tuple[ReleasedRecord, ...] = field(repr=False)
    until_s: int | None


def seal_records(
    recipient: bytes, records: Sequence[ReleasedRecord], *, binding: bytes, handle: str, until_s: int | None = None
) -> bytes:
    """Seal to a recipient's public key. Raises ``MalformedKey``, ``ParameterError``: too much for one padding."""
    content = [
        {
            "category": record.category,
            "content": base64.b64encode(record.content).decode(),
            "type": record.record_type,
        }
        for record in records
    ]
    info, aad = sealing_context(binding, handle)
    return seal_to(recipient, pad(canonicalize({"records": content, "until_s": until_s})), info=info, aad=aad)


def open_records(keys: RecipientKeys, sealed: bytes, *, binding: bytes, handle: str) -> OpenedRecords:
    """What ``seal_records`` sealed.

    Raises:
        OpenError: not to these keys, altered, or another handle's.
        ValueError: what was sealed are no records.
    """
    info, aad = sealing_context(binding, handle)
    plain = keys.open(sealed, info=info, aad=aad)
    try:
        told = json.loads(plain)
        until_s = told.get("until_s")
        if until_s is not None and type(until_s) is not int:
            raise ValueError("an end that is no moment")
        records = tuple(
            ReleasedRecord(str(one["type"]), str(one["category"]), base64.b64decode(one["content"], validate=True))
            for one in told["records"]
        )
        return OpenedRecords(records, until_s)
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError("no records") from error


def sealing_context(binding: bytes, handle: str) -> tuple[bytes, bytes]:
    """HPKE ``info`` and ``aad`` of one handle's records."""
    return _INFO, binding + bytes.fromhex(handle)

"""The break-glass journal's records: signed and chained one by one, read up to the first that is not what was signed.

The file is a row of records: u32 length, big-endian ‖ payload ‖ 64 bytes of Ed25519 by the log's key over
``"twinward/break-glass-journal/1" ‖ LF ‖ payload``. A payload is RFC 8785 JSON with a number that never comes twice
(``seq``) and the SHA-256 of the record before (``prev``). The first record begins the journal and says what was
replayed before it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from twinward.audit.status import Replayed
from twinward_crypto.canonical import canonicalize
from twinward_crypto.errors import InvalidSignature
from twinward_ledger.errors import MalformedLeaf
from twinward_ledger.formats.note import NoteSigner, verify_ed25519
from twinward_ledger.log.store import Entry, check_entry

DOMAIN: Final = b"twinward/break-glass-journal/1\n"
SIGNATURE_BYTES: Final = 64
_LENGTH: Final = struct.Struct(">I")
_NO_RECORD: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry that waits, and when its access happened."""

    at_ms: int
    entry: Entry = field(repr=False)


@dataclass(slots=True)
class Scan:
    """What a reading of the file found: its good records, where they end, and what follows."""

    kept: list[Kept] = field(default_factory=list)
    replayed: Replayed | None = None
    next_seq: int = 0
    head: bytes = _NO_RECORD
    end: int = 0
    lost: int = 0
    altered: bool = False


class JournalRecords:
    """Makes and reads the records of one journal.

    Args:
        signer: the log's own key.
    """

    def __init__(self, signer: NoteSigner) -> None:
        self._signer = signer

    def begin(self, scan: Scan) -> bytes:
        """The record that begins a journal: what was replayed before, and the number that comes next."""
        replayed = (
            None if scan.replayed is None else {name: getattr(scan.replayed, name) for name in Replayed.__slots__}
        )
        return self._signed({"kind": "begin", "seq": scan.next_seq, "prev": scan.head.hex(), "replayed": replayed})

    def events(self, scan: Scan, seqs: range, at_ms: int, entries: Sequence[Entry]) -> bytes:
        """Records of entries behind what was read; a file without a record is begun first."""
        records = [] if scan.end else [self.begin(scan)]
        head = scan.head if scan.end else hashlib.sha256(records[0]).digest()
        for seq, entry in zip(seqs, entries, strict=True):
            records.append(self._signed(_event(seq, head, at_ms, entry)))
            head = hashlib.sha256(records[-1]).digest()
        return b"".join(records)

    def read(self, data: bytes) -> Scan:
        """Every good record of a file, up to the first that this journal's key did not sign there."""
        scan = Scan()
        while not scan.altered and scan.end < len(data):
            rest = data[scan.end :]
            size = _LENGTH.unpack_from(rest)[0] + _LENGTH.size + SIGNATURE_BYTES if len(rest) >= _LENGTH.size else 0
            if len(rest) < max(size, _LENGTH.size) or not any(rest):
                break  # half a record, or a block that never reached the disk: it was not acknowledged
            try:
                self._accept(scan, rest[:size])
            except (InvalidSignature, MalformedLeaf, ValueError, KeyError, TypeError, AttributeError):
                scan.altered = True
        return scan

    def _accept(self, scan: Scan, record: bytes) -> None:
        """Take one whole record into the scan. Raises for anything that this journal's key did not sign here."""
        payload, signature = record[_LENGTH.size : -SIGNATURE_BYTES], record[-SIGNATURE_BYTES:]
        verify_ed25519(self._signer.key.public_key, DOMAIN + payload, signature)
        said: dict[str, Any] = json.loads(payload)
        if scan.end == 0:
            if said["kind"] != "begin":
                raise ValueError("the journal's beginning is missing")
            scan.replayed = Replayed(**said["replayed"]) if said["replayed"] else None
            scan.next_seq = int(said["seq"])
        else:
            if said["kind"] != "event" or said["seq"] < scan.next_seq or bytes.fromhex(said["prev"]) != scan.head:
                raise ValueError("a record is out of its place")
            scan.kept.append(Kept(int(said["at_ms"]), _entry(said)))
            scan.lost += said["seq"] - scan.next_seq
            scan.next_seq = said["seq"] + 1
        scan.head = hashlib.sha256(record).digest()
        scan.end += len(record)

    def _signed(self, payload: dict[str, Any]) -> bytes:
        data = canonicalize(payload)
        return _LENGTH.pack(len(data)) + data + self._signer.sign_bytes(DOMAIN + data)


def _event(seq: int, prev: bytes, at_ms: int, entry: Entry) -> dict[str, Any]:
    return {
        "kind": "event",
        "seq": seq,
        "prev": prev.hex(),
        "at_ms": at_ms,
        "leaf": base64.b64encode(entry.leaf).decode(),
        "body": base64.b64encode(entry.body).decode(),
        "tags": [tag.hex() for tag in entry.tags],
    }


def _entry(said: dict[str, Any]) -> Entry:
    leaf, body = (base64.b64decode(said[name], validate=True) for name in ("leaf", "body"))
    entry = Entry(leaf, body, tuple(bytes.fromhex(tag) for tag in said["tags"]))
    check_entry(entry)
    return entry

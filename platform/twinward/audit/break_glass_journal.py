"""Where emergency accesses are written while the log cannot be: a signed, chained, bounded file beside it.

Nothing but break-glass comes here. What is kept are the very entries that will stand in the log (leaf, sealed body,
tags), so this file tells no more than the log does, and replaying is appending.

The file is a row of records: u32 length, big-endian ‖ payload ‖ 64 bytes of Ed25519 by the log's key over
``"twinward/break-glass-journal/1" ‖ LF ‖ payload``. A payload is RFC 8785 JSON with a number that never comes twice
(``seq``) and the SHA-256 of the record before (``prev``). The first record begins the journal and says what was
replayed before it.

Invariants:

* ``append`` returns after an fsync. Half a record at the end was never acknowledged and is cut off.
* ``replay`` appends an entry only if the log does not hold it yet, under a lock that processes share, and begins a new
  journal after. A crash anywhere in between replays nothing twice and loses nothing.
* A record that is not what was signed ends the journal. What stands before it is replayed, the file is kept beside it
  as evidence, and ``state`` says so until the evidence is taken away.

Records cut off at the end show as a gap in the numbers (``lost``) to the process that wrote them and to whoever reads
what that process wrote later. What cannot show: a cut made while no process of the node runs. A permit names its
number, so a response that somebody kept is evidence still.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from twinward.audit.errors import LogNotWritten
from twinward.private_files import write_private
from twinward_crypto.canonical import canonicalize
from twinward_crypto.errors import InvalidSignature
from twinward_ledger.errors import MalformedLeaf
from twinward_ledger.note import NoteSigner, verify_ed25519
from twinward_ledger.store import Entry, check_entry

DOMAIN: Final = b"twinward/break-glass-journal/1\n"
MAX_RECORDS: Final = 2000
MAX_BYTES: Final = 16 << 20
SIGNATURE_BYTES: Final = 64
_LENGTH: Final = struct.Struct(">I")
_NO_RECORD: Final = bytes(32)

Append = Callable[[Sequence[Entry]], Sequence[int]]
"""Puts entries into the log durably, all or none, and gives their indices."""

Lookup = Callable[[Entry], int | None]
"""The index at which the log holds an entry already; None where it does not."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What was replayed last: how many, the first and last index in the log, and when they had happened.

    ``lost`` counts the accesses that had been written before and were cut off.
    """

    count: int
    first_index: int
    last_index: int
    from_ms: int
    to_ms: int
    lost: int = 0


@dataclass(frozen=True, slots=True)
class JournalState:
    """The journal at a glance.

    Attributes:
        waiting: accesses that are not in the log yet.
        from_ms, to_ms: when the first and the last of them happened; 0 for none.
        replayed: what was replayed last; None if nothing ever was.
        lost: accesses that were written and have been cut off since.
        evidence: files that were found altered and set aside, for a person to examine.
    """

    waiting: int = 0
    from_ms: int = 0
    to_ms: int = 0
    replayed: Replayed | None = None
    lost: int = 0
    evidence: tuple[Path, ...] = ()

    @property
    def cut_off(self) -> int:
        """Accesses that are missing: of what waits, and of what was replayed last."""
        return self.lost + (self.replayed.lost if self.replayed else 0)


@dataclass(frozen=True, slots=True)
class _Kept:
    at_ms: int
    entry: Entry = field(repr=False)


@dataclass(slots=True)
class _Scan:
    """What a reading of the file found: its good records, where they end, and what follows."""

    kept: list[_Kept] = field(default_factory=list)
    replayed: Replayed | None = None
    next_seq: int = 0
    head: bytes = _NO_RECORD
    end: int = 0
    lost: int = 0
    altered: bool = False


class BreakGlassJournal:
    """One hospital's journal. Safe to share between threads and processes.

    Args:
        path: the file; made at the first emergency.
        signer: the log's own key.
    """

    def __init__(self, path: Path, signer: NoteSigner) -> None:
        self._path = path
        self._signer = signer
        self._mutex = threading.Lock()
        self._seen: tuple[tuple[int, ...], _Scan] | None = None
        self._next_seq = 0  # at least: what this process has given out

    def append(self, entries: Sequence[Entry], at_ms: int) -> range:
        """Keep entries durably, all or none; return their numbers in the journal.

        Raises:
            LogNotWritten: the journal is full or cannot be written; the access must be refused.
        """
        with self._locked():
            scan = self._sound()
            first = max(scan.next_seq, self._next_seq)
            seqs = range(first, first + len(entries))
            records = [] if scan.end else [self._begin(scan)]
            head = scan.head if scan.end else hashlib.sha256(records[0]).digest()
            for seq, entry in zip(seqs, entries, strict=True):
                records.append(self._signed(_event(seq, head, at_ms, entry)))
                head = hashlib.sha256(records[-1]).digest()
            data = b"".join(records)
            if len(scan.kept) + len(entries) > MAX_RECORDS or scan.end + len(data) > MAX_BYTES:
                raise LogNotWritten(
                    f"the break-glass journal is full: {len(scan.kept)} accesses wait in it", hint="bring the log back"
                )
            self._write(data, scan.end)
            self._next_seq = seqs.stop
            return seqs

    def replay(self, append: Append, known: Lookup) -> int:
        """Bring everything that waits into the log, exactly once, and begin anew. Returns how many were waiting.

        Raises:
            LogNotWritten: the journal cannot be read or written. What ``append`` raises passes through.
        """
        if not self.waiting():
            return 0
        with self._locked():
            scan = self._sound()
            if not scan.kept:
                return 0
            there = [known(one.entry) for one in scan.kept]
            missing = [one.entry for one, index in zip(scan.kept, there, strict=True) if index is None]
            indices = [*(index for index in there if index is not None), *(append(missing) if missing else ())]
            times = [one.at_ms for one in scan.kept]
            next_seq = max(scan.next_seq, self._next_seq)
            lost = scan.lost + next_seq - scan.next_seq
            done = Replayed(len(scan.kept), min(indices), max(indices), min(times), max(times), lost)
            begun = _Scan(replayed=done, next_seq=next_seq, head=scan.head)
            write_private(self._path, self._begin(begun))
            return len(scan.kept)

    def waiting(self) -> bool:
        """Whether anything is to be replayed. Cheap where nothing changed since it was last asked."""
        with self._mutex, _told():
            return bool(self._scan().kept) or self._scan().altered

    def state(self) -> JournalState:
        """What waits, what was replayed, and what was found altered."""
        with self._mutex, _told():
            scan = self._scan()
            evidence = tuple(sorted(self._path.parent.glob(f"{self._path.name}.altered-*")))
        if scan.altered:
            evidence = (*evidence, self._path)
        times = [one.at_ms for one in scan.kept]
        lost = scan.lost + max(0, self._next_seq - scan.next_seq)
        return JournalState(len(times), min(times, default=0), max(times, default=0), scan.replayed, lost, evidence)

    # --- reading -----------------------------------------------------------------------------------------------------
    def _scan(self) -> _Scan:
        """Read the file, unless it is the one that was read last."""
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return _Scan()
        identity = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if self._seen is None or self._seen[0] != identity:
            with self._path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
            self._seen = identity, self._read(data)
        return self._seen[1]

    def _read(self, data: bytes) -> _Scan:
        scan = _Scan(altered=len(data) > MAX_BYTES)
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

    def _accept(self, scan: _Scan, record: bytes) -> None:
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
            scan.kept.append(_Kept(int(said["at_ms"]), _entry(said)))
            scan.lost += said["seq"] - scan.next_seq
            scan.next_seq = said["seq"] + 1
        scan.head = hashlib.sha256(record).digest()
        scan.end += len(record)

    def _sound(self) -> _Scan:
        """The file as it may be gone on with: an altered one is set aside, its good records kept. Wants the lock."""
        scan = self._scan()
        if not scan.altered:
            return scan
        data = self._path.read_bytes()
        evidence = self._path.with_name(f"{self._path.name}.altered-{hashlib.sha256(data).hexdigest()[:12]}")
        if not evidence.exists():  # first the evidence, then the journal: a crash in between sets it aside again
            write_private(evidence, data)
        write_private(self._path, data[: scan.end])
        self._seen = None
        return self._scan()

    # --- writing -----------------------------------------------------------------------------------------------------
    def _begin(self, scan: _Scan) -> bytes:
        replayed = (
            None if scan.replayed is None else {name: getattr(scan.replayed, name) for name in Replayed.__slots__}
        )
        return self._signed({"kind": "begin", "seq": scan.next_seq, "prev": scan.head.hex(), "replayed": replayed})

    def _signed(self, payload: dict[str, Any]) -> bytes:
        data = canonicalize(payload)
        return _LENGTH.pack(len(data)) + data + self._signer.sign_bytes(DOMAIN + data)

    def _write(self, data: bytes, at: int) -> None:
        """Put records behind the last good one, durably."""
        if at == 0:
            write_private(self._path, data)
            return
        with self._path.open("r+b") as file:
            file.truncate(at)  # half a record that a crash left
            file.seek(at)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Nobody else reads or writes meanwhile, of this process or another; a killed one's lock is gone with it."""
        with self._mutex, _told():
            lock = os.open(self._path.with_name(self._path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
            finally:
                os.close(lock)


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


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LogNotWritten(
            f"the break-glass journal cannot be used: {type(error).__name__}", hint="nothing was permitted"
        ) from error

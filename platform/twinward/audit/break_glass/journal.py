"""Where emergency accesses are written while the log cannot be: a signed, chained, bounded file beside it.

Nothing but break-glass comes here. What is kept are the very entries that will stand in the log (leaf, sealed body,
tags), so this file tells no more than the log does, and replaying is appending.

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

import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from twinward.audit.break_glass.records import JournalRecords, Scan
from twinward.audit.errors import LogNotWritten
from twinward.audit.status import MAX_JOURNAL_BYTES, JournalState, Replayed
from twinward.core.private_files import write_private
from twinward_ledger.formats.note import NoteSigner
from twinward_ledger.log.store import Entry

MAX_RECORDS: Final = 2000

Append = Callable[[Sequence[Entry]], Sequence[int]]
"""Puts entries into the log durably, all or none, and gives their indices."""

Lookup = Callable[[Entry], int | None]
"""The index at which the log holds an entry already; None where it does not."""


class BreakGlassJournal:
    """One hospital's journal. Safe to share between threads and processes.

    Args:
        path: the file; made at the first emergency.
        signer: the log's own key.
    """

    def __init__(self, path: Path, signer: NoteSigner) -> None:
        self._path = path
        self._signer = signer
        self._records = JournalRecords(signer)
        self._mutex = threading.Lock()
        self._seen: tuple[tuple[int, ...], Scan] | None = None
        self._next_seq = 0  # at least: what this process has given out

    def copy_at(self, path: Path) -> BreakGlassJournal:
        """The journal in a copy of this one's file."""
        return BreakGlassJournal(path, self._signer)

    def append(self, entries: Sequence[Entry], at_ms: int) -> range:
        """Keep entries durably, all or none; return their numbers in the journal.

        Raises:
            LogNotWritten: the journal is full or cannot be written; the access must be refused.
        """
        with self._locked():
            scan = self._sound()
            first = max(scan.next_seq, self._next_seq)
            seqs = range(first, first + len(entries))
            data = self._records.events(scan, seqs, at_ms, entries)
            if len(scan.kept) + len(entries) > MAX_RECORDS or scan.end + len(data) > MAX_JOURNAL_BYTES:
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
            begun = Scan(replayed=done, next_seq=next_seq, head=scan.head)
            write_private(self._path, self._records.begin(begun))
            return len(scan.kept)

    def waiting(self) -> bool:
        """Whether anything is to be replayed. Cheap where nothing changed since it was last asked."""
        with self._mutex, _told():
            return bool(self._scan().kept) or self._scan().altered

    def entries(self) -> list[Entry]:
        """What waits, oldest first. Raises ``LogNotWritten`` where it cannot be read."""
        with self._mutex, _told():
            return [one.entry for one in self._scan().kept]

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
    def _scan(self) -> Scan:
        """Read the file, unless it is the one that was read last."""
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return Scan()
        identity = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if self._seen is None or self._seen[0] != identity:
            with self._path.open("rb") as file:
                data = file.read(MAX_JOURNAL_BYTES + 1)
            self._seen = identity, self._records.read(data) if len(data) <= MAX_JOURNAL_BYTES else Scan(altered=True)
        return self._seen[1]

    def _sound(self) -> Scan:
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
            lock = os.open(
                self._path.with_name(self._path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600
            )
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
            finally:
                os.close(lock)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LogNotWritten(
            f"the break-glass journal cannot be used: {type(error).__name__}", hint="nothing was permitted"
        ) from error

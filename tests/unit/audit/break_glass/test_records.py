"""The journal's records: read up to the first that this journal's key did not sign there."""

from __future__ import annotations

import pytest

from twinward.audit.break_glass.records import JournalRecords, Scan
from twinward.audit.status import Replayed
from twinward_ledger.formats.note import NoteSigner
from twinward_ledger.log.store import Entry

RECORDS = JournalRecords(NoteSigner("st-anna.example/access", b"j" * 32))
FORGER = JournalRecords(NoteSigner("st-anna.example/access", b"f" * 32))
ENTRIES = [Entry(b"leaf %d" % n, b"sealed %d" % n, (b"t" * 16,)) for n in range(3)]


@pytest.fixture
def data() -> bytes:
    return RECORDS.events(Scan(), range(3), 5000, ENTRIES)


def test_what_is_written_reads_back(data: bytes) -> None:
    scan = RECORDS.read(data)
    assert [one.entry for one in scan.kept] == ENTRIES
    assert (scan.next_seq, scan.end, scan.lost, scan.altered) == (3, len(data), 0, False)


def test_a_new_journal_says_what_was_replayed_before(data: bytes) -> None:
    done = Replayed(3, 10, 12, 5000, 5000, 1)
    old = RECORDS.read(data)
    begun = RECORDS.begin(Scan(replayed=done, next_seq=old.next_seq, head=old.head))
    again = RECORDS.read(begun + RECORDS.events(RECORDS.read(begun), range(3, 4), 6000, ENTRIES[:1]))
    assert again.replayed == done
    assert (len(again.kept), again.next_seq) == (1, 4)


def test_half_a_record_is_left_out_and_nothing_is_altered(data: bytes) -> None:
    for cut in (1, 3, 60):
        scan = RECORDS.read(data[:-cut])
        assert (len(scan.kept), scan.altered) == (2, False)


def test_a_gap_in_the_numbers_counts_as_lost(data: bytes) -> None:
    more = RECORDS.events(RECORDS.read(data), range(5, 6), 6000, ENTRIES[:1])
    scan = RECORDS.read(data + more)
    assert (len(scan.kept), scan.lost, scan.altered) == (4, 2, False)


def test_another_key_a_repeated_and_a_changed_record_end_it(data: bytes) -> None:
    good = RECORDS.read(data)
    last = RECORDS.events(good, range(3, 4), 6000, ENTRIES[:1])
    forged = FORGER.events(good, range(3, 4), 6000, ENTRIES[:1])
    changed = last.replace(b"6000", b"6001")
    for bad in (forged, changed, last + last, RECORDS.begin(good)):
        scan = RECORDS.read(data + bad)
        assert scan.altered
        assert [one.entry for one in scan.kept][:3] == ENTRIES
    assert RECORDS.read(last).altered  # no beginning

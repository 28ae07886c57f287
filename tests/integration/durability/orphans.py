"""What may never stand in the tables of a record store, however it was killed."""

from __future__ import annotations

from sqlalchemy import text

from twinward.vault.interfaces import RecordStore
from twinward.vault.storage.relational_records import RelationalRecordStore

ORPHANS = {
    "a tag of no record": "SELECT count(*) FROM record_tag WHERE record_id NOT IN (SELECT record_id FROM record_head)",
    "a row of no record": "SELECT count(*) FROM sealed_record s WHERE NOT EXISTS ("
    "SELECT 1 FROM record_head h WHERE h.record_id = s.record_id)",
    "a tag of no segment": "SELECT count(*) FROM segment_tag WHERE segment NOT IN (SELECT number FROM segment)",
    "a segment without an index": "SELECT count(*) FROM segment WHERE number NOT IN (SELECT segment FROM segment_tag)",
}


def count(store: RecordStore, query: str) -> int:
    assert isinstance(store, RelationalRecordStore)
    with store._file.reading() as connection:
        return int(connection.execute(text(query)).scalar_one())


def require_no_orphans(store: RecordStore) -> None:
    found = {what: count(store, query) for what, query in ORPHANS.items()}
    assert found == dict.fromkeys(ORPHANS, 0)


def segments_and_rows(store: RecordStore) -> tuple[int, int]:
    return count(store, "SELECT count(*) FROM segment"), count(store, "SELECT count(*) FROM sealed_record")

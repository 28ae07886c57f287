"""Empty stores are laid by the same statements again: thousands of tests make files, and SQLAlchemy composes each anew.

The first file of a schema in a process is laid as the product lays it, and what that sends to SQLite is noted; the next
ones are sent the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, MetaData, event

from twinward_ledger.storage import Schema, migrations

_laid: dict[tuple[object, ...], tuple[MetaData, list[tuple[str, Any]]]] = {}
"""By the tables, which are kept: another schema's, made later, must not come to stand where they stood in memory."""
_lay = migrations._lay_or_upgrade


@contextmanager
def statements_kept() -> Iterator[None]:
    """Until the end, an empty file gets what the first of its schema got."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrations, "_lay_or_upgrade", _lay_again)
        yield


def _lay_again(connection: Connection, schema: Schema) -> None:
    if not migrations._is_empty(connection):
        _lay(connection, schema)
        return
    tables = schema.models()
    known = (id(tables), *map(id, tables.tables.values()), *sorted(schema.in_files.items()))
    if known in _laid:
        driver = connection.connection.dbapi_connection
        assert driver is not None
        for statement, values in _laid[known][1]:
            driver.cursor().execute(statement, values)
        return
    sent: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, _context: Any, _many: bool) -> None:
        if not statement.lstrip().upper().startswith(("PRAGMA", "SELECT")):
            sent.append((statement, values))

    event.listen(connection, "before_cursor_execute", note)
    try:
        _lay(connection, schema)
    finally:
        event.remove(connection, "before_cursor_execute", note)
    _laid[known] = tables, sent

"""Tables on a server that a store then writes with the driver directly: laid by the same revisions as all others."""

from __future__ import annotations

from typing import Final

import psycopg

from twinward_ledger.errors import LogUnavailable
from twinward_ledger.storage.postgres_address import PostgresAddress, reason
from twinward_ledger.storage.schema import Schema

_MAY: Final = "SELECT has_table_privilege(to_regclass(%s), 'SELECT'), has_schema_privilege(current_schema(), 'CREATE')"


def lay_tables(uri: str, schema: Schema) -> None:
    """Lay a schema's tables, or bring them up to date, unless they are. Cheap where they are: alembic stays out.

    An account that may make no table works with older ones, until their owner has run ``twinward node tables``.

    Raises:
        LogUnavailable: the server does not answer, or a newer version of Twinward has been there.
    """
    address = PostgresAddress(uri)
    try:
        with address.connect() as connection:
            readable, may_lay = connection.execute(_MAY, (schema.version_table,)).fetchone() or (None, False)
            found = None
            if readable:
                found = connection.execute(f"SELECT version_num FROM {schema.version_table}").fetchone()  # noqa: S608 - our own
    except psycopg.Error as error:
        raise LogUnavailable(f"{address}: {reason(error)}") from None
    if found == (schema.newest,):
        return
    if may_lay or (found is not None and found[0] > schema.newest):  # a newer version's is refused there
        from twinward_ledger.storage.postgres import PostgresDatabase

        PostgresDatabase(uri, schema).close()

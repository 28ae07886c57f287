"""Run by alembic for each command; ``migrations.config`` hands in the connection and the schema."""

from __future__ import annotations

from alembic import context

from twinward_ledger.storage.schema import Schema

schema: Schema = context.config.attributes["schema"]
connection = context.config.attributes["connection"]
tables = schema.tables(server=connection.dialect.name != "sqlite")

context.configure(
    connection=connection,
    target_metadata=tables,
    version_table=schema.version_table,
    include_name=lambda name, kind, _parents: kind != "table" or name in tables.tables,
    compare_type=True,
    render_as_batch=True,  # SQLite alters a table by copying it
)
with context.begin_transaction():
    context.run_migrations()

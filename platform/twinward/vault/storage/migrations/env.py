"""Run by alembic for each command; ``migrations.config`` hands in the connection and the schema."""

from __future__ import annotations

from alembic import context

from twinward.vault.storage.database import Schema
from twinward.vault.storage.migrations import version_table

schema: Schema = context.config.attributes["schema"]

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.metadata,
    version_table=version_table(schema),
    include_name=lambda name, kind, _parents: kind != "table" or name in schema.metadata.tables,
    compare_type=True,
    render_as_batch=True,  # SQLite alters a table by copying it
)
with context.begin_transaction():
    context.run_migrations()

"""Accounts, notes beside them and their chain, as releases laid them that did not number them.

The first release had one table ``account``, a password or one token a row. Such a file is brought into this form; where
a chain was begun, a table of that name was made by somebody else and is left alone.
"""

from __future__ import annotations

import json
import time

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Written out, not imported from the models: a revision stays what it was when the models move on.
_NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")
_LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """What is missing; a file of an earlier release has all of it, or the form before."""
    in_file = op.get_bind().dialect.name == "sqlite"
    chain = "change" if in_file else "account_change"
    begun = sa.inspect(op.get_bind()).has_table(chain)
    op.create_table(
        "account_record",
        sa.Column("id", _NAME, primary_key=True),
        sa.Column("record", sa.String(), nullable=False),
        sqlite_with_rowid=False,
        if_not_exists=in_file,
    )
    op.create_table(
        "visit",
        sa.Column("account", _NAME, primary_key=True),
        sa.Column("size", _LONG, nullable=False),
        sa.Column("at_ms", _LONG, nullable=False),
        sqlite_with_rowid=False,
        if_not_exists=in_file,
    )
    op.create_table(
        "used",
        sa.Column("account", _NAME, primary_key=True),
        sa.Column("token", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sqlite_with_rowid=False,
        if_not_exists=in_file,
    )
    op.create_table(
        chain,
        sa.Column("seq", _LONG, primary_key=True, autoincrement=False),
        sa.Column("subject", _NAME, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        if_not_exists=in_file,
    )
    if in_file and not begun and sa.inspect(op.get_bind()).has_table("account"):
        _convert(op.get_bind(), time.time_ns() // 1_000_000)
        op.drop_table("account")


def downgrade() -> None:
    """Every account goes."""
    op.drop_table("change" if op.get_bind().dialect.name == "sqlite" else "account_change")
    for name in ("used", "visit", "account_record"):
        op.drop_table(name)


def _convert(connection: sa.Connection, now_ms: int) -> None:
    columns = "id, role, name, unit, password, token_hash, visited_size, visited_at_ms"
    for name, role, called, unit, password, token, size, at_ms in connection.exec_driver_sql(
        f"SELECT {columns} FROM account"  # noqa: S608 - a constant
    ).fetchall():
        made = [{"number": 1, "sha256": bytes(token).hex(), "made_at_ms": now_ms}] if token else []
        record = {"id": name, "role": role, "name": called, "unit": unit, "password": password, "tokens": made}
        record["password_at_ms"] = now_ms if password else 0
        connection.exec_driver_sql("INSERT OR REPLACE INTO account_record VALUES (?, ?)", (name, json.dumps(record)))
        if size:
            connection.exec_driver_sql("INSERT OR REPLACE INTO visit VALUES (?, ?, ?)", (name, size, at_ms))

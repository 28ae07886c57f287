"""Wrapping keys between KEK and twins' keys. Keys that a KEK wraps itself stay so until the next rotation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """A table, a column and an index more; no key is touched."""
    op.create_table(
        "wrapping_key",
        sa.Column("number", _LONG, primary_key=True, autoincrement=False),
        sa.Column("kek_version", sa.Integer(), nullable=False),
        sa.Column("closed", sa.Boolean(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
    )
    op.add_column("wrapped_twin_key", sa.Column("wrapping_key", _LONG, nullable=False, server_default="0"))
    op.create_index("wrapped_twin_key_by_wrapping_key", "wrapped_twin_key", ["wrapping_key"])


def downgrade() -> None:
    """Refused once a wrapping key wraps something: revision 0002 could not open it."""
    used = op.get_bind().execute(sa.text("SELECT 1 FROM wrapped_twin_key WHERE wrapping_key <> 0 LIMIT 1"))
    if used.first() is not None:
        raise ValueError("keys under wrapping keys cannot be kept by revision 0002")
    op.drop_index("wrapped_twin_key_by_wrapping_key", "wrapped_twin_key")
    with op.batch_alter_table("wrapped_twin_key", table_kwargs={"sqlite_with_rowid": False}) as table:
        table.drop_column("wrapping_key")
    op.drop_table("wrapping_key")

"""Notices of alerts that a receiver is to be sent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """The table."""
    op.create_table(
        "live_notice",
        sa.Column("id", _NAME, primary_key=True),
        sa.Column("due_ms", _LONG, nullable=False, index=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """What was not sent yet is not sent."""
    op.drop_table("live_notice")

"""The changes of the log's key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """None yet."""
    op.create_table(
        "key_changes",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
    )


def downgrade() -> None:
    """Refused: a release that knows one key only would not know its own log again."""
    raise ValueError("a log stays at the newest form it had")

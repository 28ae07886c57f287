"""The changes of the log's key. Of them, too, an earlier release may have laid the table."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
_LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TEXT = sa.String().with_variant(sa.Text(), "postgresql")


def upgrade() -> None:
    """None yet."""
    op.create_table(
        "log_key_changes",
        sa.Column("number", _LONG, primary_key=True, autoincrement=False),
        sa.Column("size", _LONG, nullable=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        if_not_exists=True,
    )


def downgrade() -> None:
    """Refused: a release that knows one key only would not know its own log again."""
    raise ValueError("a log never forgets")

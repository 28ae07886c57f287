"""What a restarted hospital goes on with: the key of its next attempt, and the seal of its newest answer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two tables."""
    op.create_table(
        "round_keys",
        sa.Column("study", sa.LargeBinary(), primary_key=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("private", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "seals",
        sa.Column("study", sa.LargeBinary(), primary_key=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=True),
        sa.Column("opened", sa.Boolean(), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """A hospital would have to begin anew what it is in the middle of."""
    op.drop_table("seals")
    op.drop_table("round_keys")

"""Which readings of patients for a study were begun, so that the log's growth is completed after a kill."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One table."""
    op.create_table(
        "open_readings",
        sa.Column("kind", sa.String(), primary_key=True),
        sa.Column("study", sa.String(), nullable=False),
        sa.Column("log_size", sa.Integer(), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """A reading that was cut short stays so in the log."""
    op.drop_table("open_readings")

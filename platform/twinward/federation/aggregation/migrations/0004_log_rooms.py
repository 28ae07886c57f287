"""By how many events the log grows when patients are read for a study."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One table."""
    op.create_table(
        "log_rooms",
        sa.Column("kind", sa.String(), primary_key=True),
        sa.Column("room", sa.Integer(), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """The next reading would tell of the patients anew, with other noise."""
    op.drop_table("log_rooms")

"""Under which requests a hospital signed to have its own privacy reserved."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One table."""
    op.create_table(
        "signed_requests",
        sa.Column("study", sa.LargeBinary(), primary_key=True),
        sa.Column("request", sa.LargeBinary(), primary_key=True),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """A hospital could sign for one study twice."""
    op.drop_table("signed_requests")

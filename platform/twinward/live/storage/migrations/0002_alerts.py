"""What the rules remember of a twin, and the alerts they raised."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Both tables."""
    op.create_table(
        "live_monitor",
        sa.Column("twin", _NAME, primary_key=True),
        sa.Column("category_tag", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "live_alert",
        sa.Column("id", _NAME, primary_key=True),
        sa.Column("twin", _NAME, nullable=False, index=True),
        sa.Column("category_tag", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Alerts go."""
    op.drop_table("live_alert")
    op.drop_table("live_monitor")

"""Officers' saved filters."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Written out, not imported from the models: a revision stays what it was when the models move on.
_NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """The one table."""
    op.create_table(
        "saved_filter",
        sa.Column("id", _NAME, primary_key=True),
        sa.Column("owner", sa.LargeBinary(), nullable=False, index=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Every saved filter goes."""
    op.drop_table("saved_filter")

"""In whose name medication is watched."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """The table."""
    op.create_table(
        "live_reminding",
        sa.Column("tag", sa.LargeBinary(), primary_key=True),
        sa.Column("revision", _LONG, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Nobody is reminded any more."""
    op.drop_table("live_reminding")

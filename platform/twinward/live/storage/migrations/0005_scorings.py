"""Which registered models score live twins."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """The table."""
    op.create_table(
        "live_scoring",
        sa.Column("tag", sa.LargeBinary(), primary_key=True),
        sa.Column("revision", _LONG, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """No model scores any more."""
    op.drop_table("live_scoring")

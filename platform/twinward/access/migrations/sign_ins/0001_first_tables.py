"""Sessions and what waits for a next step, sealed; digests of what was used once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Written out, not imported from the models: a revision stays what it was when the models move on.
_LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Two tables."""
    op.create_table(
        "sign_in",
        sa.Column("id", sa.LargeBinary(), primary_key=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("owner", sa.LargeBinary(), nullable=False, index=True),
        sa.Column("expires_at_ms", _LONG, nullable=False, index=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "used_once",
        sa.Column("id", sa.LargeBinary(), primary_key=True),
        sa.Column("expires_at_ms", _LONG, nullable=False, index=True),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Everybody has to sign in again."""
    op.drop_table("used_once")
    op.drop_table("sign_in")

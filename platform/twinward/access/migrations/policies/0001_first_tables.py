"""Versions of the policy and proposed changes, and the chain that vouches for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Written out, not imported from the models: a revision stays what it was when the models move on.
_NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")
_LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Two tables."""
    op.create_table(
        "policy_record",
        sa.Column("subject", _NAME, primary_key=True),
        sa.Column("record", sa.String(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "policy_change",
        sa.Column("seq", _LONG, primary_key=True, autoincrement=False),
        sa.Column("subject", _NAME, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
    )


def downgrade() -> None:
    """The policy is the settings' own again."""
    op.drop_table("policy_change")
    op.drop_table("policy_record")

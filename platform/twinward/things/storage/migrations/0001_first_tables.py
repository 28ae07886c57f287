"""Things, their relations, what happened to them."""

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
    """The three tables."""
    op.create_table(
        "thing",
        sa.Column("tag", sa.LargeBinary(), primary_key=True),
        sa.Column("revision", _LONG, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "thing_relation",
        sa.Column("id", _NAME, primary_key=True),
        sa.Column("thing", sa.LargeBinary(), nullable=False, index=True),
        sa.Column("target", sa.LargeBinary(), nullable=False, index=True),
        sa.Column("is_open", _LONG, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "thing_happening",
        sa.Column("id", _NAME, primary_key=True),
        sa.Column("thing", sa.LargeBinary(), nullable=False, index=True),
        sa.Column("target", sa.LargeBinary(), nullable=False, index=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Things go."""
    for name in ("thing_happening", "thing_relation", "thing"):
        op.drop_table(name)

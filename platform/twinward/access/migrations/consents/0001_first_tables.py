"""Versions of consents and their chain, as releases laid them that did not number them."""

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
    """What is missing; a file of an earlier release has all of it, or all but the chain."""
    in_file = op.get_bind().dialect.name == "sqlite"
    op.create_table(
        "consent",
        sa.Column("twin", _NAME, primary_key=True),
        sa.Column("version", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("at_ms", _LONG, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
        if_not_exists=in_file,
    )
    op.create_table(
        "change" if in_file else "consent_change",
        sa.Column("seq", _LONG, primary_key=True, autoincrement=False),
        sa.Column("subject", _NAME, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        if_not_exists=in_file,
    )


def downgrade() -> None:
    """Every consent goes."""
    op.drop_table("change" if op.get_bind().dialect.name == "sqlite" else "consent_change")
    op.drop_table("consent")

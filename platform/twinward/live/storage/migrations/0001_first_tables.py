"""Sealed series, what is settled of each source, devices' assignments, quarantine."""

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
    """The four tables."""
    op.create_table(
        "live_series",
        sa.Column("id", _NAME, primary_key=True),
        sa.Column("twin", _NAME, nullable=False),
        sa.Column("window_ms", _LONG, nullable=False),
        sa.Column("category_tag", sa.LargeBinary(), nullable=False),
        sa.Column("signal_tag", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("live_series_place", "live_series", ["twin", "window_ms"])
    for name in ("live_source", "live_device"):
        op.create_table(
            name,
            sa.Column("tag", sa.LargeBinary(), primary_key=True),
            sa.Column("revision", _LONG, nullable=False),
            sa.Column("sealed", sa.LargeBinary(), nullable=False),
            sqlite_with_rowid=False,
        )
    op.create_table(
        "live_quarantine",
        sa.Column("id", _NAME, primary_key=True),
        sa.Column("source", sa.LargeBinary(), nullable=False, index=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Everything live goes."""
    for name in ("live_quarantine", "live_device", "live_source", "live_series"):
        op.drop_table(name)

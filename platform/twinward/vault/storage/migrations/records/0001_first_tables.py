"""The first tables of the record store."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Written out, not imported from the models: a revision stays what it was when the models move on.
_NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")
_TIME = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Heads, versions and the blind index."""
    op.create_table(
        "record_head",
        sa.Column("record_id", _NAME, primary_key=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("twin", _NAME, nullable=False),
        sa.Column("category_tag", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("record_head_of_twin", "record_head", ["twin", "category_tag"])
    op.create_table(
        "sealed_record",
        sa.Column("record_id", _NAME, sa.ForeignKey("record_head.record_id"), primary_key=True),
        sa.Column("version", sa.Integer(), primary_key=True),
        sa.Column("twin", _NAME, nullable=False),
        sa.Column("category_tag", sa.LargeBinary(), nullable=False),
        sa.Column("type_tag", sa.LargeBinary(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("previous_hash", sa.LargeBinary(), nullable=False),
        sa.Column("committed_at_ms", _TIME, nullable=False),
        sa.Column("tags", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "record_tag",
        sa.Column("tag", sa.LargeBinary(), primary_key=True),
        sa.Column("record_id", _NAME, sa.ForeignKey("record_head.record_id"), primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("record_tag_of_record", "record_tag", ["record_id"])


def downgrade() -> None:
    """Every record goes."""
    op.drop_table("record_tag")
    op.drop_table("sealed_record")
    op.drop_table("record_head")

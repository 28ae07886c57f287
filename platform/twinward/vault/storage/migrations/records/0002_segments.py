"""Compacted sealed segments beside the rows, and a mark on each row."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")
_LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Two tables and a column more; what is there stays as it is."""
    op.add_column("sealed_record", sa.Column("mark", sa.LargeBinary(), nullable=True))
    op.create_table(
        "segment",
        sa.Column("number", _LONG, primary_key=True, autoincrement=False),
        sa.Column("segment_id", _NAME, nullable=False, unique=True),
        sa.Column("twin", _NAME, nullable=False),
        sa.Column("category_tag", sa.LargeBinary(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("committed_at_ms", _LONG, nullable=False),
        sa.Column("type_tags", sa.LargeBinary(), nullable=False),
        sa.Column("members", sa.LargeBinary(), nullable=False),
        sa.Column("marks", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
    )
    op.create_index("segment_of_twin", "segment", ["twin", "category_tag"])
    op.create_table(
        "segment_tag",
        sa.Column("tag", sa.LargeBinary(), primary_key=True),
        sa.Column("segment", _LONG, primary_key=True, autoincrement=False),
        sa.Column("position", sa.Integer(), primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Refused while a segment holds records: no older version of Twinward could find them."""
    if op.get_bind().execute(sa.text("SELECT 1 FROM segment LIMIT 1")).first() is not None:
        raise ValueError("segments hold records that revision 0001 cannot keep: export them, or stay at 0002")
    op.drop_table("segment_tag")
    op.drop_table("segment")
    with op.batch_alter_table("sealed_record") as table:
        table.drop_column("mark")

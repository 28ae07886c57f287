"""Sealed blocks of what records are searched by, and on each head whether one of them has it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """A table, a column and a wider index. Nothing is in a block yet: searches fill them as they go."""
    op.add_column("record_head", sa.Column("indexed", sa.Integer(), nullable=False, server_default="0"))
    op.drop_index("record_head_of_twin", table_name="record_head")
    columns = ["twin", "category_tag", "record_id", "indexed", "version"]
    op.create_index("record_head_of_twin", "record_head", columns)
    op.create_table(
        "search_block",
        sa.Column("block_id", _NAME, primary_key=True),
        sa.Column("twin", _NAME, nullable=False),
        sa.Column("category_tag", sa.LargeBinary(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
    )
    op.create_index("search_block_of_twin", "search_block", ["twin", "category_tag"])


def downgrade() -> None:
    """Searches open every record again."""
    op.drop_table("search_block")
    op.drop_index("record_head_of_twin", table_name="record_head")
    with op.batch_alter_table("record_head") as table:
        table.drop_column("indexed")
    op.create_index("record_head_of_twin", "record_head", ["twin", "category_tag"])

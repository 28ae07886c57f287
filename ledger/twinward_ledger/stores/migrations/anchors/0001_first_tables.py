"""The anchor journal, as releases laid it that did not number it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")
_LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """What is missing; a file of an earlier release has it."""
    in_file = op.get_bind().dialect.name == "sqlite"
    op.create_table(
        "anchors",
        sa.Column("size", _LONG, primary_key=True, autoincrement=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.Column("confirmed", sa.Integer(), nullable=False),
        if_not_exists=in_file,
    )
    op.create_table(
        "trouble",
        sa.Column("kind", _NAME, primary_key=True),
        sa.Column("since_ms", _LONG, nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        if_not_exists=in_file,
    )


def downgrade() -> None:
    """Every anchor that was on its way is forgotten."""
    op.drop_table("trouble")
    op.drop_table("anchors")

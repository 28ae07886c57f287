"""What a witness has cosigned, as releases laid it that did not number it."""

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
        "seen",
        sa.Column("origin", _NAME, primary_key=True),
        sa.Column("size", _LONG, primary_key=True, autoincrement=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
        if_not_exists=in_file,
    )
    op.create_table(
        "accepted_times",
        sa.Column("chain_id", _NAME, primary_key=True),
        sa.Column("contract", sa.LargeBinary(), primary_key=True),
        sa.Column("time_s", _LONG, nullable=False),
        sa.Column("at_ms", _LONG, nullable=False),
        sqlite_with_rowid=False,
        if_not_exists=in_file,
    )


def downgrade() -> None:
    """Refused: a witness that forgets could be made to sign a second history."""
    raise ValueError("a witness never forgets what it has cosigned")

"""The first tables of the keyring."""

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
    """Wrapped keys, and the names of twins whose keys were destroyed."""
    op.create_table(
        "wrapped_twin_key",
        sa.Column("twin", _NAME, primary_key=True),
        sa.Column("generation", sa.Integer(), primary_key=True),
        sa.Column("kek_version", sa.Integer(), nullable=False),
        sa.Column("created", sa.Boolean(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("wrapped_twin_key_by_kek", "wrapped_twin_key", ["kek_version"])
    op.create_table(
        "shredded_twin",
        sa.Column("twin", _NAME, primary_key=True),
        sa.Column("shredded_at_ms", _TIME, nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Every key goes, and with the keys whatever they open."""
    op.drop_table("shredded_twin")
    op.drop_table("wrapped_twin_key")

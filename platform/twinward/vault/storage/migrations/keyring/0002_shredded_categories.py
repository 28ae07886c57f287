"""Keys that outlive their root when a category is shredded; erasures and retirements that can be resumed."""

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
    """A column and two tables more, an index less; wrapped keys stay as they are."""
    op.add_column("wrapped_twin_key", sa.Column("kept", sa.LargeBinary(), nullable=True))
    op.drop_index("wrapped_twin_key_by_kek", "wrapped_twin_key")  # it made a rotation twice as slow
    op.create_table(
        "erasure",
        sa.Column("number", _LONG, primary_key=True, autoincrement=False),
        sa.Column("twin", _NAME, nullable=False),
        sa.Column("category_tags", sa.LargeBinary(), nullable=False),
        sa.Column("kek_version", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("done_at_index", _LONG, nullable=True),
    )
    op.create_table(
        "retiring_kek",
        sa.Column("kek_version", sa.Integer(), primary_key=True, autoincrement=False),
    )


def downgrade() -> None:
    """Refused once a category was shredded or while an erasure is unfinished: revision 0001 has no words for it."""
    connection = op.get_bind()
    for question in (
        "SELECT 1 FROM wrapped_twin_key WHERE kept IS NOT NULL LIMIT 1",
        "SELECT 1 FROM erasure WHERE done_at_index IS NULL LIMIT 1",
        "SELECT 1 FROM retiring_kek LIMIT 1",
    ):
        if connection.execute(sa.text(question)).first() is not None:
            raise ValueError("a shredded category or an unfinished erasure cannot be kept by revision 0001")
    op.drop_table("retiring_kek")
    op.drop_table("erasure")
    op.create_index("wrapped_twin_key_by_kek", "wrapped_twin_key", ["kek_version"])
    with op.batch_alter_table("wrapped_twin_key", table_kwargs={"sqlite_with_rowid": False}) as table:
        table.drop_column("kept")

"""Tags packed into postings: a few bytes an entry instead of a row."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter

import sqlalchemy as sa
from alembic import op

from twinward_ledger.stores import postings

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Every tag's rows become a few."""
    table = op.create_table(
        "postings",
        sa.Column("tag", sa.LargeBinary(), primary_key=True),
        sa.Column("first", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("distances", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )
    rows = op.get_bind().exec_driver_sql("SELECT tag, idx FROM tags ORDER BY tag, idx").fetchall()
    for tag, group in groupby(rows, key=itemgetter(0)):
        packed = postings.of_tag(tag, [index for _, index in group])
        op.bulk_insert(table, [{"tag": tag, "first": first, "distances": more} for tag, first, more in packed])
    op.drop_table("tags")


def downgrade() -> None:
    """Refused: no release that is still in use reads the older form."""
    raise ValueError("a log stays at the newest form it had")

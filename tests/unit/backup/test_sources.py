"""Which databases a backup knows."""

from __future__ import annotations

import pytest

from twinward.backup.create import rows_of
from twinward.core.errors import Unavailable


@pytest.mark.parametrize("uri", ["mysql://db.example/node", "memory:", "", "sqlite", "postgresql:db"])
def test_a_kind_without_a_known_backup_is_refused_and_never_passed_over(uri: str) -> None:
    with pytest.raises(Unavailable, match="cannot be backed up"):
        rows_of(uri, "SELECT 1")

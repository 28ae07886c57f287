"""What the node computes from records leaves as what it is, features or a match, and never as a record."""

from __future__ import annotations

from collections.abc import Iterable

from twinward.access.errors import NotARecord
from twinward.core.vocabulary import DERIVED_FROM, Category


def require_records(categories: Iterable[Category]) -> None:
    """Raise ``NotARecord`` where a category is asked for that holds no records but what was computed from them."""
    derived = sorted(one.value for one in set(categories) & DERIVED_FROM.keys())
    if derived:
        raise NotARecord(f"{', '.join(derived)}: computed by this node from other records, and never given as a record")

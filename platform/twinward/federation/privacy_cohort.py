"""Whose privacy the studies of this domain spend, as the ledger names it.

By itself, because a node needs the name and nothing that studies compute with.
"""

from __future__ import annotations

from typing import Final

COHORT: Final = "monitored-stays"
"""Every monitored stay of a hospital."""

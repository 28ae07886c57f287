"""Who the node's own jobs are."""

from __future__ import annotations

from twinward.access.interfaces import NODE

SYSTEM = NODE
"""Filing what is imported, taking cohort snapshots."""

"""Who the node's own jobs are."""

from __future__ import annotations

from twinward.access.interfaces import Principal
from twinward.vocabulary import Role

SYSTEM = Principal("node", Role.SYSTEM, "this node")
"""Filing what is imported, taking cohort snapshots."""

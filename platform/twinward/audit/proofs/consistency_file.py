"""A consistency proof as a file: what an auditor who keeps a receipt asks for when the log has grown."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from twinward_crypto.canonical import canonicalize

FORMAT = "twinward/consistency/1"


def growth_file(origin: str, old: int, new: int, path: Sequence[bytes]) -> bytes:
    """RFC 8785 JSON that ``twinward-verify --consistency`` reads."""
    nodes = [base64.b64encode(node).decode() for node in path]
    return canonicalize({"format": FORMAT, "origin": origin, "old": str(old), "new": str(new), "path": nodes})

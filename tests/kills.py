"""How often the crash tests kill: a few times in `make test-all`, as often as is promised in `make kills`."""

from __future__ import annotations

import os


def kills(few: int, promised: int) -> int:
    """``promised`` where TWINWARD_KILLS=all, else ``few``."""
    return promised if os.environ.get("TWINWARD_KILLS") == "all" else few

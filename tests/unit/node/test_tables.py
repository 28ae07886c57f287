"""What a server's database for the node's state is laid with, and a home's files are moved out of."""

from __future__ import annotations

import re
from pathlib import Path

import twinward
from twinward.node import tables

SOURCES = Path(twinward.__file__).parent


def test_every_small_store_is_laid_and_moved() -> None:
    asked = {
        name
        for path in SOURCES.rglob("*.py")
        for name in re.findall(r"\.state\(([A-Z_]+)\)", path.read_text(encoding="utf-8"))
    }
    named = {name for name in vars(tables) if getattr(tables, name) in tables.SMALL_STORES and name.isupper()}
    assert len(asked) >= 7
    assert asked == named

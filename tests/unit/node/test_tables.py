"""What a server's database for the node's state is laid with, and a home's files are moved out of."""

from __future__ import annotations

import re
from pathlib import Path

from twinward.node import node as parts
from twinward.node.tables import STATE_FILES

SOURCES = Path(parts.__file__).parents[1]


def test_every_small_store_is_laid_and_moved() -> None:
    asked = {
        name
        for path in SOURCES.rglob("*.py")
        for name in re.findall(r"\.state_uri\((\w+)\)", path.read_text(encoding="utf-8"))
    }
    assert len(asked) >= 7
    assert {getattr(parts, name) for name in asked} == {file for _, file in STATE_FILES}

"""What waits for an officer, as Home lists it: the read-model's list, with a colour for each."""

from __future__ import annotations

from typing import Any

from twinward.node import Node
from twinward.overview import work


def work_waiting(node: Node) -> list[dict[str, Any]]:
    """Each kind of work with its sentence, where it is done, and whether it is late."""
    return [
        {"say": one.say, "href": one.page, "kind": "bad" if one.overdue else "good" if one.count == 0 else "warn"}
        for one in work.work_waiting(node)
    ]

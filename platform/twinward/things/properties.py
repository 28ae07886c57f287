"""What a thing's description names as its properties, with their values: nothing that may not be seen is among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from twinward.core.clock import iso

if TYPE_CHECKING:
    from twinward.things.service import Shown


def properties(shown: Shown) -> Mapping[str, Any]:
    """The values, by the names that ``descriptions.PROPERTIES`` gives them; what is not known is null."""
    if shown.service is not None:
        due = shown.service.due_ms
        used = {} if shown.service.used_h is None else {"useHours": round(shown.service.used_h, 2)}
        return used | {"serviceDue": None if due is None else iso(due)}
    if shown.state is None:
        return {"level": shown.thing.level}
    state = shown.state
    acuity = {} if state.acuity is None else {"acuity": dict(state.acuity)}
    counted = {"beds": state.beds, "census": state.census, "free": state.free, **acuity}
    return counted | {"equipmentDue": len(state.due)}

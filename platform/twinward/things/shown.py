"""A thing as it stands, with what its description names as its properties: nothing that may not be seen is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twinward.core.clock import iso
from twinward.things.maintenance import Service
from twinward.things.models import Related, Thing
from twinward.things.wards import WardState


@dataclass(frozen=True, slots=True)
class Shown:
    """A thing as it stands.

    Attributes:
        relations: those without an end; those to patients only for who files them.
        contains: what stands to it so.
        service: of a device or a bed, how it stands to its maintenance.
        state: of a ward or a hospital.
    """

    thing: Thing
    relations: tuple[Related, ...]
    contains: tuple[Related, ...]
    service: Service | None = None
    state: WardState | None = None

    def properties(self) -> Mapping[str, Any]:
        """The values, by the names that ``descriptions.PROPERTIES`` gives them; what is not known is null."""
        if self.service is not None:
            due = self.service.due_ms
            used = {} if self.service.used_h is None else {"useHours": round(self.service.used_h, 2)}
            return used | {"serviceDue": None if due is None else iso(due)}
        if self.state is None:
            return {"level": self.thing.level}
        state = self.state
        acuity = {} if state.acuity is None else {"acuity": dict(state.acuity)}
        counted = {"beds": state.beds, "census": state.census, "free": state.free, **acuity}
        return counted | {"equipmentDue": len(state.due)}

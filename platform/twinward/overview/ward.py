"""A ward as people read it: patients by their names, as far as each may be named."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import msgspec

from twinward.access.interfaces import Permit
from twinward.core.errors import NotFound, Refused
from twinward.core.vocabulary import Category
from twinward.node import Node
from twinward.overview.people import human_name
from twinward.vault.errors import RecordDamaged

NAMED: Final = frozenset({Category.DEMOGRAPHICS})
"""What a ward asks for beside what it measures."""


def name_of(node: Node, permits: Sequence[Permit]) -> str:
    """A patient's name by permits that cover demographics; empty where none does, or the record has none."""
    permit = next((one for one in permits if one.request.categories >= NAMED), None)
    if permit is None:
        return ""
    with suppress(Refused, NotFound, RecordDamaged):  # withdrawn or erased since; or altered: the others have names
        for record in node.vault.read_twin(permit, record_type="Patient")[:1]:
            resource = msgspec.json.decode(record.content)
            return human_name(resource) if isinstance(resource, dict) else ""
    return ""

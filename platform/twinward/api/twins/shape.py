"""A twin as JSON, in the shape of an Eclipse Ditto thing; and which version of it an answer shows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from twinward.api.twins.selectors import Selection, pick
from twinward.core.clock import iso
from twinward.core.errors import NotFound
from twinward.features.schema import FeatureSchema
from twinward.twins.state.states import FeatureState, Outline, TwinState

JsonObject = dict[str, Any]
_VIEW_CHARS = 8


def whole(state: TwinState, schema: FeatureSchema, selection: Selection) -> JsonObject:
    """The twin, or the members of it that are wanted."""
    attributes = {
        "schema": schema.name,
        "schemaVersion": schema.version,
        "withheld": sorted(category.value for category in state.withheld),
    }
    shown = {"twinId": state.outline.twin, "attributes": attributes, "features": features(state)}
    return pick(shown | _meta(state.outline), selection)


def outlined(outline: Outline) -> JsonObject:
    """What may be known of a twin without opening anything."""
    return {"twinId": outline.twin} | _meta(outline)


def features(state: TwinState) -> JsonObject:
    """Every feature that has anything to show."""
    return {name: feature(one) for name, one in state.features.items()}


def feature(state: FeatureState) -> JsonObject:
    """One feature: what was measured, what care aims at."""
    shown = {"properties": state.properties, "desiredProperties": state.desired}
    return {name: value for name, value in shown.items() if value is not None}


def tag_of(outline: Outline, *view: object) -> str:
    """The entity tag of an answer: the twin's revision, and a digest of the day, what is shown of it and to whom.

    The day is in it since what is shown changes by the day without a revision: an age, a reading dated ahead.
    """
    digest = hashlib.sha256(json.dumps([str(one) for one in (outline.on, *view)]).encode()).hexdigest()
    return f"{outline.revision}-{digest[:_VIEW_CHARS]}"


def target_tag(outline: Outline, name: str) -> str:
    """The entity tag of one feature's target and of everything in it."""
    return f"target-{outline.version(name)}"


def at_path(tree: object, path: Sequence[str]) -> Any:
    """What stands at a path. Raises ``NotFound``."""
    for name in path:
        if not isinstance(tree, dict) or name not in tree:
            raise NotFound("there is nothing at this path")
        tree = tree[name]
    return tree


def segments(path: str) -> list[str]:
    """A path's names. Raises ``NotFound`` for an empty one: there is nothing without a name."""
    found = path.split("/")
    if not all(found):
        raise NotFound("there is nothing at this path")
    return found


def _meta(outline: Outline) -> JsonObject:
    modified = iso(outline.modified_ms) if outline.modified_ms else None
    return {"_revision": outline.revision, "_modified": modified}

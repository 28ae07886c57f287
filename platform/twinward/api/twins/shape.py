"""A twin as JSON, in the shape of an Eclipse Ditto thing: which members are wanted, and which version an answer shows.

The ``fields`` parameter is Ditto's notation: ``twinId,features/bmi/properties(value,unit)``. JSON pointers without the
leading slash (one is allowed), separated by commas; parentheses hold what is wanted below.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from twinward.core.clock import iso
from twinward.core.errors import BadInput, NotFound
from twinward.features.schema import FeatureSchema
from twinward.twins.state.states import FeatureState, Outline, TwinState

JsonObject = dict[str, Any]
_VIEW_CHARS = 8
MAX_CHARS = 1000
MAX_DEPTH = 8

Selection = dict[str, "Selection"]
"""Wanted members; an empty selection below a name wants all of it."""


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


def selection_of(text: str) -> Selection:
    """A selection from its notation; an empty text wants everything. Raises ``BadInput``."""
    if len(text) > MAX_CHARS:
        raise BadInput(f"fields has {MAX_CHARS} characters at most")
    if not text:
        return {}
    selection, rest = _list(text, 0)
    if rest:
        raise _malformed()
    return selection


def pick(tree: Mapping[str, Any], selection: Selection) -> dict[str, Any]:
    """Those members of a tree that are wanted; what it does not have is left out."""
    if not selection:
        return dict(tree)
    picked: dict[str, Any] = {}
    for name, below in selection.items():
        if name not in tree:
            continue
        value = tree[name]
        if not below:
            picked[name] = value
        elif isinstance(value, Mapping) and (inner := pick(value, below)):
            picked[name] = inner
    return picked


def _list(text: str, depth: int) -> tuple[Selection, str]:
    """Pointers up to a closing parenthesis or the end, and what follows."""
    if depth > MAX_DEPTH:
        raise BadInput(f"fields nests {MAX_DEPTH} levels at most")
    selection: Selection = {}
    while True:
        end = next((at for at, char in enumerate(text) if char in ",()"), len(text))
        path, text = text[:end].strip().removeprefix("/").split("/"), text[end:]
        if not all(path) or len(path) > MAX_DEPTH:
            raise _malformed()
        below: Selection = {}
        if text.startswith("("):
            below, text = _list(text[1:], depth + 1)
            if not text.startswith(")"):
                raise _malformed()
            text = text[1:]
        _join(selection, path, below)
        if not text.startswith(","):
            return selection, text
        text = text[1:]


def _join(selection: Selection, path: list[str], below: Selection) -> None:
    for name in path[:-1]:
        if name in selection and not selection[name]:
            return  # all of it is wanted already
        selection = selection.setdefault(name, {})
    name = path[-1]
    if not below or (name in selection and not selection[name]):
        selection[name] = {}
    else:
        for inner, deeper in below.items():
            _join(selection.setdefault(name, {}), [inner], deeper)


def _malformed() -> BadInput:
    return BadInput("fields is not a list of members", hint="e.g. fields=twinId,features/bmi(properties)")

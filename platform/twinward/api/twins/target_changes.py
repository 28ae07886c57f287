"""What becomes of a care target: merged, one member set, one taken out. Nothing here knows of HTTP."""

from __future__ import annotations

from typing import Any

from twinward.core.errors import BadInput, Conflict, NotFound
from twinward.twins.state.states import JsonObject
from twinward.twins.state.targets import Change, merge_patch


def of_feature(patch: Any) -> Change:
    """A merge patch of one feature, which may only be about its target. Raises ``BadInput``."""
    if patch is None or not isinstance(patch, dict) or patch.keys() - {"desiredProperties"}:
        raise BadInput(
            "a patch of a feature holds desiredProperties only", hint="what was measured changes by what is recorded"
        )
    if "desiredProperties" not in patch:
        raise BadInput("a patch of a feature holds its desiredProperties")
    wanted = patch["desiredProperties"]
    return lambda present: None if wanted is None else merged(present, wanted)


def merged(present: JsonObject | None, patch: object) -> JsonObject:
    """The target with a merge patch in it (RFC 7396). Raises ``BadInput`` where that is no object."""
    target = merge_patch(present, patch)
    if not isinstance(target, dict):
        raise BadInput("a care target is a JSON object")
    return target


def with_member(present: JsonObject | None, names: list[str], value: Any) -> JsonObject:
    """The target with one member set; objects on the way are made where there are none.

    Raises:
        Conflict: something on the way is there and is no object.
    """
    whole: JsonObject = dict(present or {})
    inner = whole
    for name in names[:-1]:
        below = inner.get(name, {})
        if not isinstance(below, dict):
            raise Conflict(f"{name} is there and is no object: nothing can be set below it")
        inner[name] = dict(below)
        inner = inner[name]
    inner[names[-1]] = value
    return whole


def without(present: JsonObject | None, names: list[str]) -> JsonObject:
    """The target without one member. Raises ``NotFound`` where there is none."""
    whole: JsonObject = dict(present or {})
    inner = whole
    for name in names[:-1]:
        below = inner.get(name)
        if not isinstance(below, dict):
            raise NotFound("there is nothing at this path")
        inner[name] = dict(below)
        inner = inner[name]
    if names[-1] not in inner:
        raise NotFound("there is nothing at this path")
    del inner[names[-1]]
    return whole

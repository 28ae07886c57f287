"""Care targets over HTTP: set, merged (RFC 7396) and deleted by clinicians, never over somebody else's change.

What is there is only replaced by a request that names it: ``If-Match`` with its ETag, else 428; 412 if it has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse, Response

from twinward.access.interfaces import AccessContext
from twinward.api.http.caller import access_context
from twinward.api.http.conditions import evaluates, of_tags, quoted, require_fits
from twinward.api.http.json_body import JSON, Sent, small_body
from twinward.api.twins import shape
from twinward.api.twins.reading import PREFIX, FeaturePath, InnerPath, TwinPath
from twinward.core.errors import BadInput, Conflict, NotFound
from twinward.core.preconditions import IF_MATCH, IF_NONE_MATCH, Preconditions
from twinward.core.small_json import decode
from twinward.core.vocabulary import Action, TwinId
from twinward.twins.service import Twins
from twinward.twins.state.states import JsonObject, Outline
from twinward.twins.state.targets import Change, merge_patch

MERGE_PATCH = "application/merge-patch+json"
_ANY_OBJECT = {"type": "object"}


def _documented(*media: str, schema: JsonObject | None = None) -> dict[str, Any]:
    content = {one: {"schema": _ANY_OBJECT if schema is None else schema} for one in media}
    return {"requestBody": {"required": True, "content": content}}


_ETAG = {"ETag": {"schema": {"type": "string"}, "description": "The version that is there now."}}
CHANGING: dict[int | str, dict[str, Any]] = {
    204: {"description": "Done", "headers": _ETAG},
    412: {"description": "If-Match or If-None-Match does not hold: another version is there"},
    428: {"description": "Something is there: say which version was seen (If-Match)"},
}
SETTING = CHANGING | {201: {"description": "There was none: it is new", "headers": _ETAG}}
_TARGET = "/{twin}/features/{feature}/desiredProperties"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What every change says: who asks and why, and under which conditions."""

    context: AccessContext
    conditions: Preconditions


_Asker = Callable[..., Coroutine[Any, Any, _Asked]]
"""The dependency that gathers it."""


@dataclass(frozen=True, slots=True)
class _Changing:
    """Changes targets, and answers with what became of them."""

    twins: Twins

    def one(
        self,
        asked: _Asked,
        twin: str,
        feature: str,
        change: Change,
        *,
        based_on_present: bool = True,
        must_exist: bool = False,
    ) -> Response:
        """The target of one feature: 201 where there was none."""
        targets, units = self.twins.targets, self.twins.states.units
        if feature not in units:
            raise NotFound("the schema has no such feature", hint=f"one of {', '.join(units)}")
        existed = False

        def guard(outline: Outline) -> None:
            nonlocal existed
            existed = targets.is_set(outline, feature)
            require_fits(asked.conditions, shape.target_tag(outline, feature) if existed else None)
            if must_exist and not existed:
                raise NotFound("there is no care target here")

        after = targets.change(
            asked.context,
            TwinId(twin),
            {feature: change},
            guard=guard,
            based_on_present=based_on_present,
        )
        headers = {"etag": quoted(shape.target_tag(after, feature))}
        if existed or must_exist:
            return Response(status_code=204, headers=headers)
        return JSONResponse({"_revision": after.revision}, status_code=201, headers=headers)

    def several(self, asked: _Asked, twin: str, patch: Callable[[], JsonObject]) -> Response:
        """The targets of some features, all or none. The patch is looked at once the caller is known to write here."""
        self.twins.require(asked.context, Action.WRITE)
        changes = {name: _of_feature(part) for name, part in patch().items()}
        if not changes:
            raise BadInput("the patch names no feature")

        def guard(outline: Outline) -> None:
            require_fits(asked.conditions, str(outline.revision), part=_revision)

        after = self.twins.targets.change(asked.context, TwinId(twin), changes, guard=guard)
        return Response(status_code=204, headers={"etag": quoted(shape.tag_of(after, "written"))})


def twin_targets_router(twins: Twins, principal_of: Callable[..., Any]) -> APIRouter:
    """The routes that change care targets."""
    router = APIRouter(prefix=PREFIX, tags=["Twins"])

    context_of = access_context(principal_of)

    async def asked(
        context: AccessContext = Depends(context_of),
        conditions: Preconditions = Depends(of_tags),
    ) -> _Asked:
        return _Asked(context, conditions)

    changing = _Changing(twins)
    _add_whole(router, changing, asked)
    _add_members(router, changing, asked)
    _add_several(router, changing, asked)
    return router


def _add_whole(router: APIRouter, changing: _Changing, asked_of: _Asker) -> None:
    @router.put(
        _TARGET, summary="Set the care target", status_code=204, responses=SETTING, openapi_extra=_documented(JSON)
    )
    @evaluates(IF_MATCH, IF_NONE_MATCH)
    def put_target(
        twin: TwinPath,
        feature: FeaturePath,
        asked: _Asked = Depends(asked_of),
        body: Sent = Depends(small_body),
    ) -> Response:
        def change(_: JsonObject | None) -> JsonObject:
            return _object(body, JSON)

        return changing.one(asked, twin, feature, change, based_on_present=False)

    @router.patch(
        _TARGET,
        summary="Merge into the care target (RFC 7396)",
        status_code=204,
        responses=SETTING,
        openapi_extra=_documented(MERGE_PATCH, JSON),
    )
    @evaluates(IF_MATCH, IF_NONE_MATCH)
    def patch_target(
        twin: TwinPath,
        feature: FeaturePath,
        asked: _Asked = Depends(asked_of),
        body: Sent = Depends(small_body),
    ) -> Response:
        def change(present: JsonObject | None) -> JsonObject:
            return _merged(present, _object(body, MERGE_PATCH, JSON))

        return changing.one(asked, twin, feature, change)

    @router.delete(_TARGET, summary="Delete the care target; its history stays", status_code=204, responses=CHANGING)
    @evaluates(IF_MATCH, IF_NONE_MATCH)
    def delete_target(twin: TwinPath, feature: FeaturePath, asked: _Asked = Depends(asked_of)) -> Response:
        return changing.one(asked, twin, feature, lambda _: None, based_on_present=False, must_exist=True)


def _add_members(router: APIRouter, changing: _Changing, asked_of: _Asker) -> None:
    @router.put(
        _TARGET + "/{path:path}",
        summary="Set one member of the care target",
        status_code=204,
        responses=SETTING,
        openapi_extra=_documented(JSON, schema={}),
    )
    @evaluates(IF_MATCH, IF_NONE_MATCH)
    def put_member(
        twin: TwinPath,
        feature: FeaturePath,
        path: InnerPath,
        asked: _Asked = Depends(asked_of),
        body: Sent = Depends(small_body),
    ) -> Response:
        def change(present: JsonObject | None) -> JsonObject:
            return _with_member(present, shape.segments(path), _json(body, JSON))

        return changing.one(asked, twin, feature, change)

    @router.delete(
        _TARGET + "/{path:path}", summary="Delete one member of the care target", status_code=204, responses=CHANGING
    )
    @evaluates(IF_MATCH, IF_NONE_MATCH)
    def delete_member(
        twin: TwinPath, feature: FeaturePath, path: InnerPath, asked: _Asked = Depends(asked_of)
    ) -> Response:
        def change(present: JsonObject | None) -> JsonObject:
            return _without(present, shape.segments(path))

        return changing.one(asked, twin, feature, change, must_exist=True)


def _add_several(router: APIRouter, changing: _Changing, asked_of: _Asker) -> None:
    @router.patch(
        "/{twin}/features",
        summary="Merge into several care targets at once (RFC 7396)",
        status_code=204,
        responses=CHANGING,
        openapi_extra=_documented(MERGE_PATCH, JSON),
    )
    @evaluates(IF_MATCH, IF_NONE_MATCH)
    def patch_features(
        twin: TwinPath,
        asked: _Asked = Depends(asked_of),
        body: Sent = Depends(small_body),
    ) -> Response:
        return changing.several(asked, twin, lambda: _object(body, MERGE_PATCH, JSON))


def _object(body: Sent, *media: str) -> JsonObject:
    content = _json(body, *media)
    if not isinstance(content, dict):
        raise BadInput("the body is not a JSON object")
    return content


def _json(body: Sent, *media: str) -> Any:
    return decode(body.of(*media))


def _revision(tag: str) -> str:
    """The part of a twin's entity tag that says which revision it is of, whatever was shown of it."""
    return tag.partition("-")[0]


def _of_feature(patch: Any) -> Change:
    """A merge patch of one feature, which may only be about its target. Raises ``BadInput``."""
    if patch is None or not isinstance(patch, dict) or patch.keys() - {"desiredProperties"}:
        raise BadInput(
            "a patch of a feature holds desiredProperties only", hint="what was measured changes by what is recorded"
        )
    if "desiredProperties" not in patch:
        raise BadInput("a patch of a feature holds its desiredProperties")
    wanted = patch["desiredProperties"]
    return lambda present: None if wanted is None else _merged(present, wanted)


def _merged(present: JsonObject | None, patch: object) -> JsonObject:
    """The target with a merge patch in it (RFC 7396). Raises ``BadInput`` where that is no object."""
    target = merge_patch(present, patch)
    if not isinstance(target, dict):
        raise BadInput("a care target is a JSON object")
    return target


def _with_member(present: JsonObject | None, names: list[str], value: Any) -> JsonObject:
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


def _without(present: JsonObject | None, names: list[str]) -> JsonObject:
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

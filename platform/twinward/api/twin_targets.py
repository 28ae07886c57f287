"""Care targets over HTTP: set, merged (RFC 7396) and deleted by clinicians, never over somebody else's change.

What is there is only replaced by a request that names it: ``If-Match`` with its ETag, else 428; 412 if it has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from twinward.access.interfaces import Principal
from twinward.api import twin_shape
from twinward.api.conditions import quoted, require_fits
from twinward.api.json_body import decode, small_body
from twinward.api.twin_reason import Reason, reason
from twinward.api.twins import PREFIX, FeaturePath, InnerPath, TwinPath
from twinward.errors import BadInput, Conflict, NotFound
from twinward.twins.service import Twins
from twinward.twins.state import JsonObject, Outline
from twinward.twins.targets import Change, merge_patch
from twinward.vocabulary import Action, TwinId

MERGE_PATCH = "application/merge-patch+json"
_JSON = "application/json"
_ANY_OBJECT = {"type": "object"}


class UnsupportedMedia(BadInput):
    """A body of another kind than the route takes."""

    http_status = 415


def _documented(*media: str, schema: JsonObject | None = None) -> dict[str, Any]:
    content = {one: {"schema": _ANY_OBJECT if schema is None else schema} for one in media}
    return {"requestBody": {"required": True, "content": content}}


_ETAG = {"ETag": {"schema": {"type": "string"}, "description": "The version that is there now."}}
CHANGING: dict[int | str, dict[str, Any]] = {
    204: {"description": "Done", "headers": _ETAG},
    412: {"description": "If-Match or If-None-Match does not hold: another version is there"},
    415: {"description": "Another media type than this route takes"},
    428: {"description": "Something is there: say which version was seen (If-Match)"},
}
SETTING = CHANGING | {201: {"description": "There was none: it is new", "headers": _ETAG}}


def twin_targets_router(twins: Twins, principal_of: Callable[..., Principal]) -> APIRouter:
    """The routes that change care targets."""
    router = APIRouter(prefix=PREFIX, tags=["Twins"])
    target = "/{twin}/features/{feature}/desiredProperties"

    @router.put(
        target, summary="Set the care target", status_code=204, responses=SETTING, openapi_extra=_documented(_JSON)
    )
    def put_target(
        request: Request,
        twin: TwinPath,
        feature: FeaturePath,
        principal: Principal = Depends(principal_of),
        why: Reason = Depends(reason),
        body: bytes = Depends(small_body),
    ) -> Response:
        return change_one(
            request, principal, why, twin, feature, lambda _: _object(request, body, _JSON), based_on_present=False
        )

    @router.patch(
        target,
        summary="Merge into the care target (RFC 7396)",
        status_code=204,
        responses=SETTING,
        openapi_extra=_documented(MERGE_PATCH, _JSON),
    )
    def patch_target(
        request: Request,
        twin: TwinPath,
        feature: FeaturePath,
        principal: Principal = Depends(principal_of),
        why: Reason = Depends(reason),
        body: bytes = Depends(small_body),
    ) -> Response:
        return change_one(
            request,
            principal,
            why,
            twin,
            feature,
            lambda present: _merged(present, _object(request, body, MERGE_PATCH, _JSON)),
        )

    @router.delete(target, summary="Delete the care target; its history stays", status_code=204, responses=CHANGING)
    def delete_target(
        request: Request,
        twin: TwinPath,
        feature: FeaturePath,
        principal: Principal = Depends(principal_of),
        why: Reason = Depends(reason),
    ) -> Response:
        return change_one(
            request, principal, why, twin, feature, lambda _: None, based_on_present=False, must_exist=True
        )

    @router.put(
        target + "/{path:path}",
        summary="Set one member of the care target",
        status_code=204,
        responses=SETTING,
        openapi_extra=_documented(_JSON, schema={}),
    )
    def put_member(
        request: Request,
        twin: TwinPath,
        feature: FeaturePath,
        path: InnerPath,
        principal: Principal = Depends(principal_of),
        why: Reason = Depends(reason),
        body: bytes = Depends(small_body),
    ) -> Response:
        def change(present: JsonObject | None) -> JsonObject:
            return _with_member(present, twin_shape.segments(path), _json(request, body, _JSON))

        return change_one(request, principal, why, twin, feature, change)

    @router.delete(
        target + "/{path:path}", summary="Delete one member of the care target", status_code=204, responses=CHANGING
    )
    def delete_member(
        request: Request,
        twin: TwinPath,
        feature: FeaturePath,
        path: InnerPath,
        principal: Principal = Depends(principal_of),
        why: Reason = Depends(reason),
    ) -> Response:
        return change_one(
            request,
            principal,
            why,
            twin,
            feature,
            lambda present: _without(present, twin_shape.segments(path)),
            must_exist=True,
        )

    @router.patch(
        "/{twin}/features",
        summary="Merge into several care targets at once (RFC 7396)",
        status_code=204,
        responses=CHANGING,
        openapi_extra=_documented(MERGE_PATCH, _JSON),
    )
    def patch_features(
        request: Request,
        twin: TwinPath,
        principal: Principal = Depends(principal_of),
        why: Reason = Depends(reason),
        body: bytes = Depends(small_body),
    ) -> Response:
        twins.require(principal, Action.WRITE, why.purpose)
        changes = {name: _of_feature(patch) for name, patch in _object(request, body, MERGE_PATCH, _JSON).items()}
        if not changes:
            raise BadInput("the patch names no feature")

        def guard(outline: Outline) -> None:
            require_fits(request, str(outline.revision), part=_revision)

        after = twins.targets.change(principal, why.purpose, TwinId(twin), changes, guard=guard)
        return Response(status_code=204, headers={"etag": quoted(twin_shape.tag_of(after, "written"))})

    def change_one(
        request: Request,
        principal: Principal,
        why: Reason,
        twin: str,
        feature: str,
        change: Change,
        *,
        based_on_present: bool = True,
        must_exist: bool = False,
    ) -> Response:
        if feature not in twins.states.units:
            raise NotFound("the schema has no such feature", hint=f"one of {', '.join(twins.states.units)}")
        existed = False

        def guard(outline: Outline) -> None:
            nonlocal existed
            existed = twins.targets.is_set(outline, feature)
            require_fits(request, twin_shape.target_tag(outline, feature) if existed else None)
            if must_exist and not existed:
                raise NotFound("there is no care target here")

        after = twins.targets.change(
            principal,
            why.purpose,
            TwinId(twin),
            {feature: change},
            guard=guard,
            based_on_present=based_on_present,
            justification=why.justification,
        )
        headers = {"etag": quoted(twin_shape.target_tag(after, feature))}
        if existed or must_exist:
            return Response(status_code=204, headers=headers)
        return JSONResponse({"_revision": after.revision}, status_code=201, headers=headers)

    return router


def _object(request: Request, body: bytes, *media: str) -> JsonObject:
    content = _json(request, body, *media)
    if not isinstance(content, dict):
        raise BadInput("the body is not a JSON object")
    return content


def _json(request: Request, body: bytes, *media: str) -> Any:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in media:
        raise UnsupportedMedia(f"this takes {' or '.join(media)}", hint="set Content-Type")
    return decode(body)


def _revision(tag: str) -> str:
    """The part of a twin's entity tag that says which revision it is of, whatever was shown of it."""
    return tag.partition("-")[0]


def _of_feature(patch: Any) -> Change:
    """A merge patch of one feature, which may only be about its target."""
    if patch is None or not isinstance(patch, dict) or patch.keys() - {"desiredProperties"}:
        raise BadInput(
            "a patch of a feature holds desiredProperties only", hint="what was measured changes by what is recorded"
        )
    if "desiredProperties" not in patch:
        raise BadInput("a patch of a feature holds its desiredProperties")
    wanted = patch["desiredProperties"]
    return lambda present: None if wanted is None else _merged(present, wanted)


def _merged(present: JsonObject | None, patch: object) -> JsonObject:
    merged = merge_patch(present, patch)
    if not isinstance(merged, dict):
        raise BadInput("a care target is a JSON object")
    return merged


def _with_member(present: JsonObject | None, names: list[str], value: Any) -> JsonObject:
    """The target with one member set; objects on the way are made where there are none."""
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

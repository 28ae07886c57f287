"""Twins over HTTP: a twin's features and records for those who may see them; its consent for officers."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request

from twinward.access.consent import parse_provisions
from twinward.access.interfaces import AccessRequest, Principal
from twinward.access.service import Access
from twinward.clock import iso
from twinward.errors import NotFound
from twinward.twins.service import Twins
from twinward.vocabulary import Action, Category, Purpose, TwinId

MAX_CONSENT_BYTES = 64 * 1024
TwinPath = Annotated[str, Path(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Justification = Annotated[str, Query(max_length=500)]


def twins_router(twins: Twins, access: Access, principal_of: Callable[..., Principal]) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/1/twins", tags=["Twins"])
    units = {feature.name: feature.unit for feature in twins.schema.features}

    @router.get("/{twin}/features", summary="The twin's numeric features in clinical units")
    def features(
        twin: TwinPath,
        principal: Principal = Depends(principal_of),
        purpose: Purpose = Purpose.TREATMENT,
        justification: Justification = "",
    ) -> dict[str, Any]:
        wanted = frozenset({Category.FEATURES})
        request = AccessRequest(principal, Action.READ, purpose, TwinId(twin), wanted, justification)
        vector = twins.feature_vector(access.decide(request))
        if vector is None:
            raise NotFound("this twin has no features yet", hint="they are derived at import, from observations")
        properties = {
            name: {"value": reading.value, "unit": units[name], "at": iso(reading.at_ms) if reading.at_ms else None}
            for name, reading in vector.readings.items()
        }
        return {"twin": twin, "schema": twins.schema.name, "properties": properties, "defaulted": vector.missing}

    @router.get("/{twin}/records", summary="The twin's records of the categories asked for")
    def records(
        twin: TwinPath,
        category: Annotated[list[Category], Query(min_length=1, max_length=len(Category))],
        principal: Principal = Depends(principal_of),
        purpose: Purpose = Purpose.TREATMENT,
        justification: Justification = "",
    ) -> dict[str, Any]:
        found = twins.read(principal, purpose, TwinId(twin), category, justification=justification)
        return {
            "twin": twin,
            "records": [
                {
                    "id": record.record_id,
                    "version": record.version,
                    "type": record.record_type,
                    "category": record.category.value,
                    "committed": iso(record.committed_at_ms),
                    "content_base64": base64.b64encode(record.content).decode(),
                }
                for record in found
            ],
        }

    @router.get("/{twin}/consent", summary="The consent in force; for officers")
    def consent(twin: TwinPath, principal: Principal = Depends(principal_of)) -> dict[str, Any]:
        access.decide(AccessRequest(principal, Action.CONSENT, Purpose.COMPLIANCE, TwinId(twin)))
        return access.consent_of(TwinId(twin)).model_dump(mode="json")

    @router.put("/{twin}/consent", summary="Set the consent; in force at the next decision; for officers")
    async def put_consent(
        twin: TwinPath, request: Request, principal: Principal = Depends(principal_of)
    ) -> dict[str, Any]:
        provisions = parse_provisions((await request.body())[: MAX_CONSENT_BYTES + 1])
        _require_kept(twins, twin)
        return access.set_consent(principal, TwinId(twin), provisions).model_dump(mode="json")

    return router


def _require_kept(twins: Twins, twin: str) -> None:
    if TwinId(twin) not in twins.all():
        raise NotFound("there is no such twin")

"""A twin's sealed records over HTTP, for those who may see them; its consent, for officers."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from twinward.access.consent import Provision, parse_provisions
from twinward.access.interfaces import AccessRequest, Principal
from twinward.access.service import Access
from twinward.api.twins import PREFIX, TwinPath
from twinward.clock import iso
from twinward.errors import BadInput, NotFound
from twinward.twins.service import Twins
from twinward.vault.interfaces import RecordStore
from twinward.vocabulary import Action, Category, Purpose, TwinId

MAX_CONSENT_BYTES = 64 * 1024
Justification = Annotated[str, Query(max_length=500)]


_CONSENT_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "array", "items": Provision.model_json_schema()}}},
    }
}


def twin_records_router(
    twins: Twins, access: Access, store: RecordStore, principal_of: Callable[..., Principal]
) -> APIRouter:
    """The routes. ``store`` knows which twins are kept."""
    router = APIRouter(prefix=PREFIX, tags=["Twins"])

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
        _require_kept(store, twin)
        return access.consent_of(TwinId(twin)).model_dump(mode="json")

    @router.put(
        "/{twin}/consent",
        summary="Set the consent; in force at the next decision; for officers",
        openapi_extra=_CONSENT_BODY,
    )
    def put_consent(
        twin: TwinPath, raw: bytes = Depends(_consent_body), principal: Principal = Depends(principal_of)
    ) -> dict[str, Any]:
        request = AccessRequest(principal, Action.CONSENT, Purpose.RECORD_MANAGEMENT, TwinId(twin))
        if not access.check(request).permitted:
            access.decide(request)  # logs the refusal: who may not set consents learns nothing of which twins are kept
        _require_kept(store, twin)
        return access.set_consent(principal, TwinId(twin), parse_provisions(raw)).model_dump(mode="json")

    return router


async def _consent_body(request: Request) -> bytes:
    """The body, refused once it outgrows any consent instead of cut off."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_CONSENT_BYTES:
            raise BadInput(f"a consent has {MAX_CONSENT_BYTES} bytes at most", hint="use fewer provisions")
    return bytes(raw)


def _require_kept(store: RecordStore, twin: str) -> None:
    if next(iter(store.of_twin(TwinId(twin))), None) is None:
        raise NotFound("there is no such twin")

"""A twin's sealed records over HTTP, for those who may see them; its consent, for officers."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from twinward.access.consent import Provision
from twinward.access.consent_entry import parse_provisions
from twinward.access.interfaces import AccessContext, AccessRequest, Principal
from twinward.access.service import Access
from twinward.api.http.json_body import JSON, Sent, small_body
from twinward.api.http.reason import Reason, reason, reason_or
from twinward.api.twins.reading import PREFIX, TwinPath
from twinward.core.clock import iso
from twinward.core.errors import NotFound
from twinward.core.vocabulary import Action, Category, Purpose, TwinId
from twinward.twins.service import Twins
from twinward.vault.interfaces import RecordStore

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
        why: Reason = Depends(reason),
    ) -> dict[str, Any]:
        found = twins.read(AccessContext(principal, why.purpose, why.justification), TwinId(twin), category)
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
    def consent(
        twin: TwinPath,
        principal: Principal = Depends(principal_of),
        why: Reason = Depends(reason_or(Purpose.COMPLIANCE)),
    ) -> dict[str, Any]:
        access.decide(
            AccessRequest(principal, Action.CONSENT, why.purpose, TwinId(twin), justification=why.justification)
        )
        _require_kept(store, twin)
        return access.consent_of(TwinId(twin)).model_dump(mode="json", exclude_defaults=True)

    @router.put(
        "/{twin}/consent",
        summary="Set the consent; in force at the next decision; for officers",
        openapi_extra=_CONSENT_BODY,
    )
    def put_consent(
        twin: TwinPath,
        principal: Principal = Depends(principal_of),
        why: Reason = Depends(reason_or(Purpose.RECORD_MANAGEMENT)),
        sent: Sent = Depends(small_body),
    ) -> dict[str, Any]:
        request = AccessRequest(principal, Action.CONSENT, why.purpose, TwinId(twin), justification=why.justification)
        if not access.check(request).permitted:
            access.decide(request)  # logs the refusal: who may not set consents learns nothing of which twins are kept
        _require_kept(store, twin)
        provisions = parse_provisions(sent.of(JSON))
        consent = access.set_consent(AccessContext(principal, why.purpose, why.justification), TwinId(twin), provisions)
        return consent.model_dump(mode="json", exclude_defaults=True)

    return router


def _require_kept(store: RecordStore, twin: str) -> None:
    if next(iter(store.of_twin(TwinId(twin))), None) is None:
        raise NotFound("there is no such twin")

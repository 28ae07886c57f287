"""A twin's sealed records over HTTP, for those who may see them; its consent, for officers."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from twinward.access.consent import Provision
from twinward.access.consent_entry import parse_provisions
from twinward.access.interfaces import AccessContext
from twinward.access.service import Access
from twinward.api.http.caller import access_context
from twinward.api.http.json_body import JSON, Sent, small_body
from twinward.api.twins.reading import PREFIX, TwinPath
from twinward.core.clock import iso
from twinward.core.errors import NotFound
from twinward.core.vocabulary import Action, Category, Purpose, TwinId
from twinward.twins.service import Twins
from twinward.vault.interfaces import Record, RecordStore

_CONSENT_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "array", "items": Provision.model_json_schema()}}},
    }
}


def twin_records_router(
    twins: Twins, access: Access, store: RecordStore, principal_of: Callable[..., Any]
) -> APIRouter:
    """The routes. ``store`` knows which twins are kept."""
    router = APIRouter(prefix=PREFIX, tags=["Twins"])
    _add_records(router, twins, access_context(principal_of))
    _add_consent(router, access, store, access_context(principal_of, Purpose.COMPLIANCE))
    _add_consent_changes(router, access, store, access_context(principal_of, Purpose.RECORD_MANAGEMENT))
    return router


def _add_records(router: APIRouter, twins: Twins, context_of: Callable[..., Any]) -> None:
    @router.get("/{twin}/records", summary="The twin's records of the categories asked for")
    def records(
        twin: TwinPath,
        category: Annotated[list[Category], Query(min_length=1, max_length=len(Category))],
        context: AccessContext = Depends(context_of),
    ) -> dict[str, Any]:
        return {"twin": twin, "records": [_shown(one) for one in twins.read(context, TwinId(twin), category)]}


def _add_consent(router: APIRouter, access: Access, store: RecordStore, context_of: Callable[..., Any]) -> None:
    @router.get("/{twin}/consent", summary="The consent in force; for officers")
    def consent(twin: TwinPath, context: AccessContext = Depends(context_of)) -> dict[str, Any]:
        access.decide(context.request(Action.CONSENT, TwinId(twin)))
        _require_kept(store, twin)
        return access.consent_of(TwinId(twin)).model_dump(mode="json", exclude_defaults=True)


def _add_consent_changes(router: APIRouter, access: Access, store: RecordStore, context_of: Callable[..., Any]) -> None:
    @router.put(
        "/{twin}/consent",
        summary="Set the consent; in force at the next decision; for officers",
        openapi_extra=_CONSENT_BODY,
    )
    def put_consent(
        twin: TwinPath, context: AccessContext = Depends(context_of), sent: Sent = Depends(small_body)
    ) -> dict[str, Any]:
        # Who may not set consents learns nothing of which twins are kept.
        access.require(context.request(Action.CONSENT, TwinId(twin)))
        _require_kept(store, twin)
        consent = access.set_consent(context, TwinId(twin), parse_provisions(sent.of(JSON)))
        return consent.model_dump(mode="json", exclude_defaults=True)


def _shown(record: Record) -> dict[str, Any]:
    return {
        "id": record.record_id,
        "version": record.version,
        "type": record.record_type,
        "category": record.category.value,
        "committed": iso(record.committed_at_ms),
        "content_base64": base64.b64encode(record.content).decode(),
    }


def _require_kept(store: RecordStore, twin: str) -> None:
    if next(iter(store.of_twin(TwinId(twin))), None) is None:
        raise NotFound("there is no such twin")

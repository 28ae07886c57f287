"""Emergencies over HTTP: officers list and review them, a clinician ends what is their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from twinward.access.emergencies import Emergencies
from twinward.access.interfaces import AccessRequest, Principal
from twinward.access.justification import MAX_CHARS
from twinward.access.service import Access
from twinward.api.audit import officer_permit
from twinward.api.http.json_body import Sent, documented, read_json, small_body
from twinward.api.http.reason import Reason, reason_or
from twinward.core.clock import Clock
from twinward.core.errors import NotFound
from twinward.core.vocabulary import Action, Purpose

PREFIX = "/api/1/emergencies"
Name = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", description="An emergency's name.")]


class Review(BaseModel):
    """What an officer found."""

    model_config = ConfigDict(extra="forbid", strict=True)

    justified: bool
    note: Annotated[str, Field(max_length=MAX_CHARS, description="In a sentence: what was looked at, and found.")]


def emergencies_router(
    emergencies: Emergencies, access: Access, clock: Clock, principal_of: Callable[..., Principal]
) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix=PREFIX, tags=["Emergencies"])
    examining, ending = reason_or(Purpose.COMPLIANCE), reason_or(Purpose.EMERGENCY)

    def shown(name: str) -> dict[str, Any]:
        return emergencies.register().emergencies[name].as_json(clock.now_ms(), emergencies.limits.review_s)

    @router.get("", summary="Emergencies, newest first; for officers")
    def listed(
        principal: Principal = Depends(principal_of),
        why: Reason = Depends(examining),
        unreviewed: Annotated[bool, Query(description="Only those that wait for their review.")] = False,
    ) -> dict[str, Any]:
        permit = officer_permit(access, principal, "emergencies", why=why)
        found = [one for one in emergencies.all(permit) if not (unreviewed and one.finding)]
        return {"emergencies": [shown(one.name) for one in found]}

    @router.post(
        "/{emergency}/review",
        summary="Review one; final; for officers",
        openapi_extra=documented(Review, required=True),
    )
    def review(
        emergency: Name,
        principal: Principal = Depends(principal_of),
        why: Reason = Depends(examining),
        body: Sent = Depends(small_body),
    ) -> dict[str, Any]:
        permit = officer_permit(access, principal, "emergency review", why=why)
        found = read_json(Review, body)
        emergencies.review(permit, emergency, justified=found.justified, note=found.note)
        return shown(emergency)

    @router.post("/{emergency}/stop", summary="End an emergency of one's own before its time")
    def stop(
        emergency: Name, principal: Principal = Depends(principal_of), why: Reason = Depends(ending)
    ) -> dict[str, str]:
        own = emergencies.own(principal, emergency)
        said = why.justification or (own.justification if own else "")
        twin = own.twin if own else None
        request = AccessRequest(principal, Action.BREAK_GLASS, why.purpose, twin, justification=said)
        if not access.check(request).permitted:
            access.decide(request)  # logs the refusal: whoever may break no glass learns nothing of who did
        if own is None:
            raise NotFound("there is no such emergency of yours")
        emergencies.stop(principal, emergency)
        return {"emergency": emergency, "state": "ended"}

    return router

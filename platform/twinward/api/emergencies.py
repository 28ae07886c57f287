"""Emergencies over HTTP: officers list and review them, a clinician ends what is their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from twinward.access.emergencies import Emergencies
from twinward.access.interfaces import AccessContext, AccessControl, Permit
from twinward.access.justification import MAX_CHARS
from twinward.api.http.caller import access_context
from twinward.api.http.json_body import Sent, documented, read_json, small_body
from twinward.core.clock import Clock
from twinward.core.errors import NotFound
from twinward.core.vocabulary import Action, Purpose
from twinward.overview.log import permit_to_examine

Name = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", description="An emergency's name.")]


class Review(BaseModel):
    """What an officer found."""

    model_config = ConfigDict(extra="forbid", strict=True)

    justified: bool
    note: Annotated[str, Field(max_length=MAX_CHARS, description="In a sentence: what was looked at, and found.")]


def emergencies_router(
    emergencies: Emergencies, access: AccessControl, clock: Clock, principal_of: Callable[..., Any]
) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/1/emergencies", tags=["Emergencies"])
    reviews = _Reviews(emergencies, access, clock)
    _add_reviews(router, reviews, access_context(principal_of, Purpose.COMPLIANCE))
    _add_stop(router, emergencies, access, access_context(principal_of, Purpose.EMERGENCY))
    return router


@dataclass(frozen=True, slots=True)
class _Reviews:
    """Emergencies as officers see them."""

    emergencies: Emergencies
    access: AccessControl
    clock: Clock

    def permit(self, context: AccessContext, page: str) -> Permit:
        return permit_to_examine(self.access, context, page)

    def shown(self, name: str) -> dict[str, Any]:
        one = self.emergencies.register().emergencies[name]
        return one.as_json(self.clock.now_ms(), self.emergencies.limits.review_s)


def _add_reviews(router: APIRouter, reviews: _Reviews, context_of: Callable[..., Any]) -> None:
    @router.get("", summary="Emergencies, newest first; for officers")
    def listed(
        context: AccessContext = Depends(context_of),
        unreviewed: Annotated[bool, Query(description="Only those that wait for their review.")] = False,
    ) -> dict[str, Any]:
        permit = reviews.permit(context, "emergencies")
        found = [one for one in reviews.emergencies.all(permit) if not (unreviewed and one.finding)]
        return {"emergencies": [reviews.shown(one.name) for one in found]}

    @router.post(
        "/{emergency}/review",
        summary="Review one; final; for officers",
        openapi_extra=documented(Review, required=True),
    )
    def review(
        emergency: Name, context: AccessContext = Depends(context_of), body: Sent = Depends(small_body)
    ) -> dict[str, Any]:
        permit = reviews.permit(context, "emergency review")
        found = read_json(Review, body)
        reviews.emergencies.review(permit, emergency, justified=found.justified, note=found.note)
        return reviews.shown(emergency)


def _add_stop(
    router: APIRouter, emergencies: Emergencies, access: AccessControl, context_of: Callable[..., Any]
) -> None:
    @router.post("/{emergency}/stop", summary="End an emergency of one's own before its time")
    def stop(emergency: Name, context: AccessContext = Depends(context_of)) -> dict[str, str]:
        own = emergencies.own(context.principal, emergency)
        said = context.justification or (own.justification if own else "")
        # Logs a refusal: whoever may break no glass learns nothing of who did.
        access.require(replace(context, justification=said).request(Action.BREAK_GLASS, own.twin if own else None))
        if own is None:
            raise NotFound("there is no such emergency of yours")
        emergencies.stop(context.principal, emergency)
        return {"emergency": emergency, "state": "ended"}

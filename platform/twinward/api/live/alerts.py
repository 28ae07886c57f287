"""Alerts over HTTP: those that wait, one patient's, seen, silenced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from twinward.access.interfaces import AccessContext
from twinward.api.http.caller import access_context
from twinward.api.http.json_body import Sent, documented, read_json, small_body
from twinward.api.twins.pages import TWIN
from twinward.core.clock import iso
from twinward.core.vocabulary import TwinId
from twinward.live.alerts.models import MAX_SILENCE_MS, Alert
from twinward.live.service import Live

AlertPath = Annotated[str, Path(pattern=TWIN.pattern)]


class Silence(BaseModel):
    """For how long, and why."""

    model_config = ConfigDict(extra="forbid", strict=True)

    minutes: Annotated[int, Field(ge=1, le=MAX_SILENCE_MS // 60_000)]
    reason: Annotated[str, Field(min_length=1, max_length=1000)]


def add_alerts(
    router: APIRouter, live: Live, known: Callable[[AccessContext, str], TwinId], principal_of: Callable[..., Any]
) -> None:
    """The routes."""
    context_of = access_context(principal_of)

    @router.get("/alerts", summary="Alerts that wait, of every patient the caller may see, the gravest first")
    def alerts(context: AccessContext = Depends(context_of)) -> JSONResponse:
        return JSONResponse({"alerts": [_shown(one) for one in live.alerts.everywhere(context)]})

    @router.get("/twins/{twin}/alerts", summary="A patient's alerts that wait")
    def of_twin(
        twin: Annotated[str, Path(pattern=TWIN.pattern)], context: AccessContext = Depends(context_of)
    ) -> JSONResponse:
        found = live.alerts.of(context, known(context, twin))
        return JSONResponse({"alerts": [_shown(one) for one in found]})

    @router.post("/alerts/{alert}/acknowledge", summary="Say that an alert was seen")
    def acknowledge(alert: AlertPath, context: AccessContext = Depends(context_of)) -> JSONResponse:
        return JSONResponse(_shown(live.alerts.acknowledge(context, alert)))

    @router.post(
        "/alerts/{alert}/silence",
        summary="Have an alert escalated to nobody for a while",
        openapi_extra=documented(Silence, required=True),
    )
    def silence(
        alert: AlertPath, context: AccessContext = Depends(context_of), body: Sent = Depends(small_body)
    ) -> JSONResponse:
        live.intake.require(context)
        asked = read_json(Silence, body)
        return JSONResponse(_shown(live.alerts.silence(context, alert, asked.minutes, asked.reason)))


def _shown(one: Alert) -> dict[str, Any]:
    return {
        "id": one.id,
        "twinId": one.twin,
        "rule": one.rule,
        "rules": one.version,
        "severity": one.severity.value,
        "raised": iso(one.raised_ms),
        "times": one.times,
        "score": one.score,
        "about": one.about or None,
        "because": [
            {
                "time": iso(part.time_ms),
                "signal": part.signal,
                "value": part.value,
                "share": one.shares.get(part.signal),
            }
            for part in one.because
        ],
        "over": _iso(one.over_ms),
        "acknowledged": _iso(one.acknowledged_ms),
        "acknowledgedBy": one.acknowledged_by or None,
        "escalated": _iso(one.escalated_ms),
        "silencedUntil": _iso(one.silenced_until_ms or None),
    }


def _iso(at_ms: int | None) -> str | None:
    return None if at_ms is None else iso(at_ms)

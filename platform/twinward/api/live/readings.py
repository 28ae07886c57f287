"""``POST /api/1/readings``: a batch of one source, one reading a line; each line is answered, once it is durable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from twinward.access.interfaces import AccessContext, Principal
from twinward.api.http.caller import access_context
from twinward.api.http.guard import read_body
from twinward.core.media_types import require_taken
from twinward.core.vocabulary import Purpose, Role
from twinward.live.intake.lines import MAX_BATCH_BYTES, NAME, read_lines
from twinward.live.models import Answer
from twinward.live.service import Live

NDJSON = "application/x-ndjson"
_TAKEN = (NDJSON, "application/ndjson", "application/jsonl")
_ENCODER = msgspec.json.Encoder()
_LINES = {"schema": {"type": "string", "description": "One JSON object a line."}}
_SENT = {"requestBody": {"required": True, "content": dict.fromkeys(_TAKEN, _LINES)}}
_ANSWERED: dict[int | str, dict[str, Any]] = {
    200: {"description": "An answer for each line, in order: durable by now", "content": {NDJSON: _LINES}},
    503: {"description": "Nothing was taken: send again later"},
}


def usual_purpose(principal: Principal) -> Purpose:
    """Why a reading is sent, where it is not said: machines file, clinicians treat."""
    return Purpose.TREATMENT if principal.role is Role.CLINICIAN else Purpose.RECORD_MANAGEMENT


def add_readings(router: APIRouter, live: Live, principal_of: Callable[..., Any]) -> None:
    """The one route."""
    context_of = access_context(principal_of, usual_purpose)

    @router.post(
        "/readings",
        summary="Take readings of one source in, exactly once in effect",
        response_class=Response,
        responses=_ANSWERED,
        openapi_extra=_SENT,
    )
    async def readings(
        request: Request,
        source: Annotated[
            str, Query(pattern=f"^{NAME.pattern}$", max_length=64, description="Whose numbers they are.")
        ],
        context: AccessContext = Depends(context_of),
    ) -> Response:
        await run_in_threadpool(live.intake.require, context)
        require_taken(request.headers.getlist("content-type"), _TAKEN)
        body = await read_body(request, MAX_BATCH_BYTES)
        return Response(await run_in_threadpool(_taken, live, context, source, body), media_type=NDJSON)


def _taken(live: Live, context: AccessContext, source: str, body: bytes) -> bytes:
    answers = live.intake.take(context, source, read_lines(body))
    return b"".join(_ENCODER.encode(_shown(one)) + b"\n" for one in answers)


def _shown(answer: Answer) -> dict[str, object]:
    shown: dict[str, object] = {"seq": answer.seq, "outcome": answer.outcome}
    if answer.reason is not None:
        shown["reason"] = answer.reason
    if answer.detail:
        shown["detail"] = answer.detail
    return shown

"""A fresh proof of who holds a token, over HTTP: before exports, consents, accounts and lent roles (RFC 9470)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from twinward.access.fresh_proofs import FreshProofs
from twinward.access.interfaces import AccessContext
from twinward.access.passwords import MAX_LENGTH
from twinward.api.http.caller import access_context, address_of
from twinward.api.http.json_body import Sent, documented, read_json, small_body
from twinward.core.vocabulary import Purpose


class Proof(BaseModel):
    """A password and, where the account has an app, its code or a recovery code."""

    model_config = ConfigDict(extra="forbid", strict=True)

    password: Annotated[str, Field(min_length=1, max_length=MAX_LENGTH)]
    code: Annotated[str, Field(max_length=64)] = ""


def proofs_router(proofs: FreshProofs, principal_of: Callable[..., Any]) -> APIRouter:
    """The route."""
    router = APIRouter(prefix="/api/1/proofs", tags=["Access tokens"])

    context_of = access_context(principal_of, Purpose.COMPLIANCE)

    @router.post(
        "",
        status_code=201,
        summary="A token that is fresh, for a password and a code; for people with a token",
        openapi_extra=documented(Proof, required=True),
    )
    def prove(
        request: Request, by: AccessContext = Depends(context_of), body: Sent = Depends(small_body)
    ) -> dict[str, Any]:
        via = (("via", "api"), ("address", address_of(request)))
        proofs.require_person(replace(by, detail=via))
        said = read_json(Proof, body)
        token = proofs.prove(by.principal, said.password, said.code, via=via)
        return {"access_token": token, "token_type": "Bearer", "expires_in": proofs.fresh_ms // 1000}

    return router

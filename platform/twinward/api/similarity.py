"""Similarity over HTTP: the contract of ``twinward.client.messages``, route by route."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Depends

from twinward.access.interfaces import Principal
from twinward.client.messages import (
    PREFIX,
    BudgetReply,
    DistanceReply,
    GatedQuery,
    GateKeyReply,
    MatchReply,
    MatrixQuery,
    ResultsReply,
    Terms,
    TokenReply,
    TokenRequest,
    VendorKeyQuery,
)
from twinward.similarity.service import Similarity


def similarity_router(current: Callable[[], Similarity], principal_of: Callable[..., Principal]) -> APIRouter:
    """The routes. ``current`` gives the running epoch's service."""
    router = APIRouter(prefix=PREFIX, tags=["Similarity"])

    @router.get("/schema", summary="What may be asked, in which modes, and what each mode leaks")
    def schema(_: Principal = Depends(principal_of)) -> Terms:
        return current().terms()

    @router.get("/gate-key", summary="The key gated queries are encrypted with")
    def gate_key(_: Principal = Depends(principal_of)) -> GateKeyReply:
        return current().gate_key()

    @router.post("/gated", summary="Ask under the gate's key; matches are released")
    def gated(query: GatedQuery, principal: Principal = Depends(principal_of)) -> MatchReply:
        return current().answer_gated(principal, query)

    @router.post("/vendor-key", summary="Ask under your own key; blurred distances come back encrypted")
    def vendor_key(query: VendorKeyQuery, principal: Principal = Depends(principal_of)) -> DistanceReply:
        return current().answer_vendor_key(principal, query)

    @router.post("/matrix/token", summary="Turn a query into a token for the outsourced tree")
    def matrix_token(request: TokenRequest, principal: Principal = Depends(principal_of)) -> TokenReply:
        return current().issue_token(principal, request)

    @router.post("/matrix", summary="Search the outsourced tree with a token; matches are released")
    def matrix(query: MatrixQuery, principal: Principal = Depends(principal_of)) -> MatchReply:
        return current().answer_matrix(principal, query)

    @router.get("/budget", summary="Queries left in this epoch")
    def budget(principal: Principal = Depends(principal_of)) -> BudgetReply:
        return current().budget(principal)

    @router.get("/results", summary="What was released to you in this epoch")
    def results(principal: Principal = Depends(principal_of)) -> ResultsReply:
        return current().results(principal)

    return router

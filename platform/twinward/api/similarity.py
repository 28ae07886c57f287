"""Similarity over HTTP: the contract of ``twinward.client.messages``, route by route."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Depends

from twinward.access.interfaces import AccessRequest, Principal
from twinward.access.service import Access
from twinward.client.messages import (
    PREFIX,
    BudgetReply,
    DistanceReply,
    GatedQuery,
    GateKeyReply,
    MatchReply,
    MatrixQuery,
    MatrixSearch,
    RecordsReply,
    RecordsRequest,
    ResultsReply,
    Terms,
    TokenReply,
    TokenRequest,
    VendorKeyQuery,
)
from twinward.node.cohort import RunningCohort
from twinward.vocabulary import Action, Purpose


def similarity_router(cohort: RunningCohort, access: Access, principal_of: Callable[..., Principal]) -> APIRouter:
    """The routes. Terms and allowances need nobody's consent; the rest needs a cohort."""
    current = cohort.current
    router = APIRouter(prefix=PREFIX, tags=["Similarity"])

    def may_query(principal: Principal = Depends(principal_of)) -> Principal:
        """The policy's word on whether this caller may query at all, before anything it sent is looked at.

        A refusal is logged. A permitted look at terms, keys or one's own allowance is no access to anybody; queries
        are decided and logged by the service.
        """
        request = AccessRequest(principal, Action.QUERY, Purpose.SIMILARITY)
        if not access.check(request).permitted:
            access.decide(request)
        return principal

    @router.get("/schema", summary="What may be asked, in which modes, and what each mode leaks")
    def schema(_: Principal = Depends(may_query)) -> Terms:
        return cohort.terms()

    @router.get("/gate-key", summary="The key gated queries are encrypted with")
    def gate_key(_: Principal = Depends(may_query)) -> GateKeyReply:
        return current().gate_key()

    @router.post("/gated", summary="Ask under the gate's key; matches are released")
    def gated(query: GatedQuery, principal: Principal = Depends(may_query)) -> MatchReply:
        return current().answer_gated(principal, query)

    @router.post("/vendor-key", summary="Ask under your own key; blurred distances come back encrypted")
    def vendor_key(query: VendorKeyQuery, principal: Principal = Depends(may_query)) -> DistanceReply:
        return current().answer_vendor_key(principal, query)

    @router.post("/matrix/token", summary="Turn a query into a token for the outsourced tree")
    def matrix_token(request: TokenRequest, principal: Principal = Depends(may_query)) -> TokenReply:
        return current().issue_token(principal, request)

    @router.post("/matrix", summary="Search the outsourced tree with a token; matches are released")
    def matrix(query: MatrixQuery, principal: Principal = Depends(may_query)) -> MatchReply:
        return current().answer_matrix(principal, query)

    @router.post("/matrix/search", summary="The nearest k, or weighted: the hospital drives the outsourced tree itself")
    def matrix_search(query: MatrixSearch, principal: Principal = Depends(may_query)) -> MatchReply:
        return current().search_matrix(principal, query)

    @router.post("/records", summary="Records of released handles that consent lets out, sealed to your key")
    def records(request: RecordsRequest, principal: Principal = Depends(may_query)) -> RecordsReply:
        return current().release_records(principal, request)

    @router.get("/budget", summary="Queries left in this epoch")
    def budget(principal: Principal = Depends(may_query)) -> BudgetReply:
        return cohort.allowance(principal)

    @router.get("/results", summary="What was released to you in this epoch")
    def results(principal: Principal = Depends(principal_of)) -> ResultsReply:
        detail = (("page", "results"),)  # the matches were logged when they were released; looking again is logged too
        access.decide(AccessRequest(principal, Action.QUERY, Purpose.SIMILARITY, detail=detail))
        return cohort.results(principal)

    return router

"""Similarity over HTTP: the contract of ``twinward.protocol.messages``, route by route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Depends, Request

from twinward.access.interfaces import AccessContext, AccessControl, Principal
from twinward.api.http.caller import access_context
from twinward.api.http.guard import USUAL_BYTES
from twinward.api.http.json_body import BodyT, documented, read_message
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Action, Purpose
from twinward.node.cohort import RunningCohort
from twinward.protocol.feasibility import CountReply, FeasibilityQuestion, FeasibilityTerms
from twinward.protocol.fields import QueryId
from twinward.protocol.messages import (
    PREFIX,
    BudgetReply,
    DistanceReply,
    GatedQuery,
    GateKeyReply,
    KeptAnswer,
    MatchReply,
    MatrixQuery,
    MatrixSearch,
    QueryKeyReply,
    RecordsReply,
    RecordsRequest,
    ResultsReply,
    TokenReply,
    TokenRequest,
    VendorKeyQuery,
)
from twinward.protocol.terms import Terms

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""Of a message with an encrypted part; all others have ``USUAL_BYTES`` at most."""
_ENCRYPTED = (GatedQuery, VendorKeyQuery, MatrixQuery, FeasibilityQuestion)
_Vendor = Callable[..., Principal]
"""The dependency that yields who may query."""


def similarity_router(cohort: RunningCohort, access: AccessControl, principal_of: Callable[..., Any]) -> APIRouter:
    """The routes. Terms and allowances need nobody's consent; the rest needs a cohort."""
    router = APIRouter(prefix=PREFIX, tags=["Similarity"])
    context_of = access_context(principal_of, Purpose.SIMILARITY)
    may_query = _may_query(access, context_of)
    _add_terms(router, cohort, may_query)
    _add_queries(router, cohort, may_query)
    _add_matrix_queries(router, cohort, may_query)
    _add_feasibility(router, cohort, may_query)
    _add_records(router, cohort, may_query)
    _add_budget(router, cohort, may_query)
    _add_results(router, cohort, access, context_of)
    return router


def _may_query(access: AccessControl, context_of: Callable[..., Any]) -> _Vendor:
    """The policy's word on whether a caller may query at all, before anything it sent is looked at.

    A refusal is logged. A permitted look at terms, keys or one's own allowance is no access to anybody; queries are
    decided and logged by the service, for similarity search: another purpose is not answered as if it were.
    """

    def vendor(context: AccessContext = Depends(context_of)) -> Principal:
        access.require(context.request(Action.QUERY))
        if context.purpose is not Purpose.SIMILARITY:
            raise BadInput("queries are answered for similarity search", hint=f"send {Purpose.SIMILARITY} or nothing")
        return context.principal

    return vendor


def _sent(kind: type[BodyT], may_query: _Vendor) -> Callable[..., Awaitable[BodyT]]:
    """What was sent, read once it is known that its sender may query."""
    most_bytes = MAX_MESSAGE_BYTES if kind in _ENCRYPTED else USUAL_BYTES

    async def message(request: Request, _: Principal = Depends(may_query)) -> BodyT:
        return await read_message(request, kind, most_bytes)

    return message


def _add_terms(router: APIRouter, cohort: RunningCohort, may_query: _Vendor) -> None:
    @router.get("/schema", summary="What may be asked, in which modes, and what each mode leaks")
    def schema(_: Principal = Depends(may_query)) -> Terms:
        return cohort.terms()

    @router.get("/query-key", summary="The key gated queries are sealed to")
    def query_key(_: Principal = Depends(may_query)) -> QueryKeyReply:
        return cohort.current().query_key()

    @router.get("/gate-key", summary="The key that clients of version 2 encrypt gated queries with")
    def gate_key(_: Principal = Depends(may_query)) -> GateKeyReply:
        return cohort.current().gate_key()


def _add_queries(router: APIRouter, cohort: RunningCohort, may_query: _Vendor) -> None:
    @router.post(
        "/gated",
        summary="Ask under the gate's key; matches are released",
        openapi_extra=documented(GatedQuery, required=True),
    )
    def gated(
        principal: Principal = Depends(may_query), query: GatedQuery = Depends(_sent(GatedQuery, may_query))
    ) -> MatchReply:
        return cohort.current().answer_gated(principal, query)

    @router.post(
        "/vendor-key",
        summary="Ask under your own key; blurred distances come back encrypted",
        openapi_extra=documented(VendorKeyQuery, required=True),
    )
    def vendor_key(
        principal: Principal = Depends(may_query), query: VendorKeyQuery = Depends(_sent(VendorKeyQuery, may_query))
    ) -> DistanceReply:
        return cohort.current().answer_vendor_key(principal, query)


def _add_matrix_queries(router: APIRouter, cohort: RunningCohort, may_query: _Vendor) -> None:
    @router.post(
        "/matrix/token",
        summary="Turn a query into a token for the outsourced tree",
        openapi_extra=documented(TokenRequest, required=True),
    )
    def matrix_token(
        principal: Principal = Depends(may_query), request: TokenRequest = Depends(_sent(TokenRequest, may_query))
    ) -> TokenReply:
        return cohort.current().issue_token(principal, request)

    @router.post(
        "/matrix",
        summary="Search the outsourced tree with a token; matches are released",
        openapi_extra=documented(MatrixQuery, required=True),
    )
    def matrix(
        principal: Principal = Depends(may_query), query: MatrixQuery = Depends(_sent(MatrixQuery, may_query))
    ) -> MatchReply:
        return cohort.current().answer_matrix(principal, query)

    @router.post(
        "/matrix/search",
        summary="The nearest k, or weighted: the hospital drives the outsourced tree itself",
        openapi_extra=documented(MatrixSearch, required=True),
    )
    def matrix_search(
        principal: Principal = Depends(may_query), query: MatrixSearch = Depends(_sent(MatrixSearch, may_query))
    ) -> MatchReply:
        return cohort.current().search_matrix(principal, query)


def _add_feasibility(router: APIRouter, cohort: RunningCohort, may_query: _Vendor) -> None:
    @router.get("/feasibility", summary="What may be counted under hidden criteria, and what a count costs")
    def feasibility_terms(principal: Principal = Depends(may_query)) -> FeasibilityTerms:
        return cohort.current().feasibility_terms(principal)

    @router.post(
        "/feasibility",
        summary="How many patients meet criteria that only you can read: a count with noise",
        openapi_extra=documented(FeasibilityQuestion, required=True),
    )
    def feasibility(
        principal: Principal = Depends(may_query),
        question: FeasibilityQuestion = Depends(_sent(FeasibilityQuestion, may_query)),
    ) -> CountReply:
        return cohort.current().count(principal, question)


def _add_records(router: APIRouter, cohort: RunningCohort, may_query: _Vendor) -> None:
    @router.post(
        "/records",
        summary="Records of released handles that consent lets out, sealed to your key",
        openapi_extra=documented(RecordsRequest, required=True),
    )
    def records(
        principal: Principal = Depends(may_query), request: RecordsRequest = Depends(_sent(RecordsRequest, may_query))
    ) -> RecordsReply:
        return cohort.current().release_records(principal, request)


def _add_budget(router: APIRouter, cohort: RunningCohort, may_query: _Vendor) -> None:
    @router.get("/budget", summary="Queries left in this epoch")
    def budget(principal: Principal = Depends(may_query)) -> BudgetReply:
        return cohort.allowance(principal)


def _add_results(
    router: APIRouter, cohort: RunningCohort, access: AccessControl, context_of: Callable[..., Any]
) -> None:
    @router.get("/results", summary="What was released to you in this epoch")
    def results(context: AccessContext = Depends(context_of)) -> ResultsReply:
        # The matches were logged when they were released; looking again is logged too.
        access.decide(context.request(Action.QUERY, detail=(("page", "results"),)))
        return cohort.results(context.principal)

    @router.get("/results/{query_id}", summary="One of your answers again, by query id; it costs nothing")
    def result(query_id: QueryId, context: AccessContext = Depends(context_of)) -> KeptAnswer:
        access.decide(context.request(Action.QUERY, detail=(("page", "result"), ("query", query_id))))
        return cohort.result(context.principal, query_id)

"""Similarity over HTTP: the contract of ``twinward.protocol.messages``, route by route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Depends, Request

from twinward.access.interfaces import AccessRequest, Principal
from twinward.access.service import Access
from twinward.api.http.guard import USUAL_BYTES
from twinward.api.http.json_body import BodyT, documented, read_message
from twinward.api.http.reason import Reason, reason_or
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Action, Purpose
from twinward.node.cohort import RunningCohort
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
_ENCRYPTED = (GatedQuery, VendorKeyQuery, MatrixQuery)


def similarity_router(cohort: RunningCohort, access: Access, principal_of: Callable[..., Principal]) -> APIRouter:
    """The routes. Terms and allowances need nobody's consent; the rest needs a cohort."""
    current = cohort.current
    router = APIRouter(prefix=PREFIX, tags=["Similarity"])

    purpose_of_query = reason_or(Purpose.SIMILARITY)

    def may_query(principal: Principal = Depends(principal_of), why: Reason = Depends(purpose_of_query)) -> Principal:
        """The policy's word on whether this caller may query at all, before anything it sent is looked at.

        A refusal is logged. A permitted look at terms, keys or one's own allowance is no access to anybody; queries
        are decided and logged by the service, for similarity search: another purpose is not answered as if it were.
        """
        request = AccessRequest(principal, Action.QUERY, why.purpose, justification=why.justification)
        if not access.check(request).permitted:
            access.decide(request)
        if why.purpose is not Purpose.SIMILARITY:
            raise BadInput("queries are answered for similarity search", hint=f"send {Purpose.SIMILARITY} or nothing")
        return principal

    def sent(kind: type[BodyT]) -> Callable[..., Awaitable[BodyT]]:
        """What was sent, read once it is known that its sender may query."""
        most_bytes = MAX_MESSAGE_BYTES if kind in _ENCRYPTED else USUAL_BYTES

        async def message(request: Request, _: Principal = Depends(may_query)) -> BodyT:
            return await read_message(request, kind, most_bytes)

        return message

    @router.get("/schema", summary="What may be asked, in which modes, and what each mode leaks")
    def schema(_: Principal = Depends(may_query)) -> Terms:
        return cohort.terms()

    @router.get("/gate-key", summary="The key gated queries are encrypted with")
    def gate_key(_: Principal = Depends(may_query)) -> GateKeyReply:
        return current().gate_key()

    @router.post(
        "/gated",
        summary="Ask under the gate's key; matches are released",
        openapi_extra=documented(GatedQuery, required=True),
    )
    def gated(principal: Principal = Depends(may_query), query: GatedQuery = Depends(sent(GatedQuery))) -> MatchReply:
        return current().answer_gated(principal, query)

    @router.post(
        "/vendor-key",
        summary="Ask under your own key; blurred distances come back encrypted",
        openapi_extra=documented(VendorKeyQuery, required=True),
    )
    def vendor_key(
        principal: Principal = Depends(may_query), query: VendorKeyQuery = Depends(sent(VendorKeyQuery))
    ) -> DistanceReply:
        return current().answer_vendor_key(principal, query)

    @router.post(
        "/matrix/token",
        summary="Turn a query into a token for the outsourced tree",
        openapi_extra=documented(TokenRequest, required=True),
    )
    def matrix_token(
        principal: Principal = Depends(may_query), request: TokenRequest = Depends(sent(TokenRequest))
    ) -> TokenReply:
        return current().issue_token(principal, request)

    @router.post(
        "/matrix",
        summary="Search the outsourced tree with a token; matches are released",
        openapi_extra=documented(MatrixQuery, required=True),
    )
    def matrix(
        principal: Principal = Depends(may_query), query: MatrixQuery = Depends(sent(MatrixQuery))
    ) -> MatchReply:
        return current().answer_matrix(principal, query)

    @router.post(
        "/matrix/search",
        summary="The nearest k, or weighted: the hospital drives the outsourced tree itself",
        openapi_extra=documented(MatrixSearch, required=True),
    )
    def matrix_search(
        principal: Principal = Depends(may_query), query: MatrixSearch = Depends(sent(MatrixSearch))
    ) -> MatchReply:
        return current().search_matrix(principal, query)

    @router.post(
        "/records",
        summary="Records of released handles that consent lets out, sealed to your key",
        openapi_extra=documented(RecordsRequest, required=True),
    )
    def records(
        principal: Principal = Depends(may_query), request: RecordsRequest = Depends(sent(RecordsRequest))
    ) -> RecordsReply:
        return current().release_records(principal, request)

    @router.get("/budget", summary="Queries left in this epoch")
    def budget(principal: Principal = Depends(may_query)) -> BudgetReply:
        return cohort.allowance(principal)

    @router.get("/results", summary="What was released to you in this epoch")
    def results(principal: Principal = Depends(principal_of), why: Reason = Depends(purpose_of_query)) -> ResultsReply:
        detail = (("page", "results"),)  # the matches were logged when they were released; looking again is logged too
        access.decide(
            AccessRequest(principal, Action.QUERY, why.purpose, justification=why.justification, detail=detail)
        )
        return cohort.results(principal)

    @router.get("/results/{query_id}", summary="One of your answers again, by query id; it costs nothing")
    def result(
        query_id: QueryId, principal: Principal = Depends(principal_of), why: Reason = Depends(purpose_of_query)
    ) -> KeptAnswer:
        detail = (("page", "result"), ("query", query_id))
        access.decide(
            AccessRequest(principal, Action.QUERY, why.purpose, justification=why.justification, detail=detail)
        )
        return cohort.result(principal, query_id)

    return router

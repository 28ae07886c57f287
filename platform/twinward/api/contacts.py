"""Contact requests over HTTP, for vendors: the contract of ``twinward.protocol.contacts``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, Request

from twinward.access.interfaces import AccessContext, AccessControl, Principal
from twinward.api.http.caller import access_context
from twinward.api.http.json_body import documented, read_message
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Action, Purpose
from twinward.node.cohort import RunningCohort
from twinward.protocol.contacts import ContactProposal, ContactReply, ContactsReply
from twinward.protocol.messages import PREFIX
from twinward.recruitment.service import ContactDesk

MAX_PROPOSAL_BYTES = 8 << 20
"""The question comes along, as large as it was."""


def contacts_router(
    cohort: RunningCohort, desk: ContactDesk, access: AccessControl, principal_of: Callable[..., Any]
) -> APIRouter:
    """A vendor proposes, and sees what became of it. Whom the hospital told is told to nobody here."""
    router = APIRouter(prefix=PREFIX, tags=["Similarity"])
    may_propose = _may_propose(access, access_context(principal_of, Purpose.SIMILARITY))

    async def proposed(request: Request, _: Principal = Depends(may_propose)) -> ContactProposal:
        return await read_message(request, ContactProposal, MAX_PROPOSAL_BYTES)

    @router.post(
        "/contacts",
        summary="Disclose what was counted, and ask the hospital to tell those patients of a study",
        openapi_extra=documented(ContactProposal, required=True),
    )
    def propose(
        principal: Principal = Depends(may_propose), proposal: ContactProposal = Depends(proposed)
    ) -> ContactReply:
        return cohort.current().propose_contact(principal, proposal, lambda one: desk.propose(principal, one).reply())

    @router.get("/contacts", summary="What became of your contact requests")
    def own(principal: Principal = Depends(may_propose)) -> ContactsReply:
        detail = (("page", "own contacts"),)
        access.decide(AccessContext(principal, Purpose.SIMILARITY).request(Action.CONTACT, detail=detail))
        reply = ContactsReply(requests=tuple(one.reply() for one in desk.of_vendor(principal.id)))
        return cohort.sign_contacts(reply, principal.id)

    return router


def _may_propose(access: AccessControl, context_of: Callable[..., Any]) -> Callable[..., Principal]:
    """The policy's word on whether a caller may propose at all, before anything it sent is looked at."""

    def vendor(context: AccessContext = Depends(context_of)) -> Principal:
        access.require(context.request(Action.CONTACT))
        if context.purpose is not Purpose.SIMILARITY:
            raise BadInput("studies are proposed for similarity search", hint=f"send {Purpose.SIMILARITY} or nothing")
        return context.principal

    return vendor

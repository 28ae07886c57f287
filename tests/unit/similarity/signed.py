"""Signed terms and answers, as a hospital gives them: for tests of what a client checks."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel

from twinward.protocol.messages import QueryKeyReply
from twinward.protocol.proofs import AnswerSigner, Kind, query_digest
from twinward.protocol.terms import Terms

SIGNER = AnswerSigner.generate()
Reply = TypeVar("Reply", bound=BaseModel)


def signed_terms(terms: Terms, signer: AnswerSigner = SIGNER) -> Terms:
    """As a hospital offers them."""
    whole = terms.model_copy(update={"fingerprint": terms.feature_schema.fingerprint()})
    return whole.model_copy(update={"proof": signer.prove(Kind.TERMS, whole, binding=whole.binding())})


def signed_query_key(reply: QueryKeyReply, terms: Terms, signer: AnswerSigner = SIGNER) -> QueryKeyReply:
    """As a hospital shows it."""
    return reply.model_copy(update={"proof": signer.prove(Kind.QUERY_KEY, reply, binding=terms.binding())})


def signed_answer(
    kind: Kind, reply: Reply, asked: BaseModel, terms: Terms, *, vendor: str = "acme", signer: AnswerSigner = SIGNER
) -> Reply:
    """An answer to what was asked."""
    query_id = str(getattr(asked, "query_id", ""))
    proof = signer.prove(
        kind, reply, binding=terms.binding(), query_id=query_id, query=query_digest(kind, asked), vendor=vendor
    )
    return reply.model_copy(update={"proof": proof})

"""One epoch's answers to vendors' messages: charged once, kept before they leave, signed, given again by query id.

A vendor names its query (128 random bits). The name is noted with what was asked as soon as the query is charged, and
the answer is kept before it leaves. The same query under the same name then gets the same answer, or, where the process
died in between, is answered without being charged again. Another query under that name is refused.

What is kept of an answer was told, or was on its way: it is given again as it was, also where a patient withdrew since.
Records are not kept: asked for again they are decided on anew, and only the charge is remembered.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar, cast

import msgspec

from twinward.access.interfaces import Principal
from twinward.core.errors import Conflict, NotFound
from twinward.protocol.contacts import ContactProposal, ContactReply
from twinward.protocol.feasibility import CountReply, FeasibilityQuestion, FeasibilityTerms
from twinward.protocol.messages import (
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
    TokenReply,
    TokenRequest,
    VendorKeyQuery,
)
from twinward.protocol.proofs import AnswerSigner, Kind, new_query_id, query_digest
from twinward.similarity.errors import SecretsUnreadable
from twinward.similarity.interfaces import AnswerStore, QueryBudget
from twinward.similarity.rate_limit import QueryQueue

KEPT_ANSWERS = 1000
"""Answers kept for one vendor until the epoch ends; of more, the oldest go."""

Query = (
    GatedQuery
    | VendorKeyQuery
    | TokenRequest
    | MatrixQuery
    | MatrixSearch
    | RecordsRequest
    | FeasibilityQuestion
    | ContactProposal
)
Reply = TypeVar("Reply", MatchReply, DistanceReply, TokenReply, RecordsReply, CountReply, ContactReply)
_KEPT_KINDS: dict[Kind, type[MatchReply] | type[DistanceReply] | type[CountReply]] = {
    Kind.GATED: MatchReply,
    Kind.MATRIX: MatchReply,
    Kind.VENDOR_KEY: DistanceReply,
    Kind.FEASIBILITY: CountReply,
}


class _Kept(msgspec.Struct, forbid_unknown_fields=True):
    kind: str
    query: str
    left: int
    """Of the allowance, after this query was charged."""
    reply: str = ""
    """The signed answer as JSON; empty until there is one."""


@dataclass(slots=True)
class _Asked:
    """The query that is being answered, for the budget to know whether it was charged already."""

    vendor: str
    query_id: str
    kind: Kind
    digest: str
    kept: _Kept | None


_asked: ContextVar[_Asked | None] = ContextVar("asked", default=None)


class AnsweredOnce:
    """Whether a query was charged and answered before: what makes it be both once. Implements ``QueryBudget``.

    Args:
        binding: of the cohort that the answers are about.
        signer: the hospital's key for answers.
        budget: vendors' allowances; charged through this object, once for each query.
        store: where answers are kept.
    """

    def __init__(self, binding: bytes, signer: AnswerSigner, budget: QueryBudget, store: AnswerStore) -> None:
        self._binding, self._signer = binding, signer
        self._budget = budget
        self._store = store
        self._queue = QueryQueue()

    def answer(
        self, principal: Principal, kind: Kind, query: Query, make: Callable[[], Reply], again: Callable[[], None]
    ) -> Reply:
        """The signed answer to a query: made, or as it was given to the same query before.

        Args:
            make: answers, and charges through ``spend`` if it charges.
            again: decides on and logs that an answer is given again.

        Raises:
            Conflict: another query had this id, or too many requests of this one wait.
            Unavailable: what is kept cannot be read or written: nothing is told.
        """
        query_id, digest = query.query_id or new_query_id(), query_digest(kind, query)
        with self._queue.alone((principal.id, query_id)):
            kept = self._load(principal.id, query_id)
            if kept is not None and not secrets.compare_digest(kept.query, digest):
                again()
                raise Conflict("another query had this id", hint="give each query an id of its own: 128 random bits")
            if kept is not None and kept.reply:
                again()
                return cast(Reply, _read(kept))
            asked = _Asked(principal.id, query_id, kind, digest, kept)
            token = _asked.set(asked)
            try:
                reply = make()
            finally:
                _asked.reset(token)
            signed = self._signed(kind, reply, query_id=query_id, query=digest, vendor=principal.id)
            if kind in _KEPT_KINDS and asked.kept is not None:
                asked.kept.reply = signed.model_dump_json()
                self._save(principal.id, query_id, asked.kept)
            return signed

    def spend(self, vendor: str, epoch: int, amount: int = 1) -> int:
        """Charge the query that is being answered, unless it was. As ``QueryBudget.spend``."""
        asked = _asked.get()
        if asked is not None and asked.kept is not None:
            return asked.kept.left
        left = self._budget.spend(vendor, epoch, amount)
        if asked is not None:
            asked.kept = _Kept(asked.kind.value, asked.digest, left)
            self._save(vendor, asked.query_id, asked.kept)
        return left

    def remaining(self, vendor: str, epoch: int) -> int:
        """As ``QueryBudget.remaining``."""
        return self._budget.remaining(vendor, epoch)

    def resets_at_s(self, epoch: int) -> int | None:
        """As ``QueryBudget.resets_at_s``."""
        return self._budget.resets_at_s(epoch)

    def sign_feasibility(self, terms: FeasibilityTerms, vendor: str) -> FeasibilityTerms:
        """What may be counted, signed for one vendor."""
        proof = self._signer.prove(Kind.FEASIBILITY_TERMS, terms, binding=self._binding, vendor=vendor)
        return terms.model_copy(update={"proof": proof})

    def require_answered(self, vendor: str, kind: Kind, query: FeasibilityQuestion) -> None:
        """Raises ``NotFound`` unless this very query was answered to this vendor in this epoch."""
        kept = self._load(vendor, str(query.query_id))
        same = kept is not None and secrets.compare_digest(kept.query, query_digest(kind, query))
        if kept is None or not same or kept.kind != kind or not kept.reply:
            raise NotFound(
                "no answer to this question is kept for you in this epoch",
                hint="count anew, and send the very question that was counted",
            )

    def sign_gate_key(self, reply: GateKeyReply) -> GateKeyReply:
        """The gate's key, signed: whoever could put another one in its place would read gated queries."""
        return reply.model_copy(update={"proof": self._signer.prove(Kind.GATE_KEY, reply, binding=self._binding)})

    def sign_query_key(self, reply: QueryKeyReply) -> QueryKeyReply:
        """The key that queries are sealed to, signed for the same reason."""
        return reply.model_copy(update={"proof": self._signer.prove(Kind.QUERY_KEY, reply, binding=self._binding)})

    def result(self, vendor: str, query_id: str) -> KeptAnswer:
        """A kept answer. Raises ``NotFound``, ``Conflict``: charged, and not answered yet."""
        kept = self._load(vendor, query_id)
        if kept is None or (kept.kind not in _KEPT_KINDS and not kept.reply):
            raise NotFound(
                "no answer of this id is kept for you in this epoch",
                hint="if it never arrived, nothing was charged; the same query sent again is charged once at most",
            )
        if not kept.reply:
            raise Conflict(
                "this query was charged and is not answered yet",
                hint="wait, or send the same query again: it is answered without another charge",
            )
        reply = _read(kept)
        if isinstance(reply, CountReply):
            return KeptAnswer(count=reply)
        return KeptAnswer(matches=reply) if isinstance(reply, MatchReply) else KeptAnswer(distances=reply)

    def told(self, vendor: str) -> tuple[MatchReply, ...]:
        """What a vendor was told in gated and matrix mode, oldest first."""
        found = (self._load(vendor, query_id) for query_id in self._store.query_ids(vendor))
        replies = [_read(one) for one in found if one is not None and one.reply]
        return tuple(reply for reply in replies if isinstance(reply, MatchReply))

    def _signed(self, kind: Kind, reply: Reply, *, query_id: str, query: str, vendor: str) -> Reply:
        proof = self._signer.prove(kind, reply, binding=self._binding, query_id=query_id, query=query, vendor=vendor)
        return reply.model_copy(update={"proof": proof})

    def _load(self, vendor: str, query_id: str) -> _Kept | None:
        content = self._store.load(vendor, query_id)
        if content is None:
            return None
        try:
            return msgspec.json.decode(content, type=_Kept)
        except (msgspec.DecodeError, RecursionError) as error:
            raise SecretsUnreadable("a kept answer cannot be read: it is not given again") from error

    def _save(self, vendor: str, query_id: str, kept: _Kept) -> None:
        self._store.save(vendor, query_id, msgspec.json.encode(kept))
        for old in self._store.query_ids(vendor)[:-KEPT_ANSWERS]:
            self._store.drop(vendor, old)


def _read(kept: _Kept) -> MatchReply | DistanceReply | CountReply:
    return _KEPT_KINDS[Kind(kept.kind)].model_validate_json(kept.reply)

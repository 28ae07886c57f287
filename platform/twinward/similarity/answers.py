"""One epoch's answers: charged once, kept before they leave, signed, and given again by query id.

A vendor names its query (128 random bits). The name is noted with what was asked as soon as the query is charged, and
the answer is kept before it leaves. The same query under the same name then gets the same answer, or, where the process
died in between, is answered without being charged again. Another query under that name is refused.

What is kept of an answer was told, or was on its way: it is given again as it was, also where a patient withdrew since.
Records are not kept: asked for again they are decided on anew, and only the charge is remembered.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import Protocol, TypeVar, cast

import msgspec

from twinward.access.interfaces import Principal
from twinward.core.errors import Conflict, NotFound
from twinward.protocol.messages import (
    DistanceReply,
    GatedQuery,
    GateKeyReply,
    KeptAnswer,
    MatchReply,
    MatrixQuery,
    MatrixSearch,
    RecordsReply,
    RecordsRequest,
    TokenReply,
    TokenRequest,
    VendorKeyQuery,
)
from twinward.protocol.proofs import AnswerSigner, Kind, new_query_id, query_digest
from twinward.similarity.errors import SecretsUnreadable
from twinward.similarity.interfaces import QueryBudget

KEPT_ANSWERS = 1000
"""Answers kept for one vendor until the epoch ends; of more, the oldest go."""

Query = GatedQuery | VendorKeyQuery | TokenRequest | MatrixQuery | MatrixSearch | RecordsRequest
Reply = TypeVar("Reply", MatchReply, DistanceReply, TokenReply, RecordsReply)
_KEPT_KINDS: dict[Kind, type[MatchReply] | type[DistanceReply]] = {
    Kind.GATED: MatchReply,
    Kind.MATRIX: MatchReply,
    Kind.VENDOR_KEY: DistanceReply,
}


class Cabinet(Protocol):
    """Where one epoch's answers are kept: sealed, durable on return, readable by this node only."""

    def load(self, vendor: str, query_id: str) -> bytes | None:
        """What was kept last, None for nothing. Raises ``Unavailable`` if it was altered."""
        ...

    def save(self, vendor: str, query_id: str, content: bytes) -> None:
        """Keep or replace one. Raises ``Unavailable`` if it cannot: then nothing is answered."""
        ...

    def query_ids(self, vendor: str) -> list[str]:
        """A vendor's, oldest first."""
        ...

    def drop(self, vendor: str, query_id: str) -> None:
        """Forget one."""
        ...


MOST_AT_ONCE = 8
"""Requests of one query that have or await their turn."""


class MemoryCabinet:
    """Implements ``Cabinet`` for as long as the process lives."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, bytes]] = {}

    def load(self, vendor: str, query_id: str) -> bytes | None:
        """As ``Cabinet.load``."""
        return self._kept.get(vendor, {}).get(query_id)

    def save(self, vendor: str, query_id: str, content: bytes) -> None:
        """As ``Cabinet.save``."""
        self._kept.setdefault(vendor, {})[query_id] = content

    def query_ids(self, vendor: str) -> list[str]:
        """As ``Cabinet.query_ids``."""
        return list(self._kept.get(vendor, {}))

    def drop(self, vendor: str, query_id: str) -> None:
        """As ``Cabinet.drop``."""
        self._kept.get(vendor, {}).pop(query_id, None)


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


@dataclass(slots=True)
class _Turn:
    """Requests of one query take turns; ``wanted`` is how many have or await theirs."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    wanted: int = 0


_asked: ContextVar[_Asked | None] = ContextVar("asked", default=None)


class Answers:
    """One epoch's.

    Args:
        epoch, binding: of the cohort they are about.
        signer: the hospital's key for answers.
        budget: vendors' allowances; charged through this object, once for each query.
        cabinet: where answers are kept; None keeps them in memory.
    """

    def __init__(
        self, epoch: int, binding: bytes, signer: AnswerSigner, budget: QueryBudget, cabinet: Cabinet | None = None
    ) -> None:
        self.epoch, self._binding, self._signer = epoch, binding, signer
        self._budget = budget
        self._cabinet = cabinet or MemoryCabinet()
        self._guard = threading.Lock()
        self._running: dict[tuple[str, str], _Turn] = {}

    def once(
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
        with self._alone(principal.id, query_id):
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

    def gate_key(self, reply: GateKeyReply) -> GateKeyReply:
        """The gate's key, signed: whoever could put another one in its place would read gated queries."""
        return reply.model_copy(update={"proof": self._signer.prove(Kind.GATE_KEY, reply, binding=self._binding)})

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
        return KeptAnswer(matches=reply) if isinstance(reply, MatchReply) else KeptAnswer(distances=reply)

    def told(self, vendor: str) -> tuple[MatchReply, ...]:
        """What a vendor was told in gated and matrix mode, oldest first."""
        found = (self._load(vendor, query_id) for query_id in self._cabinet.query_ids(vendor))
        replies = [_read(one) for one in found if one is not None and one.reply]
        return tuple(reply for reply in replies if isinstance(reply, MatchReply))

    def _signed(self, kind: Kind, reply: Reply, *, query_id: str, query: str, vendor: str) -> Reply:
        proof = self._signer.prove(kind, reply, binding=self._binding, query_id=query_id, query=query, vendor=vendor)
        return reply.model_copy(update={"proof": proof})

    def _load(self, vendor: str, query_id: str) -> _Kept | None:
        content = self._cabinet.load(vendor, query_id)
        if content is None:
            return None
        try:
            return msgspec.json.decode(content, type=_Kept)
        except (msgspec.DecodeError, RecursionError) as error:
            raise SecretsUnreadable("a kept answer cannot be read: it is not given again") from error

    def _save(self, vendor: str, query_id: str, kept: _Kept) -> None:
        self._cabinet.save(vendor, query_id, msgspec.json.encode(kept))
        for old in self._cabinet.query_ids(vendor)[:-KEPT_ANSWERS]:
            self._cabinet.drop(vendor, old)

    @contextmanager
    def _alone(self, vendor: str, query_id: str) -> Iterator[None]:
        """Requests of one query take turns: whoever comes later finds the answer there, once there is one.

        Each that waits holds a thread of the server, so few may.

        Raises:
            Conflict: too many wait already.
        """
        with self._guard:
            turn = self._running.setdefault((vendor, query_id), _Turn())
            if turn.wanted >= MOST_AT_ONCE:
                raise Conflict(
                    "this query is being answered, and enough requests wait for it",
                    hint="wait for the answer; the same query sent again is not charged twice",
                )
            turn.wanted += 1
        try:
            with turn.lock:
                yield
        finally:
            with self._guard:
                turn.wanted -= 1
                if not turn.wanted:  # the last one: a lock that somebody waits for stays the one lock
                    del self._running[vendor, query_id]


def _read(kept: _Kept) -> MatchReply | DistanceReply:
    return _KEPT_KINDS[Kind(kept.kind)].model_validate_json(kept.reply)


class _Answering(Protocol):
    answers: Answers

    def admit_again(self, principal: Principal, query: Query) -> None:
        """Decide on and log that an answer is given again."""
        ...


def answered(kind: Kind) -> Callable[[Callable[..., Reply]], Callable[..., Reply]]:
    """A method that answers a vendor's query, made to answer it once: see ``Answers.once``."""

    def around(method: Callable[..., Reply]) -> Callable[..., Reply]:
        @wraps(method)
        def answer(self: _Answering, principal: Principal, query: Query) -> Reply:
            return self.answers.once(
                principal,
                kind,
                query,
                lambda: method(self, principal, query),
                lambda: self.admit_again(principal, query),
            )

        return answer

    return around

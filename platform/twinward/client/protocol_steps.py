"""The vendor protocol's steps with one hospital, without a network: they yield requests and take responses.

``VendorClient`` and ``AsyncVendorClient`` only carry these steps out, so both say and check the same.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError

from twinward.client.checking import (
    KIND_OF_MODE,
    Asked,
    checked,
    checked_terms,
    parsed,
    read_as,
    require_sealed_queries,
)
from twinward.client.contacts import Contact, KeptCount
from twinward.client.counts import Count, OwnCount, PreparedCount
from twinward.client.errors import AnswerMalformed, HospitalRefused
from twinward.client.keys import VendorKeys
from twinward.client.queries import (
    OwnKeyQuery,
    gated_message,
    matches_of,
    matrix_message,
    offered,
    own_key_message,
    plan_of,
)
from twinward.client.question import Question
from twinward.client.releases import Records, Release, opened, require_current
from twinward.client.results import Matches, Prepared, Record
from twinward.client.statements import Statement
from twinward.client.transport import Answer, Request, refusal
from twinward.client.trust import KeyTrust
from twinward.core.errors import BadInput
from twinward.protocol.contacts import ContactProposal, ContactReply, ContactsReply
from twinward.protocol.criteria import Criteria
from twinward.protocol.feasibility import CountReply, FeasibilityQuestion, FeasibilityTerms
from twinward.protocol.fields import MAX_HANDLES
from twinward.protocol.messages import (
    PREFIX,
    BudgetReply,
    DistanceReply,
    GatedQuery,
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
from twinward.protocol.proofs import Kind, new_query_id
from twinward.protocol.terms import Mode, ModeTerms, Terms

if TYPE_CHECKING:  # native code takes its time to load, and only queries under a vendor's own key need it
    from twinward_crypto.homomorphic.query import QueryKey

MAX_SMALL_BYTES = 1 << 20
"""Of terms and allowances."""

MAX_PATIENCE_S = 3600.0
"""Of a count, whatever time a hospital says it needs."""

MAX_CODED_BYTES = 8 << 20
"""Of terms with a code list."""

MAX_OWN_QUERIES = 16
"""Vendor-key queries whose key is kept, so that their answers can be fetched again."""

Reply = TypeVar("Reply", bound=BaseModel)
Result = TypeVar("Result")
Query: TypeAlias = (
    GatedQuery
    | VendorKeyQuery
    | TokenRequest
    | MatrixQuery
    | MatrixSearch
    | RecordsRequest
    | FeasibilityQuestion
    | ContactProposal
)


Steps: TypeAlias = Generator[Request, Answer, Result]


class ProtocolSteps:
    """What is known of one hospital so far, and the steps of everything that can be asked of it."""

    def __init__(self, trust: KeyTrust) -> None:
        self.trust = trust
        self._terms: Terms | None = None
        self._told_terms: dict[str, Any] = {}
        self._gate: tuple[int, bytes] | None = None
        self._own: dict[str, OwnKeyQuery] = {}

    def schema(self) -> Steps[Terms]:
        """Fetch what the hospital answers now, and check whose it is."""
        told = yield from self._exchange(Request("GET", PREFIX + "/schema", None, MAX_SMALL_BYTES))
        self._terms, self._told_terms = checked_terms(told, self.trust), told
        return self._terms

    def prepare(self, question: Question, key: QueryKey | None = None) -> Steps[Prepared]:
        """Fetch what is needed and encrypt. Nothing of the query leaves yet."""
        terms = yield from self._current_terms()
        mode = offered(terms, question.mode)
        if question.mode is Mode.GATED:
            plan_of(terms, mode)  # terms that mean no plan are not asked by
            gate = yield from self._query_key(terms)
            started = time.perf_counter()
            message, size = gated_message(terms, mode, gate, question)
            return _prepared(
                terms,
                mode,
                size,
                started,
                message.query_id,
                lambda: self._send("/gated", Kind.GATED, message, terms, size),
            )
        started = time.perf_counter()
        if question.mode is Mode.VENDOR_KEY:
            own = own_key_message(terms, mode, plan_of(terms, mode), question, key)
            query_id = own.message.query_id
            return _prepared(terms, mode, own.upload_bytes, started, query_id, lambda: self._send_own(own, terms))
        clear = matrix_message(terms, mode, question)
        search = MatrixTalk(clear, terms, len(_body(clear)))
        return _prepared(terms, mode, search.size, started, search.query_id, lambda: self._send_matrix(search))

    def ask(self, question: Question, key: QueryKey | None = None) -> Steps[Matches]:
        """Prepare and send."""
        prepared = yield from self.prepare(question, key)
        matches: Matches = yield from prepared.send()
        return matches

    def records(self, handles: Sequence[str], categories: Sequence[str], keys: VendorKeys) -> Steps[Records]:
        """Fetch the sealed records of released handles, and open them: a query for every ``MAX_HANDLES`` of them."""
        terms = yield from self._current_terms()
        wanted, found, withheld, size, left = list(dict.fromkeys(handles)), list[Record](), "", 0, None
        answers: list[dict[str, Any]] = []
        if not wanted or not categories:
            raise BadInput(
                "whose records, and of which categories?", hint="handles come with matches; e.g. labs, vitals"
            )
        yield from self._require_affordable(-(-len(wanted) // MAX_HANDLES))
        for start in range(0, len(wanted), MAX_HANDLES):
            part = tuple(wanted[start : start + MAX_HANDLES])
            request = _records_request(terms, part, tuple(categories), keys.public)
            reply, raw = yield from self._posted("/records", Kind.RECORDS, request, terms, RecordsReply)
            require_current(reply.until_s, time.time())
            if not {one.handle for one in reply.records} <= set(part):
                raise AnswerMalformed("records that were not asked for")
            for sealed in reply.records:
                found += opened(keys, sealed, terms, reply.until_s)
                size += len(sealed.sealed)
            withheld, left = withheld or reply.withheld, reply.budget_left
            answers.append(raw)
        ends = [one["until_s"] for one in answers if one.get("until_s") is not None]
        release = Release(self._told_terms, tuple(answers))
        return Records(tuple(found), withheld, size, left, min(ends, default=None), release)

    def feasibility_terms(self) -> Steps[FeasibilityTerms]:
        """What may be counted. Fetched anew each time: what is left changes."""
        terms = yield from self._current_terms()
        told = yield from self._exchange(Request("GET", PREFIX + "/feasibility", None, MAX_CODED_BYTES))
        return checked(told, read_as(FeasibilityTerms, told), Asked(Kind.FEASIBILITY_TERMS), terms)

    def prepare_count(self, criteria: Criteria, epsilon: float | None) -> Steps[PreparedCount]:
        """Fetch what is needed and encrypt the criteria. Nothing of them leaves yet."""
        counts = yield from self.feasibility_terms()
        terms = yield from self._current_terms()
        own = OwnCount.encrypted(criteria, epsilon, terms, counts)
        return own.prepared(terms, lambda: self._send_count(own, terms))

    def _send_count(self, own: OwnCount, terms: Terms) -> Steps[Count]:
        patience_s = min(MAX_PATIENCE_S, 60 + 4.0 * own.terms.seconds_each[own.costs.threshold - 1])
        reply = yield from self._post("/feasibility", Kind.FEASIBILITY, own.message, terms, CountReply, patience_s)
        return own.read(reply, terms)

    def propose_contact(self, kept: KeptCount, title: str, purpose: str, text: str) -> Steps[Contact]:
        """Disclose what was counted, and ask the hospital to tell those patients."""
        terms = yield from self._current_terms()
        if kept.question.epoch != terms.epoch or kept.hospital != terms.hospital:
            raise BadInput(
                f"this count is of epoch {kept.question.epoch} at {kept.hospital}, and {terms.hospital} answers about "
                f"epoch {terms.epoch}",
                hint="count anew, with --keep; nothing was sent",
            )
        proposal = kept.proposal(title, purpose, text)
        reply = yield from self._post("/contacts", Kind.CONTACT, proposal, terms, ContactReply)
        return Contact.of(reply)

    def contacts(self) -> Steps[list[Contact]]:
        """What became of one's own contact requests, newest first."""
        terms = yield from self._current_terms()
        told = yield from self._exchange(Request("GET", PREFIX + "/contacts", None))
        reply = checked(told, read_as(ContactsReply, told), Asked(Kind.CONTACTS), terms)
        return [Contact.of(one) for one in reply.requests]

    def budget(self) -> Steps[BudgetReply]:
        """Queries left in the running epoch. Not signed: it decides nothing."""
        told = yield from self._exchange(Request("GET", PREFIX + "/budget", None, MAX_SMALL_BYTES))
        return read_as(BudgetReply, told)

    def results(self, query_id: str | None = None) -> Steps[list[Matches]]:
        """What was released in the running epoch, oldest first; or the answer to one query, again."""
        if query_id is not None:
            return [(yield from self._result(query_id))]
        terms = yield from self._current_terms()
        told = yield from self._exchange(Request("GET", PREFIX + "/results", None))
        reply = read_as(ResultsReply, told)
        return [self._matches(one, raw, terms) for one, raw in zip(reply.results, told["results"], strict=True)]

    def statement(self, query_id: str) -> Steps[Statement]:
        """The answer to one query of the running epoch as a signed statement, checked."""
        _require_query_id(query_id)
        terms = yield from self._exchange(Request("GET", PREFIX + "/schema", None, MAX_SMALL_BYTES))
        self._terms, self._told_terms = checked_terms(terms, self.trust), terms
        answer = yield from self._exchange(Request("GET", f"{PREFIX}/results/{query_id}", None))
        found = Statement(terms, {name: one for name, one in answer.items() if one is not None})
        if found.check(self.trust.believed).query_id != query_id:
            raise AnswerMalformed("an answer to another question")
        return found

    def forget(self) -> None:
        """Fetch the terms again with the next question."""
        self._terms = None

    def _require_affordable(self, price: int) -> Steps[None]:
        """Nothing is spent on a part of what was asked for: all of it must be within what is left."""
        if price > 1 and (have := (yield from self.budget()).remaining) < price:
            raise BadInput(
                f"these records cost {price} queries and {have} are left; nothing was spent",
                hint=f"ask for fewer patients: {MAX_HANDLES} a query",
            )

    def _result(self, query_id: str) -> Steps[Matches]:
        _require_query_id(query_id)
        terms = yield from self._current_terms()
        told = yield from self._exchange(Request("GET", f"{PREFIX}/results/{query_id}", None))
        reply = read_as(KeptAnswer, told)
        if reply.matches is not None:
            return self._matches(reply.matches, told["matches"], terms, query_id)
        if reply.count is not None:
            raise BadInput(
                "this is a count: it is read by the client that asked alone, whose key is nowhere else",
                hint="send() the prepared question again there; it costs nothing",
            )
        if reply.distances is None:
            raise AnswerMalformed("an answer of a kind that this client does not know")
        own = self._own.get(query_id)
        if own is None:
            raise BadInput(
                "a vendor-key answer is read by the client that asked alone: the key has gone with it",
                hint="it is signed and kept, but nobody can open it; ask anew",
            )
        asked = Asked.of(Kind.VENDOR_KEY, own.message, query_id)
        return own.read(checked(told["distances"], reply.distances, asked, terms), terms)

    def _matches(self, reply: MatchReply, told: dict[str, Any], terms: Terms, query_id: str | None = None) -> Matches:
        """An earlier answer. What it answered is not known here any more, so its own word for that is signed."""
        own_word = reply.proof.query_id if reply.proof else ""
        return matches_of(checked(told, reply, Asked(KIND_OF_MODE[reply.mode], query_id or own_word), terms))

    def _current_terms(self) -> Steps[Terms]:
        return self._terms or (yield from self.schema())

    def _query_key(self, terms: Terms) -> Steps[bytes]:
        """What gated queries are sealed to. Raises ``VersionUnknown``: the hospital's node knows no such key yet."""
        require_sealed_queries(terms)
        if self._gate is None or self._gate[0] != terms.epoch:
            told = yield from self._exchange(Request("GET", PREFIX + "/query-key", None))
            reply = read_as(QueryKeyReply, told)
            if reply.epoch != terms.epoch:
                self.forget()
                message = f"made for another schema or epoch; epoch {reply.epoch} is answered now"
                raise HospitalRefused(message, status=409, hint="ask again: the new terms will be fetched")
            checked(told, reply, Asked(Kind.QUERY_KEY), terms)
            self._gate = (terms.epoch, reply.key)
        return self._gate[1]

    def _send(self, path: str, kind: Kind, message: Query, terms: Terms, size: int, clear: int = 0) -> Steps[Matches]:
        reply = yield from self._post(path, kind, message, terms, MatchReply)
        return matches_of(reply, upload_bytes=size, clear_bytes=clear)

    def _send_own(self, own: OwnKeyQuery, terms: Terms) -> Steps[Matches]:
        self._own = dict([*self._own.items(), (own.message.query_id or "", own)][-MAX_OWN_QUERIES:])
        return own.read(
            (yield from self._post("/vendor-key", Kind.VENDOR_KEY, own.message, terms, DistanceReply)), terms
        )

    def _send_matrix(self, search: MatrixTalk) -> Steps[Matches]:
        message, terms, size = search.message, search.terms, search.size
        if isinstance(message, MatrixSearch):
            return (yield from self._send("/matrix/search", Kind.MATRIX, message, terms, 0, size))
        if search.query is None:  # the token is kept: sent again, the query must be the same
            reply = yield from self._post("/matrix/token", Kind.TOKEN, message, terms, TokenReply)
            token = reply.token
            search.query = MatrixQuery(epoch=message.epoch, token=token, query_id=search.query_id)
        return (yield from self._send("/matrix", Kind.MATRIX, search.query, terms, len(search.query.token), size))

    def _post(
        self, path: str, kind: Kind, message: Query, terms: Terms, reply: type[Reply], patience_s: float = 0.0
    ) -> Steps[Reply]:
        answer, _ = yield from self._posted(path, kind, message, terms, reply, patience_s)
        return answer

    def _posted(
        self, path: str, kind: Kind, message: Query, terms: Terms, reply: type[Reply], patience_s: float = 0.0
    ) -> Steps[tuple[Reply, dict[str, Any]]]:
        """The answer, checked, and as it came."""
        asked = Asked.of(kind, message, message.query_id)
        request = Request("POST", PREFIX + path, _body(message), query_id=asked.query_id, patience_s=patience_s)
        told = yield from self._exchange(request)
        return checked(told, read_as(reply, told), asked, terms), told

    def _exchange(self, request: Request) -> Steps[dict[str, Any]]:
        answer = yield request
        if answer.status != HTTPStatus.OK:
            self.forget()  # a new epoch is the usual reason; the next call fetches the terms again
            raise refusal(answer, request)
        return parsed(answer.content)


@dataclass
class MatrixTalk:
    """A matrix query in one message or two: the second carries the token that answered the first."""

    message: TokenRequest | MatrixSearch
    terms: Terms
    size: int
    query: MatrixQuery | None = None

    def __post_init__(self) -> None:
        whole = isinstance(self.message, MatrixSearch)
        self.query_id = (self.message.query_id if whole else None) or new_query_id()


def _prepared(
    terms: Terms, mode: ModeTerms, size: int, started: float, query_id: str | None, send: Callable[[], Steps[Matches]]
) -> Prepared:
    seconds = time.perf_counter() - started
    return Prepared(terms.hospital, mode.mode, mode.leakage, size, seconds, query_id or "", send)


def _require_query_id(query_id: str) -> None:
    if re.fullmatch("[0-9a-f]{32}", query_id) is None:
        raise BadInput("a query id is 32 hexadecimal digits", hint="the error of the cut connection names it")


def _body(message: BaseModel) -> bytes:
    return message.model_dump_json(exclude_none=True).encode()


def _records_request(
    terms: Terms, handles: tuple[str, ...], categories: tuple[str, ...], recipient: bytes
) -> RecordsRequest:
    try:
        return RecordsRequest(
            epoch=terms.epoch,
            handles=handles,
            categories=categories,
            recipient=recipient,
            query_id=new_query_id(),
        )
    except ValidationError:
        raise BadInput("handles are 32 hexadecimal digits, categories single words") from None

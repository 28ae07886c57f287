"""A vendor's conversation with one hospital, without a network: steps that yield requests and take responses.

``VendorClient`` and ``AsyncVendorClient`` only carry these steps out, so both say and check the same.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from twinward.client.answers import Matches, Prepared, Question, Record, Records
from twinward.client.asking import gated_message, matches_of, matrix_message, offered, own_key_message, reading
from twinward.client.errors import AnswerMalformed, HospitalRefused, HospitalUnreachable
from twinward.client.keys import VendorKeys
from twinward.client.messages import (
    MAX_HANDLES,
    PREFIX,
    BudgetReply,
    DistanceReply,
    GateKeyReply,
    MatchReply,
    MatrixQuery,
    MatrixSearch,
    Mode,
    ModeTerms,
    RecordsReply,
    RecordsRequest,
    ResultsReply,
    Terms,
    TokenReply,
    TokenRequest,
    sealing_context,
)
from twinward.errors import BadInput
from twinward_crypto.errors import OpenError
from twinward_crypto.homomorphic import wire
from twinward_crypto.homomorphic.parameters import Plan
from twinward_crypto.homomorphic.query import QueryKey

MAX_ANSWER_BYTES = 256 << 20

Reply = TypeVar("Reply", bound=BaseModel)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be sent: a method, a path below the hospital's address, and a JSON body or none."""

    method: str
    path: str
    content: bytes | None = field(repr=False)


Steps: TypeAlias = Generator[Request, httpx.Response, Result]


class Conversation:
    """What is known of one hospital so far, and the steps of everything that can be asked of it."""

    def __init__(self) -> None:
        self._terms: Terms | None = None
        self._gate: tuple[int, wire.Bundle] | None = None

    def schema(self) -> Steps[Terms]:
        """Fetch what the hospital answers now."""
        self._terms = yield from self._get("/schema", Terms)
        return self._terms

    def prepare(self, question: Question, key: QueryKey | None = None) -> Steps[Prepared]:
        """Fetch what is needed and encrypt. Nothing of the query leaves yet."""
        terms = yield from self._current_terms()
        mode = offered(terms, question.mode)
        if question.mode is Mode.GATED:
            gate = yield from self._gate_key(terms, _plan(terms, mode))
            started = time.perf_counter()
            message, size = gated_message(terms, mode, gate, question)
            return self._prepared(terms, mode, size, started, lambda: self._send("/gated", message, size))
        started = time.perf_counter()
        if question.mode is Mode.VENDOR_KEY:
            own = own_key_message(terms, mode, _plan(terms, mode), question, key)

            def send_own() -> Steps[Matches]:
                reply = yield from self._post("/vendor-key", own.message, DistanceReply)
                return own.read(reply, terms)

            return self._prepared(terms, mode, own.upload_bytes, started, send_own)
        clear = matrix_message(terms, mode, question)
        size = len(_body(clear))
        return self._prepared(terms, mode, size, started, lambda: self._send_matrix(clear, size))

    def ask(self, question: Question, key: QueryKey | None = None) -> Steps[Matches]:
        """Prepare and send."""
        prepared = yield from self.prepare(question, key)
        matches: Matches = yield from prepared.send()
        return matches

    def records(self, handles: Sequence[str], categories: Sequence[str], keys: VendorKeys) -> Steps[Records]:
        """Fetch the sealed records of released handles, and open them."""
        terms = yield from self._current_terms()
        wanted, found, withheld, size = list(dict.fromkeys(handles)), list[Record](), "", 0
        if not wanted or not categories:
            raise BadInput(
                "whose records, and of which categories?", hint="handles come with matches; e.g. labs, vitals"
            )
        for start in range(0, len(wanted), MAX_HANDLES):
            part = tuple(wanted[start : start + MAX_HANDLES])
            try:
                request = RecordsRequest(
                    epoch=terms.epoch,
                    handles=part,
                    categories=tuple(categories),
                    recipient=base64.b64encode(keys.public),
                )
            except ValidationError:
                raise BadInput("handles are 32 hexadecimal digits, categories single words") from None
            reply = yield from self._post("/records", request, RecordsReply)
            if reply.epoch != terms.epoch or not {one.handle for one in reply.records} <= set(part):
                raise AnswerMalformed("records that were not asked for")
            for sealed in reply.records:
                info, aad = sealing_context(terms.binding(), sealed.handle)
                found += _opened(keys, sealed.handle, sealed.sealed, info, aad)
                size += len(sealed.sealed)
            withheld = withheld or reply.withheld
        return Records(tuple(found), withheld, size)

    def budget(self) -> Steps[BudgetReply]:
        """Queries left in the running epoch."""
        return (yield from self._get("/budget", BudgetReply))

    def results(self) -> Steps[list[Matches]]:
        """What was released in the running epoch, oldest first."""
        reply = yield from self._get("/results", ResultsReply)
        return [matches_of(one) for one in reply.results]

    def forget(self) -> None:
        """Fetch the terms again with the next question."""
        self._terms = None

    def _current_terms(self) -> Steps[Terms]:
        return self._terms or (yield from self.schema())

    def _gate_key(self, terms: Terms, plan: Plan) -> Steps[wire.Bundle]:
        if self._gate is None or self._gate[0] != terms.epoch:
            reply = yield from self._get("/gate-key", GateKeyReply)
            if reply.epoch != terms.epoch:
                self.forget()
                message = f"made for another schema or epoch; epoch {reply.epoch} is answered now"
                raise HospitalRefused(message, status=409, hint="ask again: the new terms will be fetched")
            kind = wire.Kind.GATE_PUBLIC_KEY
            bundle = reading(lambda: wire.decode(reply.bundle, kind=kind, plan=plan, binding=terms.binding()))
            self._gate = (terms.epoch, bundle)
        return self._gate[1]

    def _send(self, path: str, message: BaseModel, size: int, clear: int = 0) -> Steps[Matches]:
        return matches_of((yield from self._post(path, message, MatchReply)), upload_bytes=size, clear_bytes=clear)

    def _send_matrix(self, message: TokenRequest | MatrixSearch, size: int) -> Steps[Matches]:
        if isinstance(message, MatrixSearch):
            return (yield from self._send("/matrix/search", message, 0, size))
        token = (yield from self._post("/matrix/token", message, TokenReply)).token
        query = MatrixQuery(epoch=message.epoch, token=base64.b64encode(token))
        return (yield from self._send("/matrix", query, len(token), size))

    def _prepared(
        self, terms: Terms, mode: ModeTerms, size: int, started: float, send: Callable[[], Steps[Matches]]
    ) -> Prepared:
        return Prepared(terms.hospital, mode.mode, mode.leakage, size, time.perf_counter() - started, send)

    def _get(self, path: str, kind: type[Reply]) -> Steps[Reply]:
        return (yield from self._exchange(Request("GET", PREFIX + path, None), kind))

    def _post(self, path: str, message: BaseModel, kind: type[Reply]) -> Steps[Reply]:
        return (yield from self._exchange(Request("POST", PREFIX + path, _body(message)), kind))

    def _exchange(self, request: Request, kind: type[Reply]) -> Steps[Reply]:
        answer = yield request
        if answer.status_code != httpx.codes.OK:
            self.forget()  # a new epoch is the usual reason; the next call fetches the terms again
            raise _refusal(answer)
        if len(answer.content) > MAX_ANSWER_BYTES:
            raise AnswerMalformed("the answer is implausibly large")
        try:
            return kind.model_validate_json(answer.content)
        except ValidationError as error:
            raise AnswerMalformed(f"not a {kind.__name__}: {error.error_count()} fields are wrong") from None


def transport_error(error: httpx.HTTPError | httpx.InvalidURL) -> BadInput | HospitalUnreachable:
    """What the HTTP client could not do, in our words."""
    if isinstance(error, httpx.InvalidURL):
        return BadInput("the hospital's address is not a URL", hint="for instance https://twinward.example")
    hint = "nothing is known to have been spent; look at budget() before asking again"
    return HospitalUnreachable(f"the hospital does not answer ({type(error).__name__})", hint=hint)


def _body(message: BaseModel) -> bytes:
    return message.model_dump_json(exclude_none=True).encode()


def _plan(terms: Terms, mode: ModeTerms) -> Plan:
    return reading(lambda: mode.plan(terms.feature_schema))


def _opened(keys: VendorKeys, handle: str, sealed: bytes, info: bytes, aad: bytes) -> list[Record]:
    try:
        content = json.loads(keys.open(sealed, info=info, aad=aad))
        return [
            Record(handle, str(one["type"]), str(one["category"]), base64.b64decode(one["content"], validate=True))
            for one in content["records"]
        ]
    except OpenError as error:
        raise AnswerMalformed("sealed records do not open with these keys") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise AnswerMalformed("sealed records hold something else than records") from error


def _refusal(answer: httpx.Response) -> HospitalRefused:
    """The node's own words (``{"error": {"message", "hint"}}``) where there are any."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    error = body.get("error") if isinstance(body, dict) else None
    told = error if isinstance(error, dict) else {}
    message = str(told.get("message") or f"the hospital answered HTTP {answer.status_code}")[:500]
    return HospitalRefused(message, status=answer.status_code, hint=str(told.get("hint") or "")[:500])

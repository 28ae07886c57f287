"""``VendorClient``: a vendor's whole conversation with one hospital."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeVar

import httpx
import numpy as np
from pydantic import BaseModel, ValidationError

from twinward.client.errors import AnswerMalformed, HospitalRefused, HospitalUnreachable
from twinward.client.messages import (
    PREFIX,
    BudgetReply,
    DistanceReply,
    GatedQuery,
    GateKeyReply,
    MatchReply,
    MatrixQuery,
    Mode,
    ModeTerms,
    ResultsReply,
    Terms,
    TokenReply,
    TokenRequest,
    VendorKeyQuery,
)
from twinward.client.threshold import Threshold, as_threshold
from twinward.errors import BadInput
from twinward_crypto.errors import CryptoError
from twinward_crypto.homomorphic import wire
from twinward_crypto.homomorphic.gated import encrypt_gated_query
from twinward_crypto.homomorphic.parameters import Plan
from twinward_crypto.homomorphic.query import QueryKey

DEFAULT_TIMEOUT_S = 60.0
MAX_ANSWER_BYTES = 256 << 20

Reply = TypeVar("Reply", bound=BaseModel)
Made = TypeVar("Made")
Values = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Matches:
    """What came back.

    Attributes:
        mode: how it was asked.
        epoch: the cohort it is about; handles mean nothing in another one.
        handles: pseudonyms of matching patients.
        count: how many matched; None where the hospital withholds it.
        withheld: one sentence saying what is missing and why; empty if nothing is.
        budget_left: queries left in this epoch.
        distances: vendor-key mode: squared distance of each handle, noise included; empty otherwise.
        upload_bytes, download_bytes: size of the encrypted parts.
    """

    mode: Mode
    epoch: int
    handles: tuple[str, ...]
    count: int | None
    withheld: str
    budget_left: int
    distances: tuple[int, ...] = field(default=(), repr=False)
    upload_bytes: int = 0
    download_bytes: int = 0


class VendorClient:
    """Ask one hospital.

    Features are given in clinical units by name; one that is left out does not count. Weights are whole numbers.

    Args:
        base_url: the hospital's address, e.g. ``https://twinward.st-anna.example``.
        token: the bearer token the hospital issued.
        http: an httpx client of your own (proxies, client certificates, tests); closed by whoever made it.
        timeout_s: how long to wait for an answer.

    Raises (every method):
        BadInput: what was asked makes no sense; nothing was sent.
        HospitalRefused, HospitalUnreachable, AnswerMalformed: see ``errors``.
    """

    def __init__(
        self, base_url: str, token: str, *, http: httpx.Client | None = None, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._headers = {"authorization": f"Bearer {token}"}
        self._http = http or httpx.Client(timeout=timeout_s)
        self._owns_http = http is None
        self._terms: Terms | None = None
        self._gate: tuple[int, wire.Bundle] | None = None

    def __repr__(self) -> str:
        return f"VendorClient({self._base_url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back the connection, if this client opened it."""
        if self._owns_http:
            self._http.close()

    def schema(self) -> Terms:
        """Fetch what the hospital answers now: features, epoch, modes and what each leaks."""
        self._terms = self._get("/schema", Terms)
        return self._terms

    def query_gated(
        self, values: Values, *, threshold: float | Threshold = 0.05, weights: Mapping[str, int] | None = None
    ) -> Matches:
        """Ask under the gate's key: the scoring side sees neither query nor records; the gate releases matches only."""
        terms, mode, plan = self._prepare(Mode.GATED)
        levels, chosen = _question(terms, mode, values, weights)
        limit = as_threshold(threshold).to_squared(terms.feature_schema, chosen)
        gate = self._gate_key(terms, plan)
        data = _asking(lambda: encrypt_gated_query(gate, levels, chosen).encode())
        query = GatedQuery(epoch=terms.epoch, threshold_squared=limit, bundle=_base64(data))
        return _matches(self._post("/gated", query, MatchReply), upload_bytes=len(data))

    def query_vendor_key(
        self,
        values: Values,
        *,
        threshold: float | Threshold = 0.05,
        weights: Mapping[str, int] | None = None,
        key: QueryKey | None = None,
    ) -> Matches:
        """Ask under your own key (a fresh one if none is given): the hospital learns nothing of query or threshold.

        Distances come back too large by 0 to ``noise_width - 1``; the threshold is moved by half of that.
        """
        terms, mode, plan = self._prepare(Mode.VENDOR_KEY)
        levels, chosen = _question(terms, mode, values, weights)
        limit = as_threshold(threshold).to_squared(terms.feature_schema, chosen) + (plan.noise_width - 1) // 2
        secret = key or QueryKey.generate(plan)
        query = _asking(lambda: secret.encrypt_query(levels, chosen, binding=terms.binding()))
        data = query.bundle.encode()
        request = VendorKeyQuery(epoch=terms.epoch, bundle=_base64(data))
        reply = self._post("/vendor-key", request, DistanceReply)
        if reply.epoch != terms.epoch:
            raise AnswerMalformed("an answer about another epoch")
        scores = _reading(lambda: wire.decode(reply.bundle, kind=wire.Kind.SCORES, plan=plan, binding=terms.binding()))
        if len(reply.handles) != scores.rows:
            raise AnswerMalformed("as many handles as rows are expected")
        distances = _reading(lambda: secret.decrypt_distances(query, scores))
        near = [row for row in np.flatnonzero(distances <= limit) if reply.handles[row]]
        return Matches(
            mode=Mode.VENDOR_KEY,
            epoch=reply.epoch,
            handles=tuple(reply.handles[row] for row in near),
            count=int((distances <= limit).sum()),
            withheld=reply.withheld,
            budget_left=reply.budget_left,
            distances=tuple(int(distances[row]) for row in near),
            upload_bytes=len(data),
            download_bytes=len(reply.bundle),
        )

    def query_matrix(self, values: Values, *, threshold: float | Threshold = 0.05) -> Matches:
        """Ask through the outsourced tree. **The hospital sees the query**, and the tree is obfuscation-grade only.

        Every feature must be given: this mode has no weights.
        """
        terms = self._terms or self.schema()
        _offered(terms, Mode.MATRIX)
        schema = terms.feature_schema
        missing = [feature.name for feature in schema.features if feature.name not in values]
        if missing:
            raise BadInput(f"matrix mode needs every feature; {missing[0]!r} is missing", hint="gated mode does not")
        levels, limit = tuple(schema.quantise(values)), as_threshold(threshold).to_squared(schema)
        asked = TokenRequest(epoch=terms.epoch, levels=levels, threshold_squared=limit)
        token = self._post("/matrix/token", asked, TokenReply).token
        query = MatrixQuery(epoch=terms.epoch, token=_base64(token))
        return _matches(self._post("/matrix", query, MatchReply), upload_bytes=len(token))

    def budget(self) -> BudgetReply:
        """Queries left in the running epoch."""
        return self._get("/budget", BudgetReply)

    def results(self) -> list[Matches]:
        """What was released to you in the running epoch, oldest first."""
        return [_matches(reply) for reply in self._get("/results", ResultsReply).results]

    def _prepare(self, mode: Mode) -> tuple[Terms, ModeTerms, Plan]:
        terms = self._terms or self.schema()
        offered = _offered(terms, mode)
        return terms, offered, _reading(lambda: offered.plan(terms.feature_schema))

    def _gate_key(self, terms: Terms, plan: Plan) -> wire.Bundle:
        if self._gate is None or self._gate[0] != terms.epoch:
            reply = self._get("/gate-key", GateKeyReply)
            if reply.epoch != terms.epoch:
                self._terms = None
                message = f"made for another schema or epoch; epoch {reply.epoch} is answered now"
                raise HospitalRefused(message, status=409, hint="ask again: the new terms will be fetched")
            kind = wire.Kind.GATE_PUBLIC_KEY
            bundle = _reading(lambda: wire.decode(reply.bundle, kind=kind, plan=plan, binding=terms.binding()))
            self._gate = (terms.epoch, bundle)
        return self._gate[1]

    def _get(self, path: str, kind: type[Reply]) -> Reply:
        return self._send("GET", path, None, kind)

    def _post(self, path: str, message: BaseModel, kind: type[Reply]) -> Reply:
        return self._send("POST", path, message, kind)

    def _send(self, method: str, path: str, message: BaseModel | None, kind: type[Reply]) -> Reply:
        headers = self._headers | ({"content-type": "application/json"} if message else {})
        content = message.model_dump_json().encode() if message else None
        try:
            answer = self._http.request(method, self._base_url + PREFIX + path, headers=headers, content=content)
        except httpx.InvalidURL as error:
            raise BadInput(
                "the hospital's address is not a URL", hint="for instance https://twinward.example"
            ) from error
        except httpx.HTTPError as error:
            hint = "nothing is known to have been spent; look at budget() before asking again"
            raise HospitalUnreachable(f"the hospital does not answer ({type(error).__name__})", hint=hint) from error
        if answer.status_code != httpx.codes.OK:
            self._terms = None  # a new epoch is the usual reason; the next call fetches the terms again
            raise _refusal(answer)
        if len(answer.content) > MAX_ANSWER_BYTES:
            raise AnswerMalformed("the answer is implausibly large")
        try:
            return kind.model_validate_json(answer.content)
        except ValidationError as error:
            raise AnswerMalformed(f"not a {kind.__name__}: {error.error_count()} fields are wrong") from None


def _question(
    terms: Terms, mode: ModeTerms, values: Values, weights: Mapping[str, int] | None
) -> tuple[list[int], list[int] | None]:
    """Levels and weights; weights are None where every feature counts once."""
    schema = terms.feature_schema
    levels = schema.quantise(values)
    if not values:
        raise BadInput("a query needs at least one feature")
    stray = sorted(set(weights or ()) - set(values))
    if stray:
        raise BadInput(f"a weight for {stray[0]!r}, which has no value")
    chosen = [(weights or {}).get(f.name, 1) if f.name in values else 0 for f in schema.features]
    if all(weight == 1 for weight in chosen):
        return levels, None
    if not mode.weighted:
        raise BadInput(
            "this hospital takes no weights in this mode, so every feature must be given", hint="or use another mode"
        )
    return levels, chosen


def _offered(terms: Terms, mode: Mode) -> ModeTerms:
    for offered in terms.modes:
        if offered.mode is mode:
            return offered
    names = ", ".join(offered.mode for offered in terms.modes) or "no mode"
    raise BadInput(f"{terms.hospital} does not answer in {mode} mode", hint=f"it answers in: {names}")


def _matches(reply: MatchReply, *, upload_bytes: int = 0) -> Matches:
    return Matches(
        mode=reply.mode,
        epoch=reply.epoch,
        handles=reply.handles,
        count=reply.count,
        withheld=reply.withheld,
        budget_left=reply.budget_left,
        upload_bytes=upload_bytes,
    )


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


def _base64(data: bytes) -> bytes:
    return base64.b64encode(data)


def _asking(make: Callable[[], Made]) -> Made:
    """What the caller asked for cannot be encrypted: the caller's fault."""
    try:
        return make()
    except CryptoError as error:
        raise BadInput(f"this query cannot be made: {error}") from error


def _reading(make: Callable[[], Made]) -> Made:
    """What the hospital sent cannot be used: the hospital's fault."""
    try:
        return make()
    except CryptoError as error:
        raise AnswerMalformed(f"the hospital's answer cannot be used: {error}") from error

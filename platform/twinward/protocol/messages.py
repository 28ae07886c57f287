"""The HTTP contract of similarity search, in types both sides use. JSON; encrypted bundles as base64 strings.

All under ``/api/1/similarity``, each with ``Authorization: Bearer <token>``; errors are
``{"error": {"kind", "message", "hint"}}`` with a fitting status::

    GET  /schema           -> Terms                 what may be asked, in which modes, and what each mode leaks
    GET  /query-key        -> QueryKeyReply         gated: what queries are sealed to
    GET  /gate-key         -> GateKeyReply          gated: what clients of version 2 encrypt queries with
    POST /gated            GatedQuery     -> MatchReply
    POST /vendor-key       VendorKeyQuery -> DistanceReply
    POST /matrix/token     TokenRequest   -> TokenReply       matrix: the hospital sees the query
    POST /matrix           MatrixQuery    -> MatchReply
    POST /matrix/search    MatrixSearch   -> MatchReply       matrix: the hospital makes the tokens and drives the tree
    POST /records          RecordsRequest -> RecordsReply     records of released handles, sealed to the vendor's key
    GET, POST /feasibility                                    counts under hidden criteria: see ``feasibility``
    GET  /budget           -> BudgetReply
    GET  /results          -> ResultsReply          what this vendor was released in the running epoch
    GET  /results/{query id} -> KeptAnswer          one answer again, byte for byte; it costs nothing

**Query ids.** The vendor picks 128 random bits for each query. The same query under the same id again gets the answer
that it got, or would have got, and is charged once; another query under that id is refused (409).

**Proofs.** Every answer but an allowance carries a signature by the hospital's key for answers (``proofs``).

**Nearest k.** ``nearest = k``: the smallest ball around the query that holds at least k patients (more where several
are equally far), and within the threshold.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from twinward.protocol.feasibility import CountReply
from twinward.protocol.fields import (
    MAX_HANDLES,
    Base64Bytes,
    Encoded,
    Epoch,
    Handle,
    Message,
    Nearest,
    QueryId,
    Seconds,
    Squared,
    Weight,
    Where,
)
from twinward.protocol.proofs import Proof
from twinward.protocol.terms import Mode

PREFIX = "/api/1/similarity"


class GateKeyReply(Message):
    """The gate's public key (a ``GATE_PUBLIC_KEY`` bundle)."""

    epoch: Epoch
    bundle: Encoded
    proof: Proof | None = None


class QueryKeyReply(Message):
    """The gate's public key of this epoch for queries (``twinward_crypto.disclosure``)."""

    epoch: Epoch
    key: Annotated[Base64Bytes, Field(max_length=4096)]
    proof: Proof | None = None


TellCount = Literal["count"]
"""What an answer may be cut down to: how many, without handles."""


class GatedQuery(Message):
    """A query, and beside it what the gate alone sees as well: the threshold, how many are wanted.

    Attributes:
        sealed: the query under HPKE (``sealed_query``), which binds every other member.
        bundle: instead of it, from clients of version 2: an encrypted query (``GATED_QUERY``).
        tell: "count" asks for the number alone.
        where: only entries that have these values.
    """

    epoch: Epoch
    threshold_squared: Squared
    nearest: Nearest | None = None
    bundle: Encoded | None = None
    sealed: Annotated[Base64Bytes, Field(max_length=1 << 16)] | None = None
    tell: TellCount | None = None
    where: Where | None = None
    query_id: QueryId | None = None

    @model_validator(mode="after")
    def _check(self) -> GatedQuery:
        if (self.bundle is None) == (self.sealed is None):
            raise ValueError("a query is sealed, or an encrypted bundle")
        return self


class VendorKeyQuery(Message):
    """An encrypted query (``QUERY``) under the vendor's own key."""

    epoch: Epoch
    bundle: Encoded
    where: Where | None = None
    query_id: QueryId | None = None


class TokenRequest(Message):
    """Matrix mode: the query in the clear, for the hospital to make a token of."""

    epoch: Epoch
    levels: tuple[Annotated[int, Field(ge=0, le=1023)], ...]
    threshold_squared: Squared
    query_id: QueryId | None = None


class TokenReply(Message):
    """A token for the outsourced tree."""

    epoch: Epoch
    token: Encoded
    proof: Proof | None = None


class MatrixQuery(Message):
    """A token to be searched with. ``tell``: as of ``GatedQuery``."""

    epoch: Epoch
    token: Encoded
    tell: TellCount | None = None
    where: Where | None = None
    query_id: QueryId | None = None


class MatrixSearch(Message):
    """Matrix mode for what one token cannot ask: the nearest k, weights. Every weight is 1 or more."""

    epoch: Epoch
    levels: tuple[Annotated[int, Field(ge=0, le=1023)], ...]
    threshold_squared: Squared
    weights: tuple[Weight, ...] | None = None
    nearest: Nearest | None = None
    tell: TellCount | None = None
    where: Where | None = None
    query_id: QueryId | None = None


class RecordsRequest(Message):
    """Whose records, of which categories, sealed to which public key (``twinward_crypto.disclosure``)."""

    epoch: Epoch
    handles: Annotated[tuple[Handle, ...], Field(min_length=1, max_length=MAX_HANDLES)]
    categories: Annotated[tuple[Annotated[str, Field(max_length=32)], ...], Field(min_length=1, max_length=32)]
    recipient: Annotated[Base64Bytes, Field(max_length=4096)]
    query_id: QueryId | None = None


class SealedRecords(Message):
    """One patient's records under HPKE, padded; see ``sealed_records``."""

    handle: Handle
    categories: tuple[str, ...]
    sealed: Encoded


class RecordsReply(Message):
    """What consent lets out now. Patients whose consent lets nothing out are missing; ``withheld`` says so.

    Each request costs one query; ``budget_left`` is what remains. ``until_s``: until when the records may be used, in
    seconds since 1970; the same stands in what is sealed.
    """

    epoch: Epoch
    records: tuple[SealedRecords, ...]
    withheld: str
    budget_left: int | None = None
    until_s: Seconds | None = None
    proof: Proof | None = None


class MatchReply(Message):
    """What is released: handles that mean nothing to anyone else and change with every epoch.

    ``expires_at_s``: until when they mean something here, in seconds since 1970; None where that is not known.
    ``tells``: "count" where the number was asked for alone: then there are no handles.
    """

    mode: Mode
    epoch: Epoch
    handles: tuple[Handle, ...]
    count: int | None
    withheld: str
    budget_left: int
    expires_at_s: Seconds | None = None
    tells: TellCount | None = None
    proof: Proof | None = None


class DistanceReply(Message):
    """Vendor-key mode: encrypted distances (``SCORES``) and each row's handle, empty where consent keeps it back."""

    epoch: Epoch
    bundle: Encoded
    handles: tuple[Handle | Annotated[str, Field(max_length=0)], ...]
    withheld: str
    budget_left: int
    proof: Proof | None = None


class BudgetReply(Message):
    """Queries left in an epoch, and when it ends: seconds since 1970, None where the ledger does not say."""

    epoch: Epoch
    remaining: int
    resets_at_s: Seconds | None = None


class ResultsReply(Message):
    """Earlier releases of the running epoch, oldest first."""

    results: tuple[MatchReply, ...]


class KeptAnswer(Message):
    """One answer again, as it was given: matches, in vendor-key mode distances, or a count."""

    matches: MatchReply | None = None
    distances: DistanceReply | None = None
    count: CountReply | None = None

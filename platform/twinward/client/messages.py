"""The HTTP contract of similarity search, in types both sides use. JSON; encrypted bundles as base64 strings.

All under ``/api/1/similarity``, each with ``Authorization: Bearer <token>``; errors are
``{"error": {"kind", "message", "hint"}}`` with a fitting status::

    GET  /schema           -> Terms                 what may be asked, in which modes, and what each mode leaks
    GET  /gate-key         -> GateKeyReply          gated: what queries are encrypted with
    POST /gated            GatedQuery     -> MatchReply
    POST /vendor-key       VendorKeyQuery -> DistanceReply
    POST /matrix/token     TokenRequest   -> TokenReply       matrix: the hospital sees the query
    POST /matrix           MatrixQuery    -> MatchReply
    POST /matrix/search    MatrixSearch   -> MatchReply       matrix: the hospital makes the tokens and drives the tree
    POST /records          RecordsRequest -> RecordsReply     records of released handles, sealed to the vendor's key
    GET  /budget           -> BudgetReply
    GET  /results          -> ResultsReply          what this vendor was released in the running epoch
    GET  /results/{query id} -> KeptAnswer          one answer again, byte for byte; it costs nothing

**Query ids.** The vendor picks 128 random bits for each query. The same query under the same id again gets the answer
that it got, or would have got, and is charged once; another query under that id is refused (409).

**Proofs.** Every answer but an allowance carries a signature by the hospital's key for answers (``proofs``).

**Versions.** ``Terms.protocol`` is what the node speaks, ``Terms.oldest_protocol`` the oldest it still answers. Members
that a client does not know are ignored; what must not be ignored raises ``oldest_protocol``.

**Nearest k.** ``nearest = k``: the smallest ball around the query that holds at least k patients (more where several
are equally far), and within the threshold.
"""

from __future__ import annotations

import base64
import hashlib
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, EncodedBytes, Field
from pydantic.types import Base64Encoder
from pydantic_core import PydanticCustomError

from twinward.core.errors import BadInput
from twinward.features.schema import FeatureSchema
from twinward_crypto.homomorphic.parameters import PROFILES, Plan, plan, plan_gated
from twinward_crypto.homomorphic.wire import MAX_BUNDLE_BYTES

PREFIX = "/api/1/similarity"
PROTOCOL = 2
"""Of this build: signed answers and query ids came with 2."""
OLDEST_PROTOCOL = 2
"""The oldest that this build still speaks, on both sides."""

_BINDING = b"twinward/similarity/binding/v1"
_RECORDS = b"twinward/similarity/records/v1"


class _StrictBase64(Base64Encoder):
    """RFC 4648 section 3.3 and 3.5: no other characters, no other padding; one text for the same bytes."""

    @classmethod
    def decode(cls, data: bytes) -> bytes:
        try:
            value = base64.b64decode(data, validate=True)
        except ValueError:
            value = b""
        if base64.b64encode(value) != data:
            raise PydanticCustomError("base64_decode", "not base64 as RFC 4648 writes it")
        return value


Base64Bytes = Annotated[bytes, EncodedBytes(encoder=_StrictBase64)]
Handle = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
QueryId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
"""128 random bits as hex, chosen by the vendor: what an answer is kept and fetched by."""
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Epoch = Annotated[int, Field(ge=0, lt=1 << 53)]
"""Digests and proofs are over RFC 8785 JSON, which has no exact form for larger integers."""
Squared = Annotated[int, Field(ge=0, lt=1 << 40)]
"""A squared distance in squared levels, weights included."""
Nearest = Annotated[int, Field(ge=1, le=10_000)]
Weight = Annotated[int, Field(ge=0, le=1024)]
MAX_HANDLES = 8
"""Patients whose records may be asked for at once."""
Encoded = Annotated[Base64Bytes, Field(max_length=MAX_BUNDLE_BYTES)]


class Mode(StrEnum):
    """How a query is asked."""

    GATED = "gated"
    VENDOR_KEY = "vendor-key"
    MATRIX = "matrix"


def _known_modes(told: object) -> object:
    """Without modes that only a later build knows."""
    if not isinstance(told, list):
        return told
    known = set(Mode)
    return [
        one for one in told if not (isinstance(one, dict) and isinstance(one.get("mode"), str)) or one["mode"] in known
    ]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Proof(_Message):
    """That an answer is a hospital's, to one question of one vendor. What is signed: see ``proofs``.

    Attributes:
        query_id, query: of what was asked; both empty where nothing was (terms, the gate's key).
        vendor: who was answered; empty where it is everybody.
        binding: ``binding_of`` hospital, schema and epoch.
        key: the hospital's Ed25519 key for answers.
        signature: 64 bytes.
    """

    query_id: QueryId | Annotated[str, Field(max_length=0)]
    query: Digest | Annotated[str, Field(max_length=0)]
    vendor: Annotated[str, Field(max_length=256)]
    binding: Digest
    key: Digest
    signature: Annotated[str, Field(pattern=r"^([0-9a-f]{128})?$")]


class ModeTerms(_Message):
    """One mode as a hospital offers it: the parameters both sides derive the same plan from, and what it leaks."""

    mode: Mode
    profile: str = ""
    max_weight: int = 1
    weighted: bool = False
    noise_width: int = 1
    grouping: int = 1
    leakage: str

    def plan(self, schema: FeatureSchema) -> Plan:
        """The plan these terms mean for a schema. Raises ``ParameterError`` or ``BadInput`` where they mean none."""
        if self.profile and self.profile not in PROFILES:
            raise BadInput("a hospital offers a ring this build does not know", hint="update twinward")
        ring = PROFILES.get(self.profile)
        if self.mode is Mode.GATED:
            return plan_gated(schema.dimension, schema.levels, self.max_weight, weighted=self.weighted, profile=ring)
        return plan(
            schema.dimension,
            schema.levels,
            self.max_weight,
            weighted=self.weighted,
            noise_width=self.noise_width,
            profile=ring,
            grouping=self.grouping,
        )


class Terms(_Message):
    """What a hospital answers, now. ``fingerprint`` is the schema's, as the hospital computes it."""

    hospital: str
    epoch: Epoch
    feature_schema: FeatureSchema
    modes: Annotated[tuple[ModeTerms, ...], BeforeValidator(_known_modes)]
    minimum_count: int
    fingerprint: str = ""
    protocol: int = PROTOCOL
    oldest_protocol: int = OLDEST_PROTOCOL
    proof: Proof | None = None

    def binding(self) -> bytes:
        """What every bundle of this hospital, schema and epoch carries."""
        return binding_of(self.hospital, self.feature_schema, self.epoch)


class GateKeyReply(_Message):
    """The gate's public key (a ``GATE_PUBLIC_KEY`` bundle)."""

    epoch: Epoch
    bundle: Encoded
    proof: Proof | None = None


class GatedQuery(_Message):
    """An encrypted query (``GATED_QUERY``), the threshold and how many are wanted: both are seen by the gate."""

    epoch: Epoch
    threshold_squared: Squared
    nearest: Nearest | None = None
    bundle: Encoded
    query_id: QueryId | None = None


class VendorKeyQuery(_Message):
    """An encrypted query (``QUERY``) under the vendor's own key."""

    epoch: Epoch
    bundle: Encoded
    query_id: QueryId | None = None


class TokenRequest(_Message):
    """Matrix mode: the query in the clear, for the hospital to make a token of."""

    epoch: Epoch
    levels: tuple[Annotated[int, Field(ge=0, le=1023)], ...]
    threshold_squared: Squared
    query_id: QueryId | None = None


class TokenReply(_Message):
    """A token for the outsourced tree."""

    epoch: Epoch
    token: Encoded
    proof: Proof | None = None


class MatrixQuery(_Message):
    """A token to be searched with."""

    epoch: Epoch
    token: Encoded
    query_id: QueryId | None = None


class MatrixSearch(_Message):
    """Matrix mode for what one token cannot ask: the nearest k, weights. Every weight is 1 or more."""

    epoch: Epoch
    levels: tuple[Annotated[int, Field(ge=0, le=1023)], ...]
    threshold_squared: Squared
    weights: tuple[Weight, ...] | None = None
    nearest: Nearest | None = None
    query_id: QueryId | None = None


class RecordsRequest(_Message):
    """Whose records, of which categories, sealed to which public key (``twinward_crypto.disclosure``)."""

    epoch: Epoch
    handles: Annotated[tuple[Handle, ...], Field(min_length=1, max_length=MAX_HANDLES)]
    categories: Annotated[tuple[Annotated[str, Field(max_length=32)], ...], Field(min_length=1, max_length=32)]
    recipient: Annotated[Base64Bytes, Field(max_length=4096)]
    query_id: QueryId | None = None


class SealedRecords(_Message):
    """One patient's records under HPKE, padded; opened with ``info`` and ``aad`` of ``sealing_context``."""

    handle: Handle
    categories: tuple[str, ...]
    sealed: Encoded


class RecordsReply(_Message):
    """What consent lets out now. Patients whose consent lets nothing out are missing; ``withheld`` says so.

    Each request costs one query; ``budget_left`` is what remains.
    """

    epoch: Epoch
    records: tuple[SealedRecords, ...]
    withheld: str
    budget_left: int | None = None
    proof: Proof | None = None


class MatchReply(_Message):
    """What is released: handles that mean nothing to anyone else and change with every epoch."""

    mode: Mode
    epoch: Epoch
    handles: tuple[Handle, ...]
    count: int | None
    withheld: str
    budget_left: int
    proof: Proof | None = None


class DistanceReply(_Message):
    """Vendor-key mode: encrypted distances (``SCORES``) and each row's handle, empty where consent keeps it back."""

    epoch: Epoch
    bundle: Encoded
    handles: tuple[Handle | Annotated[str, Field(max_length=0)], ...]
    withheld: str
    budget_left: int
    proof: Proof | None = None


class BudgetReply(_Message):
    """Queries left in an epoch, and when it ends: seconds since 1970, None where the ledger does not say."""

    epoch: Epoch
    remaining: int
    resets_at_s: int | None = None


class ResultsReply(_Message):
    """Earlier releases of the running epoch, oldest first."""

    results: tuple[MatchReply, ...]


class KeptAnswer(_Message):
    """One answer again, as it was given: matches, or in vendor-key mode distances."""

    matches: MatchReply | None = None
    distances: DistanceReply | None = None


def sealing_context(binding: bytes, handle: str) -> tuple[bytes, bytes]:
    """HPKE ``info`` and ``aad`` of one patient's sealed records. A handle is one vendor's, so it names the vendor."""
    return _RECORDS, binding + bytes.fromhex(handle)


def binding_of(hospital: str, schema: FeatureSchema, epoch: int) -> bytes:
    """SHA-256 of a tag, the hospital's name (length first), the schema's fingerprint and the epoch: 32 bytes."""
    name = hospital.encode()
    parts = (
        _BINDING,
        len(name).to_bytes(4, "big"),
        name,
        bytes.fromhex(schema.fingerprint()),
        epoch.to_bytes(8, "big"),
    )
    return hashlib.sha256(b"".join(parts)).digest()

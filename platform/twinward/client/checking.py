"""What is checked of a hospital's answer before anything of it is believed: signature, question, epoch, shape.

In this order: does it parse; is there a common version; does the hospital's key sign it; is it about this question,
hospital, schema and epoch; is it consistent in itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import BaseModel, ValidationError

from twinward.client.errors import AnswerForged, AnswerMalformed, VersionUnknown
from twinward.client.trust import KeyTrust
from twinward.protocol.messages import MatchReply
from twinward.protocol.proofs import Kind, Proof, query_digest, signed_bytes
from twinward.protocol.terms import OLDEST_PROTOCOL, PROTOCOL, SEALED_QUERIES, Mode, Terms
from twinward_crypto.errors import CanonicalizationError

Reply = TypeVar("Reply", bound=BaseModel)

KIND_OF_MODE = {Mode.GATED: Kind.GATED, Mode.MATRIX: Kind.MATRIX, Mode.VENDOR_KEY: Kind.VENDOR_KEY}


@dataclass(frozen=True, slots=True)
class Asked:
    """What an answer must be an answer to: all three empty for what answers no query."""

    kind: Kind
    query_id: str = ""
    digest: str = field(default="", repr=False)

    @classmethod
    def of(cls, kind: Kind, message: BaseModel, query_id: str | None) -> Asked:
        """A message that is about to be sent."""
        return cls(kind, query_id or "", query_digest(kind, message))


def parsed(content: bytes | bytearray) -> dict[str, Any]:
    """A JSON object. Raises ``AnswerMalformed``."""
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise AnswerMalformed("the answer is no JSON object")
    return told


def read_as(kind: type[Reply], told: dict[str, Any]) -> Reply:
    """An answer as a message; members that this build does not know are left out. Raises ``AnswerMalformed``."""
    try:
        return kind.model_validate(told, extra="ignore")
    except (ValidationError, RecursionError) as error:
        count = error.error_count() if isinstance(error, ValidationError) else "too many"
        raise AnswerMalformed(f"not a {kind.__name__}: {count} fields are wrong") from None


def checked_terms(told: dict[str, Any], trust: KeyTrust) -> Terms:
    """What a hospital offers, signed by the key that is believed for it, in a version that both speak.

    Raises ``AnswerMalformed``, ``AnswerForged``, ``HospitalKeyChanged``, ``VersionUnknown``.
    """
    if "protocol" in told:
        _require_version(told["protocol"], told.get("oldest_protocol", 1))
    terms = read_as(Terms, told)
    if "protocol" not in told:  # terms as they were before there were versions
        _require_version(1, 1)
    if terms.proof is None:
        raise AnswerForged("the hospital's terms are not signed")
    key = trust.require(terms.proof.key)
    proof = require_proof(Kind.TERMS, told, key=key)
    if terms.fingerprint != terms.feature_schema.fingerprint():
        raise VersionUnknown(
            "the hospital's feature schema has parts that this client does not know", hint="update your client"
        )
    _require_about(proof, Asked(Kind.TERMS), terms)
    trust.remember(key)
    return terms


def checked(told: dict[str, Any], reply: Reply, asked: Asked, terms: Terms) -> Reply:
    """An answer, once it is the hospital's, to what was asked, and consistent.

    Raises ``AnswerForged``, ``AnswerMalformed``.
    """
    if terms.proof is None:
        raise AnswerForged("terms that nobody signed")
    proof = require_proof(asked.kind, told, key=terms.proof.key)
    _require_about(proof, asked, terms)
    if getattr(reply, "epoch", terms.epoch) != terms.epoch:
        raise AnswerForged("an answer about another epoch")
    if isinstance(reply, MatchReply):
        _require_consistent(reply, asked.kind)
    if (getattr(reply, "budget_left", None) or 0) < 0:
        raise AnswerMalformed("less than nothing is left")
    return reply


def require_proof(kind: Kind, told: dict[str, Any], *, key: str) -> Proof:
    """The proof in a JSON answer, once its signature by ``key`` (hex) holds.

    Raises ``AnswerForged``: there is none, it is another key's, or something was altered.
    """
    try:
        proof = Proof.model_validate(told.get("proof"))
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
        rest = {name: value for name, value in told.items() if name != "proof"}
        public.verify(bytes.fromhex(proof.signature), signed_bytes(kind, proof, rest))
    except (InvalidSignature, CanonicalizationError, ValueError):  # pydantic's error is a ValueError
        raise AnswerForged("the answer is not signed by the hospital's key, or was altered on its way") from None
    return proof


def _require_version(newest: object, oldest: object) -> None:
    if type(newest) is not int or type(oldest) is not int:
        raise AnswerMalformed("a protocol's version is a whole number")
    if oldest > PROTOCOL:
        raise VersionUnknown(
            f"the hospital speaks version {oldest} of the protocol, this client {PROTOCOL}",
            hint='update your client: pip install --upgrade "twinward[vendor]"',
        )
    if newest < OLDEST_PROTOCOL:
        raise VersionUnknown(
            f"the hospital's node speaks version {newest} of the protocol, which does not sign its answers",
            hint="ask the hospital to update its node",
        )


def require_sealed_queries(terms: Terms) -> None:
    """Raises ``VersionUnknown`` unless the hospital opens gated queries as this client sends them."""
    if terms.protocol < SEALED_QUERIES:
        raise VersionUnknown(
            f"the hospital's node speaks version {terms.protocol} of the protocol, and gated queries are sealed to the "
            f"gate since {SEALED_QUERIES}",
            hint="ask the hospital to update its node",
        )


def _require_about(proof: Proof, asked: Asked, terms: Terms) -> None:
    if proof.binding != terms.binding().hex():
        raise AnswerForged("an answer about another hospital, schema or epoch")
    earlier = bool(asked.query_id) and not asked.digest  # fetched again: what was asked is not known here any more
    if proof.query_id != asked.query_id or (proof.query != asked.digest and not earlier):
        raise AnswerForged("an answer to another question")


def _require_consistent(reply: MatchReply, kind: Kind) -> None:
    if KIND_OF_MODE.get(reply.mode) is not kind:
        raise AnswerForged("an answer in another mode")
    told = len(reply.handles)
    if reply.tells == "count":
        if told or (reply.count or 0) < 0:
            raise AnswerMalformed("an answer that contradicts itself: a number alone, with handles")
        return
    if told != len(set(reply.handles)) or told != (reply.count or 0):
        raise AnswerMalformed("an answer that contradicts itself: handles and their number")

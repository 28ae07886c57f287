"""That an answer is this hospital's, and to this question: an Ed25519 signature (RFC 8032) over both.

What is signed (SPEC.md, "Signed answers")::

    "twinward/similarity/answer/1" 0x00 ‖ JCS({"kind", "query_id", "query", "vendor", "binding", "reply"})

JCS is RFC 8785; ``reply`` is the whole JSON object that is sent, without its member ``proof``, so that members this
build does not know are signed as well. ``binding`` is SHA-256 over hospital, schema and epoch (``binding_of``).
"""

from __future__ import annotations

import hashlib
import secrets
from enum import StrEnum
from typing import Annotated, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, Field

from twinward.protocol.fields import Digest, Message, QueryId
from twinward_crypto.canonical import canonicalize

_ANSWER = b"twinward/similarity/answer/1\x00"
_QUERY = b"twinward/similarity/query/1\x00"
QUERY_ID_BYTES = 16


class Kind(StrEnum):
    """Kinds of answers; part of what is signed."""

    TERMS = "terms"
    GATE_KEY = "gate-key"
    QUERY_KEY = "query-key"
    GATED = "gated"
    VENDOR_KEY = "vendor-key"
    TOKEN = "token"  # noqa: S105 - a kind of answer
    MATRIX = "matrix"
    RECORDS = "records"
    FEASIBILITY_TERMS = "feasibility-terms"
    FEASIBILITY = "feasibility"
    CONTACT = "contact"
    CONTACTS = "contacts"


class Proof(Message):
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


def new_query_id() -> str:
    """A fresh id: 128 random bits as hex."""
    return secrets.token_hex(QUERY_ID_BYTES)


def query_digest(kind: Kind, query: BaseModel) -> str:
    """SHA-256 hex of ``tag ‖ kind ‖ 0x00 ‖ JCS(query without its empty members)``: what an answer is an answer to."""
    asked = canonicalize(query.model_dump(mode="json", exclude_none=True))
    return hashlib.sha256(_QUERY + kind.encode() + b"\x00" + asked).hexdigest()


class AnswerSigner:
    """A hospital's key for answers. Its repr shows the public half alone."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.key = self._key.public_key().public_bytes_raw().hex()
        """The public key, as hex: what vendors check with."""

    @classmethod
    def generate(cls) -> AnswerSigner:
        """A key that ends with the process: for tests and notebooks."""
        return cls(secrets.token_bytes(32))

    def __repr__(self) -> str:
        return f"AnswerSigner({self.key})"

    def prove(
        self, kind: Kind, reply: BaseModel, *, binding: bytes, query_id: str = "", query: str = "", vendor: str = ""
    ) -> Proof:
        """The proof of a reply (a message with a member ``proof``, whatever stands in it now)."""
        proof = Proof(query_id=query_id, query=query, vendor=vendor, binding=binding.hex(), key=self.key, signature="")
        told = reply.model_dump(mode="json", exclude={"proof"})
        return proof.model_copy(update={"signature": self._key.sign(signed_bytes(kind, proof, told)).hex()})


def signed_bytes(kind: Kind, proof: Proof, told: dict[str, Any]) -> bytes:
    """What the signature of a proof is over; ``told`` is the answer without it. Raises ``CanonicalizationError``."""
    content = {
        "kind": kind.value,
        "query_id": proof.query_id,
        "query": proof.query,
        "vendor": proof.vendor,
        "binding": proof.binding,
        "reply": told,
    }
    return _ANSWER + canonicalize(content)

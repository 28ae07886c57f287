"""One answer as a signed statement: a file that a regulator checks without the hospital, the vendor or a network.

It holds the hospital's signed terms and one signed answer, each the very JSON that the hospital sent. What the
signatures say: this hospital, under this key, answered this vendor's question of this digest, in this epoch, about this
schema, with this. Not that the answer is right, and not when within the epoch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from twinward.client.checking import KIND_OF_MODE, read_as, require_proof
from twinward.client.contacts import KeptCount
from twinward.client.errors import AnswerForged, AnswerMalformed
from twinward.client.signed_files import members, terms_in
from twinward.core.errors import BadInput
from twinward.protocol.feasibility import CountReply
from twinward.protocol.messages import DistanceReply, MatchReply
from twinward.protocol.proofs import Kind, Proof, query_digest
from twinward.protocol.terms import Terms

FORMAT: Final = "twinward-statement-1"
_Reply: TypeAlias = MatchReply | DistanceReply | CountReply
_MEMBERS: Final[dict[str, type[MatchReply] | type[DistanceReply] | type[CountReply]]] = {
    "matches": MatchReply,
    "distances": DistanceReply,
    "count": CountReply,
}


@dataclass(frozen=True, slots=True)
class Checked:
    """What a statement says, once its signatures hold.

    Attributes:
        key: the hospital's key for answers, as hex: whether it is the hospital's, somebody else must say.
        query: SHA-256 of the question, as ``twinward.protocol.proofs`` writes it.
        said: the answer in a sentence.
    """

    hospital: str
    key: str
    epoch: int
    vendor: str
    kind: Kind
    query_id: str
    query: str
    said: str


@dataclass(frozen=True, slots=True)
class Statement:
    """A hospital's terms and one of its answers, as they came."""

    terms: dict[str, Any] = field(repr=False)
    answer: dict[str, Any] = field(repr=False)
    """As ``KeptAnswer``: one of ``matches``, ``distances``, ``count``."""

    def encode(self) -> bytes:
        """The bytes of a file."""
        return json.dumps({"format": FORMAT, "terms": self.terms, "answer": self.answer}, indent=1).encode()

    @classmethod
    def decode(cls, data: bytes) -> Statement:
        """What ``encode`` wrote. Raises ``BadInput``."""
        hint = "`twinward vendor statement` writes one"
        told = members(data, FORMAT, what="statement", hint=hint)
        if not isinstance(told.get("answer"), dict):
            raise BadInput("this is no statement", hint=hint)
        return cls(told["terms"], told["answer"])

    def check(self, key: str | None = None, kept: KeptCount | None = None) -> Checked:
        """Check it.

        Args:
            key: the hospital's key for answers as hex; None takes the statement's own word for it.
            kept: a question that it must be the answer to.

        Raises:
            AnswerForged: a signature does not hold, is another key's, or is about something else.
            AnswerMalformed: not what a hospital sends.
        """
        terms, about, believed = terms_in(self.terms, key)
        name, raw = self._one()
        reply: _Reply = read_as(_MEMBERS[name], raw)
        kind = _kind_of(reply)
        proof = require_proof(kind, raw, key=believed)
        if proof.binding != about.binding or reply.epoch != terms.epoch:
            raise AnswerForged("an answer about another hospital, schema or epoch than its terms")
        if kept is not None and query_digest(Kind.FEASIBILITY, kept.question) != proof.query:
            raise AnswerForged("an answer to another question")
        return _said(terms, proof, kind, reply)

    def _one(self) -> tuple[str, dict[str, Any]]:
        given = [(name, self.answer[name]) for name in _MEMBERS if self.answer.get(name) is not None]
        if len(given) != 1 or not isinstance(given[0][1], dict):
            raise AnswerMalformed("a statement holds one answer")
        return given[0]


def _kind_of(reply: _Reply) -> Kind:
    if isinstance(reply, MatchReply):
        return KIND_OF_MODE[reply.mode]
    return Kind.FEASIBILITY if isinstance(reply, CountReply) else Kind.VENDOR_KEY


def _said(terms: Terms, proof: Proof, kind: Kind, reply: _Reply) -> Checked:
    if isinstance(reply, MatchReply) and reply.tells == "count":
        said = f"{reply.count or 0} matches, without handles"
    elif isinstance(reply, MatchReply):
        said = f"{reply.count} handles were told" if reply.count else "nobody was told"
    elif isinstance(reply, CountReply):
        said = f"a count at epsilon {reply.epsilon_millis / 1000:g}, encrypted, in {reply.slots} slots"
    else:
        said = f"encrypted distances of {sum(map(bool, reply.handles))} patients"
    return Checked(
        hospital=terms.hospital,
        key=proof.key,
        epoch=terms.epoch,
        vendor=proof.vendor,
        kind=kind,
        query_id=proof.query_id,
        query=proof.query,
        said=said,
    )

"""Contact requests on the vendor's side: a count that was kept, and what became of what was proposed on it.

A kept count holds the criteria and the key of the question: whoever has the file reads what was asked. It is what a
contact request discloses, and to that hospital alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from twinward.client.counts import PreparedCount
from twinward.core.errors import BadInput
from twinward.protocol.contacts import ContactProposal, ContactReply, ContactState, criteria_json
from twinward.protocol.criteria import Criteria
from twinward.protocol.feasibility import FeasibilityQuestion
from twinward.protocol.fields import decode_base64
from twinward.protocol.proofs import new_query_id

MAX_FILE_BYTES = 8 << 20
_FORMAT = "twinward-kept-count-1"
_NO_FILE = "this is no kept count: `twinward vendor feasibility --keep` writes one"


@dataclass(frozen=True, slots=True)
class KeptCount:
    """A question that was counted, with the key that opens it. Its repr shows neither."""

    hospital: str
    question: FeasibilityQuestion = field(repr=False)
    secret: bytes = field(repr=False)
    criteria: Criteria = field(repr=False)

    @classmethod
    def of(cls, prepared: PreparedCount) -> KeptCount:
        """What a prepared count can be disclosed by later."""
        own = prepared.own
        return cls(prepared.hospital, own.message, own.key.dangerously_export(), own.criteria)

    def encode(self) -> bytes:
        """The bytes of a file; keep it as a secret."""
        return json.dumps(
            {
                "format": _FORMAT,
                "hospital": self.hospital,
                "question": json.loads(self.question.model_dump_json(exclude_none=True)),
                "secret": self.secret.hex(),
                "criteria": json.loads(criteria_json(self.criteria)),
                "title": self.criteria.title,
            }
        ).encode()

    @classmethod
    def decode(cls, data: bytes) -> KeptCount:
        """What ``encode`` wrote. Raises ``BadInput``."""
        try:
            told: dict[str, Any] = json.loads(data)
            if told["format"] != _FORMAT:
                raise BadInput(_NO_FILE)
            question = dict(told["question"])
            question["bundle"] = decode_base64(question["bundle"])
            criteria = Criteria.of({**told["criteria"], "title": str(told["title"])})
            return cls(
                str(told["hospital"]),
                FeasibilityQuestion.model_validate(question),
                bytes.fromhex(told["secret"]),
                criteria,
            )
        except (ValueError, KeyError, TypeError, RecursionError, ValidationError):
            raise BadInput(_NO_FILE) from None

    def proposal(self, title: str, purpose: str, text: str) -> ContactProposal:
        """What is sent: it discloses the criteria. Raises ``BadInput`` for a text that is empty or too long."""
        try:
            return ContactProposal(
                count=self.question,
                secret=self.secret,
                criteria=self.criteria.model_copy(update={"title": ""}),
                title=title,
                purpose=purpose,
                text=text,
                query_id=new_query_id(),
            )
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise BadInput(f"{place}: {first['msg'].removeprefix('Value error, ')}") from None


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact request of one's own: how far it has come, and an officer's reason for a no.

    Nobody tells whom the hospital told, nor how many.
    """

    name: str
    title: str
    state: ContactState
    proposed_ms: int
    decided_ms: int
    reason: str

    @classmethod
    def of(cls, reply: ContactReply) -> Contact:
        """What a hospital answered."""
        return cls(reply.name, reply.title, reply.state, reply.proposed_ms, reply.decided_ms, reply.reason)

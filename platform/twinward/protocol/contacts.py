"""Contact requests over HTTP: from a count to people, whom the hospital alone knows. JSON under ``/api/1/similarity``::

    POST /contacts         ContactProposal -> ContactReply       disclose what was counted, and ask the hospital to tell
    GET  /contacts         -> ContactsReply                      what became of one's own requests

A hospital cannot find eligible patients by criteria that it cannot read. So a vendor that wants people told discloses
them: the criteria, the very question that it had counted, and that question's key. The key opens the question to one
table of costs (``twinward_crypto.feasibility.opening``), so the officer decides on what was counted, and on nothing
else. Whom the hospital tells, and how many, is in no answer.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from twinward.protocol.criteria import Criteria
from twinward.protocol.feasibility import FeasibilityQuestion
from twinward.protocol.fields import Base64Bytes, Epoch, Message, Milliseconds, QueryId
from twinward.protocol.proofs import Proof

MAX_TITLE_CHARS = 200
MAX_PURPOSE_CHARS = 1000
MAX_TEXT_CHARS = 4000
MAX_CRITERIA_BYTES = 24_000
"""As JSON: with the texts one event of the hospital's log has room for all of it."""
MAX_REQUESTS = 200
"""That one vendor sees of its own: the newest."""

ContactName = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class ContactState(StrEnum):
    """How far a request has come."""

    WAITING = "waiting"
    APPROVED = "approved"
    REFUSED = "refused"


class ContactProposal(Message):
    """A request, for the hospital's officer to decide on.

    Attributes:
        count: the question as it was sent, in the running epoch, with its query id; it was answered.
        secret: the question's key.
        criteria: what it asked.
        title: of the study, for officers and patients.
        purpose: what for, for officers and patients.
        text: what the hospital may tell patients: what the study is, what it asks of them, and that saying no costs
            them nothing.
    """

    count: FeasibilityQuestion
    secret: Annotated[Base64Bytes, Field(min_length=32, max_length=32)]
    criteria: Criteria
    title: Annotated[str, Field(min_length=1, max_length=MAX_TITLE_CHARS)]
    purpose: Annotated[str, Field(min_length=1, max_length=MAX_PURPOSE_CHARS)]
    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS)]
    query_id: QueryId | None = None

    @property
    def epoch(self) -> int:
        """Of the count."""
        return self.count.epoch

    @model_validator(mode="after")
    def _check(self) -> ContactProposal:
        if self.count.query_id is None:
            raise ValueError("the question has no query id: it names the count that this stands on")
        if len(criteria_json(self.criteria)) > MAX_CRITERIA_BYTES:
            raise ValueError(f"criteria have {MAX_CRITERIA_BYTES} bytes at most here")
        return self


class ContactReply(Message):
    """One request as its vendor may see it: how far it has come, and an officer's reason for a no."""

    name: ContactName
    epoch: Epoch
    title: str
    state: ContactState
    proposed_ms: Milliseconds
    decided_ms: Milliseconds = 0
    reason: str = ""
    proof: Proof | None = None


class ContactsReply(Message):
    """A vendor's own requests, newest first."""

    requests: tuple[ContactReply, ...]
    proof: Proof | None = None


def criteria_json(criteria: Criteria) -> str:
    """Criteria as they are kept and shown: without what was not said, and without the title, which is the study's."""
    return criteria.model_dump_json(by_alias=True, exclude={"title"}, exclude_defaults=True)

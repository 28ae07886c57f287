"""Feasibility counts over HTTP: what may be counted, a question, its answer. JSON under ``/api/1/similarity``::

    GET  /feasibility      -> FeasibilityTerms                   coded features, what a count costs, how large it is
    POST /feasibility      FeasibilityQuestion -> CountReply

The encrypted parts are ``twinward_crypto.feasibility``'s. Epsilon is told in thousandths, for a signature is over
RFC 8785 JSON. The features are those of ``Terms.feature_schema`` with one level more each, "not known", and then those
of the code list with a ``Recorded`` each.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

from pydantic import Field

from twinward.features.codes import CodeList
from twinward.features.schema import FeatureSchema
from twinward.protocol.fields import Encoded, Epoch, Message, QueryId, Where
from twinward.protocol.proofs import Proof
from twinward_crypto.feasibility.noise import MAX_MILLIS, MIN_MILLIS
from twinward_crypto.feasibility.query import MAX_THRESHOLD

Millis = Annotated[int, Field(ge=MIN_MILLIS, le=MAX_MILLIS)]
"""An epsilon in thousandths."""
MAX_LEFT_MILLIS = 1 << 40
_BINDING = b"twinward/feasibility/binding/v1\x00"


class FeasibilityTerms(Message):
    """What may be counted in the running epoch, and what it costs.

    Attributes:
        code_list: the coded features.
        epsilon_millis: the epsilons a vendor may choose from; the first is the hospital's suggestion.
        rows: how many rows an answer has room for: a noisy number, the same for the whole epoch.
        most_slots: how many slots a row a question may need here: large cohorts answer no large groups.
        seconds_each: how long a count takes this hospital, about, by slots a row: 1 .. ``MAX_THRESHOLD``.
        left_millis: epsilon that the vendor has left in the epoch, or the hospital for all vendors, if that is less.
        leakage: who learns what, in the hospital's words.
    """

    epoch: Epoch
    code_list: CodeList
    epsilon_millis: Annotated[tuple[Millis, ...], Field(min_length=1, max_length=16)]
    rows: Annotated[int, Field(ge=1, le=1 << 24)]
    most_slots: Annotated[int, Field(ge=1, le=MAX_THRESHOLD)]
    seconds_each: Annotated[
        tuple[Annotated[int, Field(ge=1, le=1 << 31)], ...], Field(min_length=MAX_THRESHOLD, max_length=MAX_THRESHOLD)
    ]
    left_millis: Annotated[int, Field(ge=0, le=MAX_LEFT_MILLIS)]
    leakage: str
    proof: Proof | None = None


class FeasibilityQuestion(Message):
    """A question. ``bundle`` is a ``FeasibilityQuery``; ``where`` counts only entries that have these values."""

    epoch: Epoch
    epsilon_millis: Millis
    bundle: Encoded
    where: Where | None = None
    query_id: QueryId | None = None


class CountReply(Message):
    """An answer. ``bundle`` is an ``Answer`` of as many slots; the count is what matches in it, less ``bound``."""

    epoch: Epoch
    epsilon_millis: Millis
    bound: Annotated[int, Field(ge=1)]
    slots: Annotated[int, Field(ge=1, le=1 << 28)]
    bundle: Encoded
    left_millis: Annotated[int, Field(le=MAX_LEFT_MILLIS)]
    proof: Proof | None = None


def feasibility_binding(binding: bytes, codes: CodeList) -> bytes:
    """What queries and answers carry: SHA-256 of a tag, the binding of hospital, schema and epoch, and the list's."""
    return hashlib.sha256(_BINDING + binding + bytes.fromhex(codes.fingerprint)).digest()


def levels_asked(schema: FeatureSchema, codes: CodeList) -> tuple[int, ...]:
    """How many levels each feature of a question has."""
    return schema.model_copy(update={"codes": codes}).eligibility_levels

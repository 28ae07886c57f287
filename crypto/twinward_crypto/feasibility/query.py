"""The asker's side: a key, a query that encrypts what each level of each feature costs, and the counting of an answer.

Query (integers little-endian)::

    offset  bytes      field
    0       4          magic      "TWFQ"
    4       1          version    0x01
    5       1          slots      T, from 1 to 16: rows with a cost below T match
    6       2          features   d
    8       32         binding    of hospital, schema and epoch
    40      32         public     P
    72      2 d        levels     of each feature
    72+2d   64 a level            (A, B) of each level of each feature, in order: 32 bytes each

Answer::

    0       4          magic      "TWFA"
    4       1          version    0x01
    5       3          zero
    8       4          count      of slots
    12      32         binding    of the query
    44      40 a slot             A (32 bytes), the first 8 bytes of B

A slot that is none matches by accident with probability 2^-64.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from twinward_crypto.errors import MalformedBundle, MalformedKey, ParameterError
from twinward_crypto.feasibility.group import (
    ELEMENT_BYTES,
    SODIUM,
    Element,
    Group,
    RandomBytes,
    Scalar,
    multiply_add,
    random_scalar,
)

MAX_THRESHOLD: Final = 16
MAX_FEATURES: Final = 1024
MAX_LEVELS: Final = 1025
MAX_PAIRS: Final = 1 << 16
BINDING_BYTES: Final = 32
TAG_BYTES: Final = 8
SLOT_BYTES: Final = ELEMENT_BYTES + TAG_BYTES
PAIR_BYTES: Final = 2 * ELEMENT_BYTES
_QUERY_MAGIC, _ANSWER_MAGIC, _VERSION = b"TWFQ", b"TWFA", 1
_QUERY_HEAD = struct.Struct("<4sBBH32s32s")
_ANSWER_HEAD = struct.Struct("<4sB3xI32s")

Pair = tuple[Element, Element]


@dataclass(frozen=True, slots=True)
class FeasibilityQuery:
    """What is sent.

    Attributes:
        threshold: ``T``: rows with a cost of 0 .. T - 1 match.
        public: the asker's ``P``.
        pairs: of each feature those of its levels.
    """

    threshold: int
    binding: bytes
    public: Element
    pairs: tuple[tuple[Pair, ...], ...] = field(repr=False)

    @property
    def levels(self) -> tuple[int, ...]:
        """How many levels each feature has."""
        return tuple(len(some) for some in self.pairs)

    def encode(self) -> bytes:
        """The bytes that are sent."""
        head = _QUERY_HEAD.pack(_QUERY_MAGIC, _VERSION, self.threshold, len(self.pairs), self.binding, self.public)
        levels = struct.pack(f"<{len(self.pairs)}H", *self.levels)
        return head + levels + b"".join(a + b for some in self.pairs for a, b in some)

    @classmethod
    def decode(cls, data: bytes, *, levels: Sequence[int], binding: bytes) -> FeasibilityQuery:
        """The frame of a query about features of these levels; its elements are for ``require_elements``.

        Raises:
            MalformedBundle: anything else, of whatever length.
        """
        size = query_bytes(levels)
        if len(data) != size:
            raise MalformedBundle(f"a query about these features has {size} bytes, and this has {len(data)}")
        magic, version, threshold, count, bound, public = _QUERY_HEAD.unpack_from(data)
        if magic != _QUERY_MAGIC or version != _VERSION:
            raise MalformedBundle("not a feasibility query of this version")
        if not 1 <= threshold <= MAX_THRESHOLD:
            raise MalformedBundle(f"the threshold must be from 1 to {MAX_THRESHOLD}")
        if count != len(levels) or struct.unpack_from(f"<{len(levels)}H", data, _QUERY_HEAD.size) != tuple(levels):
            raise MalformedBundle("a query about other features")
        if bound != binding:
            raise MalformedBundle("made for another hospital, schema or epoch")
        place, pairs = _QUERY_HEAD.size + 2 * len(levels), []
        for size in levels:
            starts = range(place, place + size * PAIR_BYTES, PAIR_BYTES)
            pairs.append(tuple((data[at : at + 32], data[at + 32 : at + 64]) for at in starts))
            place += size * PAIR_BYTES
        return cls(threshold, binding, public, tuple(pairs))

    def require_elements(self, group: Group = SODIUM) -> None:
        """Check every element, the key first. Looks at the query alone. Raises ``MalformedBundle``."""
        try:
            group.require_element(self.public)
            for some in self.pairs:
                for one, other in some:
                    group.require_element(one)
                    group.require_element(other)
        except MalformedKey as error:
            raise MalformedBundle(str(error)) from None


class FeasibilityKey:
    """One query's secret key. Its repr shows nothing; made anew for each query, it ends with the process."""

    def __init__(self, group: Group = SODIUM, random_bytes: RandomBytes = os.urandom) -> None:
        self._group, self._random = group, random_bytes
        self._secret: Scalar = random_scalar(random_bytes)
        self.public: Element = group.multiply_base(self._secret)

    def __repr__(self) -> str:
        return "FeasibilityKey()"

    def dangerously_export(self) -> Scalar:
        """The secret: whoever has it reads the query and its answer. For ``opening.require_costs``."""
        return self._secret

    def query(self, costs: Sequence[Sequence[int]], *, threshold: int = 1, binding: bytes) -> FeasibilityQuery:
        """Encrypt what each level of each feature costs. Raises ``ParameterError`` where that cannot be sent."""
        require_shape([len(some) for some in costs])
        if not 1 <= threshold <= MAX_THRESHOLD:
            raise ParameterError(f"must be from 1 to {MAX_THRESHOLD}", part="threshold")
        pairs = tuple(tuple(self._encrypted(cost) for cost in some) for some in costs)
        return FeasibilityQuery(threshold, binding, self.public, pairs)

    def matches(self, answer: Answer) -> int:
        """How many slots encrypt 0: the dummies that always match are among them."""
        multiply, secret = self._group.multiply, self._secret
        try:
            return sum(multiply(secret, point)[:TAG_BYTES] == tag for point, tag in answer.slots())
        except MalformedKey as error:
            raise MalformedBundle("an answer with something else than elements of the group") from error

    def _encrypted(self, cost: int) -> Pair:
        blind = random_scalar(self._random)
        return self._group.multiply_base(blind), self._group.multiply_base(multiply_add(blind, self._secret, cost))


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes back: ``data`` is 40 bytes a slot."""

    binding: bytes
    data: bytes = field(repr=False)

    def __len__(self) -> int:
        return len(self.data) // SLOT_BYTES

    def slots(self) -> list[tuple[Element, bytes]]:
        """Of each slot ``A``, and the first bytes of ``B``."""
        starts = range(0, len(self.data), SLOT_BYTES)
        return [(self.data[at : at + 32], self.data[at + 32 : at + SLOT_BYTES]) for at in starts]

    def encode(self) -> bytes:
        """The bytes that are sent."""
        return _ANSWER_HEAD.pack(_ANSWER_MAGIC, _VERSION, len(self), self.binding) + self.data

    @classmethod
    def decode(cls, data: bytes, *, slots: int, binding: bytes) -> Answer:
        """An answer of so many slots. Raises ``MalformedBundle`` for anything else."""
        if len(data) != _ANSWER_HEAD.size + slots * SLOT_BYTES:
            raise MalformedBundle(f"an answer of {slots} slots is expected")
        if data[: _ANSWER_HEAD.size] != _ANSWER_HEAD.pack(_ANSWER_MAGIC, _VERSION, slots, binding):
            raise MalformedBundle("not an answer to this query")
        return cls(binding, data[_ANSWER_HEAD.size :])


def query_bytes(levels: Sequence[int]) -> int:
    """The size of a query about features of these levels."""
    return _QUERY_HEAD.size + 2 * len(levels) + PAIR_BYTES * sum(levels)


def answer_bytes(slots: int) -> int:
    """The size of an answer of so many slots."""
    return _ANSWER_HEAD.size + SLOT_BYTES * slots


def require_shape(levels: Sequence[int]) -> None:
    """Raises ``ParameterError`` where features of these levels cannot be asked about."""
    if not 1 <= len(levels) <= MAX_FEATURES:
        raise ParameterError(f"from 1 to {MAX_FEATURES} of them can be asked about", part="features")
    if not all(1 <= size <= MAX_LEVELS for size in levels) or sum(levels) > MAX_PAIRS:
        raise ParameterError(f"at most {MAX_LEVELS} a feature and {MAX_PAIRS} together", part="levels")

"""How encrypted queries and answers travel: one bounded, versioned frame around packed polynomials.

Frame (integers little-endian)::

    offset  size  field
    0       4     magic "TWHE"
    4       1     version, 2
    5       1     kind: 1 query, 2 scores, 3 gated query, 4 gated scores, 5 gate public key
    6       2     flags: bit 0 set where weights are present, others 0
    8       32    plan (``Plan.pack``)
    40      32    binding: what query and cohort must share, chosen by the application
    72      4     rows: how many records are scored; 0 in a query or a key
    76      4     number of parts
    80      ...   parts; kind, plan, flags and rows say how many there are and how long each is (``parts``)
    end           nothing follows

Order of checks: total size, magic, version, kind, flags, plan, binding, rows, number of parts, the exact length, every
coefficient. SEAL is given none of these bytes: what it reads is written from the numbers (``seal_format``).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from twinward_crypto.errors import MalformedBundle
from twinward_crypto.homomorphic import parts as parts_
from twinward_crypto.homomorphic.parameters import MAX_BUNDLE_BYTES, Plan
from twinward_crypto.homomorphic.parts import Kind as Kind
from twinward_crypto.homomorphic.seal_format import Form

MAX_ROWS = 1 << 24
BINDING_BYTES = 32
UNBOUND = bytes(BINDING_BYTES)

_MAGIC = b"TWHE"
_VERSION = 2
_WEIGHTED = 1
_FRAME = struct.Struct("<4sBBH32s32sII")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A frame and its parts. Ciphertexts and public keys only; nothing secret has a bundle.

    Attributes:
        kind: what it carries.
        plan: the numbers both sides agreed on.
        binding: 32 bytes that tie it to a schema and an epoch; ``UNBOUND`` where there is nothing to tie to.
        parts: packed polynomials; ``parts`` says what each kind's are, in which order.
        weighted: whether weights are among the parts.
        rows: how many records the scores are for; 0 otherwise.
    """

    kind: Kind
    plan: Plan
    binding: bytes
    parts: tuple[bytes, ...]
    weighted: bool = False
    rows: int = 0

    def encode(self) -> bytes:
        """The frame's bytes."""
        head = _FRAME.pack(
            _MAGIC,
            _VERSION,
            self.kind,
            _WEIGHTED if self.weighted else 0,
            self.plan.pack(),
            self.binding,
            self.rows,
            len(self.parts),
        )
        return head + b"".join(self.parts)


def decode(data: bytes, *, kind: Kind, plan: Plan, binding: bytes = UNBOUND) -> Bundle:
    """Parse a frame that must be of this kind, for this plan and binding.

    Raises:
        MalformedBundle: anything is off; the message names the field, never its content.
    """
    if not _FRAME.size <= len(data) <= MAX_BUNDLE_BYTES:
        raise MalformedBundle(f"a bundle has {_FRAME.size} to {MAX_BUNDLE_BYTES} bytes")
    magic, version, found, flags, packed, bound, rows, count = _FRAME.unpack_from(data)
    if magic != _MAGIC:
        raise MalformedBundle("not a homomorphic bundle")
    if version != _VERSION:
        hint = "update your client" if version < _VERSION else "the other side's is newer"
        raise MalformedBundle(f"bundle version {version}; this build reads version {_VERSION}: {hint}")
    if found != kind:
        raise MalformedBundle(f"a {kind.name.lower()} bundle is expected here")
    if flags & ~_WEIGHTED or (flags and not plan.weighted):
        raise MalformedBundle("flags that this plan does not allow")
    if packed != plan.pack():
        raise MalformedBundle("made for other parameters: fetch the schema again and make the query anew")
    if bound != binding:
        raise MalformedBundle("made for another schema or epoch: fetch the schema again and make the query anew")
    is_answer = kind in (Kind.SCORES, Kind.GATED_SCORES)
    if not (1 <= rows <= MAX_ROWS if is_answer else rows == 0):
        raise MalformedBundle("a number of rows that does not fit the kind")
    frame = Bundle(kind, plan, binding, (), bool(flags & _WEIGHTED), rows)
    forms = parts_.forms(kind, plan, weighted=frame.weighted, rows=rows)
    if count != len(forms):
        raise MalformedBundle(f"{count} parts, {len(forms)} expected")
    return replace(frame, parts=_split(data, forms))


def _split(data: bytes, forms: list[Form]) -> tuple[bytes, ...]:
    edges = list(accumulate((parts_.size(form) for form in forms), initial=_FRAME.size))
    if edges[-1] != len(data):
        raise MalformedBundle(f"{len(data)} bytes, {edges[-1]} expected")
    found = tuple(data[start:end] for start, end in pairwise(edges))
    for form, part in zip(forms, found, strict=True):
        parts_.check(form, part)
    return found

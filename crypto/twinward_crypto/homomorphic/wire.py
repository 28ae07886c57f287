"""How encrypted queries and answers travel: one bounded, versioned frame around SEAL objects.

Frame (integers little-endian)::

    offset  size  field
    0       4     magic "TWHE"
    4       1     version, 1
    5       1     kind: 1 query, 2 scores, 3 gated query, 4 gated scores, 5 gate public key
    6       2     flags: bit 0 set where weights are present, others 0
    8       32    plan (``Plan.pack``)
    40      32    binding: what query and cohort must share, chosen by the application
    72      4     rows: how many records are scored; 0 in a query or a key
    76      4     number of parts
    80      ...   parts, each: 4 bytes of length, then one SEAL object
    end           nothing follows

Order of checks: total size, magic, version, kind, flags, plan, binding, number of parts, each part's length, each
part's SEAL header and its zstd blocks (so that a small part cannot unpack to a large one). Only then may SEAL see it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from enum import IntEnum

from twinward_crypto.errors import MalformedBundle
from twinward_crypto.homomorphic.parameters import Plan

MAX_BUNDLE_BYTES = 64 << 20
MAX_ROWS = 1 << 24
BINDING_BYTES = 32
UNBOUND = bytes(BINDING_BYTES)

_MAGIC = b"TWHE"
_VERSION = 1
_WEIGHTED = 1
_FRAME = struct.Struct("<4sBBH32s32sII")
_LENGTH = struct.Struct("<I")
_SEAL_HEADER = struct.Struct("<HBBBBHQ")
_SEAL_MAGIC = 0xA15E
_SEAL_MAJOR = 4
_SEAL_PLAIN, _SEAL_ZSTD = 0, 2
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_RUN_LENGTH = 1
_ZSTD_BLOCK_MAX = 128 << 10  # RFC 8878, section 3.1.1.2.4


class Kind(IntEnum):
    """What a bundle carries."""

    QUERY = 1
    SCORES = 2
    GATED_QUERY = 3
    GATED_SCORES = 4
    GATE_PUBLIC_KEY = 5

    @property
    def answer(self) -> Kind:
        """The kind that answers a query of this one."""
        return {Kind.QUERY: Kind.SCORES, Kind.GATED_QUERY: Kind.GATED_SCORES}[self]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A frame and its parts. Ciphertexts and public keys only; nothing secret has a bundle.

    Attributes:
        kind: what it carries.
        plan: the numbers both sides agreed on.
        binding: 32 bytes that tie it to a schema and an epoch; ``UNBOUND`` where there is nothing to tie to.
        parts: SEAL objects as bytes; their order is given where each kind is made.
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
        return head + b"".join(piece for part in self.parts for piece in (_LENGTH.pack(len(part)), part))


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
        raise MalformedBundle(f"bundle version {version} is unknown; this build reads version {_VERSION}")
    if found != kind:
        raise MalformedBundle(f"a {kind.name.lower()} bundle is expected here")
    if flags & ~_WEIGHTED or (flags and not plan.weighted):
        raise MalformedBundle("flags that this plan does not allow")
    if packed != plan.pack():
        raise MalformedBundle("made for other parameters: fetch the schema again and make the query anew")
    if bound != binding:
        raise MalformedBundle("made for another schema or epoch: fetch the schema again and make the query anew")
    frame = Bundle(kind, plan, binding, (), bool(flags & _WEIGHTED), rows)
    expected = _expected_parts(frame)
    if count != expected:
        raise MalformedBundle(f"{count} parts, {expected} expected")
    return replace(frame, parts=_split(data, count, _part_limit(plan)))


def _expected_parts(frame: Bundle) -> int:
    d, per_feature = frame.plan.groups, 2 if frame.weighted else 1
    is_answer = frame.kind in (Kind.SCORES, Kind.GATED_SCORES)
    if is_answer != (1 <= frame.rows <= MAX_ROWS):
        raise MalformedBundle("a number of rows that does not fit the kind")
    match frame.kind:
        case Kind.QUERY:
            return d * per_feature + int(frame.plan.profile.floods)
        case Kind.GATED_QUERY:
            return d * per_feature + 1
        case Kind.GATE_PUBLIC_KEY:
            return 1
        case _:
            return frame.plan.blocks(frame.rows)


def _part_limit(plan: Plan) -> int:
    """The largest SEAL object of a profile, unpacked: three polynomials over every prime, and its headers."""
    return 3 * len(plan.profile.modulus_bits) * plan.profile.degree * 8 + 4096


def _split(data: bytes, count: int, limit: int) -> tuple[bytes, ...]:
    parts = []
    offset = _FRAME.size
    for _ in range(count):
        if offset + _LENGTH.size > len(data):
            raise MalformedBundle("truncated")
        (length,) = _LENGTH.unpack_from(data, offset)
        offset += _LENGTH.size
        if length > limit or offset + length > len(data):
            raise MalformedBundle("a part longer than it may be")
        part = data[offset : offset + length]
        _check_seal(part, limit)
        parts.append(part)
        offset += length
    if offset != len(data):
        raise MalformedBundle("bytes after the last part")
    return tuple(parts)


def _check_seal(part: bytes, limit: int) -> None:
    if len(part) < _SEAL_HEADER.size:
        raise MalformedBundle("a part shorter than SEAL's header")
    magic, header, major, _, compression, reserved, size = _SEAL_HEADER.unpack_from(part)
    if (magic, header, major, reserved, size) != (_SEAL_MAGIC, _SEAL_HEADER.size, _SEAL_MAJOR, 0, len(part)):
        raise MalformedBundle("a part with a SEAL header of another version or size")
    if compression == _SEAL_ZSTD:
        _check_zstd(part[_SEAL_HEADER.size :], limit)
    elif compression != _SEAL_PLAIN:
        raise MalformedBundle("a part compressed in a way that is not accepted")


def _check_zstd(frame: bytes, limit: int) -> None:
    """Bound what a zstd frame (RFC 8878, section 3.1.1) can unpack to: its declared size and its number of blocks."""
    if len(frame) < 6 or frame[:4] != _ZSTD_MAGIC:
        raise MalformedBundle("a part that is not a zstd frame")
    descriptor = frame[4]
    single_segment, dictionary = descriptor & 0x20, descriptor & 0x03
    size_bytes = (1, 2, 4, 8)[descriptor >> 6]
    if not single_segment or dictionary or descriptor & 0x08:
        raise MalformedBundle("a zstd frame of a form that is not accepted")
    declared = int.from_bytes(frame[5 : 5 + size_bytes], "little") + (256 if size_bytes == 2 else 0)
    if declared > limit:
        raise MalformedBundle("a part that would unpack to more than it may")
    offset = 5 + size_bytes
    # A block unpacks to 128 KiB at most; SEAL's writer flushes in between, so twice as many as needed are allowed.
    for _ in range(2 + 2 * -(-declared // _ZSTD_BLOCK_MAX)):
        if offset + 3 > len(frame):
            raise MalformedBundle("a truncated zstd frame")
        block = int.from_bytes(frame[offset : offset + 3], "little")
        last, form, length = block & 1, block >> 1 & 3, block >> 3
        offset += 3 + (1 if form == _ZSTD_RUN_LENGTH else length)
        if last:
            break
    else:
        raise MalformedBundle("a zstd frame with more blocks than its size allows")
    checksum = 4 if descriptor & 0x04 else 0
    if offset + checksum != len(frame):
        raise MalformedBundle("bytes after a zstd frame")

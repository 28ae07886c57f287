"""A gated query, sealed to the hospital's gate: what a vendor sends since version 3 of the protocol.

The gate opens every gated query to check it, and what is scored it encrypts anew
(``twinward_crypto.homomorphic.gated``). So nothing is gained by a vendor's own homomorphic ciphertexts: they are large,
and a refusal after decrypting one tells a bit about the gate's key. HPKE tells nothing about its key, whatever is sent.

Sealed content, of one length for a schema: version 0x01, 1 where weights are given else 0 (1 byte), then a level of
each feature and a weight of each feature (0 where none are given), 2 bytes each, big-endian. HPKE
(``twinward_crypto.disclosure``) with info "twinward/similarity/gated-query/1" and, as associated data, the binding of
hospital, schema and epoch (32 bytes) and SHA-256 of the rest of the message (RFC 8785 JSON, without its empty members).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import Final

from twinward.protocol.messages import GatedQuery
from twinward_crypto.canonical import canonicalize
from twinward_crypto.disclosure import open_from, seal_to

_INFO: Final = b"twinward/similarity/gated-query/1"
_VERSION: Final = 1


def seal_query(
    gate: bytes, message: GatedQuery, levels: Sequence[int], weights: Sequence[int] | None, *, binding: bytes
) -> GatedQuery:
    """The message with the query sealed in it to the gate's key.

    Raises ``MalformedKey``: it is none. ``struct.error``: a level or weight beyond two bytes.
    """
    numbers = [*levels, *(weights or [0] * len(levels))]
    content = struct.pack(f">BB{len(numbers)}H", _VERSION, weights is not None, *numbers)
    sealed = seal_to(gate, content, info=_INFO, aad=_about(message, binding))
    return message.model_copy(update={"sealed": sealed})


def open_query(
    private: bytes, message: GatedQuery, dimension: int, *, binding: bytes
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Levels, and weights where there are some. Whether they are within a plan is the caller's to check.

    Raises:
        OpenError: not sealed to this key, or in another message.
        ValueError: what was sealed is no query of so many features.
    """
    content = open_from(private, message.sealed or b"", info=_INFO, aad=_about(message, binding))
    layout = struct.Struct(f">BB{2 * dimension}H")
    if len(content) != layout.size:
        raise ValueError("no query of so many features")
    version, weighted, *numbers = layout.unpack(content)
    levels, weights = tuple(numbers[:dimension]), tuple(numbers[dimension:])
    if version != _VERSION or weighted not in (0, 1) or (not weighted and any(weights)):
        raise ValueError("no query of this version")
    return levels, weights if weighted else None


def _about(message: GatedQuery, binding: bytes) -> bytes:
    rest = message.model_dump(mode="json", exclude={"sealed"}, exclude_none=True)
    return binding + hashlib.sha256(canonicalize(rest)).digest()

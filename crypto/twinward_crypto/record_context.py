"""What a sealed record is bound to: its place. A ciphertext moved, renamed, reordered or rolled back does not open."""

from __future__ import annotations

from dataclasses import dataclass

from twinward_crypto.errors import ParameterError
from twinward_crypto.kdf import length_prefixed

MAX_VERSION = 2**64 - 1
HASH_BYTES = 32


@dataclass(frozen=True, slots=True)
class RecordContext:
    """The associated data of a record's envelope: eight parts, in this order.

    Attributes:
        tenant: the hospital, UTF-8.
        twin: the twin's id, UTF-8.
        record_type: e.g. ``Observation``, UTF-8.
        record_id: UTF-8.
        version: 1, 2, …; 8 bytes, unsigned big-endian.
        previous_hash: SHA-256 of the previous version's whole envelope; empty for version 1.
        category: e.g. ``labs``, UTF-8.
        schema: the layout of the plaintext, e.g. ``twinward/record/1``, UTF-8.
    """

    tenant: str
    twin: str
    record_type: str
    record_id: str
    version: int
    previous_hash: bytes
    category: str
    schema: str

    def encode(self) -> bytes:
        """Each part after its length as a 32-bit big-endian integer.

        Raises:
            ParameterError: a version out of range, a hash of another length, or text without a UTF-8 form.
        """
        if not 1 <= self.version <= MAX_VERSION:
            raise ParameterError("versions count from 1 and fit 64 bits", part="version")
        if len(self.previous_hash) != (0 if self.version == 1 else HASH_BYTES):
            raise ParameterError("empty for version 1, a SHA-256 hash for every later one", part="previous_hash")
        try:
            return length_prefixed(
                self.tenant.encode(),
                self.twin.encode(),
                self.record_type.encode(),
                self.record_id.encode(),
                self.version.to_bytes(8, "big"),
                self.previous_hash,
                self.category.encode(),
                self.schema.encode(),
            )
        except UnicodeEncodeError:
            raise ParameterError("a lone surrogate has no UTF-8 form", part="context") from None

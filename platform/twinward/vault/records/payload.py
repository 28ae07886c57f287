"""What is inside a record's envelope, before padding (schema ``twinward/record/1``).

bytes  field
8      committed_at_ms, unsigned big-endian
2      number of references, unsigned big-endian
2 + n  each reference: length, UTF-8
rest   the content's exact bytes
"""

from __future__ import annotations

from dataclasses import dataclass

from twinward.vault.errors import MalformedRecord, RecordDamaged

SCHEMA = "twinward/record/1"
MAX_CONTENT_BYTES = 32 * 1024 * 1024
MAX_REFERENCES = 64
MAX_REFERENCE_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Payload:
    """A record's content together with what must not be readable beside it."""

    committed_at_ms: int
    references: tuple[str, ...]
    content: bytes

    def encode(self) -> bytes:
        """The bytes to pad and seal. Raises ``MalformedRecord`` for a part beyond its bound."""
        if len(self.content) > MAX_CONTENT_BYTES:
            raise MalformedRecord(f"a record holds at most {MAX_CONTENT_BYTES} bytes", hint="store it in parts")
        if len(self.references) > MAX_REFERENCES:
            raise MalformedRecord(f"a record has at most {MAX_REFERENCES} references")
        parts = [self.committed_at_ms.to_bytes(8, "big"), len(self.references).to_bytes(2, "big")]
        for reference in self.references:
            encoded = _encode(reference)
            parts += (len(encoded).to_bytes(2, "big"), encoded)
        return b"".join((*parts, self.content))

    @classmethod
    def decode(cls, data: bytes) -> Payload:
        """Parse what ``encode`` wrote. Raises ``RecordDamaged``."""
        count = int.from_bytes(data[8:10], "big")
        if len(data) < 10 or count > MAX_REFERENCES:
            raise _damaged()
        references, offset = [], 10
        for _ in range(count):
            start = offset + 2
            offset = start + int.from_bytes(data[offset:start], "big")
            if offset > len(data):
                raise _damaged()
            try:
                references.append(data[start:offset].decode())
            except UnicodeDecodeError:
                raise _damaged() from None
        return cls(int.from_bytes(data[:8], "big"), tuple(references), data[offset:])


def _encode(reference: str) -> bytes:
    try:
        encoded = reference.encode()
    except UnicodeEncodeError:
        raise MalformedRecord("a reference is not Unicode text: it holds a lone surrogate") from None
    if not 1 <= len(encoded) <= MAX_REFERENCE_BYTES:
        raise MalformedRecord(f"a reference has 1 to {MAX_REFERENCE_BYTES} bytes")
    return encoded


def _damaged() -> RecordDamaged:
    return RecordDamaged("a record opened, but its inside is not of a known layout")

"""Sealing what a table holds under a key derived from the tenant's, each value bound to its place.

The value is TE1, its associated data the table's label ‖ the parts of the place, each after its length: text in UTF-8,
integers as 8 bytes big-endian.
"""

from __future__ import annotations

from typing import Protocol

from twinward.core.errors import StoreAltered
from twinward_crypto.envelope import open_sealed, seal
from twinward_crypto.errors import OpenError
from twinward_crypto.kdf import derive, length_prefixed


class RowKeys(Protocol):
    """The tenant's keys, as rows are sealed under."""

    def audit_key(self, twin: None) -> bytes:
        """32 bytes; rows have a key of their own derived from it."""
        ...

    def tag(self, label: str, value: str) -> bytes:
        """A 16-byte blind tag of a value, stable for this tenant."""
        ...


class RowSeal:
    """Seals and opens the values of one table.

    Args:
        keys: the tenant's.
        key_label, context: what the table's key is derived by (HKDF's info: see ``twinward_crypto.kdf.derive``).
        row_label: what every value's associated data begins with.
        altered: what is said of a value that does not open: message and hint.
    """

    def __init__(
        self, keys: RowKeys, *, key_label: bytes, row_label: bytes, altered: tuple[str, str], context: bytes = b""
    ) -> None:
        self._keys = keys
        self._key_label, self._context = key_label, context
        self._row_label = row_label
        self._altered = altered

    def seal(self, value: bytes, *place: object) -> bytes:
        """A value, sealed to its place."""
        return seal(self._key(), value, self._bound_to(place))

    def open(self, sealed: object, *place: object) -> bytes:
        """What was sealed there. Raises ``StoreAltered`` for anything else."""
        if not isinstance(sealed, bytes):
            raise self.alteration()
        try:
            return open_sealed(self._key(), sealed, self._bound_to(place))
        except OpenError:
            raise self.alteration() from None

    def alteration(self) -> StoreAltered:
        """The error for a row that this node did not write there."""
        message, hint = self._altered
        return StoreAltered(message, hint=hint)

    def _key(self) -> bytes:
        return derive(self._keys.audit_key(None), self._key_label, self._context)

    def _bound_to(self, place: tuple[object, ...]) -> bytes:
        return self._row_label + length_prefixed(*map(_part, place))


def _part(value: object) -> bytes:
    """A part of a place in associated data."""
    if isinstance(value, int):
        return value.to_bytes(8, "big", signed=True)
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else bytes(value)  # type: ignore[call-overload]

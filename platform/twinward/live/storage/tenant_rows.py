"""Sealing what belongs to no single patient: TE1 under a key of the tenant's, bound to table, row and revision."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from twinward.audit.interfaces import EventKeys
from twinward.core.errors import StoreAltered
from twinward_crypto.envelope import open_sealed, seal
from twinward_crypto.errors import OpenError
from twinward_crypto.kdf import derive, length_prefixed
from twinward_crypto.padding import pad, unpad

_LABEL: Final = b"twinward/live-store/1"

S = TypeVar("S", bound=msgspec.Struct)


class TenantSeal:
    """Seals and opens rows of one table.

    Args:
        keys: the tenant's.
        table: its name.
    """

    def __init__(self, keys: EventKeys, table: str) -> None:
        self._keys = keys
        self._table = table.encode()

    def seal(self, content: msgspec.Struct, row: bytes, revision: int) -> bytes:
        """A row's content, sealed to its place."""
        return seal(self._key(), pad(msgspec.json.encode(content)), self._aad(row, revision))

    def open(self, kind: type[S], sealed: object, row: bytes, revision: object) -> S:
        """What was sealed there. Raises ``StoreAltered`` for anything else."""
        if not isinstance(sealed, bytes) or not isinstance(revision, int):
            raise _altered()
        try:
            return msgspec.json.decode(unpad(open_sealed(self._key(), sealed, self._aad(row, revision))), type=kind)
        except (OpenError, msgspec.MsgspecError):
            raise _altered() from None

    def _key(self) -> bytes:
        return derive(self._keys.audit_key(None), _LABEL, self._table)

    def _aad(self, row: bytes, revision: int) -> bytes:
        return _LABEL + length_prefixed(self._table, row, revision.to_bytes(8, "big"))


def _altered() -> StoreAltered:
    return StoreAltered("live.db holds a row that this node did not write", hint="restore it from a backup")

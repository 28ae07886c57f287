"""What belongs to no single patient, sealed under a key of the tenant's to its table, row and revision."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from twinward.core.row_seal import RowKeys, RowSeal
from twinward_crypto.errors import OpenError
from twinward_crypto.padding import pad, unpad

_LABEL: Final = b"twinward/live-store/1"
_ALTERED: Final = ("live.db holds a row that this node did not write", "restore it from a backup")

S = TypeVar("S", bound=msgspec.Struct)


class TenantSeal:
    """Seals and opens rows of one table.

    Args:
        keys: the tenant's.
        table: its name.
    """

    def __init__(self, keys: RowKeys, table: str) -> None:
        self._table = table
        self._rows = RowSeal(keys, key_label=_LABEL, row_label=_LABEL, altered=_ALTERED, context=table.encode())

    def seal(self, content: msgspec.Struct, row: bytes, revision: int) -> bytes:
        """A row's content, sealed to its place."""
        return self._rows.seal(pad(msgspec.json.encode(content)), self._table, row, revision)

    def open(self, kind: type[S], sealed: object, row: bytes, revision: object) -> S:
        """What was sealed there. Raises ``StoreAltered`` for anything else."""
        if not isinstance(revision, int):
            raise self._rows.alteration()
        try:
            return msgspec.json.decode(unpad(self._rows.open(sealed, self._table, row, revision)), type=kind)
        except (OpenError, msgspec.MsgspecError):
            raise self._rows.alteration() from None

"""The secrets of one epoch's cohort: the gate's key, the outsourced tree's key, and what makes handles and row order.

Made anew for every epoch. The composition root keeps them: ``dangerously_export`` gives bytes to be sealed at once,
``restore`` takes them back. Format (integers big-endian): magic "TWCS", version 1 (1 byte), epoch (8 bytes), then
four values, each 4 bytes of length and the value: handle secret, row secret, gate key, matrix key.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from dataclasses import dataclass, field
from typing import NoReturn

from twinward.core.vocabulary import TwinId
from twinward.features.schema import FeatureSchema
from twinward.similarity.errors import SecretsUnreadable
from twinward_crypto.errors import MalformedKey
from twinward_crypto.homomorphic.gated import GateKey
from twinward_crypto.homomorphic.parameters import Plan
from twinward_crypto.matrix.index import key_for
from twinward_crypto.matrix.scheme import MatrixKey

_HEAD = struct.Struct(">4sBQ")
_LENGTH = struct.Struct(">I")
_MAGIC = b"TWCS"
_VERSION = 1
_VALUES = 4
_SECRET_BYTES = 32
_MAX_BYTES = 16 << 20
_HANDLE_TAG = b"twinward/similarity/handle/v1\x00"
_ROW_TAG = b"twinward/similarity/row/v1\x00"
HANDLE_BYTES = 16


@dataclass(frozen=True, slots=True, eq=False)
class CohortSecrets:
    """One epoch's secrets. Its repr shows the epoch alone; it does not pickle."""

    epoch: int
    handle_secret: bytes = field(repr=False)
    row_secret: bytes = field(repr=False)
    gate_key: GateKey = field(repr=False)
    matrix_key: MatrixKey = field(repr=False)

    @classmethod
    def generate(cls, epoch: int, schema: FeatureSchema, gated_plan: Plan) -> CohortSecrets:
        """Fresh secrets for an epoch."""
        return cls(
            epoch,
            secrets.token_bytes(_SECRET_BYTES),
            secrets.token_bytes(_SECRET_BYTES),
            GateKey.generate(gated_plan),
            key_for(schema.dimension, schema.levels - 1),
        )

    def handle(self, vendor: str, twin: TwinId) -> str:
        """A twin's pseudonym for one vendor in this epoch: HMAC-SHA256 cut to 16 bytes, as hex."""
        name = vendor.encode()
        message = _HANDLE_TAG + len(name).to_bytes(4, "big") + name + self.epoch.to_bytes(8, "big") + twin.encode()
        return hmac.digest(self.handle_secret, message, hashlib.sha256)[:HANDLE_BYTES].hex()

    def row_key(self, twin: TwinId) -> bytes:
        """What rows are sorted by, so that a row's place says nothing about when a twin came."""
        return hmac.digest(self.row_secret, _ROW_TAG + twin.encode(), hashlib.sha256)

    def dangerously_export(self) -> bytes:
        """All of it, in the clear. Seal it before it touches anything."""
        values = (
            self.handle_secret,
            self.row_secret,
            self.gate_key.dangerously_export_secret(),
            self.matrix_key.dangerously_export_secret(),
        )
        head = _HEAD.pack(_MAGIC, _VERSION, self.epoch)
        return head + b"".join(piece for value in values for piece in (_LENGTH.pack(len(value)), value))

    @classmethod
    def restore(cls, data: bytes, gated_plan: Plan) -> CohortSecrets:
        """What ``dangerously_export`` gave, for the same plan. Raises ``SecretsUnreadable`` for anything else."""
        try:
            epoch, (handles, rows, gate, matrix) = _parse(data)
            return cls(epoch, handles, rows, GateKey.restore(gated_plan, gate), MatrixKey.restore(matrix))
        except (MalformedKey, ValueError, struct.error) as error:
            raise SecretsUnreadable(
                "not the secrets of a cohort", hint="start a new epoch: they are made anew"
            ) from error

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("CohortSecrets do not serialise; see dangerously_export")


def _parse(data: bytes) -> tuple[int, list[bytes]]:
    if not _HEAD.size <= len(data) <= _MAX_BYTES:
        raise ValueError("length")
    magic, version, epoch = _HEAD.unpack_from(data)
    if magic != _MAGIC or version != _VERSION:
        raise ValueError("header")
    values, offset = [], _HEAD.size
    for _ in range(_VALUES):
        (length,) = _LENGTH.unpack_from(data, offset)
        offset += _LENGTH.size
        values.append(data[offset : offset + length])
        offset += length
    if offset != len(data) or any(len(value) != _SECRET_BYTES for value in values[:2]):
        raise ValueError("values")
    return epoch, values

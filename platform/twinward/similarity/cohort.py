"""A cohort: the feature vectors of the twins whose consent allowed similarity search when the epoch began; its secrets.

Secrets are the gate's key, the outsourced tree's key, and what makes handles and row order, anew for every epoch. The
composition root keeps them: ``dangerously_export`` gives bytes to be sealed at once, ``restore`` takes them back.
Format (integers big-endian): magic "TWCS", version 1 (1 byte), epoch (8 bytes), then four values, each 4 bytes of
length and the value: handle secret, row secret, gate key, matrix key.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from twinward.core.errors import BadInput
from twinward.core.vocabulary import TwinId
from twinward.features.schema import FeatureSchema
from twinward.protocol.terms import binding_of
from twinward.similarity.errors import NoCohort, SchemaMismatch, SecretsUnreadable
from twinward.similarity.interfaces import FeatureSource
from twinward.similarity.models import Match
from twinward_crypto.disclosure import RecipientKey, derive_recipient_key
from twinward_crypto.errors import MalformedKey
from twinward_crypto.homomorphic.gated import GateKey
from twinward_crypto.homomorphic.parameters import Plan
from twinward_crypto.matrix.index import key_for
from twinward_crypto.matrix.scheme import MatrixKey


@dataclass(frozen=True, eq=False)
class Cohort:
    """A snapshot. Who consents later comes with the next one; who withdraws or is erased leaves at once (``without``).

    Attributes:
        hospital: whose cohort it is; part of the binding.
        schema: how the levels came about.
        epoch: which snapshot.
        twins: the twin of each row; rows are ordered by a secret of the epoch.
        levels: ``int64[rows, features]``.
        eligibility: ``int64[rows, features + coded features]``: what criteria are held against (``FeatureSource``).
        facets: ``int64[rows, facets]``: the place of each row's value among the facet's; past the last for none.
    """

    hospital: str
    schema: FeatureSchema
    epoch: int
    twins: tuple[TwinId, ...] = field(repr=False)
    levels: NDArray[np.int64] = field(repr=False)
    eligibility: NDArray[np.int64] = field(repr=False)
    facets: NDArray[np.int64] = field(repr=False)

    @classmethod
    def snapshot(
        cls, source: FeatureSource, *, hospital: str, schema: FeatureSchema, epoch: int, secrets: CohortSecrets
    ) -> Cohort:
        """Read every consenting twin's vector, each through its own permit.

        Raises:
            NoCohort: no twin consents, so there is nothing to ask about.
            BadInput: a twin comes twice, or a vector does not fit the schema.
            SchemaMismatch: secrets of another epoch.
        """
        if secrets.epoch != epoch:
            raise SchemaMismatch(epoch)
        rows = sorted(source.consenting(), key=lambda row: secrets.row_key(row[0]))
        if not rows:
            raise NoCohort
        twins = tuple(row[0] for row in rows)
        if len(set(twins)) != len(twins):
            raise BadInput("a twin comes twice in the cohort")
        levels = _table([row[1] for row in rows], (schema.levels,) * schema.dimension)
        eligibility = _table([row[2] for row in rows], schema.eligibility_levels)
        facets = _table([row[3] for row in rows], [len(one.values) + 1 for one in schema.facets])
        return cls(hospital, schema, epoch, twins, levels, eligibility, facets)

    def without(self, twins: frozenset[TwinId]) -> Cohort:
        """The same cohort less some of its rows. Raises ``NoCohort`` where nobody is left."""
        if twins.isdisjoint(self.everybody):
            return self
        staying = [row for row, twin in enumerate(self.twins) if twin not in twins]
        if not staying:
            raise NoCohort
        left = tuple(self.twins[row] for row in staying)
        some = self.levels[staying], self.eligibility[staying], self.facets[staying]
        return Cohort(self.hospital, self.schema, self.epoch, left, *some)

    def __len__(self) -> int:
        return len(self.twins)

    @cached_property
    def everybody(self) -> frozenset[TwinId]:
        """The twins of all rows."""
        return frozenset(self.twins)

    @property
    def binding(self) -> bytes:
        """What every bundle about this cohort carries."""
        return binding_of(self.hospital, self.schema, self.epoch)

    def within(self, distances: NDArray[np.int64], threshold_squared: int, nearest: int | None = None) -> list[Match]:
        """The rows at most this far, in row order; of these the nearest so many and whoever is as near as the last."""
        if nearest is not None and nearest < len(distances):
            threshold_squared = min(threshold_squared, int(np.partition(distances, nearest - 1)[nearest - 1]))
        near = np.flatnonzero(distances <= threshold_squared)
        return [Match(self.twins[row], int(distances[row])) for row in near]

    def at(self, rows: Iterable[int]) -> list[Match]:
        """Rows found by a mode that tells no distance."""
        return [Match(self.twins[row], None) for row in rows]


def _table(rows: Sequence[Sequence[int]], levels: Sequence[int]) -> NDArray[np.int64]:
    if any(len(row) != len(levels) for row in rows):
        raise BadInput("a feature vector of another schema", hint="derive the features anew")
    table = np.array([list(row) for row in rows], dtype=np.int64)
    if (table < 0).any() or (table >= np.array(levels)).any():
        raise BadInput("a feature vector with levels outside the schema", hint="derive the features anew")
    return table


_HEAD = struct.Struct(">4sBQ")


_LENGTH = struct.Struct(">I")


_MAGIC = b"TWCS"


_VERSION = 1


_VALUES = 4


_SECRET_BYTES = 32


_MAX_BYTES = 16 << 20


_HANDLE_TAG = b"twinward/similarity/handle/v1\x00"


_ROW_TAG = b"twinward/similarity/row/v1\x00"


_ROOM_TAG = b"twinward/similarity/room/v1\x00"


_QUERY_TAG = b"twinward/similarity/query-key/v1\x00"


HANDLE_BYTES = 16


@dataclass(frozen=True, eq=False)
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

    def room_bytes(self, size: int, after: bytes = b"") -> bytes:
        """Bytes of the epoch, for the one number that must be the same in every process: SHAKE-256, keyed in front.

        Others ``after`` each number that was in its place before.
        """
        return hashlib.shake_256(self.row_secret + _ROOM_TAG + after).digest(size)

    @cached_property
    def query_key(self) -> RecipientKey:
        """What vendors seal gated queries to: the epoch's, the same in every process, gone with its secrets."""
        return derive_recipient_key(hashlib.sha256(_QUERY_TAG + self.row_secret).digest())

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

"""What a hospital answers, now: its features, its modes, and the versions of the protocol that it speaks.

**Versions.** ``Terms.protocol`` is what the node speaks, ``Terms.oldest_protocol`` the oldest it still answers. Members
that a client does not know are ignored; what must not be ignored raises ``oldest_protocol``.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, Field

from twinward.core.errors import BadInput
from twinward.features.facets import Facet
from twinward.features.schema import FeatureSchema
from twinward.protocol.fields import Epoch, Message, Milliseconds, Seconds
from twinward.protocol.proofs import Proof
from twinward_crypto.homomorphic.parameters import PROFILES, Plan, plan, plan_gated

PROTOCOL = 3
"""Of this build: signed answers and query ids came with 2, gated queries sealed to the gate with 3."""
SEALED_QUERIES = 3
"""Since which version gated queries are sealed; a node still answers those of version 2."""
OLDEST_PROTOCOL = 2
"""The oldest that this build still speaks, on both sides."""

_BINDING = b"twinward/similarity/binding/v1"


class Mode(StrEnum):
    """How a query is asked."""

    GATED = "gated"
    VENDOR_KEY = "vendor-key"
    MATRIX = "matrix"


def _known_modes(told: object) -> object:
    """Without modes that only a later build knows."""
    if not isinstance(told, list):
        return told
    known = set(Mode)
    return [
        one for one in told if not (isinstance(one, dict) and isinstance(one.get("mode"), str)) or one["mode"] in known
    ]


class ModeTerms(Message):
    """One mode as a hospital offers it: the parameters both sides derive the same plan from, and what it leaks."""

    mode: Mode
    profile: str = ""
    max_weight: int = 1
    weighted: bool = False
    noise_width: int = 1
    grouping: int = 1
    leakage: str

    def plan(self, schema: FeatureSchema) -> Plan:
        """The plan these terms mean for a schema. Raises ``ParameterError`` or ``BadInput`` where they mean none."""
        if self.profile and self.profile not in PROFILES:
            raise BadInput("a hospital offers a ring this build does not know", hint="update twinward")
        ring = PROFILES.get(self.profile)
        if self.mode is Mode.GATED:
            return plan_gated(schema.dimension, schema.levels, self.max_weight, weighted=self.weighted, profile=ring)
        return plan(
            schema.dimension,
            schema.levels,
            self.max_weight,
            weighted=self.weighted,
            noise_width=self.noise_width,
            profile=ring,
            grouping=self.grouping,
        )


class CohortLife(Message):
    """The snapshot that queries are answered from now. Patients leave it at once, and join with the next one.

    Attributes:
        taken_ms: when it was taken, to the minute, in milliseconds since 1970.
        room: how many patients there are, with noise: one number for the whole epoch.
        index_bytes: of each mode that prepares an index, how large one of ``room`` patients is.
        ends_at_s: when the epoch ends and another one is taken, in seconds since 1970; None where that is not known.
        frozen_since_ms: since when nobody joins, over epochs, to the minute; None where whoever consents does.
    """

    taken_ms: Milliseconds
    room: Annotated[int, Field(ge=0, lt=1 << 53)]
    index_bytes: dict[str, Annotated[int, Field(ge=0, lt=1 << 53)]] = Field(default_factory=dict)
    ends_at_s: Seconds | None = None
    frozen_since_ms: Milliseconds | None = None


class Terms(Message):
    """What a hospital answers, now. ``fingerprint`` is the schema's, as the hospital computes it.

    ``cohort`` is None until somebody asked in this epoch. ``facets`` are what queries may be filtered by.
    """

    hospital: str
    epoch: Epoch
    feature_schema: FeatureSchema
    modes: Annotated[tuple[ModeTerms, ...], BeforeValidator(_known_modes)]
    minimum_count: int
    fingerprint: str = ""
    facets: tuple[Facet, ...] = ()
    protocol: int = PROTOCOL
    oldest_protocol: int = OLDEST_PROTOCOL
    cohort: CohortLife | None = None
    proof: Proof | None = None

    def binding(self) -> bytes:
        """What every bundle of this hospital, schema and epoch carries."""
        return binding_of(self.hospital, self.feature_schema, self.epoch)


def binding_of(hospital: str, schema: FeatureSchema, epoch: int) -> bytes:
    """SHA-256 of a tag, the hospital's name (length first), the schema's fingerprint and the epoch: 32 bytes."""
    name = hospital.encode()
    parts = (
        _BINDING,
        len(name).to_bytes(4, "big"),
        name,
        bytes.fromhex(schema.fingerprint()),
        epoch.to_bytes(8, "big"),
    )
    return hashlib.sha256(b"".join(parts)).digest()

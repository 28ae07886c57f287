"""One engine per mode: a cohort made ready to be asked, and the asking. No policy here, no budget, no log."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from twinward.client.messages import ModeTerms
from twinward.similarity.cohort import Cohort
from twinward.similarity.cohort_secrets import CohortSecrets
from twinward.similarity.errors import QueryMalformed
from twinward.similarity.scoring import Scoring
from twinward.similarity.shards import Blinding, Scorer
from twinward_crypto.errors import CryptoError, MalformedBundle, ParameterError
from twinward_crypto.homomorphic import wire
from twinward_crypto.homomorphic.gated import GateKey
from twinward_crypto.homomorphic.parameters import Plan
from twinward_crypto.matrix.index import OutsourcedIndex, build_index
from twinward_crypto.matrix.scheme import MatrixKey
from twinward_crypto.matrix.token import Token, make_token

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class GatedEngine:
    """Who holds the encrypted index (all that scoring needs), and the gate that opens scores."""

    scorer: Scorer
    binding: bytes
    gate: GateKey = field(repr=False)

    @classmethod
    def prepare(cls, cohort: Cohort, secrets_: CohortSecrets, scoring: Scoring) -> GatedEngine:
        """Encrypt the cohort under the epoch's gate key."""
        gate = secrets_.gate_key
        return cls(scoring.gated(gate, cohort.levels, binding=cohort.binding), cohort.binding, gate)

    def public_key(self) -> bytes:
        """The ``GATE_PUBLIC_KEY`` bundle vendors encrypt with."""
        return self.gate.public_bundle(binding=self.binding).encode()

    def parse(self, data: bytes) -> wire.Bundle:
        """A query's frame. Raises ``QueryMalformed``."""
        return _frame(data, wire.Kind.GATED_QUERY, self.gate.plan, self.binding)

    def distances(self, query: wire.Bundle) -> NDArray[np.int64]:
        """Score without a key, then open at the gate. Raises ``QueryMalformed`` for what no honest client sends."""
        try:
            return self.gate.open_distances(self.scorer.score(query))
        except MalformedBundle as error:
            raise QueryMalformed(str(error)) from error


@dataclass(frozen=True, slots=True, eq=False)
class VendorKeyEngine:
    """Who holds the plaintext cohort, packed for scoring under a vendor's key."""

    scorer: Scorer
    plan: Plan
    rows: int
    binding: bytes

    @classmethod
    def prepare(cls, cohort: Cohort, terms: ModeTerms, scoring: Scoring) -> VendorKeyEngine:
        """Pack the cohort."""
        plan = terms.plan(cohort.schema)
        scorer = scoring.vendor_key(plan, cohort.levels, binding=cohort.binding)
        return cls(scorer, plan, len(cohort), cohort.binding)

    def parse(self, data: bytes) -> wire.Bundle:
        """A query's frame. Raises ``QueryMalformed``."""
        return _frame(data, wire.Kind.QUERY, self.plan, self.binding)

    def scores(self, query: wire.Bundle, hidden: Bools) -> bytes:
        """Encrypted distances of every row, each with fresh noise; ``hidden`` rows get a random value instead."""
        noise = np.array([secrets.randbelow(self.plan.noise_width) for _ in range(self.rows)], dtype=np.int64)
        try:
            return self.scorer.score(query, Blinding(noise, hidden)).encode()
        except MalformedBundle as error:
            raise QueryMalformed(str(error)) from error


@dataclass(frozen=True, slots=True, eq=False)
class MatrixEngine:
    """The outsourced tree, which row each of its positions is, and the key that makes tokens."""

    index: OutsourcedIndex
    key: MatrixKey = field(repr=False)
    top: int

    @classmethod
    def prepare(cls, cohort: Cohort, secrets_: CohortSecrets) -> MatrixEngine:
        """Build and encrypt the tree."""
        top = cohort.schema.levels - 1
        key = secrets_.matrix_key
        return cls(build_index(key, cohort.levels, top=top, binding=cohort.binding), key, top)

    def token(self, levels: tuple[int, ...], threshold_squared: int) -> bytes:
        """A token for the outsourced tree. Raises ``QueryMalformed``."""
        try:
            return make_token(
                self.key, levels, threshold_squared, top=self.top, binding=self.index.tree.binding
            ).encode()
        except ParameterError as error:
            raise QueryMalformed(str(error)) from error

    def parse(self, data: bytes) -> Token:
        """A token's bytes. Raises ``QueryMalformed``."""
        try:
            return Token.decode(data, size=self.key.size, binding=self.index.tree.binding)
        except MalformedBundle as error:
            raise QueryMalformed(str(error)) from error

    def rows(self, token: Token) -> list[int]:
        """The cohort's rows that match."""
        return sorted(self.index.rows[self.index.tree.search(token).positions].tolist())


def _frame(data: bytes, kind: wire.Kind, plan: Plan, binding: bytes) -> wire.Bundle:
    try:
        return wire.decode(data, kind=kind, plan=plan, binding=binding)
    except CryptoError as error:
        raise QueryMalformed(str(error)) from error

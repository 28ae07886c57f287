"""What a hospital offers vendors: which modes, with which parameters, and in plain words what each one leaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from twinward.client.messages import Mode, ModeTerms
from twinward.feature_schema import FeatureSchema
from twinward_crypto.homomorphic.parameters import CIRCUIT_PRIVATE

LEAKAGE: Mapping[Mode, str] = {
    Mode.GATED: (
        "The scoring side sees ciphertexts, the number of records and whether weights were used. The hospital's gate "
        "sees the threshold and every distance, and could decrypt the query. The vendor learns matches only, and "
        "nothing about fewer than the minimum count."
    ),
    Mode.VENDOR_KEY: (
        "The hospital sees nothing of query, threshold or matches. The vendor learns the number of records and each "
        "one's distance, blurred by noise; as many queries as features, minus a few, would locate records. A vendor "
        "that forms its ciphertexts dishonestly reads features directly: only for vendors bound by contract."
    ),
    Mode.MATRIX: (
        "Obfuscation-grade. The hospital sees the query. Whoever holds the outsourced tree sees its shape, each "
        "query's path and result size, and with one record it knows and one token works out the others."
    ),
}


@dataclass(frozen=True, slots=True)
class Offer:
    """The choices behind a hospital's terms. Gated alone is on unless the hospital says otherwise.

    Attributes:
        modes: what is answered. Vendor-key and matrix each need the hospital's decision in writing.
        weighted: whether features can be weighted or left out of a query.
        max_weight: the largest weight.
        noise_width: vendor-key: each distance gets a fresh 0 .. noise_width - 1 added, in squared levels.
        vendor_key_profile: vendor-key: the ring; others than ``circuit-private`` also leak through ciphertext noise.
        minimum_count: nothing is released about fewer patients than this.
    """

    modes: tuple[Mode, ...] = (Mode.GATED,)
    weighted: bool = True
    max_weight: int = 1
    noise_width: int = 64
    vendor_key_profile: str = CIRCUIT_PRIVATE.name
    minimum_count: int = 3

    def terms(self, schema: FeatureSchema) -> tuple[ModeTerms, ...]:
        """The terms of each mode. Raises ``ParameterError``, naming the part, where a mode cannot be exact."""
        return tuple(self._terms(mode, schema) for mode in self.modes)

    def _terms(self, mode: Mode, schema: FeatureSchema) -> ModeTerms:
        if mode is Mode.MATRIX:
            return ModeTerms(mode=mode, leakage=LEAKAGE[mode])
        terms = ModeTerms(
            mode=mode,
            profile=self.vendor_key_profile if mode is Mode.VENDOR_KEY else "",
            max_weight=self.max_weight,
            weighted=self.weighted,
            noise_width=self.noise_width if mode is Mode.VENDOR_KEY else 1,
            leakage=LEAKAGE[mode],
        )
        return terms.model_copy(update={"profile": terms.plan(schema).profile.name})

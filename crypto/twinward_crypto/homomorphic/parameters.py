"""Profiles, and the planner that picks the plaintext modulus or says why a schema cannot work.

All profiles reach 128-bit classical security by the HomomorphicEncryption.org table, which SEAL enforces (``TC128``).
The sums below are worst-case for BFV (every bound holds for every input) and high-probability for CKKS.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

from twinward_crypto.errors import ParameterError

MAX_DIMENSION = 256
MAX_LEVELS = 1024
MAX_WEIGHT = 1024
MAX_GROUPING = 256
MAX_BUNDLE_BYTES = 64 << 20
"""Of a query, a key or an answer as it travels (``wire``)."""

_NOISE_MAX = 21  # SEAL samples errors from a centred binomial over 42 coins: |e| <= 21
_NOISE_SIGMA = math.sqrt(42 / 4)
_PLAN = struct.Struct("<BBHIIIIQI")


@dataclass(frozen=True, slots=True)
class Profile:
    """A named set of ring parameters.

    Attributes:
        name: what users say.
        code: what travels in a bundle.
        degree: N, the ring's degree.
        modulus_bits: bits of each prime of q; where there are several the last one serves encryption only.
        scheme: ``bfv`` or ``ckks``.
        floods: whether scoring drowns what the noise would tell (circuit privacy, heuristic).
    """

    name: str
    code: int
    degree: int
    modulus_bits: tuple[int, ...]
    scheme: str
    floods: bool = False

    @property
    def data_bits(self) -> int:
        """Bits of the modulus that ciphertexts live under."""
        return sum(self.modulus_bits[:-1]) if len(self.modulus_bits) > 1 else self.modulus_bits[0]

    @property
    def slots(self) -> int:
        """Records in one ciphertext."""
        return self.degree if self.scheme == "bfv" else self.degree // 2


FAST = Profile("fast", 1, 2048, (54,), "bfv")
MEDIUM = Profile("medium", 2, 4096, (36, 36, 37), "bfv")
CIRCUIT_PRIVATE = Profile("circuit-private", 3, 8192, (55, 55, 56), "bfv", floods=True)
GATED_COMPACT = Profile("gated-compact", 16, 4096, (54, 55), "ckks")
GATED = Profile("gated", 17, 4096, (36, 36, 37), "ckks")
GATED_WIDE = Profile("gated-wide", 18, 8192, (55, 55, 56), "ckks")

PROFILES = {p.name: p for p in (FAST, MEDIUM, CIRCUIT_PRIVATE, GATED_COMPACT, GATED, GATED_WIDE)}


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything both sides must agree on before a byte of SEAL's is loaded.

    Attributes:
        profile: the ring.
        dimension: features per record.
        levels: quantisation levels; a level is in ``0 .. levels - 1``.
        max_weight: the largest weight of a feature; weights are whole numbers from 0.
        weighted: whether queries may carry weights (twice the ciphertexts).
        noise_width: the hospital adds 0 .. noise_width - 1 to each distance; 1 adds nothing. BFV only.
        plain_modulus: BFV's t, a power of two above every distance; 0 for CKKS.
        scale_bits: CKKS: bits of the product's scale (index times query); 0 for BFV.
        grouping: BFV: features that share a ciphertext, a power of two; it divides the upload and multiplies the
            download.
    """

    profile: Profile
    dimension: int
    levels: int
    max_weight: int
    weighted: bool
    noise_width: int
    plain_modulus: int
    scale_bits: int
    grouping: int = 1

    @property
    def max_distance(self) -> int:
        """The largest squared distance the schema can give, in squared levels, before noise is added."""
        return self.dimension * self.max_weight * (self.levels - 1) ** 2

    @property
    def groups(self) -> int:
        """Ciphertexts that carry a query's features."""
        return -(-self.dimension // self.grouping)

    @property
    def block_rows(self) -> int:
        """Records whose distances share a ciphertext."""
        return self.profile.slots // self.grouping

    def blocks(self, rows: int) -> int:
        """Ciphertexts that carry this many records' distances."""
        return -(-rows // self.block_rows)

    def prepared_bytes(self, rows: int) -> int:
        """What so many records take, ready to be scored, in residues of 8 bytes, or of 5 as kernels have them.

        Vendor-key: a plaintext polynomial for each group (and for its squares), and norms. Gated: a ciphertext of two
        polynomials for each feature (and square), and one of norms.
        """
        bits = self.profile.modulus_bits
        data = bits if len(bits) == 1 else bits[:-1]
        columns = self.groups * (2 if self.weighted else 1)
        degree, primes = self.profile.degree, len(data)
        if self.profile.scheme == "bfv":
            return self.blocks(rows) * 8 * (columns * primes * degree + self.block_rows)
        residue = 5 if max(data) <= 36 else 8
        return self.blocks(rows) * 2 * primes * degree * (columns * residue + 8)

    def pack(self) -> bytes:
        """The 32 bytes by which both sides compare plans (format: SPEC, homomorphic bundles)."""
        return _PLAN.pack(
            self.profile.code,
            int(self.weighted),
            self.scale_bits,
            self.dimension,
            self.levels,
            self.max_weight,
            self.noise_width,
            self.plain_modulus,
            self.grouping - 1,
        )

    def explain(self) -> str:
        """One line an operator can read."""
        ring = f"N={self.profile.degree}, log q={self.profile.data_bits}"
        kind = f"t=2^{self.plain_modulus.bit_length() - 1}" if self.plain_modulus else f"scale 2^{self.scale_bits}"
        return (
            f"{self.profile.name}: {ring}, {kind}; {self.dimension} features x {self.levels} levels, "
            f"distances up to {self.max_distance}, {self.block_rows} records a ciphertext"
        )


def plan(
    dimension: int,
    levels: int,
    max_weight: int = 1,
    *,
    weighted: bool | None = None,
    noise_width: int = 1,
    profile: Profile | None = None,
    grouping: int = 1,
) -> Plan:
    """The smallest BFV profile whose worst case is exact for this schema, or the given one if it is.

    Raises:
        ParameterError: ``part`` names what overflows: ``dimension``, ``levels``, ``max_weight``, ``noise_width``
            or ``profile``; or it is ``grouping``, which must be a power of two up to ``MAX_GROUPING``.
    """
    _check(dimension, levels, max_weight)
    if not 1 <= grouping <= MAX_GROUPING or grouping & (grouping - 1):
        raise ParameterError(f"must be a power of two from 1 to {MAX_GROUPING}", part="grouping")
    if not 1 <= noise_width <= 1 << 30:
        raise ParameterError("must lie in 1 .. 2^30", part="noise_width")
    carries_weights = max_weight > 1 if weighted is None else weighted or max_weight > 1
    for candidate in (profile,) if profile else (FAST, MEDIUM, CIRCUIT_PRIVATE):
        if candidate.scheme != "bfv":
            raise ParameterError(f"{candidate.name} is not a BFV profile", part="profile")
        made = _bfv(candidate, dimension, levels, max_weight, carries_weights, noise_width)
        if _bfv_fits(made):
            return replace(made, grouping=grouping)
    tried = profile.name if profile else "every profile"
    part = _culprit(
        lambda d, v, w, n: _bfv_fits(_bfv(profile or CIRCUIT_PRIVATE, d, v, w, carries_weights, n)),
        (dimension, levels, max_weight, noise_width),
    )
    raise ParameterError(f"distances would overflow the plaintext modulus or the noise of {tried}", part=part)


def plan_gated(
    dimension: int,
    levels: int,
    max_weight: int = 1,
    *,
    weighted: bool | None = None,
    profile: Profile | None = None,
) -> Plan:
    """The smallest CKKS profile whose rounded result is the exact integer distance.

    Raises:
        ParameterError: ``part`` names what makes rounding ambiguous.
    """
    _check(dimension, levels, max_weight)
    carries_weights = max_weight > 1 if weighted is None else weighted or max_weight > 1
    for candidate in (profile,) if profile else (GATED_COMPACT, GATED, GATED_WIDE):
        if candidate.scheme != "ckks":
            raise ParameterError(f"{candidate.name} is not a CKKS profile", part="profile")
        made = _ckks(candidate, dimension, levels, max_weight, carries_weights)
        if error_bound(made) < 0.5:
            return made
    tried = profile.name if profile else "every profile"
    part = _culprit(
        lambda d, v, w, _: error_bound(_ckks(profile or GATED_WIDE, d, v, w, carries_weights)) < 0.5,
        (dimension, levels, max_weight, 1),
    )
    raise ParameterError(f"the approximation error of {tried} would reach half a unit", part=part)


def error_bound(made: Plan) -> float:
    """How far a gated (CKKS) score may lie from the integer distance, in squared levels.

    Index ciphertexts are symmetric: a slot's error has sigma ``3.24 sqrt(N/2)``. Query ciphertexts are public-key
    ones, whose error after the special prime is divided out is a rounding error times the secret:
    ``sqrt((1 + 2N/3)/12) sqrt(N/2)``. Each is multiplied by the other factor's magnitude and divided by its own
    scale; d features add up as a random walk. Tails: 8 sigma, and 20 sigma for the query, whose slots share one
    secret (its largest slot is some 3 times the mean). Measured errors lie well below (tested).
    """
    index_sigma, query_sigma = _sigmas(made.profile.degree)
    index_scale, query_scale = (2.0**bits for bits in scales(made))
    top, d, w = made.levels - 1, made.dimension, made.max_weight
    index = 8 * 2 * w * top * math.sqrt(d) * index_sigma / index_scale
    query = 20 * top * math.sqrt(d) * query_sigma / query_scale
    if made.weighted:  # w_j * x_j^2, with x_j^2 carried at 1/levels of the index scale and w_j at levels times
        tilt = 2.0 ** square_tilt(made)
        index = math.hypot(index, 8 * w * math.sqrt(d) * index_sigma * tilt / index_scale)
        query = math.hypot(query, 20 * top * top * math.sqrt(d) * query_sigma / tilt / query_scale)
    return index + query


def query_tolerance(made: Plan, scale_bits: int) -> float:
    """How far a slot of an honest, freshly encrypted query part may lie from its whole number.

    Twice the tail that ``error_bound`` allows (40 sigma: no honest query is ever refused), and always below one half,
    so that the whole number is never in doubt.
    """
    _, query_sigma = _sigmas(made.profile.degree)
    return min(40 * query_sigma / 2.0**scale_bits, 0.49)


def scales(made: Plan) -> tuple[int, int]:
    """CKKS: bits of (index scale, query scale); the query's is larger by the ratio that balances both errors."""
    index_bits = made.scale_bits // 2
    return index_bits, made.scale_bits - index_bits


def square_tilt(made: Plan) -> int:
    """CKKS: by how many bits squares are scaled down (and weights up), so that both factors stay comparable."""
    return (made.levels - 1).bit_length()


def _sigmas(degree: int) -> tuple[float, float]:
    slots = math.sqrt(degree / 2)
    return _NOISE_SIGMA * slots, math.sqrt((1 + 2 * degree / 3) / 12) * slots


def _bfv(profile: Profile, d: int, levels: int, w: int, weighted: bool, noise: int) -> Plan:
    largest = d * w * (levels - 1) ** 2 + noise - 1
    # Levels are shifted to 1 .. levels inside, so that no block is all zero: squares must fit as well.
    t = 1 << max(largest.bit_length(), (levels * levels).bit_length(), 18 if profile.floods else 2)
    return Plan(profile, d, levels, w, weighted, noise, t, 0)


def _bfv_fits(made: Plan) -> bool:
    n, d, levels = made.profile.degree, made.dimension, made.levels
    factors = levels + (levels * levels if made.weighted else 0)
    noise = 2 * (_NOISE_MAX + 1) * n * d * factors  # ||e p||_inf <= ||e||_inf ||p||_1, rounding of q/t included
    bits = math.log2(noise) + math.log2(made.plain_modulus) + 1
    if made.profile.floods:  # what three flooding factors of 17 bits add, with 8 bits to spare
        bits = max(bits, 73 + 8 + math.log2(made.plain_modulus) + 1)
    return bits < made.profile.data_bits - 1


def shrinks(made: Plan) -> bool:
    """BFV: whether the result may drop a prime before it travels: the rounding noise must stay clear of q'/2t."""
    if len(made.profile.modulus_bits) < 3:
        return False
    return made.profile.modulus_bits[0] - 2 > math.log2(made.plain_modulus) + math.log2(made.profile.degree)


def _ckks(profile: Profile, d: int, levels: int, w: int, weighted: bool) -> Plan:
    room = profile.data_bits - 3 - (d * w * (levels - 1) ** 2 + 1).bit_length()  # sign, margin, largest score
    return Plan(profile, d, levels, w, weighted, 1, 0, max(2, min(room, 100)))


def _culprit(fits: Callable[[int, int, int, int], bool], asked: tuple[int, int, int, int]) -> str:
    """The first part whose smallest value would make the rest work."""
    d, levels, w, noise = asked
    relaxed = {
        "noise_width": (d, levels, w, 1),
        "max_weight": (d, levels, 1, noise),
        "dimension": (1, levels, w, noise),
        "levels": (d, 2, w, noise),
    }
    return next((part for part, values in relaxed.items() if values != asked and fits(*values)), "profile")


def _check(dimension: int, levels: int, max_weight: int) -> None:
    for part, value, low, high in (
        ("dimension", dimension, 1, MAX_DIMENSION),
        ("levels", levels, 2, MAX_LEVELS),
        ("max_weight", max_weight, 1, MAX_WEIGHT),
    ):
        if not low <= value <= high:
            raise ParameterError(f"{value} is outside {low} .. {high}", part=part)

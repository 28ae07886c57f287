"""Score an encrypted query against a database: exact squared distances, still under the vendor's key.

Per block: ``sum_j Enc(-2 w_j q_j) x_j + sum_j Enc(w_j) x_j^2`` (``+ |x|^2`` in the clear where no weights are given).

What it does not protect. The vendor holds the key, so it reads not only distances but also the ciphertexts' noise and
masks, which are linear in the hospital's levels. The ``circuit-private`` profile adds a fresh encryption of zero
multiplied by three random polynomials (heuristic smudging, some 45 bits) and drops a prime; ``fast`` and ``medium``
do not. And nothing here proves that a query was formed honestly: one built by hand can read several features of every
record in a single answer (tests/adversarial/similarity). Use vendor-key mode only with vendors bound by contract, and
gated mode otherwise.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import tenseal.sealapi as seal
from numpy.typing import NDArray

from twinward_crypto.errors import MalformedBundle, ParameterError
from twinward_crypto.homomorphic import _seal, limbs, parts
from twinward_crypto.homomorphic.database import Block, Database, in_limbs, of_objects
from twinward_crypto.homomorphic.kernel_scoring import BfvQuery
from twinward_crypto.homomorphic.parameters import Plan, shrinks
from twinward_crypto.homomorphic.query import random_levels
from twinward_crypto.homomorphic.seal_format import Form
from twinward_crypto.homomorphic.wire import Bundle, Kind

_FLOOD_FACTORS = 3
_FLOOD_BITS = 17

Noise = NDArray[np.int64]


def score(
    query: Bundle, database: Database, *, noise: Noise | None = None, hidden: NDArray[np.bool_] | None = None
) -> Bundle:
    """Squared distances of every record, encrypted under the query's key.

    Args:
        query: a decoded ``QUERY`` bundle.
        database: the cohort it is asked of; plan and binding must be the query's.
        noise: ``int64[rows]`` in ``0 .. noise_width - 1``, added to the distances; fresh for each query.
        hidden: rows whose result is replaced by a uniformly random one: their distances do not go out.

    Raises:
        MalformedBundle: the query's parts are no fresh ciphertexts of its plan, or it is bound to something else.
        ParameterError: the noise does not fit the plan.
    """
    plan = database.plan
    if query.kind is not Kind.QUERY or query.plan != plan or query.binding != database.binding:
        raise MalformedBundle("the query was made for another cohort")
    forms = parts.forms(Kind.QUERY, plan, weighted=query.weighted)
    if len(forms) != len(query.parts):
        raise MalformedBundle("a query of another number of parts")
    added = _added(database, noise, hidden)
    kernels = limbs.kernels("bfv") if limbs.fits_bfv(plan) else None
    scorer = BfvQuery(kernels, plan, forms, query.parts) if kernels else _SealQuery(plan, forms, query.parts)
    answers = []
    for k, block in enumerate(database.blocks):
        clear = added[k * plan.profile.degree : (k + 1) * plan.profile.degree]
        if not query.weighted:
            clear[plan.grouping - 1 :: plan.grouping] += block.norms
        if isinstance(scorer, BfvQuery):
            answers.append(scorer.answer(in_limbs(plan, block).limbs, clear))
        else:
            answers.append(scorer.answer(of_objects(plan, block), clear))
    return Bundle(Kind.SCORES, plan, query.binding, tuple(answers), query.weighted, database.rows)


class _SealQuery:
    """A query in transformed form, ready for blocks, by SEAL's evaluator: the oracle, and every plan without limbs."""

    def __init__(self, plan: Plan, forms: list[Form], pieces: tuple[bytes, ...]) -> None:
        self._plan, self._evaluator = plan, seal.Evaluator(_seal.context_of(plan))
        paired = list(zip(forms, pieces, strict=True))
        self._flood = _Flood(plan, self._evaluator, paired.pop()[1]) if plan.profile.floods else None
        self._factors = [_load_factor(plan, self._evaluator, form, part) for form, part in paired]
        (self._form,) = set(parts.forms(Kind.SCORES, plan, rows=1))

    def answer(self, block: Block, clear: Noise) -> bytes:
        """A block's part of the answer; ``clear`` is what is added to each coefficient."""
        plan = self._plan
        with _seal.refusing("a query that cannot be scored"):
            total = _sum_of_products(self._evaluator, self._factors, block)
            added = _seal.polynomial(plan, (clear % plan.plain_modulus).astype(np.uint64))
            self._evaluator.add_plain_inplace(total, added)
            if self._flood:
                self._flood.drown(total)
            if shrinks(plan):
                self._evaluator.mod_switch_to_next_inplace(total)
        return parts.take(total, self._form)


def _sum_of_products(evaluator: Any, factors: list[Any], block: Block) -> Any:
    polynomials = block.features + block.squares
    total, product = seal.Ciphertext(), seal.Ciphertext()
    evaluator.multiply_plain(factors[0], polynomials[0], total)
    for factor, polynomial in zip(factors[1:], polynomials[1:], strict=False):
        evaluator.multiply_plain(factor, polynomial, product)
        evaluator.add_inplace(total, product)
    evaluator.transform_from_ntt_inplace(total)
    return total


def _load_factor(plan: Plan, evaluator: Any, form: Form, part: bytes) -> Any:
    loaded = parts.ciphertext(plan, form, part)
    if loaded.is_transparent():
        raise MalformedBundle("a part that is not a freshly encrypted feature")
    factor = seal.Ciphertext()
    evaluator.transform_to_ntt(loaded, factor)
    return factor


def _added(database: Database, noise: Noise | None, hidden: NDArray[np.bool_] | None) -> Noise:
    """What is added to each coefficient: noise, or a uniform value of Z_t where a row is hidden or none stands.

    Between the coefficients that carry distances, grouping leaves ones that mix neighbouring records: all are hidden.
    """
    plan, rows = database.plan, database.rows
    masked = np.ones((len(database.blocks) * plan.block_rows, plan.grouping), dtype=np.bool_)
    masked[:, -1] = False
    added = np.zeros(masked.shape, dtype=np.int64)
    if noise is not None:
        if noise.shape != (rows,) or (noise < 0).any() or (noise >= plan.noise_width).any():
            raise ParameterError(
                f"one whole number from 0 to {plan.noise_width - 1} a record is expected", part="noise"
            )
        added[:rows, -1] = noise
    if hidden is not None:
        if hidden.shape != (rows,):
            raise ParameterError("one truth value a record is expected", part="hidden")
        masked[:rows, -1] = hidden
    # t is a power of two of at most 2^40, so cutting 64 random bits leaves a uniform value.
    random = np.frombuffer(os.urandom(8 * int(masked.sum())), dtype="<u8") & np.uint64(plan.plain_modulus - 1)
    added[masked] = random.astype(np.int64)
    return added.reshape(-1)


class _Flood:
    """Fresh encryptions of zero, blown up by random factors, to hide a result's own noise and mask."""

    def __init__(self, plan: Plan, evaluator: Any, public_key: bytes) -> None:
        self._plan, self._evaluator = plan, evaluator
        with _seal.refusing("not a public key for these parameters"):
            self._encryptor = seal.Encryptor(_seal.context_of(plan), parts.public_key(plan, public_key))

    def drown(self, total: Any) -> None:
        zero = seal.Ciphertext()
        self._encryptor.encrypt_zero(zero)
        for _ in range(_FLOOD_FACTORS):
            factor = random_levels(self._plan.profile.degree, (1 << _FLOOD_BITS) - 1).astype(np.uint64)
            self._evaluator.multiply_plain_inplace(zero, _seal.polynomial(self._plan, factor))
        self._evaluator.add_inplace(total, zero)

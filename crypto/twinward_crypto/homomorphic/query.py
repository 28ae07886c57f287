"""The vendor's side of vendor-key mode: encrypt a query, decrypt squared distances.

A query feature becomes the constant polynomial ``Enc(-2 w_j (q_j + 1) mod t)``, a weight ``Enc(w_j)``. Multiplied by a
block whose coefficients are N records' levels it gives all N products at once, so nothing is ever rotated. With
grouping g, g features share a ciphertext in reverse order, ``Enc(sum_k c_k X^(g-1-k))``, and a block holds N/g records
of g coefficients each: coefficient ``r g + g - 1`` of the product is ``sum_k c_k x_(r,k)``, and only that one. Levels
are shifted by one on both sides: distances stay, and no polynomial of the hospital's is ever zero (which SEAL refuses
as "transparent").
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import tenseal.sealapi as seal
from numpy.typing import NDArray

from twinward_crypto.errors import MalformedBundle, ParameterError
from twinward_crypto.homomorphic import _seal, parts
from twinward_crypto.homomorphic.parameters import Plan
from twinward_crypto.homomorphic.ring_key import RingKey
from twinward_crypto.homomorphic.wire import UNBOUND, Bundle, Kind


@dataclass(frozen=True, slots=True)
class EncryptedQuery:
    """A query on its way out. ``bundle`` travels; ``offset`` (sum of w q^2) stays, for it tells of the query."""

    bundle: Bundle
    offset: int = field(repr=False)


class QueryKey(RingKey):
    """A vendor's secret key for queries under one plan."""

    scheme = "bfv"

    def encrypt_query(
        self, levels: Sequence[int], weights: Sequence[int] | None = None, *, binding: bytes = UNBOUND
    ) -> EncryptedQuery:
        """Encrypt one query; symmetric and seeded, which halves the upload.

        Args:
            levels: the plan's ``dimension`` whole numbers in ``0 .. levels - 1``.
            weights: as many whole numbers in ``0 .. max_weight``; None counts every feature once.
            binding: ties the query to a schema and an epoch.

        Raises:
            ParameterError: a number of values, a level or a weight outside the plan.
        """
        checked_levels, checked_weights = check_query(self.plan, levels, weights)
        t = self.plan.plain_modulus
        encryptor = seal.Encryptor(self._context, self._secret)
        shifted = [level + 1 for level in checked_levels]
        linear = [-2 * w * q % t for w, q in zip(checked_weights, shifted, strict=True)]
        columns = [linear] if weights is None else [linear, checked_weights]
        polynomials = [group for values in columns for group in self._groups(values)]
        *factors, last = parts.forms(Kind.QUERY, self.plan, weighted=weights is not None)
        if not self.plan.profile.floods:
            factors.append(last)
        made = [
            parts.take(encryptor.encrypt_symmetric(_seal.polynomial(self.plan, group)), form)
            for form, group in zip(factors, polynomials, strict=True)
        ]
        if self.plan.profile.floods:
            made.append(parts.take(self._public, last))
        bundle = Bundle(Kind.QUERY, self.plan, binding, tuple(made), weighted=weights is not None)
        return EncryptedQuery(bundle, sum(w * q * q for w, q in zip(checked_weights, shifted, strict=True)))

    def decrypt_distances(self, query: EncryptedQuery, scores: Bundle) -> NDArray[np.int64]:
        """The squared distance of every record, in the order of the hospital's rows, as ``int64[rows]``.

        Exact where the hospital adds no noise; otherwise too large by 0 .. ``noise_width - 1``.

        Raises:
            MalformedBundle: the scores do not belong to this key's plan or are no ciphertexts of it.
        """
        if scores.kind is not Kind.SCORES or scores.plan != self.plan:
            raise MalformedBundle("not scores for this key's plan")
        n, g = self.plan.profile.degree, self.plan.grouping
        forms = parts.forms(Kind.SCORES, self.plan, rows=scores.rows)
        if len(forms) != len(scores.parts):
            raise MalformedBundle("scores of another number of parts")
        blocks = [
            _seal.coefficients(self._decrypt(parts.ciphertext(self.plan, form, part)), n)[g - 1 :: g]
            for form, part in zip(forms, scores.parts, strict=True)
        ]
        raw = np.concatenate(blocks)[: scores.rows]
        return (raw + query.offset) % self.plan.plain_modulus

    def _groups(self, values: Sequence[int]) -> NDArray[np.uint64]:
        """The coefficients of each group's polynomial, ``uint64[groups, grouping]``, constant term first."""
        padded = np.zeros(self.plan.groups * self.plan.grouping, dtype=np.uint64)
        padded[: len(values)] = values
        return padded.reshape(self.plan.groups, self.plan.grouping)[:, ::-1]


def check_query(plan: Plan, levels: Sequence[int], weights: Sequence[int] | None) -> tuple[list[int], list[int]]:
    """Levels and weights of a query as plain whole numbers within the plan; weights default to one each.

    Raises:
        ParameterError: ``part`` is ``levels`` or ``weights``. Values are never quoted.
    """
    checked = _whole(levels, plan.dimension, plan.levels - 1, "levels")
    if weights is None:
        return checked, [1] * plan.dimension
    if not plan.weighted:
        raise ParameterError("this plan takes no weights", part="weights")
    return checked, _whole(weights, plan.dimension, plan.max_weight, "weights")


def random_levels(count: int, top: int) -> NDArray[np.int64]:
    """Unpredictable levels in ``1 .. top``: what unused coefficients are masked with."""
    raw = np.frombuffer(secrets.token_bytes(4 * count), dtype="<u4").astype(np.int64)
    return 1 + raw % top


def _whole(values: Sequence[int], count: int, top: int, part: str) -> list[int]:
    if len(values) != count:
        raise ParameterError(f"{len(values)} values, {count} expected", part=part)
    checked = []
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= int(value) <= top:
            raise ParameterError(f"must be whole numbers from 0 to {top}", part=part)
        checked.append(int(value))
    return checked

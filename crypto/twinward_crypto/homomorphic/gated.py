"""Gated mode: index and query both encrypted under the key of the hospital's gate, scored by who sees neither.

CKKS, records in slots. With integers ``x_j``, ``q_j``, ``w_j``::

    distance = sum_j Enc(x_j) * Enc(-2 w_j q_j) + Enc(|x|^2) + Enc(sum w q^2)                       without weights
    distance = sum_j Enc(x_j) * Enc(-2 w_j q_j) + sum_j Enc(x_j^2) * Enc(w_j) + Enc(sum w q^2)      with weights

Products stay at size three and are never relinearised, so no evaluation key exists. The gate decrypts, rounds to
whole numbers and throws the approximate values away: handing raw CKKS decryptions to anyone would leak the key
(Li and Micciancio, Eurocrypt 2021). ``parameters.error_bound`` says why rounding is exact.

The gate *can* decrypt a query. That is its role in this mode; the code never does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tenseal.sealapi as seal
from numpy.typing import NDArray

from twinward_crypto.errors import MalformedBundle, ParameterError
from twinward_crypto.homomorphic import _seal
from twinward_crypto.homomorphic.block_file import BlockFile, MappedBlocks, plain_bytes, write_blocks
from twinward_crypto.homomorphic.database import Levels, check_levels
from twinward_crypto.homomorphic.parameters import Plan, error_bound, scales, square_tilt
from twinward_crypto.homomorphic.query import check_query
from twinward_crypto.homomorphic.ring_key import RingKey
from twinward_crypto.homomorphic.wire import BINDING_BYTES, MAX_ROWS, UNBOUND, Bundle, Kind


class GateKey(RingKey):
    """The gate's secret key: it encrypts the index and opens scores."""

    scheme = "ckks"

    def public_bundle(self, *, binding: bytes = UNBOUND) -> Bundle:
        """What vendors encrypt their queries with."""
        return Bundle(Kind.GATE_PUBLIC_KEY, self.plan, binding, (_seal.save(self._public),))

    def encrypt_index(self, levels: Levels, *, binding: bytes = UNBOUND) -> EncryptedIndex:
        """Encrypt a cohort for the scoring side. Unused slots hold zeros under encryption: they look like any other.

        Raises:
            ParameterError: the array's shape or a level does not fit the plan.
        """
        rows = check_levels(self.plan, levels)
        if len(binding) != BINDING_BYTES:
            raise ParameterError(f"must be {BINDING_BYTES} bytes", part="binding")
        return EncryptedIndex(self.plan, rows, binding, tuple(self._blocks(levels)))

    def write_index(self, file: BinaryIO, levels: Levels, *, binding: bytes = UNBOUND, key: bytes) -> None:
        """Encrypt a cohort into a file for ``EncryptedIndex.map``. Ciphertext: it may lie on a disk.

        Raises:
            ParameterError: as ``encrypt_index``.
        """
        rows = check_levels(self.plan, levels)
        parts = self.plan.dimension * (2 if self.plan.weighted else 1) + 1
        blocks = ([plain_bytes(part) for part in (*b.features, *b.squares, b.norms)] for b in self._blocks(levels))
        write_blocks(file, blocks, plan=self.plan, binding=binding, rows=rows, parts=parts, key=key)

    def open_distances(self, scores: Bundle) -> NDArray[np.int64]:
        """The exact squared distance of every record, ``int64[rows]``. For the gate's eyes only.

        Raises:
            MalformedBundle: no ciphertexts of this plan, or values that no well-formed query gives: not whole within
                the error bound, or outside ``0 .. max_distance``.
        """
        if scores.kind is not Kind.GATED_SCORES or scores.plan != self.plan:
            raise MalformedBundle("not scores for this gate's plan")
        encoder = seal.CKKSEncoder(self._context)
        blocks = [
            np.array(encoder.decode_double(self._decrypt(_seal.load(seal.Ciphertext, self._context, part))))
            for part in scores.parts
        ]
        values = np.concatenate(blocks)[: scores.rows]
        if not np.isfinite(values).all():
            raise MalformedBundle("scores that no well-formed query gives")
        rounded = np.rint(values)
        off = np.abs(values - rounded).max() > error_bound(self.plan)
        if off or rounded.min() < 0 or rounded.max() > self.plan.max_distance:
            raise MalformedBundle("scores that no well-formed query gives")
        distances: NDArray[np.int64] = rounded.astype(np.int64)
        return distances

    def _blocks(self, levels: Levels) -> Iterator[IndexBlock]:
        slots = self.plan.profile.slots
        for start in range(0, len(levels), slots):
            padded = np.zeros((slots, self.plan.dimension), dtype=np.int64)
            part = levels[start : start + slots]
            padded[: len(part)] = part
            yield self._block(padded)

    def _block(self, levels: Levels) -> IndexBlock:
        index_bits, _ = scales(self.plan)
        tilt = square_tilt(self.plan)
        columns = levels.T.astype(np.float64)
        features = tuple(self._encrypt(column, index_bits) for column in columns)
        if self.plan.weighted:
            squares = tuple(self._encrypt(column * column, index_bits - tilt) for column in columns)
        else:
            squares = ()
        return IndexBlock(features, squares, self._encrypt((columns * columns).sum(axis=0), self.plan.scale_bits))

    def _encrypt(self, values: NDArray[np.float64], scale_bits: int) -> Any:
        plaintext, ciphertext = seal.Plaintext(), seal.Ciphertext()
        seal.CKKSEncoder(self._context).encode(values.tolist(), 2.0**scale_bits, plaintext)
        seal.Encryptor(self._context, self._secret).encrypt_symmetric(plaintext, ciphertext)
        return ciphertext


@dataclass(frozen=True, slots=True, eq=False)
class IndexBlock:
    """One block of records, encrypted: levels, their squares (weighted plans), and squared norms."""

    features: tuple[Any, ...]
    squares: tuple[Any, ...]
    norms: Any


@dataclass(frozen=True, slots=True, eq=False)
class EncryptedIndex:
    """A cohort under the gate's key, as the scoring side holds it. Nothing in it can be read without that key."""

    plan: Plan
    rows: int
    binding: bytes
    blocks: Sequence[IndexBlock] = field(repr=False)

    @classmethod
    def map(
        cls, path: Path, plan: Plan, *, binding: bytes = UNBOUND, key: bytes, resident: int = MAX_ROWS
    ) -> EncryptedIndex:
        """An index from a file that ``write_index`` made; at most ``resident`` blocks stay loaded once scored.

        Raises:
            MalformedBundle: it is not such a file.
        """
        file = BlockFile.map(path, plan=plan, binding=binding, key=key)
        return cls(plan, file.rows, binding, MappedBlocks(file, lambda parts: _read_block(plan, parts), resident))

    def shard(self, first: int, last: int) -> EncryptedIndex:
        """The records of blocks ``first .. last - 1``, as an index of its own under the same binding."""
        rows = min(self.rows, last * self.plan.block_rows) - first * self.plan.block_rows
        return EncryptedIndex(self.plan, rows, self.binding, self.blocks[first:last])


def _read_block(plan: Plan, parts: list[bytes]) -> IndexBlock:
    context = _seal.context(plan.profile.degree, plan.profile.modulus_bits, 0)
    ciphertexts = [_seal.load(seal.Ciphertext, context, part) for part in parts]
    d = plan.dimension
    return IndexBlock(tuple(ciphertexts[:d]), tuple(ciphertexts[d:-1]), ciphertexts[-1])


def encrypt_gated_query(gate: Bundle, levels: Sequence[int], weights: Sequence[int] | None = None) -> Bundle:
    """Encrypt a query under a gate's public key (``gate``, a decoded ``GATE_PUBLIC_KEY`` bundle).

    Parts: ``-2 w q`` of each feature, then each weight where weights are given, then ``sum w q^2``.

    Raises:
        ParameterError: a level or weight outside the plan.
        MalformedBundle: not a usable public key.
    """
    if gate.kind is not Kind.GATE_PUBLIC_KEY:
        raise MalformedBundle("not a gate's public key")
    plan = gate.plan
    checked, factors = check_query(plan, levels, weights)
    context = _seal.context(plan.profile.degree, plan.profile.modulus_bits, 0)
    try:
        encryptor = seal.Encryptor(context, _seal.load(seal.PublicKey, context, gate.parts[0]))
    except _seal.SEAL_ERRORS as error:
        raise MalformedBundle("not a public key for these parameters") from error
    encoder = seal.CKKSEncoder(context)

    def encrypted(value: int, scale_bits: int) -> bytes:
        plaintext, ciphertext = seal.Plaintext(), seal.Ciphertext()
        encoder.encode(float(value), 2.0**scale_bits, plaintext)
        encryptor.encrypt(plaintext, ciphertext)
        return _seal.save(ciphertext)

    _, query_bits = scales(plan)
    parts = [encrypted(-2 * w * q, query_bits) for w, q in zip(factors, checked, strict=True)]
    if weights is not None:
        parts += [encrypted(w, query_bits + square_tilt(plan)) for w in factors]
    parts.append(encrypted(sum(w * q * q for w, q in zip(factors, checked, strict=True)), plan.scale_bits))
    return Bundle(Kind.GATED_QUERY, plan, gate.binding, tuple(parts), weighted=weights is not None)


def score_gated(query: Bundle, index: EncryptedIndex) -> Bundle:
    """Squared distances of every record, encrypted under the gate's key. Needs no key at all.

    Raises:
        MalformedBundle: the query is bound to another cohort, or a part is no fresh ciphertext at its scale.
    """
    plan = index.plan
    if query.kind is not Kind.GATED_QUERY or query.plan != plan or query.binding != index.binding:
        raise MalformedBundle("the query was made for another cohort")
    context = _seal.context(plan.profile.degree, plan.profile.modulus_bits, 0)
    evaluator = seal.Evaluator(context)
    _, query_bits = scales(plan)
    d = plan.dimension
    expected = [query_bits] * d + ([query_bits + square_tilt(plan)] * d if query.weighted else []) + [plan.scale_bits]
    *factors, offset = (_load_fresh(context, part, bits) for part, bits in zip(query.parts, expected, strict=True))
    answers = []
    for block in index.blocks:
        total = _sum_of_products(evaluator, factors, block)
        evaluator.add_inplace(total, offset)
        if not query.weighted:
            evaluator.add_inplace(total, block.norms)
        answers.append(_seal.save(total))
    return Bundle(Kind.GATED_SCORES, plan, query.binding, tuple(answers), query.weighted, index.rows)


def _sum_of_products(evaluator: Any, factors: list[Any], block: IndexBlock) -> Any:
    columns = block.features + block.squares
    total, product = seal.Ciphertext(), seal.Ciphertext()
    evaluator.multiply(columns[0], factors[0], total)
    for column, factor in zip(columns[1:], factors[1:], strict=False):
        evaluator.multiply(column, factor, product)
        evaluator.add_inplace(total, product)
    return total


def _load_fresh(context: Any, part: bytes, scale_bits: int) -> Any:
    loaded = _seal.load(seal.Ciphertext, context, part)
    fresh = loaded.size() == 2 and loaded.parms_id() == context.first_parms_id() and loaded.is_ntt_form()
    if not fresh or loaded.is_transparent() or loaded.scale != 2.0**scale_bits:
        raise MalformedBundle("a part that is not a freshly encrypted value at its scale")
    return loaded
